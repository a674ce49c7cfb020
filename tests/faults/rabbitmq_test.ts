/** RabbitMQ is stopped, killed, full, robbed and fed with nonsense under load: no occurrence is lost. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { delay } from "@std/async";
import { seededRandom } from "../../actors/runtime/seeded_random.ts";
import { BrokerHand } from "../support/broker_hand.ts";
import { until } from "../support/program.ts";
import { recovers, storeIdOf } from "../support/recovery.ts";
import { describe, faultTest } from "../support/under_load.ts";

const JOBS = "jobs.recorder.wildcard";
const REPORTS = "milvaion.reports";
/** Each is put into each queue, with the reason that it is parked for. */
const NONSENSE = [
  { content: "{", reason: "not JSON" },
  { content: '{"v":99}', reason: "version 99 is not known" },
  { content: "[".repeat(1024 * 1024), reason: "not JSON" },
];
const QUEUES = [JOBS, REPORTS, "milvaion.lines", "milvaion.attempts"];

faultTest(
  "RabbitMQ stops, is killed, has no memory, loses its queues, messages and exchanges, and gets nonsense: nothing is lost",
  {
    servers: { own: ["rabbitmq"] },
    cluster: { apis: 2, workers: 2 },
    load: { jobsPerPolicy: 1, triggersPerSecond: 5 },
  },
  async (ground) => {
    const { rabbitmq } = ground.servers;
    await recovers(ground, "RabbitMQ stopped", async () => {
      await rabbitmq.stop();
      await delay(5000);
      await rabbitmq.start();
    });
    await recovers(ground, "RabbitMQ killed", async () => {
      await rabbitmq.kill();
      await rabbitmq.start();
    });
    await recovers(ground, "memory alarm", async () => {
      await rabbitmq.ctl("set_vm_memory_high_watermark", "0.00001");
      await delay(5000);
      await rabbitmq.ctl("set_vm_memory_high_watermark", "0.4");
    });

    await using hand = await BrokerHand.open(rabbitmq.url);
    await recovers(ground, "queue of jobs deleted", () => hand.deleteQueue(JOBS));
    await recovers(ground, "queue of reports deleted", () => hand.deleteQueue(REPORTS));
    await recovers(ground, "exchange of jobs deleted", () => hand.deleteExchange("milvaion.jobs"));

    await hand.takeAll("milvaion.parked");
    const storeId = await storeIdOf(ground.cluster);
    await recovers(ground, "nonsense in every queue", async () => {
      for (const queue of QUEUES) {
        for (const { content } of NONSENSE) await hand.put(queue, content, { storeId });
        await hand.put(queue, "{}", { storeId: "another" });
      }
      const count = QUEUES.length * (NONSENSE.length + 1);
      await until(async () => await hand.count("milvaion.parked") === count, `${count} messages are parked`);
    });
    const parked = await hand.takeAll("milvaion.parked");
    for (const { content, reason } of NONSENSE) {
      const reasons = parked.filter((one) => one.content === content).map(({ headers }) =>
        headers["x-reason"]
      );
      assertEquals(reasons.length, QUEUES.length);
      for (const one of reasons) assertMatch(String(one), new RegExp(`^${reason}`));
    }

    const echo = await hand.echo("milvaion.jobs", 0.1, seededRandom(3, Date));
    const shuffle = await hand.shuffle(REPORTS, {
      heldMs: 500,
      copies: 2,
      copiesWithinMs: 4000,
      random: seededRandom(4, Date),
    });
    await ground.load.progress(150);
    const shuffled = await shuffle.end();
    ground.figure("reports sent on, copies included", shuffled);
    ground.figure("job messages sent twice", echo.sent);
    assert(shuffled > 100 && echo.sent > 5, `${shuffled} reports were sent on, ${echo.sent} jobs sent twice`);
  },
  (judgement) => {
    const { byStatus } = judgement.figures;
    assertEquals(byStatus["Failed"] ?? 0, 0, describe(judgement));
  },
);
