/** Opens the adapters of RabbitMQ and closes them. Publishing and consuming have a connection each. */
import { defaultRoutingPattern } from "../../actors/domain/job_type.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Attempts } from "../../actors/ports/attempts.ts";
import type { Clock, Random } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import { type Hello, RabbitAttempts } from "./attempts.ts";
import { AttemptsServers } from "./attempts_server.ts";
import { nodesOf } from "../node_addresses.ts";
import { Identity } from "./identity.ts";
import { type KnownType, RabbitQueue } from "./job_queue.ts";
import { Link } from "./link.ts";
import { Parking } from "./parking.ts";
import { Publisher } from "./publisher.ts";
import { RabbitReportQueue } from "./report_queue.ts";
import { type QueueType, Topology } from "./topology.ts";

export interface RabbitOptions {
  /** `amqp://user:password@host:port/vhost`, or `amqps:`; of a cluster several hosts (see `node_addresses.ts`). */
  readonly url: string;
  /** Put before every name of an exchange or queue; none by default. */
  readonly prefix?: string;
  /** Null for a worker that learns it with `hello`. */
  readonly storeId: string | null;
  readonly instanceId: string;
  readonly queueType?: QueueType;
  /** api: hears of new queues. worker: consumes jobs. One process may be both. */
  readonly role: "api" | "worker" | "both";
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The routing pattern of a type, as its workers announce it; its default when nobody does. */
  readonly patternOf?: (jobType: string) => string;
  /** The types whose queues `depth` asks for. */
  readonly knownTypes?: () => readonly KnownType[];
  /** W3C trace context that travels in the header `traceparent`. */
  readonly traceparent?: (message: JobMessage) => string | null;
  /** Job data of more bytes stays in the store, and the claim brings it; 16 KiB when absent. */
  readonly inlineBytes?: number;
  /** Milliseconds; less than the broker's `consumer_timeout`, which is 30 minutes unless somebody changed it. */
  readonly ackEarlyAfterMs?: number;
  /** Job messages under way unconfirmed; beyond it the answer is `full`. */
  readonly unconfirmedAtMost?: number;
  /** How often an API instance tests whether it hears of new queues, milliseconds; 5 s when absent. */
  readonly testEarEachMs?: number;
}

/** For metrics, health and doctor. */
export interface RabbitState {
  readonly connected: boolean;
  /** Why not connected, or null. */
  readonly error: string | null;
  /** The broker's reason for taking no messages, or null. */
  readonly blocked: string | null;
  /** Job messages under way unconfirmed. */
  readonly unconfirmed: number;
  /** Messages this process has parked. */
  readonly parked: number;
}

export interface Rabbit {
  readonly queue: RabbitQueue;
  readonly reports: RabbitReportQueue;
  /** For workers without a database. Calls reject while no API instance serves. */
  attempts(): Attempts & { hello(): Promise<Hello> };
  /** For API instances: answers workers without a database. */
  serveAttempts(attempts: Attempts): { stop(): Promise<void> };
  state(): RabbitState;
  /** Messages in the parking queue; null when there is no such queue. */
  parked(): Promise<number | null>;
  /** Settles when everything is connected and declared; rejects when it is not now. It goes on trying either way. */
  whenUp(): Promise<void>;
  /** Waits up to 2 s for what is unconfirmed. */
  close(): Promise<void>;
}

const INLINE_BYTES = 16 * 1024;
const EARLY_MS = 10 * 60_000;
const UNCONFIRMED = 20_000;
const FLUSH_MS = 2000;
const TEST_EAR_EACH_MS = 5000;

/**
 * Settles after the first try to connect, whether it succeeded or not: a broker that is away is waited for, and
 * calls reject meanwhile.
 */
export async function openRabbit(options: RabbitOptions): Promise<Rabbit> {
  const { clock, log, random, role } = options;
  const urls = beginningAnywhere(nodesOf(options.url), random);
  const topology = new Topology(options.prefix ?? "", options.queueType ?? "quorum");
  const identity = new Identity(options.storeId);
  const publishLink = new Link({ urls, name: "publish", clock, log });
  const consumeLink = new Link({ urls, name: "consume", clock, log });
  const shared = { publishLink, consumeLink, topology, identity, clock, log };

  const publisher = new Publisher({
    link: publishLink,
    act: "publish jobs",
    clock,
    log,
    bound: options.unconfirmedAtMost ?? UNCONFIRMED,
    setUp: (channel) => topology.declareParked(channel),
    onRoom: () => queue.room(),
  });
  const parking = new Parking({ publisher, topology, clock, log, instanceId: options.instanceId });
  const queue: RabbitQueue = new RabbitQueue({
    ...shared,
    publisher,
    parking,
    patternOf: options.patternOf ?? defaultRoutingPattern,
    knownTypes: options.knownTypes ?? (() => []),
    traceparent: options.traceparent ?? (() => null),
    inlineBytes: options.inlineBytes ?? INLINE_BYTES,
    ackEarlyAfterMs: options.ackEarlyAfterMs ?? EARLY_MS,
    listensToWorkers: role !== "worker",
    testEarEachMs: options.testEarEachMs ?? TEST_EAR_EACH_MS,
  });
  const reports = new RabbitReportQueue({ ...shared, parking });
  const clients: RabbitAttempts[] = [];
  const servers: AttemptsServers[] = [];
  await Promise.all([publishLink.open(), consumeLink.open()]);

  return {
    queue,
    reports,
    attempts: () => {
      const client = new RabbitAttempts({ ...options, ...shared, link: publishLink });
      clients.push(client);
      return client;
    },
    serveAttempts: (attempts) => {
      const server = new AttemptsServers({ ...shared, parking, link: consumeLink }, attempts);
      servers.push(server);
      return server;
    },
    state: () => ({
      connected: publishLink.model !== null && consumeLink.model !== null,
      error: publishLink.model === null
        ? publishLink.lastError
        : consumeLink.model === null
        ? consumeLink.lastError
        : null,
      blocked: publishLink.blockedReason,
      unconfirmed: publisher.unconfirmed,
      parked: parking.count,
    }),
    parked: () => queue.parked(),
    whenUp: async () => {
      await Promise.all([publisher.whenUp(), reports.whenUp(), queue.whenUp()]);
    },
    close: async () => {
      await Promise.all(servers.map((server) => server.stop()));
      await queue.close();
      await reports.close(FLUSH_MS);
      await Promise.all(clients.map((client) => client.close()));
      await publisher.close(FLUSH_MS);
      await Promise.all([publishLink.close(), consumeLink.close()]);
    },
  };
}

/** Instances begin at different nodes, so that the nodes share them. */
function beginningAnywhere(
  urls: readonly [string, ...string[]],
  random: Pick<Random, "next">,
): readonly [string, ...string[]] {
  const at = Math.floor(random.next() * urls.length);
  const [first = urls[0], ...rest] = [...urls.slice(at), ...urls.slice(0, at)];
  return [first, ...rest];
}
