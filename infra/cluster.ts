/**
 * The adapters of a cluster: PostgreSQL keeps the truth, RabbitMQ carries jobs and reports, Redis holds the due
 * index, the leader's lock, presence and live events.
 *
 * An instance with a database reads the store's id and the cluster's time from it; a worker without one learns both
 * over RabbitMQ from any API instance, and claims the same way. Redis and RabbitMQ may be away at the start and at any
 * later time: their calls fail until they are back.
 */
import type { Results } from "../actors/ports/attempts.ts";
import type { Clock, Random } from "../actors/ports/clock.ts";
import type { DueIndex } from "../actors/ports/due_index.ts";
import type { Leases } from "../actors/ports/leases.ts";
import type { Log } from "../actors/ports/log.ts";
import type { Meter } from "../actors/ports/meter.ts";
import type { ReportQueue } from "../actors/ports/queue.ts";
import type { Store } from "../actors/ports/store.ts";
import type { WorkerAdapters } from "./adapters.ts";
import { awaitServer, placeOf } from "./await_server.ts";
import { ClusterClock } from "./cluster_clock.ts";
import type { Config } from "./config_schema.ts";
import type { ClusterUrls } from "./mode.ts";
import type { ServerLoads } from "./evidence/look.ts";
import { Outbox } from "./outbox/outbox.ts";
import { OutboxFolder, outboxPath } from "./outbox/outbox_folder.ts";
import {
  API_APPLICATION,
  applicationName,
  CONNECTIONS_A_WORKER,
  WORKER_APPLICATION,
} from "./postgres/application_name.ts";
import { openPostgresAttempts, openPostgresStore } from "./postgres/store.ts";
import { PostgresError } from "./postgres/fault.ts";
import { openRabbit, type Rabbit } from "./rabbitmq/rabbit.ts";
import { partitionsOf, sentinelCredentials } from "./redis_settings.ts";
import { describeRedis, parseRedisUrl } from "./redis/address.ts";
import { type OpenRedis, openRedis } from "./redis/redis.ts";
import { ResultStore } from "./result_store.ts";

export { ServerError } from "./await_server.ts";

/** Announcements of presence hold for this many heartbeats. */
const HEARTBEATS_LIVED = 3;

/** Outboxes of neighbours that have died are looked for so often, or each third of a lease. */
const LOOK_FOR_ORPHANS_MS = 5000;

/** A server that this instance stands on. */
export interface ServerState {
  readonly name: "PostgreSQL" | "Redis" | "RabbitMQ";
  readonly isConnected: boolean;
}

export interface ClusterAdapters extends WorkerAdapters {
  /** The time that all instances share. */
  readonly clock: ClusterClock;
  /** What only an API instance has. */
  readonly api: {
    readonly store: Store;
    readonly dueIndex: DueIndex;
    readonly leases: Leases;
    readonly loads: ServerLoads;
  } | null;
  readonly servers: () => readonly ServerState[];
  /** Sends what waits, then ends all connections. */
  readonly close: () => Promise<void>;
}

export interface ClusterOptions {
  readonly urls: ClusterUrls;
  readonly config: Config;
  readonly role: "run" | "api" | "worker";
  /** Unique for each start of the process. */
  readonly instanceId: string;
  /** The routing pattern of a type, as its workers say. */
  readonly patternOf: (jobType: string) => string;
  /** The types that workers were heard of to offer, whose queues are looked at for their depth. */
  readonly knownTypes: () => readonly KnownType[];
  /** Told whom the start waits for, and null when that is over. */
  readonly waitsFor: (server: string | null) => void;
  /** Aborted when the program is told to stop. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
}

interface KnownType {
  readonly jobType: string;
  readonly routingPattern: string;
  readonly pools: readonly string[];
}

/** Opens the connections of an instance. Throws ServerError with a sentence, or the signal's reason. */
export async function openCluster(options: ClusterOptions): Promise<ClusterAdapters> {
  const clock = new ClusterClock(options.clock, options.log);
  return options.role === "worker" ? await openWorker(options, clock) : await openApi(options, clock);
}

async function openApi(options: ClusterOptions, clock: ClusterClock): Promise<ClusterAdapters> {
  const { urls, log, random } = options;
  const opened = await awaitPostgres(
    options,
    (url) =>
      openPostgresStore({
        ...postgresOptions(options, url),
        clock,
        random,
        migrate: true,
        replicas: replicasOf(options),
      }),
  );
  const { store, attempts } = opened;
  await clock.follow(opened.databaseTime);
  const [redis, rabbit] = await Promise.all([
    openRedisFor(options, clock, store.storeId),
    openRabbitFor(options, clock, store.storeId),
  ]);
  const serving = rabbit.serveAttempts(attempts);
  const outbox = options.role === "api" ? null : openOutbox(options, rabbit, store.storeId);
  return {
    ...common(rabbit, redis),
    ...(outbox === null ? {} : { reports: resultStore(options, outbox, opened.attempts) }),
    attempts,
    clock,
    api: {
      store,
      dueIndex: redis.dueIndex,
      leases: redis.leases,
      loads: {
        postgres: () => opened.load(),
        statementTotals: () => opened.statementTotals(),
        statementTexts: (ids) => opened.statementTexts(ids),
        redis: () => redis.load(),
      },
    },
    description: `PostgreSQL ${opened.name}, Redis ${describeRedis(parseRedisUrl(urls.redis))}, RabbitMQ ${
      placeOf(urls.amqp, 5672)
    }`,
    close: async () => {
      clock.stop();
      await serving.stop();
      await outbox?.close();
      await Promise.all([rabbit.close(), redis.close()]);
      await store.close();
      log.debug("Connections closed");
    },
  };
}

/** Without a database of its own it needs an API instance to be there at its start. */
async function openWorker(options: ClusterOptions, clock: ClusterClock): Promise<ClusterAdapters> {
  const { urls } = options;
  if (urls.database === null) return await openWithoutDatabase(options, clock);
  const opened = await awaitPostgres(
    options,
    (url) => openPostgresAttempts({ ...postgresOptions(options, url), clock }),
  );
  await clock.follow(opened.databaseTime);
  const [redis, rabbit] = await Promise.all([
    openRedisFor(options, clock, opened.storeId),
    openRabbitFor(options, clock, opened.storeId),
  ]);
  const outbox = openOutbox(options, rabbit, opened.storeId);
  return {
    ...common(rabbit, redis),
    reports: resultStore(options, outbox, opened.attempts),
    attempts: opened.attempts,
    clock,
    api: null,
    description: `claims from PostgreSQL ${opened.name}`,
    close: async () => {
      clock.stop();
      await outbox.close();
      await Promise.all([rabbit.close(), redis.close()]);
      await opened.close();
    },
  };
}

async function openWithoutDatabase(options: ClusterOptions, clock: ClusterClock): Promise<ClusterAdapters> {
  const place = placeOf(options.urls.amqp, 5672);
  const rabbit = await openRabbitFor(options, clock, null);
  const attempts = rabbit.attempts();
  try {
    const { storeId } = await awaitServer({
      ...options,
      name: `an API instance behind RabbitMQ (${place})`,
      open: () => attempts.hello(),
      isFinal: () => false,
    });
    await clock.follow(async () => (await attempts.hello()).now);
    const redis = await openRedisFor(options, clock, storeId);
    const outbox = openOutbox(options, rabbit, storeId);
    return {
      ...common(rabbit, redis),
      reports: outbox,
      attempts,
      clock,
      api: null,
      description: `claims over RabbitMQ ${place}`,
      close: async () => {
        clock.stop();
        await outbox.close();
        await Promise.all([rabbit.close(), redis.close()]);
      },
    };
  } catch (error) {
    await rabbit.close();
    throw error;
  }
}

function common(rabbit: Rabbit, redis: OpenRedis) {
  return {
    queue: rabbit.queue,
    reports: rabbit.reports,
    presence: redis.presence,
    events: redis.events,
    soleProcess: false,
    servers: (): readonly ServerState[] => [
      { name: "RabbitMQ", isConnected: rabbit.state().connected },
      { name: "Redis", isConnected: redis.state().connected },
    ],
  };
}

/** Bytes of UTF-8 up to which job data and results travel in messages. */
function inlineBytesOf({ config }: ClusterOptions): number {
  return config.MilvaionConfig.RabbitMQ.InlinePayloadKiB * 1024;
}

function resultStore(options: ClusterOptions, reports: ReportQueue, results: Results): ResultStore {
  return new ResultStore({ reports, results, inlineBytes: inlineBytesOf(options), log: options.log });
}

/** Of an instance that runs jobs. */
function openOutbox(options: ClusterOptions, rabbit: Rabbit, storeId: string): Outbox {
  const { config, instanceId, clock, log, meter } = options;
  return new Outbox({
    wire: rabbit.reports,
    folder: new OutboxFolder(outboxPath(config), log),
    origin: { storeId, instanceId, madeAt: clock.now() },
    lookEachMs: Math.min(LOOK_FOR_ORPHANS_MS, config.Worker.LeaseSeconds * 1000 / 3),
    clock,
    log,
    meter,
  });
}

function awaitPostgres<T>(options: ClusterOptions, open: (url: string) => Promise<T>): Promise<T> {
  const url = options.urls.database ?? "";
  return awaitServer({
    ...options,
    name: `PostgreSQL (${placeOf(url, 5432)})`,
    open: () => open(url),
    // A worker may start before the first API instance has made the schema.
    isFinal: (error) =>
      error instanceof PostgresError && error.code !== "unreachable" &&
      !(options.role === "worker" && error.code === "schema_version"),
  });
}

function postgresOptions({ config, role, instanceId, log, meter }: ClusterOptions, url: string) {
  const { MaxConnections, PreparedStatements } = config.MilvaionConfig.Postgres;
  const isWorker = role === "worker";
  return {
    url,
    maxConnections: isWorker ? CONNECTIONS_A_WORKER : MaxConnections,
    applicationName: applicationName(isWorker ? WORKER_APPLICATION : API_APPLICATION, instanceId),
    prepare: PreparedStatements,
    meter,
    log,
  };
}

function replicasOf({ config }: ClusterOptions) {
  const { ReadUrls, MaxReplicaLagSeconds } = config.MilvaionConfig.Postgres;
  return { urls: ReadUrls, maxLagSeconds: MaxReplicaLagSeconds };
}

function openRedisFor(options: ClusterOptions, clock: Clock, storeId: string): Promise<OpenRedis> {
  const { Redis, JobDispatcher } = options.config.MilvaionConfig;
  return openRedis({
    url: options.urls.redis,
    sentinel: sentinelCredentials(options.config),
    prefix: Redis.KeyPrefix,
    partitions: partitionsOf(options.config),
    storeId,
    instanceId: options.instanceId,
    leaseTtlMs: JobDispatcher.LockTtlSeconds * 1000,
    lifetimeMs: HEARTBEATS_LIVED * options.config.Worker.Heartbeat.IntervalSeconds * 1000,
    clock,
    log: options.log,
    meter: options.meter,
  });
}

function openRabbitFor(options: ClusterOptions, clock: Clock, storeId: string | null): Promise<Rabbit> {
  const { instanceId, patternOf, knownTypes, random, log } = options;
  return openRabbit({
    url: options.urls.amqp,
    role: options.role === "run" ? "both" : options.role,
    queueType: options.config.MilvaionConfig.RabbitMQ.QueueType,
    inlineBytes: inlineBytesOf(options),
    storeId,
    instanceId,
    patternOf,
    knownTypes,
    clock,
    random,
    log,
  });
}
