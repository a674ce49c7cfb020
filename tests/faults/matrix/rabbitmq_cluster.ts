/** Each node of a RabbitMQ cluster in turn is killed and frozen under load. */
import { delay } from "@std/async";
import { allOnline } from "../../support/broker_cluster.ts";
import { recovers, rowsOf } from "../../support/recovery.ts";
import { describe, faultTest } from "../../support/under_load.ts";
import { assertEquals } from "@std/assert";

const NODES = 3;
/** Longer than the heartbeat of a connection, so that it is given up. */
const FROZEN_MS = 25_000;

for (const workersHaveDatabase of [true, false]) {
  faultTest(
    `each node of three is killed and comes back; workers ${
      workersHaveDatabase ? "with" : "without"
    } a database`,
    {
      servers: { own: ["rabbitmq"], rabbitmqNodes: NODES },
      cluster: { apis: 2, workers: 2, workersHaveDatabase },
      load: { jobsPerPolicy: 1, triggersPerSecond: 5 },
    },
    async (ground) => {
      const { rabbitmqNodes } = ground.servers;
      for (const [index, node] of rabbitmqNodes.entries()) {
        await recovers(ground, `node ${index + 1} killed`, () => node.kill());
        await ground.load.progress(50);
        await recovers(ground, `node ${index + 1} back`, () => node.start());
        await allOnline(node, NODES);
      }
    },
    (judgement) => assertEquals(judgement.figures.byStatus["Failed"] ?? 0, 0, describe(judgement)),
  );
}

// The other nodes hold a frozen one for alive for a minute (`net_ticktime`), and the queues that it leads stand still:
// reports that it has confirmed come when it wakes, and with leases of 3 s their runs are lost up to four times by then.
// Their workers are there all the time, so none is held to take workers down.
faultTest(
  "each node of three is frozen for 25 s: nothing is lost, and work goes on when it wakes",
  {
    servers: { own: ["rabbitmq"], rabbitmqNodes: NODES },
    cluster: { apis: 2, workers: 2 },
    load: { jobsPerPolicy: 1, triggersPerSecond: 5 },
  },
  async (ground) => {
    const { rabbitmqNodes } = ground.servers;
    for (const [index, node] of rabbitmqNodes.entries()) {
      await recovers(ground, `node ${index + 1} frozen`, async () => {
        node.pause();
        await delay(FROZEN_MS);
        node.resume();
      });
      await ground.load.progress(50);
    }
    const [row] = await rowsOf(
      ground.cluster,
      "SELECT count(*) AS count FROM attempts WHERE outcome = 'lost'",
    );
    ground.figure("lost, for their reports came late", Number(row?.["count"]));
  },
  (judgement) => assertEquals(judgement.figures.byStatus["Failed"] ?? 0, 0, describe(judgement)),
);
