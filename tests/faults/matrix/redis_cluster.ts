/** A cluster on a Redis Cluster that loses a master without a replica, and moves slots. */
import { assert } from "@std/assert";
import { delay } from "@std/async";
import { slotOf } from "../../../infra/redis/slots.ts";
import { until } from "../../support/program.ts";
import { recovers } from "../../support/recovery.ts";
import { farDueJob, keysOf, partitionOf } from "../../support/redis_contents.ts";
import { faultTest, type Ground } from "../../support/under_load.ts";

const PARTITIONS = 16;
const AWAY_MS = 8000;

faultTest(
  "a Redis Cluster that loses a master without a replica, the one with the lock or with presence or with due times, costs no due time",
  { servers: { own: ["redis-cluster"] }, cluster: { apis: 2, workers: 1 } },
  async (ground) => {
    const { cluster, load, servers: { redisCluster }, servers } = ground;
    const keys = await keysOf(cluster, servers.forCluster.redisPrefix);
    const farDueId = await farDueJob(cluster);
    const isIndexed = async () =>
      await partitionOf(farDueId, {
        keys,
        partitions: PARTITIONS,
        serverOf: (key) => redisCluster.masterOf(key),
      });
    const partition = await until(async () => {
      const found = await isIndexed();
      return found === null ? null : { number: found };
    }, "the job is in the due index");
    const losses = {
      "with the lock": keys.lease("leader"),
      "with due times": keys.due(partition.number),
      "with presence": keys.presence("seen"),
    };
    for (const [what, key] of Object.entries(losses)) {
      await recovers(ground, `master ${what} killed for ${AWAY_MS / 1000} s`, async () => {
        const lost = await redisCluster.masterOf(key);
        await lost.kill();
        await delay(AWAY_MS);
        await load.progress(10);
        await lost.start();
        await until(async () => await isIndexed() !== null, "the due index is whole again");
        await cluster.knowsWorkers(1);
      });
      await load.progress(20);
    }
    await recovers(ground, "slots of lock, presence and due times moved", () =>
      moveSlots(ground, [
        keys.lease("leader"),
        keys.presence("seen"),
        keys.due(partition.number),
      ]));
    await load.progress(20);
    await until(async () => await isIndexed() !== null, "the due index is whole after that");
  },
);

async function moveSlots({ servers: { redisCluster } }: Ground, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    const from = await redisCluster.masterOf(key);
    const to = redisCluster.masters.find((one) => one !== from);
    assert(to !== undefined);
    const migration = await redisCluster.migrate(slotOf(key), from, to);
    // As long as a slot with many keys takes.
    await delay(500);
    await migration.finish();
  }
}
