/**
 * Live events between instances, by publish and subscribe. At most once.
 *
 * Listeners of this instance get events directly, as in embedded mode; what this instance sent is ignored when it
 * comes back. To the others events go gathered, one message for each type, in the order of publishing within a
 * type, and only while somebody else listens to that type.
 *
 * Who listens to what is known in two ways. Each second Redis is asked for the number of subscribers of each
 * channel; and whoever begins to listen says so on the channel `listening`, so that nobody misses events for a
 * second because the others did not know yet. While Redis is away, events reach this instance only.
 *
 * On a Redis Cluster a message goes to any master, and from there to all nodes, so that an instance hears on whichever
 * node it listens, and one node less harms nobody. Each master is asked for the subscribers that it has; when one
 * cannot be asked, everything counts as listened to.
 *
 *   {"from": sender, "events": [...]}        on the channel of a type
 *   {"from": sender, "listens": [types]}     on the channel `listening`
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { Events, LiveEvent, LiveEventType } from "../../actors/ports/events.ts";
import type { Log } from "../../actors/ports/log.ts";
import { EmbeddedEvents } from "../embedded/events.ts";
import type { RedisConnection } from "./connection.ts";
import { eventsMessage, listensMessage, LIVE_EVENT_TYPES, readMessage } from "./event_message.ts";
import type { RedisKeys } from "./keys.ts";
import type { RedisLink } from "./link.ts";

/** Between two messages of a type. */
const GATHER_MS = 10;
const REFRESH_MS = 1000;
/** Events that wait for Redis; beyond this the oldest tenth is dropped. */
const MAX_WAITING = 10_000;
const COMPLAIN_EVERY_MS = 60_000;

export interface RedisEventsDeps {
  /** For publishing. */
  readonly commands: RedisLink;
  /** For hearing; takes no other commands. */
  readonly subscriptions: RedisConnection;
  readonly keys: RedisKeys;
  readonly clock: Clock;
  readonly log: Log;
  /** Unique among the instances. */
  readonly instanceId: string;
}

export class RedisEvents implements Events {
  readonly #deps: RedisEventsDeps;
  readonly #local: EmbeddedEvents;
  readonly #listening: string;
  readonly #typeOf: ReadonlyMap<string, LiveEventType>;
  /** What Redis was asked to send here on the present connection, and whether it has said yes. */
  readonly #channels = new Map<string, "asked" | "confirmed">();
  /** Types that others listen to; null while that is not known. */
  #others: Set<LiveEventType> | null = null;
  #refreshing: Promise<void> | null = null;
  /** Types that others began to listen to since the last question went out. */
  #heard = new Set<LiveEventType>();
  #waiting: LiveEvent[] = [];
  #isSending = false;
  #sentAt = -Infinity;
  #followAsked = false;
  #dropped = 0;
  #complainedAt = -Infinity;
  #cancelFlush: (() => void) | null = null;
  #cancelTick: () => void;
  #isClosed = false;

  constructor(deps: RedisEventsDeps) {
    this.#deps = deps;
    this.#local = new EmbeddedEvents(deps.log);
    this.#listening = deps.keys.channel("listening");
    this.#typeOf = new Map(LIVE_EVENT_TYPES.map((type) => [deps.keys.channel(type), type]));
    deps.subscriptions.client.on("message", (channel, text) => this.#onMessage(channel, text));
    deps.subscriptions.onChange((isReady) => {
      this.#channels.clear();
      if (isReady) this.#follow();
    });
    deps.commands.onChange((isReady) => {
      this.#others = null;
      if (isReady) void this.refresh();
    });
    this.#cancelTick = deps.clock.timer(REFRESH_MS, () => this.#tick());
  }

  /** Events that others did not get because Redis was away or too slow. */
  get dropped(): number {
    return this.#dropped;
  }

  publish(events: readonly LiveEvent[]): void {
    this.#local.publish(events);
    for (const event of events) if (this.#othersWant(event.type)) this.#waiting.push(event);
    if (this.#waiting.length > MAX_WAITING) {
      this.#dropped += this.#waiting.splice(0, MAX_WAITING / 10).length;
    }
    this.#flushSoon();
  }

  subscribe(types: readonly LiveEventType[], listener: (events: readonly LiveEvent[]) => void): () => void {
    const end = this.#local.subscribe(types, listener);
    this.#followSoon();
    return () => {
      end();
      this.#followSoon();
    };
  }

  wants(type: LiveEventType): boolean {
    return this.#local.wants(type) || this.#othersWant(type);
  }

  /** Asks Redis who listens to what, or waits for the answer on its way. Never rejects; what was known stays. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#askWhoListens().finally(() => this.#refreshing = null);
    return this.#refreshing;
  }

  /** Sends what waits, then ends. Twice is fine. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelTick();
    this.#cancelFlush?.();
    await this.#flush();
  }

  #othersWant(type: LiveEventType): boolean {
    // Not known means right after a connection was made: better one message too many.
    return this.#deps.commands.isReady && (this.#others?.has(type) ?? true);
  }

  async #askWhoListens(): Promise<void> {
    if (!this.#deps.commands.isReady) return;
    const heard = this.#heard = new Set();
    const confirmed = new Set(
      [...this.#channels].filter(([, how]) => how === "confirmed").map(([name]) => name),
    );
    try {
      const answers = await this.#deps.commands.askEach(
        "Cannot ask who listens to live events",
        (client) => client.pubsub("NUMSUB", ...this.#typeOf.keys()),
      );
      const counts = new Map([...confirmed].map((channel) => [channel, -1]));
      for (const { answer } of answers) {
        const list = answer as (string | number)[];
        for (let index = 0; index + 1 < list.length; index += 2) {
          const channel = String(list[index]);
          counts.set(channel, (counts.get(channel) ?? 0) + Number(list[index + 1]));
        }
      }
      const others = new Set(heard);
      for (const [channel, type] of this.#typeOf) if ((counts.get(channel) ?? 0) > 0) others.add(type);
      this.#others = others;
    } catch (error) {
      // On one server what was known stays; of a cluster another node may have subscribers that are not counted.
      if (!this.#deps.commands.isWhole) this.#others = null;
      this.#complain(error as Error);
    }
  }

  // ----------------------------------------------------------------------------------------------- sending

  #flushSoon(): void {
    if (this.#waiting.length === 0 || this.#isSending || this.#cancelFlush !== null || this.#isClosed) return;
    // The first event after a quiet moment goes at once: somebody may wait to be woken or cancelled by it.
    const pause = Math.max(0, this.#sentAt + GATHER_MS - this.#deps.clock.mono());
    this.#cancelFlush = this.#deps.clock.timer(pause, () => {
      this.#cancelFlush = null;
      void this.#flush();
    });
  }

  /** One at a time: with a slow Redis the events gather here, where they are bounded, and not on the way. */
  async #flush(): Promise<void> {
    if (this.#isSending || this.#waiting.length === 0) return;
    this.#isSending = true;
    this.#sentAt = this.#deps.clock.mono();
    const events = this.#waiting;
    this.#waiting = [];
    try {
      await this.#deps.commands.askAll("Cannot publish live events", null, (commands) => {
        for (const [type, some] of Map.groupBy(events, (event) => event.type)) {
          commands.publish(this.#deps.keys.channel(type), eventsMessage(this.#deps.instanceId, some));
        }
      });
    } catch (error) {
      this.#dropped += events.length;
      this.#complain(error as Error);
    }
    this.#isSending = false;
    this.#flushSoon();
  }

  // ----------------------------------------------------------------------------------------------- hearing

  #onMessage(channel: string, text: string): void {
    const message = readMessage(text);
    if (message === null || message.from === this.#deps.instanceId) return;
    if (channel === this.#listening) {
      for (const type of message.listens) {
        this.#heard.add(type);
        this.#others?.add(type);
      }
      return;
    }
    const type = this.#typeOf.get(channel);
    const events = message.events.filter((event) => event.type === type);
    if (events.length > 0) this.#local.publish(events);
  }

  /** At the end of this turn: who stops listening and begins anew changes nothing. */
  #followSoon(): void {
    if (this.#followAsked) return;
    this.#followAsked = true;
    void Promise.resolve().then(() => {
      this.#followAsked = false;
      this.#follow();
    });
  }

  /** Asks Redis for the channels of the types that are listened to here, and no others. */
  #follow(): void {
    if (!this.#deps.subscriptions.isReady || this.#isClosed) return;
    const wanted = new Set([this.#listening]);
    for (const [channel, type] of this.#typeOf) if (this.#local.wants(type)) wanted.add(channel);
    const begin = [...wanted].filter((channel) => !this.#channels.has(channel));
    const end = [...this.#channels.keys()].filter((channel) => !wanted.has(channel));
    if (begin.length > 0) void this.#begin(begin);
    if (end.length > 0) void this.#end(end);
  }

  async #begin(channels: readonly string[]): Promise<void> {
    for (const channel of channels) this.#channels.set(channel, "asked");
    try {
      await this.#deps.subscriptions.ask(
        "Cannot subscribe to live events",
        null,
        (client) => client.subscribe(...channels),
      );
      for (const channel of channels) {
        if (this.#channels.has(channel)) this.#channels.set(channel, "confirmed");
      }
      const types = channels.map((channel) => this.#typeOf.get(channel)).filter((type) => type !== undefined);
      if (types.length > 0) {
        await this.#deps.commands.ask(
          "Cannot say what this instance listens to",
          null,
          (client) => client.publish(this.#listening, listensMessage(this.#deps.instanceId, types)),
        );
      }
    } catch (error) {
      // The next tick tries again.
      for (const channel of channels) {
        if (this.#channels.get(channel) === "asked") this.#channels.delete(channel);
      }
      this.#complain(error as Error);
    }
  }

  async #end(channels: readonly string[]): Promise<void> {
    for (const channel of channels) this.#channels.delete(channel);
    try {
      await this.#deps.subscriptions.ask(
        "Cannot unsubscribe from live events",
        null,
        (client) => client.unsubscribe(...channels),
      );
    } catch (error) {
      // What comes all the same finds no listener.
      this.#complain(error as Error);
    }
  }

  #tick(): void {
    this.#cancelTick = this.#deps.clock.timer(REFRESH_MS, () => this.#tick());
    void this.refresh();
    this.#follow();
    void this.#prove();
  }

  /** A connection that only hears does not notice that it is dead; an unanswered ping cuts it. */
  async #prove(): Promise<void> {
    if (!this.#deps.subscriptions.isReady) return;
    try {
      await this.#deps.subscriptions.ask("Cannot hear live events", null, (client) => client.ping());
    } catch (error) {
      this.#complain(error as Error);
    }
  }

  /** While a connection is missing its own log line says so. */
  #complain(error: Error): void {
    const { commands, subscriptions, clock, log } = this.#deps;
    if (this.#isClosed || !commands.isWhole || !subscriptions.isReady) return;
    if (clock.mono() - this.#complainedAt < COMPLAIN_EVERY_MS) return;
    this.#complainedAt = clock.mono();
    log.warn(error.message);
  }
}
