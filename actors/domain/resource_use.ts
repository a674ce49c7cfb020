/**
 * What stands nearest to its limit: the first line of the guide's checklist, "identify the bottleneck (CPU, memory,
 * I/O, network)". Each figure is a part of a limit, so that they can be compared.
 */
import {
  CONNECTIONS_SHARE,
  REDIS_CALL_MS,
  STATEMENT_MS,
  SYNC_MS,
  WORKING_SESSIONS,
} from "./bottleneck_servers.ts";
import type { Evidence, Latency } from "./bottleneck_evidence.ts";
import { machineShares, observerOf } from "./bottleneck_observer.ts";
import { STATEMENTS_NOT_COUNTED } from "./bottleneck_statements.ts";

export const RESOURCES = ["cpu", "memory", "io", "network", "lanes", "connections"] as const;
export type Resource = (typeof RESOURCES)[number];

export interface ResourceUse {
  readonly resource: Resource;
  /** Whose: `this API instance`, a worker, a server. */
  readonly place: string;
  readonly used: number;
  readonly limit: number;
  readonly unit: string;
  /** `used` by `limit`. */
  readonly share: number;
  /** What the figure stands for, or lacks; null where it is what it says. */
  readonly note: string | null;
}

const POSTGRES_CPU_NOTE =
  "PostgreSQL's processor time is not to be had over SQL: these are sessions that are active and wait for nothing " +
  "(pg_stat_activity), against the processors of the guide's medium server; top on its machine tells more";
/** Of a figure that does not count: it stands behind those that do. */
export const UNPROVEN = "proves nothing: this instance waits for a processor itself before it sees an answer";

/** From this part of a limit on, it is the bottleneck: the next doubling does not fit. */
export const NEAR_LIMIT = 0.5;
export const AT_LIMIT = CONNECTIONS_SHARE.critical;

/** The nearest to its limit first; what an instance without a free processor measured comes last. */
export function resourceUses(evidence: Evidence): readonly ResourceUse[] {
  return [...uses(evidence)]
    .filter(({ limit }) => limit > 0)
    .map((one): ResourceUse => ({ note: null, ...one, share: one.used / one.limit }))
    .sort((a, b) => Number(a.note === UNPROVEN) - Number(b.note === UNPROVEN) || b.share - a.share);
}

type Use = Omit<ResourceUse, "share" | "note"> & Partial<Pick<ResourceUse, "note">>;

function* uses(evidence: Evidence): Generator<Use> {
  const { api, store, queues, workers, redis, postgres } = evidence;
  const seen = observerOf(evidence).isStarved ? UNPROVEN : null;
  for (const [hostName, share] of machineShares(evidence)) {
    yield { resource: "cpu", place: `machine ${hostName}`, used: share * 100, limit: 100, unit: "%" };
  }
  if (api !== null) {
    const place = `API instance ${api.instanceId}`;
    yield { resource: "cpu", place, used: api.cpuShare, limit: 1, unit: "processors" };
    if (api.memoryLimitBytes !== null) {
      yield { resource: "memory", place, used: api.rssBytes, limit: api.memoryLimitBytes, unit: "bytes" };
    }
  }
  for (const worker of workers) {
    const place = `worker ${worker.workerId} ${worker.instanceId}`;
    if (worker.cpu !== null) {
      const { used, processors } = worker.cpu;
      yield { resource: "cpu", place, used, limit: processors, unit: "processors" };
    }
    if (worker.memoryLimitBytes !== null) {
      yield {
        resource: "memory",
        place,
        used: worker.rssBytes,
        limit: worker.memoryLimitBytes,
        unit: "bytes",
      };
    }
  }
  for (const { jobType, pool, lanes, lanesBusy } of queues) {
    const place = pool === null ? jobType : `${jobType} in ${pool}`;
    yield { resource: "lanes", place, used: lanesBusy, limit: lanes, unit: "lanes" };
  }
  for (const server of redis?.servers ?? []) {
    const place = `Redis ${server.place}`;
    yield { resource: "cpu", place, used: server.cpuShare, limit: 1, unit: "processors" };
    if (server.maxBytes !== null) {
      yield { resource: "memory", place, used: server.usedBytes, limit: server.maxBytes, unit: "bytes" };
    }
    if (server.maxClients !== null) {
      yield {
        resource: "connections",
        place,
        used: server.clients,
        limit: server.maxClients,
        unit: "connections",
      };
    }
  }
  // Nobody tells how much a network carries; what it costs is the time of a call that does next to nothing.
  if (redis !== null) {
    yield* latency("network", "way to Redis", redis.call, REDIS_CALL_MS.warning, seen);
  }
  if (postgres !== null) {
    yield {
      resource: "cpu",
      place: "PostgreSQL",
      used: postgres.working,
      limit: WORKING_SESSIONS.warning,
      unit: "sessions on processors",
      note: POSTGRES_CPU_NOTE +
        (postgres.slowStatements === null
          ? `. Slow statements are not known: ${STATEMENTS_NOT_COUNTED}`
          : ""),
    };
    yield* latency("io", "PostgreSQL", postgres.statement, STATEMENT_MS.warning, seen);
    const { connections: used, maxConnections: limit } = postgres;
    yield { resource: "connections", place: "PostgreSQL", used, limit, unit: "connections" };
  }
  if (store !== null && store.sync !== null) {
    yield* latency("io", "disk of the store", store.sync, SYNC_MS.warning, seen);
  }
}

/** The median: one slow call in a hundred is no limit. */
function* latency(
  resource: Resource,
  place: string,
  { count, p50Ms }: Latency,
  limit: number,
  note: string | null,
): Generator<Use> {
  if (count > 0) yield { resource, place, used: p50Ms, limit, unit: "ms", note };
}
