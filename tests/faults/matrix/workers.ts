/** Workers with the lease that users have: killed, frozen, cut off, stopped for good and without RabbitMQ. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { signalAll } from "../../support/processes.ts";
import { until } from "../../support/program.ts";
import { recovers, workerOf } from "../../support/recovery.ts";
import { describe, faultTest, type Ground } from "../../support/under_load.ts";

const USUAL_LEASE = { Worker__LeaseSeconds: "15", Worker__Heartbeat__IntervalSeconds: "5" };
/** Longer than a lease of 3 s. */
const ANSWER_MS = 4000;
const LIGHT = { jobsPerPolicy: 1, triggersPerSecond: 3 };

/** Triggers a run of so many milliseconds and waits until it runs. */
async function longRun(
  { load, cluster }: Ground,
  workMs: number,
  data: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const job = await load.createJob({ policy: "Allow", workMs, isTriggered: true, data });
  const occurrenceId = await load.trigger(job);
  await workerOf({ cluster, load }, occurrenceId);
  return occurrenceId;
}

/** Waits for the start of a run of this occurrence after a moment; gives how long after it, in milliseconds. */
async function runsAgain({ load }: Ground, occurrenceId: string, from: number): Promise<number> {
  const run = await until(
    async () => (await load.runs()).find((one) => one.occurrenceId === occurrenceId && one.start > from),
    `${occurrenceId} runs again`,
  );
  return run.start - from;
}

faultTest(
  "with the lease that users have, what a killed or frozen worker ran is run by another",
  { cluster: { apis: 2, workers: 2, env: USUAL_LEASE }, load: LIGHT },
  async (ground) => {
    const { cluster, load, figure } = ground;
    const first = await longRun(ground, 30_000);
    const killed = await workerOf(ground, first);
    const killedAt = Date.now();
    await recovers(ground, "worker killed, lease 15 s", async () => {
      await killed.kill();
      figure("run again after kill, ms", await runsAgain(ground, first, killedAt));
    });
    await killed.start();
    // A second loss of the same run would make it suspect.
    await cluster.ended(first);

    const second = await longRun(ground, 40_000);
    const frozen = await workerOf(ground, second);
    const frozenAt = Date.now();
    await recovers(ground, "worker frozen, lease 15 s", async () => {
      await frozen.pause();
      figure("run again after freeze, ms", await runsAgain(ground, second, frozenAt));
      await delay(3000);
      await frozen.resume();
    }, { isFreeze: true });
    await load.progress(20);
    assertEquals((await cluster.ended(second)).status, "Completed");
  },
  (judgement) => assertEquals(judgement.figures.byStatus["Failed"] ?? 0, 0, describe(judgement)),
);

faultTest(
  "a worker that is cut off from everything ends its runs before their leases end, even those that do not listen",
  { cluster: { apis: 1, workers: 2, hasProxies: true, env: USUAL_LEASE }, load: LIGHT },
  async (ground) => {
    const occurrence = await longRun(ground, 40_000, { isDeaf: true });
    const { proxies } = await workerOf(ground, occurrence);
    assert(proxies !== null);
    const from = Date.now();
    await recovers(ground, "worker cut off from everything", async () => {
      for (const proxy of Object.values(proxies)) proxy.blackhole();
      const ranAgainMs = await runsAgain(ground, occurrence, from);
      const [old] = (await ground.load.runs()).filter((one) => one.occurrenceId === occurrence);
      const endedMs = Math.max(...(old?.beats ?? [0])) - from;
      ground.figure("cut off: old run ended after ms", endedMs);
      ground.figure("cut off: new run began after ms", ranAgainMs);
      for (const proxy of Object.values(proxies)) proxy.clear();
    });
  },
);

for (const workersHaveDatabase of [true, false]) {
  const which = workersHaveDatabase ? "that claims from the database" : "without a database";
  faultTest(
    `a worker ${which}: a grant that comes after the lease is not used`,
    {
      cluster: { apis: 1, workers: 2, hasProxies: true, workersHaveDatabase },
      load: LIGHT,
    },
    async (ground) => {
      const [slow] = ground.cluster.workers;
      const proxy = workersHaveDatabase ? slow?.proxies?.postgres : slow?.proxies?.amqp;
      assert(slow !== undefined && proxy !== undefined);
      const hosts = new Set(await slow.hosts());
      await recovers(ground, "answers delayed beyond the lease", async () => {
        const from = Date.now();
        proxy.latency(ANSWER_MS / 2); // there and back again
        await ground.load.progress(60);
        for (const pid of await slow.hosts()) hosts.add(pid);
        const late = (await ground.load.runs()).filter(({ pid, start }) =>
          start > from + ANSWER_MS && hosts.has(pid ?? 0)
        );
        proxy.clear();
        assertEquals(late.length, 0, "runs that began when their lease was over");
      });
    },
  );

  faultTest(
    `RabbitMQ is gone for a minute while long jobs run and end at workers ${which}: nothing is killed or lost`,
    {
      servers: { own: ["rabbitmq"] },
      cluster: { apis: 2, workers: 2, workersHaveDatabase, env: USUAL_LEASE },
      load: LIGHT,
    },
    async (ground) => {
      const { cluster, servers, figure } = ground;
      const lengths = [10_000, 30_000, 50_000, 80_000];
      const occurrences: string[] = [];
      for (const workMs of lengths) occurrences.push(await longRun(ground, workMs));
      await recovers(ground, "RabbitMQ gone for a minute", async () => {
        await servers.rabbitmq.stop();
        await delay(60_000);
        await servers.rabbitmq.start();
      });
      for (const id of occurrences) {
        const { status, token } = await cluster.ended(id);
        assertEquals([status, token], ["Completed", 1], `${id} ran once\n`);
      }
      figure("long runs that ended by themselves", occurrences.length);
    },
    (judgement) => assertEquals(judgement.figures.cutOff, 0, describe(judgement)),
  );
}

faultTest(
  "a worker told to stop hands back what does not end in time, and that attempt does not count; told again it ends at once",
  {
    cluster: {
      apis: 1,
      workers: 2,
      env: { Worker__ShutdownGraceSeconds: "20", Worker__KillGraceSeconds: "15" },
    },
    load: LIGHT,
  },
  async (ground) => {
    const { cluster } = ground;
    const occurrence = await longRun(ground, 15_000);
    const first = await workerOf(ground, occurrence);
    const status = await recovers(ground, "SIGTERM with a long run", () => first.stop());
    assertEquals(status.code, 0, first.output);
    const ended = await cluster.ended(occurrence);
    assertEquals(
      [ended.status, ended.attempt],
      ["Completed", 1],
      "the attempt that was handed back is not counted",
    );
    await first.start();

    const stubborn = await longRun(ground, 15_000, { isDeaf: true });
    const second = await workerOf(ground, stubborn);
    await recovers(ground, "SIGTERM twice", async () => {
      const toldAt = performance.now();
      const [status] = await Promise.all([second.stop(), delay(1500).then(() => second.stop())]);
      ground.figure("told twice: ended after ms", Math.round(performance.now() - toldAt));
      ground.figure("told twice: exit code", status.code);
    });
    await second.start();
    assertEquals((await cluster.ended(stubborn)).status, "Completed");
  },
);

faultTest(
  "hosts of all workers are killed again and again: runs are repeated, and no worker goes with them",
  { cluster: { apis: 1, workers: 2 }, load: LIGHT },
  async (ground) => {
    for (let round = 1; round <= 5; round += 1) {
      await recovers(ground, `hosts killed, ${round}`, async () => {
        for (const worker of ground.cluster.workers) await signalAll(await worker.hosts(), "KILL");
      });
      await ground.load.progress(10);
    }
  },
);
faultTest(
  "a worker whose agent alone is frozen past the lease: its job code has ended before another runs it",
  { cluster: { apis: 1, workers: 2 }, load: LIGHT },
  async (ground) => {
    const occurrence = await longRun(ground, 25_000);
    const worker = await workerOf(ground, occurrence);
    const from = Date.now();
    await recovers(ground, "agent of a worker frozen", async () => {
      await worker.pause({ only: true });
      await runsAgain(ground, occurrence, from);
      await delay(2000);
      await worker.resume();
    }, { isFreeze: true });
  },
);
