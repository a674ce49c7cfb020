/** What the keys under `MilvaionConfig.Redis` mean to the adapters. */
import type { Config } from "./config_schema.ts";
import type { SentinelCredentials } from "./redis/connection.ts";

/** Nothing is an empty user: the sentinels' default one. */
export function sentinelCredentials(config: Config): SentinelCredentials {
  const { SentinelUser, SentinelPassword } = config.MilvaionConfig.Redis;
  return { user: SentinelUser === "" ? null : SentinelUser, password: SentinelPassword };
}

/** Parts of the due index; undefined where the kind of Redis decides. */
export function partitionsOf(config: Config): number | undefined {
  const { DueIndexPartitions } = config.MilvaionConfig.Redis;
  return DueIndexPartitions === 0 ? undefined : DueIndexPartitions;
}
