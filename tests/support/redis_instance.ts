/** One instance's Redis adapters on a server of the test's own, and what it says there. */
import type { LiveEvent } from "../../actors/ports/events.ts";
import type { WorkerInstance } from "../../actors/ports/presence.ts";
import { systemClock } from "../../infra/clock.ts";
import { type OpenRedis, openRedis } from "../../infra/redis/redis.ts";
import { until } from "./program.ts";
import { KeptLog } from "./quiet.ts";

/** Fixed, so that the same keys lie in the same slots of a Redis Cluster each time. */
export const STORE = "store";

export interface RedisInstance extends AsyncDisposable {
  readonly redis: OpenRedis;
  readonly log: KeptLog;
}

export interface RedisPlace {
  readonly url: string;
  readonly sentinelPassword?: string;
  /** Of the leader's lease: a call about leases takes at most a fifth of it. Milliseconds. */
  readonly leaseTtlMs?: number;
}

/** Opened and connected, to each master where there are several. */
export async function instance(instanceId: string, place: RedisPlace): Promise<RedisInstance> {
  const opened = await openInstance(instanceId, place);
  await until(() => Promise.resolve(isWhole(opened)), "it is connected").catch(async (error) => {
    await opened[Symbol.asyncDispose]();
    throw error;
  });
  return opened;
}

/** Opened, connected or not. */
export async function openInstance(instanceId: string, place: RedisPlace): Promise<RedisInstance> {
  const { url, sentinelPassword = null, leaseTtlMs = 5000 } = place;
  const log = new KeptLog();
  const redis = await openRedis({
    url,
    sentinel: { user: null, password: sentinelPassword },
    storeId: STORE,
    instanceId,
    clock: systemClock,
    log,
    leaseTtlMs,
    lifetimeMs: 60_000,
  });
  return { redis, log, [Symbol.asyncDispose]: () => redis.close() };
}

/** The changes between connected and away that it has logged, in order. */
export function changesOf({ log }: RedisInstance): readonly string[] {
  return log.lines.map(({ message }) => message).filter((message) => /^(Redis is|A master) /.test(message));
}

/** Whether it is connected to all that it needs now, as it says itself. */
export function isWhole(one: RedisInstance): boolean {
  return one.redis.state().connected && changesOf(one).at(-1) === "Redis is connected";
}

export function jobChanged(jobId: string): LiveEvent {
  return { type: "jobChanged", jobId, at: 1 };
}

/** A worker with one running attempt. */
export function worker(instanceId: string): Omit<WorkerInstance, "lastSeenAt"> {
  return {
    workerId: "pool",
    instanceId,
    hostName: "host",
    version: "1",
    startedAt: 1,
    maxParallelJobs: 4,
    jobTypes: [{
      name: "SampleJob",
      description: "",
      schema: null,
      routingPattern: "sample.*",
      maxParallelJobs: 4,
      threads: 4,
      isolation: "lane",
      executionTimeoutSeconds: null,
      maxRetries: 3,
      baseRetryDelaySeconds: 1,
      lanesBusy: 0,
      lanesFree: 4,
    }],
    running: [{ occurrenceId: "o", scheduledFor: 5, token: 1 }],
    reportsHeldBack: 0,
    load: null,
    isStopping: false,
  };
}
