/** One look at the running installation: counters as they stand, and what servers and workers say now. */
import type { Clock } from "../../actors/ports/clock.ts";
import type { WorkerInstance } from "../../actors/ports/presence.ts";
import type { QueueDepth } from "../../actors/ports/queue.ts";
import type { CopyState } from "../../actors/ports/reads.ts";
import type { StatusCounts } from "../../actors/ports/store.ts";
import type { Distribution, MeterReader } from "../metrics.ts";
import type { PostgresLoad, StatementTotals } from "../postgres/server_load.ts";
import type { RedisServerLoad } from "../redis/server_load.ts";
import { type ProcessorTimes, processorTimes } from "./processors.ts";

/** What the servers of a cluster say of themselves. */
export interface ServerLoads {
  readonly postgres: () => Promise<PostgresLoad>;
  /** Null where the server does not count statements. */
  readonly statementTotals: () => Promise<readonly StatementTotals[] | null>;
  readonly statementTexts: (ids: readonly string[]) => Promise<ReadonlyMap<string, string>>;
  readonly redis: () => Promise<readonly RedisServerLoad[]>;
}

/** What is looked at. */
export interface Surveyed {
  readonly clock: Pick<Clock, "mono">;
  readonly reader: MeterReader;
  readonly counts: () => Promise<StatusCounts>;
  readonly depths: () => Promise<readonly QueueDepth[]>;
  readonly workers: () => Promise<readonly WorkerInstance[]>;
  readonly copies: () => readonly CopyState[];
  /** Null where the store is embedded. */
  readonly servers: ServerLoads | null;
}

/** Counters are those since the start; null is what could not be asked. */
export interface Look {
  /** Monotonic milliseconds. */
  readonly at: number;
  readonly processors: ProcessorTimes;
  readonly requests: ReadonlyMap<string, number>;
  /** Seconds that answering them took. */
  readonly requestSeconds: ReadonlyMap<string, number>;
  readonly eventLoop: Distribution;
  readonly sync: Distribution;
  readonly statements: Distribution;
  readonly redisCalls: Distribution;
  readonly created: number | null;
  readonly completed: number | null;
  readonly depths: readonly QueueDepth[] | null;
  readonly workers: readonly WorkerInstance[] | null;
  readonly postgres: PostgresLoad | null;
  readonly statementTotals: readonly StatementTotals[] | null;
  readonly redis: readonly RedisServerLoad[] | null;
}

/** Never rejects. */
export async function look(surveyed: Surveyed): Promise<Look> {
  const { clock, reader, servers } = surveyed;
  const orNull = <T>(asked: Promise<T>): Promise<T | null> => asked.catch(() => null);
  const [counts, workers, postgres, statementTotals, redis] = await Promise.all([
    orNull(surveyed.counts()),
    orNull(surveyed.workers()),
    servers === null ? null : orNull(servers.postgres()),
    servers === null ? null : orNull(servers.statementTotals()),
    servers === null ? null : orNull(servers.redis()),
  ]);
  // The queues are those of the types that workers were heard of to offer.
  const depths = await orNull(surveyed.depths());
  return {
    at: clock.mono(),
    processors: processorTimes(),
    requests: reader.counter("http_requests_total"),
    requestSeconds: reader.counter("http_request_seconds_total"),
    eventLoop: reader.distribution("event_loop_delay_seconds"),
    sync: reader.distribution("store_sync_seconds"),
    statements: reader.distribution("postgres_statement_seconds"),
    redisCalls: reader.distribution("redis_call_seconds"),
    created: counts === null ? null : Object.values(counts.byStatus).reduce((sum, one) => sum + one, 0),
    completed: counts?.byStatus.Completed ?? null,
    depths,
    workers,
    postgres,
    statementTotals,
    redis,
  };
}
