/**
 * Live events on their way to clients of this instance. One subscription to the events port serves them all, asks
 * only for the types that somebody wants, and writes each event once however many receive it. At most once: nothing
 * is kept for a client that is away or too slow; it reads the lists again.
 */
import type { Clock } from "../actors/ports/clock.ts";
import type { Events, LiveEvent, LiveEventType } from "../actors/ports/events.ts";
import { iso } from "./fields.ts";

/** The types that clients may ask for; what only actors need stays inside. */
export const CLIENT_EVENT_TYPES = [
  "jobChanged",
  "jobAutoDisabled",
  "occurrenceChanged",
  "occurrenceProgress",
  "occurrenceLogged",
  "cancelRequested",
  "leaderChanged",
  "workersChanged",
  "failedOccurrenceChanged",
  "bulkActionChanged",
  "alert",
] as const satisfies readonly LiveEventType[];
export type ClientEventType = (typeof CLIENT_EVENT_TYPES)[number];

/** Live connections of one instance. */
export const MAX_CONNECTIONS = 500;

/** Subscriptions of one connection. */
export const MAX_SUBSCRIPTIONS = 100;

/** A connection that is silent longer than this is taken for dead by proxies; so it never is. Milliseconds. */
export const HEARTBEAT_MS = 15_000;

/** What a client wants to hear of. Everything given must fit. */
export interface LiveFilter {
  readonly jobId?: string | undefined;
  readonly occurrenceId?: string | undefined;
  readonly types?: readonly ClientEventType[] | undefined;
}

/** An event as it is sent. */
export interface WrittenEvent {
  readonly type: ClientEventType;
  /** JSON text. */
  readonly text: string;
}

/** A client's end of the hub. */
export interface LiveClient {
  deliver(events: readonly WrittenEvent[]): void;
  heartbeat(at: string): void;
  /** The connection is to end; `reason` is a sentence for the client. */
  end(why: "stopping" | "too-slow", reason: string): void;
}

/** One connection. */
export interface LiveConnection {
  /** False when there are too many already. */
  subscribe(id: string, filter: LiveFilter): boolean;
  unsubscribe(id: string): void;
  /** The client has gone; twice is fine. */
  close(): void;
}

export interface LiveHub {
  /** Null when there are too many connections, or the instance stops. */
  connect(client: LiveClient): LiveConnection | null;
  readonly connections: number;
  /** Ends all connections, and accepts no more. */
  close(): void;
}

/** What is sent to a client that names no types. Lines and progress are many: only for one occurrence. */
function typesOf(filter: LiveFilter): readonly ClientEventType[] {
  if (filter.types !== undefined) return filter.types;
  if (filter.occurrenceId !== undefined) {
    return ["occurrenceChanged", "occurrenceProgress", "occurrenceLogged", "cancelRequested"];
  }
  if (filter.jobId !== undefined) {
    return ["jobChanged", "jobAutoDisabled", "occurrenceChanged", "failedOccurrenceChanged"];
  }
  return [
    "jobChanged",
    "jobAutoDisabled",
    "occurrenceChanged",
    "leaderChanged",
    "workersChanged",
    "failedOccurrenceChanged",
    "bulkActionChanged",
    "alert",
  ];
}

function fits(filter: LiveFilter, event: LiveEvent): boolean {
  if (!(typesOf(filter) as readonly string[]).includes(event.type)) return false;
  const { jobId, occurrenceId } = filter;
  if (jobId !== undefined && !("jobId" in event && event.jobId === jobId)) return false;
  return occurrenceId === undefined || ("occurrenceId" in event && event.occurrenceId === occurrenceId);
}

/** An event as clients see it: moments as ISO 8601. */
function write(event: LiveEvent): WrittenEvent {
  const text = JSON.stringify(
    event,
    (key, value) =>
      (key === "at" || key === "scheduledFor" || key === "probeAt") && typeof value === "number"
        ? iso(value)
        : value,
  );
  return { type: event.type as ClientEventType, text };
}

/** Makes the hub of one instance. */
export function createLiveHub(deps: { readonly events: Events; readonly clock: Clock }): LiveHub {
  const clients = new Map<LiveClient, Map<string, LiveFilter>>();
  let listening: { readonly types: string; readonly stop: () => void } = { types: "", stop: () => {} };
  let stopHeartbeat: (() => void) | null = null;
  let isClosed = false;

  /** Listens to what is wanted now, no more. */
  function listen(): void {
    const wanted = new Set<ClientEventType>();
    for (const filters of clients.values()) {
      for (const filter of filters.values()) for (const type of typesOf(filter)) wanted.add(type);
    }
    const types = CLIENT_EVENT_TYPES.filter((type) => wanted.has(type));
    if (types.join() === listening.types) return;
    listening.stop();
    listening = {
      types: types.join(),
      stop: types.length === 0 ? () => {} : deps.events.subscribe(types, pass),
    };
  }

  function pass(events: readonly LiveEvent[]): void {
    const written = new Map<LiveEvent, WrittenEvent>();
    const writtenOnce = (event: LiveEvent): WrittenEvent => {
      const text = written.get(event) ?? write(event);
      written.set(event, text);
      return text;
    };
    for (const [client, filters] of clients) {
      const wanted = events.filter((event) => filters.values().some((filter) => fits(filter, event)));
      if (wanted.length > 0) client.deliver(wanted.map(writtenOnce));
    }
  }

  function beat(): void {
    const at = iso(deps.clock.now());
    for (const client of clients.keys()) client.heartbeat(at);
    stopHeartbeat = clients.size > 0 ? deps.clock.timer(HEARTBEAT_MS, beat) : null;
  }

  function disconnect(client: LiveClient): void {
    if (!clients.delete(client)) return;
    listen();
    if (clients.size > 0 || stopHeartbeat === null) return;
    stopHeartbeat();
    stopHeartbeat = null;
  }

  return {
    connect(client) {
      if (isClosed || clients.size >= MAX_CONNECTIONS) return null;
      const filters = new Map<string, LiveFilter>();
      clients.set(client, filters);
      stopHeartbeat ??= deps.clock.timer(HEARTBEAT_MS, beat);
      return {
        subscribe(id, filter) {
          if (!filters.has(id) && filters.size >= MAX_SUBSCRIPTIONS) return false;
          filters.set(id, filter);
          listen();
          return true;
        },
        unsubscribe(id) {
          filters.delete(id);
          listen();
        },
        close: () => disconnect(client),
      };
    },
    get connections() {
      return clients.size;
    },
    close() {
      isClosed = true;
      for (const client of [...clients.keys()]) {
        disconnect(client);
        client.end("stopping", "This instance is stopping; connect again.");
      }
    },
  };
}
