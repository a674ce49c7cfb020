/**
 * Redis, opened: due index, leases, presence and live events of one instance, over three ways.
 *
 *   commands        due index, presence, publishing     2 s a call
 *   leases          the leader's lock                   a fifth of the lease, 1 s at most
 *   subscriptions   what other instances publish        2 s a call
 *
 * Each is one connection, to a server or to the one that Sentinel names; on a Redis Cluster the first two are one
 * connection to each master, and the last one leads to any of them. All three are there or Redis counts as away; a
 * cluster of which a master is away is there, without the keys on that master. Nothing here is the truth: with Redis gone the leader works on from
 * the store, workers renew their leases there, and live events reach the clients of the same instance only.
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { DueIndex } from "../../actors/ports/due_index.ts";
import type { Events } from "../../actors/ports/events.ts";
import type { Leases } from "../../actors/ports/leases.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Meter } from "../../actors/ports/meter.ts";
import type { Presence } from "../../actors/ports/presence.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { parseRedisUrl } from "./address.ts";
import { RedisCluster } from "./cluster.ts";
import { RedisConnection, type SentinelCredentials } from "./connection.ts";
import { RedisDueIndex } from "./due_index.ts";
import { RedisEvents } from "./events.ts";
import { guideTo } from "./guide.ts";
import { RedisKeys } from "./keys.ts";
import { RedisLeases } from "./leases.ts";
import type { RedisLink } from "./link.ts";
import { RedisPresence } from "./presence.ts";
import { readServerLoads, type RedisServerLoad } from "./server_load.ts";
import { RedisSentinels } from "./sentinels.ts";
import { watch } from "./watch.ts";

export const DEFAULT_KEY_PREFIX = "Milvaion:JobScheduler:";

export interface RedisOptions {
  /** One server, a Redis Cluster, or Sentinel: see `address.ts`. */
  readonly url: string;
  readonly sentinel?: SentinelCredentials | undefined;
  /** `MilvaionConfig.Redis.KeyPrefix`; holds no braces. */
  readonly prefix?: string;
  /** The store's own id: keys and channels of other stores are never touched. */
  readonly storeId: string;
  /** Unique per process start. */
  readonly instanceId: string;
  /** Parts of the due index; the same on all instances. Default: 16 on a Redis Cluster, else 1. */
  readonly partitions?: number | undefined;
  /** A clock that all instances of the cluster share. */
  readonly clock: Clock;
  readonly log: Log;
  /** Length of the leader's lease, milliseconds: a call takes at most a fifth of it. */
  readonly leaseTtlMs?: number;
  /** How long an announcement of presence holds, milliseconds: three heartbeats. */
  readonly lifetimeMs: number;
  /** Told how long each call took, live events left out. */
  readonly meter?: Pick<Meter, "observe"> | undefined;
}

export interface OpenRedis {
  readonly dueIndex: DueIndex;
  readonly leases: Leases;
  readonly presence: Presence;
  readonly events: Events;
  /** `eventsDropped`: live events that other instances did not get because Redis was away or too slow. */
  state(): { readonly connected: boolean; readonly eventsDropped: number };
  /** Resolves when Redis answers within `deadlineMs`, else rejects. */
  ping(deadlineMs: number): Promise<void>;
  /** What each server says of its load. */
  load(): Promise<readonly RedisServerLoad[]>;
  /** Sends the events that wait, then ends the connections. Twice is fine. */
  close(): Promise<void>;
}

const COMMAND_MS = 2000;
const LEASE_COMMAND_AT_MOST_MS = 1000;
const DEFAULT_LEASE_TTL_MS = 15_000;
/** With so many, each of a few masters has a share. */
const CLUSTER_PARTITIONS = 16;
/** How long opening waits for Redis. After that calls are refused until it is there. */
const OPEN_MS = 2000;

/** Opens the connections. Never rejects because Redis is away: calls do, until it is there. */
export async function openRedis(options: RedisOptions): Promise<OpenRedis> {
  const { clock, log, instanceId } = options;
  const leaseTtlMs = options.leaseTtlMs ?? DEFAULT_LEASE_TTL_MS;
  const wayOf = (role: string, timeoutMs: number) => ({
    ...options,
    name: `milvaion:${instanceId}:${role}`,
    timeoutMs,
  });
  const sentinels = openSentinels(wayOf("sentinels", COMMAND_MS));
  const commands = connect(wayOf("commands", COMMAND_MS), sentinels);
  const leaseMs = Math.min(LEASE_COMMAND_AT_MOST_MS, Math.floor(leaseTtlMs / 5));
  const leases = connect(wayOf("leases", leaseMs), sentinels);
  const subscriptions = connectToHear(wayOf("subscriptions", COMMAND_MS), sentinels ?? commands);
  const links = [commands, leases, subscriptions];
  // On a cluster who hears goes to another node at once: that moment is no outage.
  const needed = commands instanceof RedisCluster ? [commands, leases] : links;

  const keys = new RedisKeys(options.prefix ?? DEFAULT_KEY_PREFIX, options.storeId);
  const events = new RedisEvents({ commands, subscriptions, keys, clock, log, instanceId });
  const { connected, look } = watch(links, needed, log);
  void connected.then(() => warnOfEviction(commands, log));
  const isThere = await within(clock, OPEN_MS, connected.then(() => events.refresh()));
  // Without a sentinel that names a server nothing was tried yet, and so nothing has failed.
  if (!isThere) look(false);

  return {
    dueIndex: new RedisDueIndex(commands, keys, options.partitions ?? partitionsOn(commands)),
    leases: new RedisLeases(leases, keys),
    presence: new RedisPresence(commands, keys, clock, options.lifetimeMs),
    events,
    state: () => ({
      connected: needed.every((link) => link.isReady),
      eventsDropped: events.dropped,
    }),
    async ping(deadlineMs) {
      const asked = commands.ask("Cannot reach Redis", null, (client) => client.ping());
      if (await within(clock, deadlineMs, asked)) return;
      throw new Unavailable(
        `Cannot reach Redis: no answer within ${deadlineMs} ms (Redis at ${commands.place})`,
      );
    },
    load: () => readServerLoads(commands),
    async close() {
      await events.close();
      await Promise.all([sentinels, ...links].map((one) => one?.close()));
    },
  };
}

export interface LinkOptions extends Pick<RedisOptions, "url" | "sentinel" | "meter"> {
  /** Shown by CLIENT LIST. */
  readonly name: string;
  /** Milliseconds until an unanswered command is given up. */
  readonly timeoutMs: number;
  readonly clock: Pick<Clock, "timer" | "mono">;
}

/**
 * Begins to connect, and asks the sentinels where there are some. Throws a sentence, without the address, where that
 * cannot be read.
 */
export function openLink(
  options: LinkOptions,
): { readonly link: RedisLink; readonly sentinels: RedisSentinels | null } {
  const sentinels = openSentinels(options);
  return { link: connect(options, sentinels), sentinels };
}

function openSentinels(options: LinkOptions): RedisSentinels | null {
  const address = parseRedisUrl(options.url);
  return address.mode === "sentinel"
    ? new RedisSentinels({ ...options, address, credentials: options.sentinel })
    : null;
}

function connect(options: LinkOptions, sentinels: RedisSentinels | null): RedisLink {
  const address = parseRedisUrl(options.url);
  if (address.mode === "cluster") return new RedisCluster({ ...options, address });
  return new RedisConnection({ ...options, address, ...(sentinels === null ? {} : { guide: sentinels }) });
}

/** A connection that only hears; on a cluster it goes to any node, and to another when that one is lost. */
function connectToHear(options: LinkOptions, way: RedisSentinels | RedisLink): RedisConnection {
  const address = parseRedisUrl(options.url);
  if (way instanceof RedisSentinels) return new RedisConnection({ ...options, address, guide: way });
  if (!(way instanceof RedisCluster)) return new RedisConnection({ ...options, address });
  return new RedisConnection({ ...options, address, guide: guideTo(() => way.someEndpoint()) });
}

/** Parts of the due index where nobody says how many. */
export function partitionsOn(link: RedisLink): number {
  return link instanceof RedisCluster ? CLUSTER_PARTITIONS : 1;
}

/** A Redis that evicts keys may drop the leader's lock and parts of the due index at any time. */
async function warnOfEviction(commands: RedisLink, log: Log): Promise<void> {
  try {
    const answers = await commands.askEach(
      "Cannot read the memory policy",
      (client) => client.info("memory"),
    );
    for (const { place, answer } of answers) {
      const policy = /^maxmemory_policy:(\S+)/m.exec(answer)?.[1];
      if (policy === undefined || policy === "noeviction") continue;
      log.warn(`Redis may evict keys: maxmemory-policy is ${policy}. Set it to noeviction`, {
        server: place,
      });
    }
  } catch (error) {
    log.debug((error as Error).message);
  }
}

/** True when `work` was done within `ms`, false when it was not; rejects when it failed by then. */
function within(clock: Pick<Clock, "timer">, ms: number, work: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const cancel = clock.timer(ms, () => resolve(false));
    work.then(() => resolve(true), reject).finally(cancel);
  });
}
