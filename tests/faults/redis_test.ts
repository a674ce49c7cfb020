/** Redis is emptied, loses the leader's lock, freezes and restarts: the store knows everything. */
import { assert } from "@std/assert";
import { delay } from "@std/async";
import { until } from "../support/program.ts";
import { recovers } from "../support/recovery.ts";
import { farDueJob } from "../support/redis_contents.ts";
import type { RedisServer } from "../support/redis_server.ts";
import { faultTest } from "../support/under_load.ts";

const FROZEN_MS = 5000;

faultTest(
  "a Redis that is emptied, frozen, restarted empty or loses the leader's lock costs no due time and makes no second leader",
  { servers: { own: ["redis"] }, cluster: { apis: 2, workers: 1 } },
  async (ground) => {
    const { servers: { redis }, cluster, load } = ground;
    // Due in an hour: after the index was lost it must be in it again.
    const farDueId = await farDueJob(ground.cluster);

    for (const round of [1, 2, 3]) {
      await recovers(ground, `FLUSHALL while leading, ${round}`, async () => {
        await redis.cli("flushall");
        await until(() => isIndexed(redis, farDueId), "the due index is built again");
      });
      await load.progress(20);
    }

    await recovers(ground, "the leader's lock deleted until another leads", async () => {
      const leader = await cluster.leader();
      let isLed = false;
      const next = cluster.leaderAfter(leader).finally(() => isLed = true);
      // The holder takes it back when it is first; so it is deleted until it was not.
      while (!isLed) await Promise.all([deleteLock(redis), delay(100)]);
      await next;
    });
    await load.progress(20);

    await recovers(ground, "frozen for 5 s", async () => {
      redis.pause();
      await delay(FROZEN_MS);
      redis.resume();
    });
    await load.progress(20);

    await recovers(ground, "restarted, and empty", async () => {
      await redis.stop();
      await redis.start();
      await until(() => isIndexed(redis, farDueId), "the due index is built again");
    });
    await load.progress(20);
  },
  ({ figures }) => {
    assert(figures.epochs >= 2, "the lock was lost");
  },
);

async function isIndexed(redis: RedisServer, jobId: string): Promise<boolean> {
  const keys = await redis.cli("--scan", "--pattern", "*:due:0}");
  return keys !== "" && await redis.cli("zscore", keys, jobId) !== "";
}

async function deleteLock(redis: RedisServer): Promise<void> {
  const key = await redis.cli("--scan", "--pattern", "*:lease:leader}");
  if (key !== "") await redis.cli("del", key);
}
