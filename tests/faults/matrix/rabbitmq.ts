/** RabbitMQ away, emptied, replaced and set up wrongly for longer than a test of every day has time for. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { BrokerHand } from "../../support/broker_hand.ts";
import { ClusterProcess } from "../../support/cluster_process.ts";
import { until } from "../../support/program.ts";
import { drained, recovers, rowsOf, storeIdOf } from "../../support/recovery.ts";
import { describe, faultTest } from "../../support/under_load.ts";

const JOBS = "jobs.recorder.wildcard";
/** Lines that a talkative run writes. */
const LINES = 20;

faultTest(
  "RabbitMQ is away for a minute, and has no memory for 15 s: claims and leases go on, nothing is decided twice",
  { servers: { own: ["rabbitmq"] }, cluster: { apis: 2, workers: 2 } },
  async (ground) => {
    const { rabbitmq } = ground.servers;
    await recovers(ground, "RabbitMQ stopped for 60 s", async () => {
      await rabbitmq.stop();
      await delay(60_000);
      await rabbitmq.start();
    });
    // A job that was claimed before the alarm keeps its lease, which is no message of RabbitMQ's.
    const long = await ground.load.createJob({ policy: "Allow", workMs: 12_000, isTriggered: true });
    const running = await ground.load.trigger(long);
    await until(
      async () => (await ground.load.runs()).some(({ occurrenceId }) => occurrenceId === running),
      "the long job runs",
    );
    await recovers(ground, "memory alarm for 15 s", async () => {
      await rabbitmq.ctl("set_vm_memory_high_watermark", "0.00001");
      await delay(15_000);
      await rabbitmq.ctl("set_vm_memory_high_watermark", "0.4");
    });
    const { token, status } = (await ground.cluster.ended(running)) as { token: number; status: string };
    assertEquals([status, token], ["Completed", 1], "the alarm killed nothing that ran");
  },
  (judgement) => assertEquals(judgement.figures.byStatus["Failed"] ?? 0, 0, describe(judgement)),
);

faultTest(
  "waiting messages are purged, and a brand-new empty broker takes the place of the old one: nothing is lost",
  { servers: { own: ["rabbitmq"] }, cluster: { apis: 2, workers: 2 } },
  async (ground) => {
    const { cluster, load, figure } = ground;
    const { rabbitmq } = ground.servers;
    const waiting = await load.createJob({ policy: "Allow", workMs: 50, isTriggered: true });
    await using hand = await BrokerHand.open(rabbitmq.url);

    await recovers(ground, "messages purged while workers are away", async () => {
      await Promise.all(cluster.workers.map((worker) => worker.stop()));
      for (let trigger = 0; trigger < 20; trigger += 1) await load.trigger(waiting);
      await until(async () => await hand.count(JOBS) >= 20, "messages wait");
      figure("messages purged while workers are away", await hand.purge(JOBS));
      await Promise.all(cluster.workers.map((worker) => worker.start()));
    });

    await recovers(ground, "messages purged under the consumers", async () => {
      // Longer than everything else: all lanes are taken, and messages wait.
      const blocking = await load.createJob({ policy: "Allow", workMs: 8000, isTriggered: true });
      for (let trigger = 0; trigger < 90; trigger += 1) await load.trigger(blocking);
      await until(async () => await hand.count(JOBS) > 0, "messages wait");
      figure("messages purged under the consumers", await hand.purge(JOBS));
    });

    await recovers(ground, "empty broker in its place", async () => {
      await rabbitmq.kill();
      await Deno.remove(`${rabbitmq.folder}/data`, { recursive: true });
      await rabbitmq.start();
    });
    await load.progress(50);
  },
  (judgement) => assertEquals(judgement.figures.byStatus["Failed"] ?? 0, 0, describe(judgement)),
);

faultTest(
  "what cannot run yet waits with its reason, and runs when it can: no worker of the type, a queue of another kind",
  { cluster: { apis: 2, workers: 1, env: { Worker__Samples: "false" } } },
  async ({ servers, cluster, load, figure }) => {
    const id = await cluster.request("POST", "/api/v1/jobs?allowUnknownType=true", {
      displayName: "of a type nobody has",
      jobType: "SampleJob",
      triggerOnly: true,
    }).then(({ body }) => body.id as string);
    const { body } = await cluster.request("POST", `/api/v1/jobs/${id}/trigger`, { reason: "early" });
    await until(async () => {
      const shown = await cluster.request("GET", `/api/v1/occurrences/${body.occurrenceId}`);
      return shown.body.status === "Queued" &&
        shown.body.reason === "Waits for a worker: none offers SampleJob";
    }, "the occurrence says why it waits");

    // Somebody has made the queue of the type by hand, and otherwise than the program does.
    await using hand = await BrokerHand.open(servers.forCluster.servers.amqp);
    await hand.declare("jobs.sample.wildcard", { "x-queue-type": "classic" });
    await using late = new ClusterProcess({
      role: "worker",
      name: "worker-late",
      servers: servers.forCluster.servers,
      args: [],
      env: {
        Worker__JobTypes: "SampleJob",
        Worker__LeaseSeconds: "3",
        Worker__Heartbeat__IntervalSeconds: "1",
        MilvaionConfig__Redis__KeyPrefix: servers.forCluster.redisPrefix,
        MilvaionConfig__Logging__Format: "json",
      },
      hasProxies: false,
      hasDatabase: true,
    });
    const program = await late.launch();
    // It says what is wrong, and what to do.
    await program.printed(
      /the queue jobs\.sample\.wildcard exists with other arguments.*rabbitmqctl delete_queue jobs\.sample\.wildcard/,
    );
    const repairedAt = performance.now();
    await cluster.nemesis.during(
      "queue of another kind",
      () => hand.deleteQueue("jobs.sample.wildcard"),
    );
    const ended = await cluster.ended(body.occurrenceId);
    assertEquals(ended.status, "Completed");
    figure("waiting occurrence ended after ms", Math.round(performance.now() - repairedAt));
    await load.progress(20);
  },
);

faultTest(
  "API instances are killed between receiving reports and committing them: each report and each line counts once",
  { cluster: { apis: 2, workers: 2 } },
  async (ground) => {
    const { cluster, load, servers, figure } = ground;
    const talkative = await load.createJob({
      policy: "Allow",
      workMs: 50,
      isTriggered: true,
      data: { lines: LINES },
    });
    const occurrences: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      const api = cluster.apis[round % cluster.apis.length];
      assert(api !== undefined);
      await recovers(ground, `tracker killed before its commit, ${round + 1}`, async () => {
        for (let trigger = 0; trigger < 5; trigger += 1) occurrences.push(await load.trigger(talkative));
        const database = new URL(cluster.databaseUrl).pathname.slice(1);
        // Reports are received, and none can be committed.
        const held = servers.postgres.sql(
          "BEGIN; LOCK TABLE occurrences IN SHARE ROW EXCLUSIVE MODE; SELECT pg_sleep(1.5); COMMIT",
          database,
        );
        await delay(1000);
        await api.kill();
        await held;
        await api.start();
      });
    }
    await drained(cluster);
    for (const id of occurrences) {
      // A run that was lost with its worker would have lines of its own: none was.
      const rows = await rowsOf(cluster, "SELECT token, sequence FROM lines WHERE occurrence_id = $1", [id]);
      assertEquals(rows.length, LINES, `lines of ${id}`);
      assertEquals(new Set(rows.map((row) => `${row["token"]}/${row["sequence"]}`)).size, LINES);
    }
    figure("occurrences with all their lines, each once", occurrences.length);
  },
);

faultTest(
  "workers without a database: the queues of their requests and reports and the lesser exchanges are deleted, nothing is lost",
  {
    cluster: { apis: 2, workers: 2, workersHaveDatabase: false },
    load: { jobsPerPolicy: 1, triggersPerSecond: 5 },
  },
  async (ground) => {
    await using hand = await BrokerHand.open(ground.servers.forCluster.servers.amqp);
    for (const queue of ["attempts", "reports", "lines", "progress", "parked"]) {
      await recovers(ground, `queue milvaion.${queue} deleted`, () => hand.deleteQueue(`milvaion.${queue}`));
      if (queue !== "parked") {
        await until(() => hand.exists(`milvaion.${queue}`), `${queue} is declared again`);
      }
    }
    await recovers(
      ground,
      "exchange for dead letters deleted",
      () => hand.deleteExchange("milvaion.dlx"),
    );
    await recovers(ground, "exchange for news and the queue of jobs deleted", async () => {
      // All lanes are taken, and messages wait.
      const blocking = await ground.load.createJob({ policy: "Allow", workMs: 3000, isTriggered: true });
      for (let trigger = 0; trigger < 90; trigger += 1) await ground.load.trigger(blocking);
      await until(async () => await hand.count(JOBS) > 0, "messages wait");
      await hand.deleteExchange("milvaion.control");
      // Nobody hears that this queue is new.
      await hand.deleteQueue(JOBS);
    });
    const storeId = await storeIdOf(ground.cluster);
    await until(() => hand.exists(JOBS), "the queue of jobs is declared again");
    await hand.put(JOBS, "{", { storeId });
    await until(() => hand.exists("milvaion.parked"), "the parking queue is declared again");
    await until(async () => await hand.count("milvaion.parked") === 1, "what cannot be read is parked");
    await ground.load.progress(30);
  },
  (judgement) => assertEquals(judgement.figures.byStatus["Failed"] ?? 0, 0, describe(judgement)),
);
