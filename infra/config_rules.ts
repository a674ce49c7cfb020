/** Rules between keys. Each names itself, so that people see which two values do not fit. */
import type { Config, ConsumerConfig } from "./config_schema.ts";
import type { ConfigProblem } from "./config_sources.ts";
import { parseRedisUrl } from "./redis/address.ts";

/** A configuration after the rules between its keys. */
export interface Ruled {
  /** With the smaller counts where a consumer asked for more than its worker has. */
  readonly config: Config;
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly string[];
}

/** Checks what no key can know alone. */
export function applyRules(config: Config): Ruled {
  const { Worker: worker, MilvaionConfig: { Api: api, Postgres, Redis: redis } } = config;
  const problems: ConfigProblem[] = [];
  const warnings: string[] = [];

  const leaseAtLeast = worker.Heartbeat.IntervalSeconds * 3;
  if (worker.LeaseSeconds < leaseAtLeast) {
    problems.push({
      field: "Worker.LeaseSeconds",
      given: String(worker.LeaseSeconds),
      expected: `at least 3 × Worker.Heartbeat.IntervalSeconds (${leaseAtLeast})`,
      hint: "Two lost heartbeats must not cost a lease.",
    });
  }
  if (worker.KillGraceSeconds >= worker.ShutdownGraceSeconds) {
    problems.push({
      field: "Worker.KillGraceSeconds",
      given: String(worker.KillGraceSeconds),
      expected: `less than Worker.ShutdownGraceSeconds (${worker.ShutdownGraceSeconds})`,
      hint: "A job that heeds nothing must be gone when the program stops.",
    });
  }
  if (!isLoopback(api.Host) && api.Token === null) {
    problems.push({
      field: "MilvaionConfig.Api.Token",
      given: "none",
      expected: `a token, because MilvaionConfig.Api.Host (${api.Host}) can be reached from other machines`,
      hint: "Set MILVAION_API_TOKEN (or _FILE) to at least 16 random characters, or listen on 127.0.0.1.",
    });
  }

  if (Postgres.ReadUrls.length > 0 && Postgres.Url === null) {
    problems.push({
      field: "MilvaionConfig.Postgres.ReadUrls",
      given: String(Postgres.ReadUrls.length),
      expected: "none without MilvaionConfig.Postgres.Url",
      hint: "Replicas are read from; DATABASE_URL names the primary, which is written to.",
    });
  }
  const isSentinel = redis.Url !== null && parseRedisUrl(redis.Url).mode === "sentinel";
  if (redis.Url !== null && !isSentinel && (redis.SentinelPassword !== null || redis.SentinelUser !== "")) {
    warnings.push(
      "MilvaionConfig.Redis.SentinelUser and SentinelPassword have no effect: " +
        "MilvaionConfig.Redis.Url names no sentinels (redis+sentinel://).",
    );
  }
  if (isSentinel && redis.SentinelUser !== "" && redis.SentinelPassword === null) {
    problems.push({
      field: "MilvaionConfig.Redis.SentinelPassword",
      given: "none",
      expected: "a password, because MilvaionConfig.Redis.SentinelUser names a user",
      hint: "Set REDIS_SENTINEL_PASSWORD (or _FILE).",
    });
  }

  const consumers: Record<string, ConsumerConfig> = {};
  for (const [jobType, consumer] of Object.entries(config.JobConsumers)) {
    consumers[jobType] = limited(jobType, consumer, worker.MaxParallelJobs, warnings);
  }
  return { config: { ...config, JobConsumers: consumers }, problems, warnings };
}

function limited(
  jobType: string,
  consumer: ConsumerConfig,
  workerLanes: number,
  warnings: string[],
): ConsumerConfig {
  const lanes = Math.min(consumer.MaxParallelJobs ?? workerLanes, workerLanes);
  const smaller: { MaxParallelJobs?: number; Threads?: number } = {};
  if (consumer.MaxParallelJobs !== undefined && consumer.MaxParallelJobs > lanes) {
    warnings.push(
      `JobConsumers.${jobType}.MaxParallelJobs is ${consumer.MaxParallelJobs}, ` +
        `more than Worker.MaxParallelJobs (${workerLanes}): ${lanes} counts.`,
    );
    smaller.MaxParallelJobs = lanes;
  }
  if (consumer.Threads !== undefined && consumer.Threads > lanes) {
    warnings.push(
      `JobConsumers.${jobType}.Threads is ${consumer.Threads}, more than its ${lanes} lanes: ${lanes} counts.`,
    );
    smaller.Threads = lanes;
  }
  return { ...consumer, ...smaller };
}

/** True for an address that only this machine can reach. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, "$1");
  return name === "localhost" || name === "::1" || /^127(\.\d{1,3}){3}$/.test(name);
}
