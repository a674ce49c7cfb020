/** What a cluster has written to its Redis, asked by redis-cli at the server that serves the key. */
import { RedisKeys } from "../../infra/redis/keys.ts";
import type { Cluster } from "./cluster.ts";
import { storeIdOf } from "./recovery.ts";
import type { RedisServer } from "./redis_server.ts";

/** The names of its keys. */
export async function keysOf(cluster: Cluster, prefix: string): Promise<RedisKeys> {
  return new RedisKeys(prefix, await storeIdOf(cluster));
}

/** A job due in an hour, outside of the load: when the due index was lost, it must be in it again. Gives its id. */
export async function farDueJob(cluster: Cluster): Promise<string> {
  return await cluster.createJob({
    displayName: "in an hour",
    jobType: "SampleJob",
    executeAt: new Date(Date.now() + 3_600_000).toISOString(),
  });
}

/** The partition that a job is in, or null. */
export async function partitionOf(
  jobId: string,
  { keys, partitions, serverOf }: {
    readonly keys: RedisKeys;
    readonly partitions: number;
    readonly serverOf: (key: string) => Promise<RedisServer>;
  },
): Promise<number | null> {
  for (let partition = 0; partition < partitions; partition++) {
    const key = keys.due(partition);
    if (await (await serverOf(key)).cli("zscore", key, jobId) !== "") return partition;
  }
  return null;
}
