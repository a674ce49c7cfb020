/**
 * Items that arrive in batches, handed to one handler call at a time; a message is acknowledged when all its items
 * are settled.
 *
 * A batch that is refused comes again, before younger ones, after a pause. When it is refused five times, either the
 * store is away or one item is poisoned. Halving tells: if a part succeeds where a single item fails, that item is
 * parked with its reason; if nothing succeeds, nothing is parked and everything waits. When that lasts, or the store
 * is out of reach for long, the messages go back to the queue, because another instance may reach a store that this
 * one cannot. After a rest this instance takes one message at a time, until it has handled one; each rest is longer.
 */
import { Buffer } from "node:buffer";
import type { Channel, ConsumeMessage } from "amqplib";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { messageOf } from "./deadline.ts";
import { KeptChannel } from "./kept_channel.ts";
import type { Link } from "./link.ts";
import type { Parking } from "./parking.ts";
import { Settlement } from "./settlement.ts";
import type { Topology } from "./topology.ts";
import { decode, type Fields, VERSION } from "./wire.ts";

export interface ItemReceiverOptions<T> {
  readonly kind: string;
  readonly queue: string;
  /** Messages that may be here unacknowledged. */
  readonly prefetch: number;
  readonly read: (fields: Fields) => readonly T[];
  readonly handle: (items: readonly T[]) => Promise<void>;
  readonly link: Link;
  readonly topology: Topology;
  readonly parking: Parking;
  readonly clock: Clock;
  readonly log: Log;
  readonly isOurs: (storeId: unknown) => boolean;
}

const ITEMS_A_CALL = 2000;
const AGAIN_MS = 100;
const AGAIN_AT_MOST_MS = 1000;
/** Refused this often, a batch is taken apart. */
const SPLIT_AFTER = 5;
/** Refused this often without a single success, some 5 s, the messages go back for another instance. */
const GIVE_BACK_AFTER = 8;
/** They also go back when the store was out of reach for so long: runs whose reports wait here count as silent. */
const OUT_OF_REACH_MS = 4000;
/** How long this instance then takes nothing, doubling each time. */
const REST_MS = 2000;
const REST_AT_MOST_MS = 30_000;

/** A message and how many of its items are not settled. */
interface Origin {
  readonly incoming: ConsumeMessage;
  readonly settlement: Settlement;
  left: number;
}

interface Item<T> {
  readonly value: T;
  readonly origin: Origin;
}

export class ItemReceiver<T> {
  readonly #channel: KeptChannel;
  #settlement: Settlement | null = null;
  #consumerTag = "";
  #pending: Item<T>[] = [];
  #handling: Promise<void> | null = null;
  #failures = 0;
  /** Monotonic moment since which the store is out of reach; null when it was not at the last try. */
  #outOfReachSince: number | null = null;
  /** How often everything went back since the last success. */
  #rests = 0;
  #cancelAgain: (() => void) | null = null;
  readonly #delays = new Set<() => void>();
  #isStopping = false;

  constructor(private readonly options: ItemReceiverOptions<T>) {
    const { link, clock, log, kind, queue, topology, prefetch } = options;
    this.#channel = new KeptChannel({
      link,
      act: `receive ${kind}`,
      clock,
      log,
      setUp: async (channel) => {
        await topology.declareDurable(channel, queue);
        const settlement = new Settlement(channel);
        this.#settlement = settlement;
        await this.#consume(channel, settlement, prefetch);
      },
      lost: () => this.#lost(),
    });
    this.#channel.open();
  }

  whenUp(): Promise<void> {
    return this.#channel.whenUp();
  }

  /** No handler call comes after this settles; what is not committed goes back to the queue. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#cancelAgain?.();
    for (const cancel of this.#delays) cancel();
    await this.#handling;
    this.#settlement?.flush();
    await this.#channel.close();
  }

  async #consume(channel: Channel, settlement: Settlement, prefetch: number): Promise<void> {
    await channel.prefetch(prefetch);
    const { consumerTag } = await channel.consume(this.options.queue, (message) => {
      if (message === null) this.#channel.queueIsGone("the broker cancelled the consumer");
      else this.#arrived(settlement, message);
    });
    this.#consumerTag = consumerTag;
  }

  #lost(): void {
    this.#settlement?.over();
    this.#settlement = null;
    // They come again from the broker; the store knows what it has applied already.
    this.#pending = [];
  }

  #arrived(settlement: Settlement, incoming: ConsumeMessage): void {
    const { isOurs, read } = this.options;
    settlement.delivered(incoming.fields.deliveryTag);
    const decoded = isOurs(incoming.properties.headers?.storeId)
      ? decode(incoming.content, read)
      : { ok: false as const, reason: "it belongs to another store" };
    if (!decoded.ok) {
      void this.#park(incoming, incoming.content, decoded.reason).then((isParked) => {
        if (isParked) settlement.ack(incoming.fields.deliveryTag);
        else this.#later(() => settlement.requeue(incoming.fields.deliveryTag));
      });
      return;
    }
    const origin: Origin = { incoming, settlement, left: decoded.value.length };
    if (origin.left === 0) settlement.ack(incoming.fields.deliveryTag);
    for (const value of decoded.value) this.#pending.push({ value, origin });
    this.#next();
  }

  #next(): void {
    if (this.#handling !== null || this.#cancelAgain !== null) return;
    if (this.#isStopping || this.#pending.length === 0) return;
    this.#handling = this.#handleNext();
  }

  async #handleNext(): Promise<void> {
    // What arrives in the same turn of the event loop is handled together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const items = this.#pending.splice(0, ITEMS_A_CALL);
    const unsettled = this.#failures < SPLIT_AFTER
      ? await this.#handleWhole(items)
      : await this.#handleInParts(items);
    this.#handling = null;
    if (unsettled.length > 0) this.#putBack(unsettled);
    else this.#failures = 0;
    this.#next();
  }

  /** Gives what is to be tried again. */
  async #handleWhole(items: readonly Item<T>[]): Promise<readonly Item<T>[]> {
    if (items.length === 0) return [];
    const error = await this.#try(items);
    if (error === null) return [];
    this.#failures += 1;
    return items;
  }

  async #try(items: readonly Item<T>[]): Promise<Error | null> {
    const triedAt = this.options.clock.mono();
    try {
      await this.options.handle(items.map((item) => item.value));
    } catch (error) {
      this.#outOfReachSince = error instanceof Unavailable ? this.#outOfReachSince ?? triedAt : null;
      return error as Error;
    }
    this.#outOfReachSince = null;
    for (const item of items) this.#settled(item);
    if (this.#rests > 0) this.#takeAll();
    return null;
  }

  async #handleInParts(items: readonly Item<T>[]): Promise<readonly Item<T>[]> {
    const suspects: { readonly item: Item<T>; readonly error: Error }[] = [];
    const unsettled: Item<T>[] = [];
    let succeeded = false;
    const parts: (readonly Item<T>[])[] = items.length === 0 ? [] : [items];
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      // Two single items refused and nothing taken: it is the store.
      if (this.#isStopping || (!succeeded && suspects.length >= 2)) {
        unsettled.push(...part);
        continue;
      }
      const error = await this.#try(part);
      const [only] = part;
      if (error === null) succeeded = true;
      else if (part.length === 1 && only !== undefined) suspects.push({ item: only, error });
      else parts.push(part.slice(part.length / 2), part.slice(0, part.length / 2));
    }
    this.#failures = succeeded ? SPLIT_AFTER : this.#failures + 1;
    const kept: Item<T>[] = [];
    for (const { item, error } of suspects) {
      if (succeeded && await this.#parkItem(item, error)) this.#settled(item);
      else kept.push(item);
    }
    return [...kept, ...unsettled];
  }

  #putBack(items: readonly Item<T>[]): void {
    const live = items.filter((item) => item.origin.settlement === this.#settlement);
    this.#pending = [...live, ...this.#pending];
    if (this.#isStopping) return;
    const isOutOfReach = this.#outOfReachSince !== null &&
      this.options.clock.mono() - this.#outOfReachSince >= OUT_OF_REACH_MS;
    if (this.#failures >= GIVE_BACK_AFTER || isOutOfReach) return this.#giveBack();
    const ms = Math.min(AGAIN_MS * 2 ** Math.max(0, this.#failures - 1), AGAIN_AT_MOST_MS);
    this.#cancelAgain = this.options.clock.timer(ms, () => {
      this.#cancelAgain = null;
      this.#next();
    });
  }

  /** Everything goes back, and this instance takes nothing for a while, so that another one gets it. */
  #giveBack(): void {
    const { clock, kind, log } = this.options;
    const { channel } = this.#channel;
    const settlement = this.#settlement;
    if (channel === null || settlement === null) return;
    log.warn(`Cannot handle ${kind}, giving them back for another instance`);
    const restMs = Math.min(REST_MS * 2 ** this.#rests, REST_AT_MOST_MS);
    this.#rests += 1;
    this.#failures = 0;
    this.#outOfReachSince = null;
    channel.cancel(this.#consumerTag).catch((error) => this.#channel.restart(messageOf(error)));
    for (const origin of new Set(this.#pending.splice(0).map((item) => item.origin))) {
      settlement.requeue(origin.incoming.fields.deliveryTag);
    }
    this.#cancelAgain = clock.timer(restMs, () => {
      this.#cancelAgain = null;
      this.#next();
      if (this.#settlement !== settlement || this.#isStopping) return;
      this.#consume(channel, settlement, 1).catch((error) => this.#channel.restart(messageOf(error)));
    });
  }

  /** As many messages as before the store was away. */
  #takeAll(): void {
    this.#rests = 0;
    const { channel } = this.#channel;
    const settlement = this.#settlement;
    if (channel === null || settlement === null || this.#isStopping) return;
    Promise.all([
      channel.cancel(this.#consumerTag),
      this.#consume(channel, settlement, this.options.prefetch),
    ]).catch((error) => this.#channel.restart(messageOf(error)));
  }

  #settled(item: Item<T>): void {
    item.origin.left -= 1;
    if (item.origin.left === 0) item.origin.settlement.ack(item.origin.incoming.fields.deliveryTag);
  }

  #parkItem(item: Item<T>, error: Error): Promise<boolean> {
    const content = Buffer.from(JSON.stringify({ v: VERSION, [this.options.kind]: [item.value] }));
    return this.#park(item.origin.incoming, content, "refused again and again: " + error.message);
  }

  async #park(incoming: ConsumeMessage, content: Buffer, reason: string): Promise<boolean> {
    const { parking, queue, log } = this.options;
    try {
      await parking.park({ content, properties: incoming.properties }, queue, reason);
      return true;
    } catch (error) {
      log.warn("Cannot park a message, keeping it: " + messageOf(error), { queue });
      return false;
    }
  }

  #later(callback: () => void): void {
    const cancel = this.options.clock.timer(AGAIN_AT_MOST_MS, () => {
      this.#delays.delete(cancel);
      callback();
    });
    this.#delays.add(cancel);
  }
}
