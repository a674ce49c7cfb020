/**
 * Redis, opened: due index, leases, presence and live events of one instance, over three connections.
 *
 *   commands        due index, presence, publishing     2 s a call
 *   leases          the leader's lock                   a fifth of the lease, 1 s at most
 *   subscriptions   what other instances publish        2 s a call
 *
 * All three are there or Redis counts as away. Nothing here is the truth: with Redis gone the leader works on from
 * the store, workers renew their leases there, and live events reach the clients of the same instance only.
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { DueIndex } from "../../actors/ports/due_index.ts";
import type { Events } from "../../actors/ports/events.ts";
import type { Leases } from "../../actors/ports/leases.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Presence } from "../../actors/ports/presence.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { RedisConnection } from "./connection.ts";
import { RedisDueIndex } from "./due_index.ts";
import { RedisEvents } from "./events.ts";
import { RedisKeys } from "./keys.ts";
import { RedisLeases } from "./leases.ts";
import { RedisPresence } from "./presence.ts";

export const DEFAULT_KEY_PREFIX = "Milvaion:JobScheduler:";

export interface RedisOptions {
  /** `redis://user:password@host:port/database`, or `rediss://` for TLS. */
  readonly url: string;
  /** `MilvaionConfig.Redis.KeyPrefix`; holds no braces. */
  readonly prefix?: string;
  /** The store's own id: keys and channels of other stores are never touched. */
  readonly storeId: string;
  /** Unique per process start. */
  readonly instanceId: string;
  /** Parts of the due index; the same on all instances. Default 1; more only for a Redis Cluster. */
  readonly partitions?: number;
  /** A clock that all instances of the cluster share. */
  readonly clock: Clock;
  readonly log: Log;
  /** Length of the leader's lease, milliseconds: a call takes at most a fifth of it. */
  readonly leaseTtlMs?: number;
  /** How long an announcement of presence holds, milliseconds: three heartbeats. */
  readonly lifetimeMs: number;
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
  /** Sends the events that wait, then ends the connections. Twice is fine. */
  close(): Promise<void>;
}

const COMMAND_MS = 2000;
const LEASE_COMMAND_AT_MOST_MS = 1000;
const DEFAULT_LEASE_TTL_MS = 15_000;
/** How long opening waits for Redis. After that calls are refused until it is there. */
const OPEN_MS = 2000;

/** Opens the connections. Never rejects because Redis is away: calls do, until it is there. */
export async function openRedis(options: RedisOptions): Promise<OpenRedis> {
  const { clock, log, instanceId } = options;
  const connect = (role: string, timeoutMs: number) =>
    new RedisConnection({ url: options.url, name: `milvaion:${instanceId}:${role}`, timeoutMs, clock });
  const leaseTtlMs = options.leaseTtlMs ?? DEFAULT_LEASE_TTL_MS;
  const commands = connect("commands", COMMAND_MS);
  const leases = connect("leases", Math.min(LEASE_COMMAND_AT_MOST_MS, Math.floor(leaseTtlMs / 5)));
  const subscriptions = connect("subscriptions", COMMAND_MS);
  const connections = [commands, leases, subscriptions];

  const keys = new RedisKeys(options.prefix ?? DEFAULT_KEY_PREFIX, options.storeId);
  const events = new RedisEvents({ commands, subscriptions, keys, clock, log, instanceId });
  const connected = watch(connections, log);
  void connected.then(() => warnOfEviction(commands, log));
  await within(clock, OPEN_MS, connected.then(() => events.refresh()));

  return {
    dueIndex: new RedisDueIndex(commands, keys, options.partitions ?? 1),
    leases: new RedisLeases(leases, keys),
    presence: new RedisPresence(commands, keys, clock, options.lifetimeMs),
    events,
    state: () => ({
      connected: connections.every((connection) => connection.isReady),
      eventsDropped: events.dropped,
    }),
    async ping(deadlineMs) {
      const asked = commands.ask("Cannot reach Redis", (client) => client.ping());
      if (await within(clock, deadlineMs, asked)) return;
      throw new Unavailable(
        `Cannot reach Redis: no answer within ${deadlineMs} ms (Redis at ${commands.server})`,
      );
    },
    async close() {
      await events.close();
      await Promise.all(connections.map((connection) => connection.close()));
    },
  };
}

/** Logs each change between "all connections are there" and "not all"; resolves when they are for the first time. */
function watch(connections: readonly RedisConnection[], log: Log): Promise<void> {
  const server = connections[0]?.server;
  let isConnected: boolean | null = null;
  return new Promise((resolve) => {
    const onChange = (isReady: boolean) => {
      const areAll = connections.every((connection) => connection.isReady);
      if (areAll && isConnected !== true) {
        isConnected = true;
        log.info("Redis is connected", { server });
        resolve();
      } else if (!isReady && isConnected !== false) {
        isConnected = false;
        const reason = connections.map((one) => one.lastError).find((error) => error !== null);
        log.warn("Redis is away, trying again", { server, reason });
      }
    };
    for (const connection of connections) connection.onChange(onChange);
  });
}

/** A Redis that evicts keys may drop the leader's lock and parts of the due index at any time. */
async function warnOfEviction(commands: RedisConnection, log: Log): Promise<void> {
  try {
    const memory = await commands.ask("Cannot read the memory policy", (client) => client.info("memory"));
    const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1];
    if (policy === undefined || policy === "noeviction") return;
    log.warn(`Redis may evict keys: maxmemory-policy is ${policy}. Set it to noeviction`, {
      server: commands.server,
    });
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
