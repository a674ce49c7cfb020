/** Rules about the servers: Redis, PostgreSQL, and the disk of the embedded store. */
import type {
  Evidence,
  Latency,
  PostgresEvidence,
  RedisEvidence,
  StoreEvidence,
} from "./bottleneck_evidence.ts";
import { type Bottleneck, percent, type Proof, proof, rounded, severityOf } from "./bottleneck_finding.ts";
import { latencyOfServer, type Observer, observerOf } from "./bottleneck_observer.ts";
import { slowStatements, STATEMENTS_NOT_COUNTED } from "./bottleneck_statements.ts";

/** 99 of 100 calls; a server on the same network answers within one or two. */
export const REDIS_CALL_MS = { warning: 20, critical: 100 };
/** Part of the one processor that Redis has for commands. */
export const ZSET_SHARE = { warning: 0.3, critical: 0.6 };
/** Above, sorted sets are a likely cause of late answers. */
export const ZSET_LIKELY_SHARE = 0.1;
export const REDIS_MEMORY = { warning: 0.8, critical: 0.95 };
/** 99 of 100 statements; each looks up rows by an index, and takes a few milliseconds with its commit. */
export const STATEMENT_MS = { warning: 100, critical: 500 };
/** Sessions at work at once or waiting for the disk, on average: as many as a medium database server of the guide has processors. */
export const WORKING_SESSIONS = { warning: 4, critical: 8 };
/** Rows a second from which on inserts are a likely cause. */
export const INSERTS_PER_SECOND = 500;
/** Sessions that wait for a lock, on average, from which on locks are the cause. */
export const WAITING_SESSIONS = 0.5;
export const CONNECTIONS_SHARE = { warning: 0.8, critical: 0.95 };
/** Statements among the proofs. */
const STATEMENTS_NAMED = 3;
export const REPLICA_LAG_SECONDS = { warning: 10, critical: 60 };
/** 99 of 100 syncs of the embedded store; an SSD takes a few milliseconds. */
export const SYNC_MS = { warning: 100, critical: 500 };

export function serverRules(evidence: Evidence): readonly Bottleneck[] {
  const { redis, postgres, store } = evidence;
  const observer = observerOf(evidence);
  return [
    ...(redis === null ? [] : redisRules(redis, observer)),
    ...(postgres === null ? [] : postgresRules(postgres, observer, store)),
    ...(store === null || store.sync === null ? [] : slowSync(store.sync, observer)),
  ];
}

/** Null when it is not too much, or this process is as late itself. */
function tooLate(
  latency: Latency,
  observer: Observer,
  limits: { readonly warning: number; readonly critical: number },
) {
  const ms = latencyOfServer(latency, observer);
  return ms === null ? null : severityOf(ms, limits);
}

/** The guide: Redis high latency ← too many ZSET operations → Redis Cluster. */
function redisRules({ call, servers }: RedisEvidence, observer: Observer): readonly Bottleneck[] {
  const found: Bottleneck[] = [];
  const busiest = servers.toSorted((a, b) => b.zsetShare - a.zsetShare)[0];
  const zsetProof: readonly Proof[] = busiest === undefined ? [] : [
    proof("zsetPerSecond", busiest.zsetPerSecond, "1/s"),
    proof("zsetMicrosPerCall", busiest.zsetMicrosPerCall, "µs"),
    proof("zsetShare", busiest.zsetShare, "processors", ZSET_SHARE.warning),
    proof("commandsPerSecond", busiest.commandsPerSecond, "1/s"),
    proof("usedMemory", busiest.usedBytes, "bytes", busiest.maxBytes),
    proof("clients", busiest.clients, "connections", busiest.maxClients),
  ];
  const spread = servers.length > 1
    ? [
      "Add masters: redis-cli --cluster add-node <new> <node>, then --cluster rebalance; more parts of the due index: " +
      "MilvaionConfig.Redis.DueIndexPartitions (the same on all instances).",
    ]
    : [
      "Move to a Redis Cluster, which spreads the due index over its masters: REDIS_URL=redis+cluster://host,host,host " +
      "and MilvaionConfig.Redis.DueIndexPartitions 0 (infra/redis/README.md).",
    ];
  const areSets = busiest !== undefined && busiest.zsetShare >= ZSET_LIKELY_SHARE;
  // A server that says itself what it is busy with is believed, whatever the observer lacks.
  const late = tooLate(call, { ...observer, wasStarved: observer.wasStarved && !areSets }, REDIS_CALL_MS);
  if (late !== null) {
    found.push({
      code: "redis-latency",
      severity: late,
      place: busiest?.place ?? "Redis",
      symptom: `Redis high latency: 1 of 100 calls takes ${rounded(call.p99Ms)} ms or more.`,
      proof: [
        proof("callP99", call.p99Ms, "ms", REDIS_CALL_MS.warning),
        proof("callP50", call.p50Ms, "ms"),
        proof("calls", call.count, "calls"),
        ...zsetProof,
      ],
      cause: areSets
        ? `Too many ZSET operations: they take ${
          percent(busiest.zsetShare)
        } of the processor of ${busiest.place}.`
        : "Not the sorted sets, which take little: the way to the server, another client's slow command, or a " +
          "machine without a free processor.",
      changes: [
        ...(areSets
          ? spread
          : ["redis-cli slowlog get 10 names slow commands; redis-cli --latency measures the way."]),
        ...(areSets ? [] : spread),
      ],
    });
  }
  for (const server of servers) {
    const sets = severityOf(server.zsetShare, ZSET_SHARE);
    if (sets !== null) {
      found.push({
        code: "redis-zset",
        severity: sets,
        place: server.place,
        symptom: `ZSET operations take ${percent(server.zsetShare)} of the one processor that Redis has.`,
        proof: [proof("zsetShare", server.zsetShare, "processors", ZSET_SHARE.warning), ...zsetProof],
        cause: "Too many ZSET operations: due index and presence, or another program on the same server.",
        changes: spread,
      });
    }
    const memory = server.maxBytes === null
      ? null
      : severityOf(server.usedBytes / server.maxBytes, REDIS_MEMORY);
    if (memory !== null && server.maxBytes !== null) {
      found.push({
        code: "redis-memory",
        severity: memory,
        place: server.place,
        symptom: `Redis is full to ${percent(server.usedBytes / server.maxBytes)}.`,
        proof: [proof("usedMemory", server.usedBytes, "bytes", server.maxBytes)],
        cause: "More scheduled jobs, or other programs' keys, than maxmemory has room for.",
        changes: ["redis-cli config set maxmemory 4gb, and the same in redis.conf.", ...spread],
      });
    }
  }
  return found;
}

/** The guide: PostgreSQL high CPU ← too many occurrence inserts → read replicas, partitioning. */
function postgresRules(
  postgres: PostgresEvidence,
  observer: Observer,
  store: StoreEvidence | null,
): readonly Bottleneck[] {
  const { statement, working, waitingForLocks, waitingForDisk, connections, maxConnections } = postgres;
  const found: Bottleneck[] = [];
  // As with Redis: sessions that wait for a lock or the disk are the server's own word.
  const isTold = waitingForLocks >= WAITING_SESSIONS || waitingForDisk >= WAITING_SESSIONS;
  const late = tooLate(statement, { ...observer, wasStarved: observer.wasStarved && !isTold }, STATEMENT_MS);
  const busy = working + waitingForDisk;
  const loaded = severityOf(busy, WORKING_SESSIONS);
  const shared: readonly Proof[] = [
    proof("insertedPerSecond", postgres.insertedPerSecond, "rows/s", INSERTS_PER_SECOND),
    proof("occurrencesPerSecond", store?.createdPerSecond ?? 0, "1/s"),
    proof("statementP99", statement.p99Ms, "ms", STATEMENT_MS.warning),
    proof("statementP50", statement.p50Ms, "ms"),
    proof("sessionsAtWork", busy, "sessions", WORKING_SESSIONS.warning),
    proof("sessionsOnProcessors", working, "sessions"),
    proof("sessionsWaitingForLocks", waitingForLocks, "sessions", WAITING_SESSIONS),
    proof("sessionsWaitingForDisk", waitingForDisk, "sessions"),
    ...(postgres.slowStatements ?? []).slice(0, STATEMENTS_NAMED).map(({ text, meanMs }) =>
      proof(text, meanMs, "ms on average")
    ),
  ];
  const why = causeOf(postgres);
  if (loaded !== null) {
    found.push({
      code: "postgres-load",
      severity: loaded,
      place: "PostgreSQL",
      symptom: `PostgreSQL high CPU: ${rounded(busy)} sessions are at work at once, ${
        rounded(working)
      } of them on a processor or in line for one, ${rounded(waitingForDisk)} wait for its disk.`,
      proof: shared,
      ...why,
    });
  } else if (late !== null) {
    found.push({
      code: "postgres-latency",
      severity: late,
      place: "PostgreSQL",
      symptom: `PostgreSQL is slow: 1 of 100 statements takes ${rounded(statement.p99Ms)} ms or more.`,
      proof: shared,
      ...why,
    });
  }
  const crowded = maxConnections === 0 ? null : severityOf(connections / maxConnections, CONNECTIONS_SHARE);
  if (crowded !== null) {
    found.push({
      code: "postgres-connections",
      severity: crowded,
      place: "PostgreSQL",
      symptom: `${connections} of ${maxConnections} connections to PostgreSQL are in use.`,
      proof: [proof("connections", connections, "connections", maxConnections)],
      cause: "More API instances and workers than max_connections was made for, or another program.",
      changes: [
        `ALTER SYSTEM SET max_connections = ${
          Math.ceil(maxConnections * 2 / 100) * 100
        }, then restart PostgreSQL ` +
        "(the guide: workers × 2); or lower MilvaionConfig.Postgres.MaxConnections of the API instances.",
        "Let workers claim over RabbitMQ: start them without DATABASE_URL.",
      ],
    });
  }
  return [...found, ...slowStatements(postgres), ...postgres.replicas.flatMap(lagging)];
}

function causeOf(postgres: PostgresEvidence): Pick<Bottleneck, "cause" | "changes"> {
  const { insertedPerSecond, waitingForLocks, waitingForDisk, replicas, slowStatements: costly } = postgres;
  const readReplica = replicas.length === 0
    ? ["Read from a replica: DATABASE_READ_URLS=postgres://…; lists and dashboards leave the primary."]
    : [];
  const [slowest] = costly ?? [];
  const named = slowest === undefined
    ? costly === null ? [`Slow statements: ${STATEMENTS_NOT_COUNTED}`] : []
    : [`The costliest statement takes ${rounded(slowest.meanMs)} ms on average: EXPLAIN (ANALYZE) it.`];
  if (waitingForLocks >= WAITING_SESSIONS) {
    return {
      cause: `Sessions wait for locks, ${
        rounded(waitingForLocks)
      } on average: somebody holds rows or tables for long.`,
      changes: [
        "SELECT pid, application_name, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE wait_event_type = " +
        "'Lock'; end who blocks with pg_terminate_backend(pid).",
      ],
    };
  }
  if (insertedPerSecond >= INSERTS_PER_SECOND) {
    return {
      cause: `Too many inserts: ${rounded(insertedPerSecond)} rows a second.`,
      changes: [
        ...readReplica,
        "Keep less: MilvaionConfig.Retention.CompletedDays and LineDays; history is partitioned by day, and whole days " +
        "are dropped.",
        "Larger transactions: MilvaionConfig.JobDispatcher.BatchSize.",
        ...named,
      ],
    };
  }
  if (waitingForDisk >= WAITING_SESSIONS) {
    return {
      cause: `Sessions wait for the disk, ${rounded(waitingForDisk)} on average.`,
      changes: [
        "Faster storage, or a disk of its own for pg_wal; more shared_buffers.",
        ...readReplica,
        ...named,
      ],
    };
  }
  return {
    cause: "Neither inserts nor locks: the way to the server, reads, or a machine without a free processor.",
    changes: [
      ...named,
      ...readReplica,
      "More processors for PostgreSQL: the guide's table has 4 for medium, 8 for large.",
    ],
  };
}

function lagging({ name, lagSeconds }: PostgresEvidence["replicas"][number]): readonly Bottleneck[] {
  const severity = lagSeconds === null ? null : severityOf(lagSeconds, REPLICA_LAG_SECONDS);
  if (severity === null || lagSeconds === null) return [];
  return [{
    code: "replica-lag",
    severity,
    place: name,
    symptom: `The replica ${name} lags by ${rounded(lagSeconds)} s.`,
    proof: [proof("lag", lagSeconds, "s", REPLICA_LAG_SECONDS.warning)],
    cause: "It replays slower than the primary writes, or its replay is paused.",
    changes: [
      "On the replica: SELECT pg_wal_replay_resume(); on the primary: SELECT * FROM pg_stat_replication.",
      "Until it is near, lists are read from the primary by themselves.",
    ],
  }];
}

function slowSync(sync: Latency, observer: Observer): readonly Bottleneck[] {
  const severity = tooLate(sync, observer, SYNC_MS);
  if (severity === null) return [];
  return [{
    code: "store-sync",
    severity,
    place: "embedded store",
    symptom: `The disk is slow: 1 of 100 syncs of the store takes ${rounded(sync.p99Ms)} ms or more.`,
    proof: [
      proof("syncP99", sync.p99Ms, "ms", SYNC_MS.warning),
      proof("syncP50", sync.p50Ms, "ms"),
      proof("syncs", sync.count, "syncs"),
    ],
    cause: "Everything that is written waits for the disk, and other programs may use it as well.",
    changes: [
      "Put the data folder on an SSD of this machine: MILVAION_DATA_DIR, and no network storage.",
      "Move to PostgreSQL: milvaion migrate --from ./milvaion-data.",
    ],
  }];
}
