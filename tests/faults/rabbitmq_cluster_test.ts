/** A RabbitMQ cluster of three nodes loses one under load: nothing is lost, nothing runs twice, work goes on. */
import { allOnline, clusterQueues } from "../support/broker_cluster.ts";
import { until } from "../support/program.ts";
import { drained, recovers } from "../support/recovery.ts";
import { describe, faultTest } from "../support/under_load.ts";
import { assert, assertEquals } from "@std/assert";

const NODES = 3;

faultTest(
  "a node of three is killed under load, and comes back: workers without a database go on, nothing is lost",
  {
    servers: { own: ["rabbitmq"], rabbitmqNodes: NODES },
    cluster: { apis: 2, workers: 2, workersHaveDatabase: false },
    load: { jobsPerPolicy: 1, triggersPerSecond: 5 },
  },
  async (ground) => {
    const { servers: { rabbitmqNodes }, load, figure, cluster } = ground;
    const [first] = rabbitmqNodes;
    assert(first !== undefined);
    const queues = await allOnline(first, NODES);
    for (const name of ["jobs.recorder.wildcard", "milvaion.reports", "milvaion.lines", "milvaion.parked"]) {
      assert(queues.some((queue) => queue.name === name), `${name} is a quorum queue of ${NODES} nodes`);
    }
    // The one that holds what is on one node only: requests of workers for attempts.
    const home = (await clusterQueues(first)).find(({ name }) => name === "milvaion.attempts")?.node;
    const victim = rabbitmqNodes.find(({ nodeName }) => nodeName === home);
    const witness = rabbitmqNodes.find((node) => node !== victim);
    assert(victim !== undefined && witness !== undefined, `${home} is one of the nodes`);

    const before = await ended();
    await recovers(ground, "node killed", async () => {
      const killedAt = performance.now();
      await victim.kill();
      const atKill = await ended();
      await until(async () => await ended() > atKill + 5, "runs end on the nodes that are left");
      figure("runs end again after ms", Math.round(performance.now() - killedAt));
    });
    assert(await ended() > before);
    await load.progress(50);

    await cluster.nemesis.during("node back", () => victim.start());
    await allOnline(witness, NODES);
    await load.progress(50);
    figure("drained after node back ms", await drained(cluster));

    async function ended(): Promise<number> {
      const [row] = await ground.servers.postgres.sql(
        "SELECT count(*) AS n FROM occurrences WHERE status = 2",
        "cluster",
      );
      return Number(row?.["n"]);
    }
  },
  (judgement) => {
    assertEquals(judgement.figures.byStatus["Failed"] ?? 0, 0, describe(judgement));
  },
);
