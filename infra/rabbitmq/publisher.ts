/**
 * Confirmed publishing. What is handed over in one call goes out together and is answered when the broker has
 * confirmed all of it: on a quorum queue that means on disk.
 *
 *   sent ──confirmed──► accepted          ──returned, confirmed──► unroutable
 *     ├──refused (nack), broker blocked──► full
 *     └──channel lost, or no confirmation within 5 s──► the call is rejected; nobody knows what became of it
 *
 * A channel that sent to a quorum queue while its nodes chose a new leader may confirm nothing more for that queue, or
 * refuse it all. So the channel is made anew when the confirmation does not come, and not because the broker is behind
 * with all of them; and after a refusal, less and less often while refusals go on: they may be a queue's own bound.
 */
import type { Buffer } from "node:buffer";
import type { ConfirmChannel, Options } from "amqplib";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { PublishAnswer } from "../../actors/ports/queue.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { KeptChannel } from "./kept_channel.ts";
import type { Link } from "./link.ts";

export interface Outgoing {
  readonly exchange: string;
  readonly key: string;
  readonly content: Buffer;
  /** `messageId` tells returned messages apart. */
  readonly properties: Options.Publish & { readonly messageId: string };
}

export interface PublisherOptions {
  readonly link: Link;
  /** "publish jobs", in messages. */
  readonly act: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly setUp: (channel: ConfirmChannel) => Promise<void>;
  /** Messages that may be on their way unconfirmed; beyond it the answer is `full`. */
  readonly bound: number;
  /** Called when `full` was answered and there is room again. */
  readonly onRoom?: () => void;
  /** Called each time it can publish, the first time included. */
  readonly onUp?: () => void;
}

const CONFIRM_MS = 5000;
/** After a refusal the broker gives no sign when it has room: it is simply asked again. */
const ASK_AGAIN_MS = 1000;

/** Between two channels given up because of refusals: the first time, and at most. */
const RENEW_MS = 2000;
const RENEW_AT_MOST_MS = 60_000;

/** One call on its way. */
interface Batch {
  readonly answers: PublishAnswer[];
  left: number;
  readonly settle: (error: Error | null) => void;
}

export class Publisher {
  readonly #channel: KeptChannel;
  readonly #batches = new Set<Batch>();
  /** Message id → how often it came back, since it was sent. */
  readonly #returned = new Map<string, number>();
  #unconfirmed = 0;
  #sent = 0;
  /** The number of the latest message that was confirmed, and when the last confirmation came (monotonic). */
  #confirmed = 0;
  #confirmedAt = 0;
  #turnedAway = false;
  /** When a refusal may have the channel made anew again; monotonic. */
  #renewNotBefore = -Infinity;
  #renewMs = RENEW_MS;
  #cancelAskAgain: (() => void) | null = null;
  readonly #unlisten: () => void;

  constructor(private readonly options: PublisherOptions) {
    const { link, act, clock, log, setUp } = options;
    this.#channel = new KeptChannel({
      link,
      act,
      clock,
      log,
      setUp: async (channel) => {
        channel.on("return", ({ properties }) => {
          const messageId: string = properties.messageId;
          this.#returned.set(messageId, (this.#returned.get(messageId) ?? 0) + 1);
        });
        await setUp(channel);
      },
      up: () => {
        this.options.onUp?.();
        this.#room();
      },
      lost: () => this.#returned.clear(),
    });
    this.#unlisten = link.listen({
      // What was sent lies in the connection and may still arrive: said to be full, it is published once more later.
      blocked: () => this.#settleAllAsFull(),
      unblocked: () => this.#room(),
    });
    this.#channel.open();
  }

  get isUp(): boolean {
    return this.#channel.channel !== null;
  }

  get unconfirmed(): number {
    return this.#unconfirmed;
  }

  /** False from an answer `full` until `onRoom` is called. */
  get hasRoom(): boolean {
    return !this.#turnedAway;
  }

  whenUp(): Promise<void> {
    return this.#channel.whenUp();
  }

  /** Declares anew what `setUp` declares. */
  restart(why: string): void {
    this.#channel.restart(why);
  }

  /** The same, for a queue that was deleted. */
  queueIsGone(why: string): void {
    this.#channel.queueIsGone(why);
  }

  /** Answers in order. Throws when it is not known what became of them. */
  publish(messages: readonly Outgoing[]): Promise<readonly PublishAnswer[]> {
    if (messages.length === 0) return Promise.resolve([]);
    const { act, clock, link, bound } = this.options;
    if (link.blockedReason !== null) {
      this.#turnedAway = true;
      return Promise.resolve(messages.map(() => "full"));
    }
    return new Promise((resolve, reject) => {
      const channel = this.#channel.up;
      const sentAt = clock.mono();
      const cancelDeadline = clock.timer(CONFIRM_MS, () => {
        const isBehind = this.#confirmedAt > sentAt && this.#confirmed <= last;
        batch.settle(new Unavailable(`Cannot ${act}: not confirmed within ${CONFIRM_MS} ms`));
        if (!isBehind && link.blockedReason === null && this.#channel.channel === channel) {
          this.restart(`not confirmed within ${CONFIRM_MS} ms`);
        }
      });
      const batch: Batch = {
        answers: messages.map(() => "full"),
        left: messages.length,
        settle: (error) => {
          cancelDeadline();
          if (!this.#batches.delete(batch)) return;
          if (error === null) resolve(batch.answers);
          else reject(error);
        },
      };
      this.#batches.add(batch);
      const last = this.#sent + messages.length;
      try {
        messages.forEach((message, index) => {
          if (this.#unconfirmed >= bound) this.#turnAway(batch);
          else this.#send(channel, message, batch, index);
        });
      } catch (error) {
        batch.settle(new Unavailable(`Cannot ${act}: ${(error as Error).message}`));
      }
    });
  }

  /** Waits up to `ms` for what is unconfirmed, then closes the channel. */
  async close(ms: number): Promise<void> {
    this.#cancelAskAgain?.();
    this.#unlisten();
    if (this.#unconfirmed > 0 && this.isUp) {
      await new Promise<void>((resolve) => {
        const cancel = this.options.clock.timer(ms, resolve);
        this.#onIdle = () => {
          cancel();
          resolve();
        };
      });
    }
    await this.#channel.close();
  }

  #onIdle: () => void = () => {};

  #send(channel: ConfirmChannel, message: Outgoing, batch: Batch, index: number): void {
    const { exchange, key, content, properties } = message;
    const number = this.#sent += 1;
    channel.publish(exchange, key, content, properties, (error) => {
      this.#unconfirmed -= 1;
      this.#confirmed = Math.max(this.#confirmed, number);
      this.#confirmedAt = this.options.clock.mono();
      if (error) this.#refused(error, batch);
      else {
        batch.answers[index] = this.#wasReturned(properties.messageId) ? "unroutable" : "accepted";
        this.#answered(batch);
      }
      // A queue that refused is asked again later.
      if (this.#cancelAskAgain === null && this.#unconfirmed <= this.options.bound / 2) this.#room();
      if (this.#unconfirmed === 0) this.#onIdle();
    });
    this.#unconfirmed += 1;
  }

  #refused(error: Error, batch: Batch): void {
    if (error.message === "message nacked") {
      this.#turnAway(batch);
      this.#cancelAskAgain ??= this.options.clock.timer(ASK_AGAIN_MS, () => {
        this.#cancelAskAgain = null;
        this.#askAgain();
      });
    } else {batch.settle(
        new Unavailable(`Cannot ${this.options.act}: the connection was lost before the confirmation`),
      );}
  }

  #askAgain(): void {
    const now = this.options.clock.mono();
    if (now < this.#renewNotBefore) return this.#room();
    this.#renewMs = now > this.#renewNotBefore + RENEW_AT_MOST_MS
      ? RENEW_MS
      : Math.min(this.#renewMs * 2, RENEW_AT_MOST_MS);
    this.#renewNotBefore = now + this.#renewMs;
    this.restart("the broker refuses messages");
  }

  #turnAway(batch: Batch): void {
    this.#turnedAway = true;
    this.#answered(batch);
  }

  #answered(batch: Batch): void {
    batch.left -= 1;
    if (batch.left === 0) batch.settle(null);
  }

  #wasReturned(messageId: string): boolean {
    if (this.#returned.size === 0) return false;
    const times = this.#returned.get(messageId);
    if (times === undefined) return false;
    if (times === 1) this.#returned.delete(messageId);
    else this.#returned.set(messageId, times - 1);
    return true;
  }

  #settleAllAsFull(): void {
    this.#turnedAway = true;
    for (const batch of [...this.#batches]) batch.settle(null);
  }

  #room(): void {
    if (!this.#turnedAway || this.options.link.blockedReason !== null) return;
    this.#turnedAway = false;
    this.options.onRoom?.();
  }
}
