/** A Redis Cluster with replicas whose masters are killed in turn, and one that refuses as a whole. */
import { assert } from "@std/assert";
import { until } from "../../support/program.ts";
import { recovers } from "../../support/recovery.ts";
import { farDueJob, keysOf, partitionOf } from "../../support/redis_contents.ts";
import { faultTest } from "../../support/under_load.ts";
import { delay } from "@std/async";

const PARTITIONS = 16;
const AWAY_MS = 15_000;

faultTest(
  "each master of a Redis Cluster is killed in turn, and its replica takes over: no due time is lost or doubled",
  { servers: { own: ["redis-cluster"], redisReplicas: 1 }, cluster: { apis: 2, workers: 2 } },
  async (ground) => {
    const { cluster, load, servers: { redisCluster }, servers } = ground;
    const keys = await keysOf(cluster, servers.forCluster.redisPrefix);
    const farDueId = await farDueJob(cluster);
    for (const [index, master] of redisCluster.masters.entries()) {
      await recovers(ground, `master ${index + 1} killed`, async () => {
        await master.kill();
        const serverOf = (key: string) => redisCluster.masterOf(key);
        await until(
          async () => await partitionOf(farDueId, { keys, partitions: PARTITIONS, serverOf }) !== null,
          "the due index is whole again",
        );
        await until(
          async () => {
            const key = keys.lease("leader");
            return await (await serverOf(key)).cli("exists", key) === "1";
          },
          "the leader has its lock",
        );
        await cluster.knowsWorkers(2);
      });
      await load.progress(20);
      await master.start();
    }
  },
);

faultTest(
  "a Redis Cluster that wants all its slots refuses everything while a master is lost: due times are decided from the store",
  {
    servers: { own: ["redis-cluster"], redisArgs: ["--cluster-require-full-coverage", "yes"] },
    cluster: { apis: 2, workers: 1 },
  },
  async (ground) => {
    const { load, servers: { redisCluster } } = ground;
    const [lost] = redisCluster.masters;
    assert(lost !== undefined);
    await recovers(ground, "a master killed for 15 s, the others refuse", async () => {
      await lost.kill();
      await delay(AWAY_MS);
      await lost.start();
    });
    await load.progress(40);
  },
);
