/** A cluster on Redis by Sentinel whose master is killed. */
import { assert } from "@std/assert";
import { until } from "../support/program.ts";
import { recovers } from "../support/recovery.ts";
import { farDueJob, keysOf, partitionOf } from "../support/redis_contents.ts";
import { faultTest } from "../support/under_load.ts";

faultTest(
  "Sentinel makes a replica the master when the master is killed: no due time is lost or doubled, index and presence are whole again",
  { servers: { own: ["redis-sentinel"] }, cluster: { apis: 2, workers: 2 } },
  async (ground) => {
    const { cluster, load, servers, figure } = ground;
    const { redisSentinel } = servers;
    const keys = await keysOf(cluster, servers.forCluster.redisPrefix);
    const farDueId = await farDueJob(cluster);
    for (const round of [1, 2]) {
      const killed = await redisSentinel.master();
      const killedAt = performance.now();
      await recovers(ground, `Redis master killed, ${round}`, async () => {
        await killed.kill();
        const promoted = await redisSentinel.masterAfter(killed);
        figure(`promoted after ms, ${round}`, Math.round(performance.now() - killedAt));
        await until(
          async () =>
            await partitionOf(farDueId, {
                keys,
                partitions: 1,
                serverOf: () => Promise.resolve(promoted),
              }) === 0 &&
            await promoted.cli("get", keys.dueBuiltBy(0)) !== "",
          "the due index is whole on the new master",
        );
        await until(
          async () => await promoted.cli("exists", keys.lease("leader")) === "1",
          "the leader's lock is on the new master",
        );
        figure(`index and lock after ms, ${round}`, Math.round(performance.now() - killedAt));
        await cluster.knowsWorkers(2);
      });
      await load.progress(20);
      // Back as a replica, so that it can be promoted in its turn.
      await killed.start();
      await until(
        async () =>
          (await (await redisSentinel.master()).cli("info", "replication")).includes("state=online"),
        "the old master is a replica",
      );
    }
  },
  ({ figures }) => {
    assert(
      figures.epochs <= 5,
      `the lead changes with a lock that was lost, at most: ${figures.epochs} epochs`,
    );
  },
);
