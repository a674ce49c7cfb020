/**
 * The consumers of one queue on one channel. Together they hold at most `target` unacknowledged deliveries.
 *
 * AMQP fixes the prefetch of a consumer when it begins, and quorum queues know no prefetch of a channel. So the
 * target is a sum: to raise it a consumer is added for the difference; to lower it consumers are cancelled, and
 * what they hold stays valid and counts until it is settled.
 */
import type { Channel, ConsumeMessage } from "amqplib";

interface Consumer {
  tag: string | null;
  readonly prefetch: number;
  readonly held: Set<number>;
  cancelled: boolean;
}

/** More consumers than this on one queue are replaced by one as soon as that costs nothing. */
const CONSUMERS_AT_MOST = 8;

export class Intake {
  #consumers: Consumer[] = [];
  #target = 0;
  #adjusting: Promise<void> | null = null;
  #adjustAgain = false;

  constructor(
    private readonly channel: Channel,
    readonly queue: string,
    private readonly events: {
      readonly delivered: (message: ConsumeMessage) => void;
      /** The broker has cancelled the consumer: its queue was deleted, or moves. */
      readonly cancelled: () => void;
      /** A call was refused: the channel is closed or closing. */
      readonly failed: (error: Error) => void;
    },
  ) {}

  /** Settles when the broker knows. */
  aim(target: number): Promise<void> {
    this.#target = target;
    return this.#adjust();
  }

  /** A delivery was acknowledged or given back. */
  settled(deliveryTag: number): void {
    for (const consumer of this.#consumers) {
      if (!consumer.held.delete(deliveryTag)) continue;
      if (consumer.cancelled) void this.#adjust();
      return;
    }
  }

  #adjust(): Promise<void> {
    this.#adjustAgain = this.#adjusting !== null;
    this.#adjusting ??= this.#adjustUntilRight().catch(this.events.failed).finally(() => {
      this.#adjusting = null;
      // Asked for after the last look, in the same turn of the event loop.
      if (this.#adjustAgain) return this.#adjust();
    });
    return this.#adjusting;
  }

  async #adjustUntilRight(): Promise<void> {
    do {
      this.#adjustAgain = false;
      this.#consumers = this.#consumers.filter((one) => !one.cancelled || one.held.size > 0);
      const active = this.#consumers.filter((one) => !one.cancelled);
      // The smallest, then the youngest, is given up first.
      active.sort((one, other) => other.prefetch - one.prefetch);
      while (sum(active) > this.#target || active.length > CONSUMERS_AT_MOST) {
        const consumer = active.pop();
        if (consumer === undefined) break;
        await this.#cancel(consumer);
      }
      const room = this.#target - sum(active) - this.#heldByCancelled();
      if (room > 0) await this.#add(room);
    } while (this.#adjustAgain);
  }

  #heldByCancelled(): number {
    return this.#consumers.reduce((held, one) => held + (one.cancelled ? one.held.size : 0), 0);
  }

  async #cancel(consumer: Consumer): Promise<void> {
    consumer.cancelled = true;
    if (consumer.tag !== null) await this.channel.cancel(consumer.tag);
  }

  async #add(prefetch: number): Promise<void> {
    const consumer: Consumer = { tag: null, prefetch, held: new Set(), cancelled: false };
    this.#consumers.push(consumer);
    // The two follow each other at once: a prefetch counts for whichever consumer begins next on the channel.
    const limited = this.channel.prefetch(prefetch);
    const consuming = this.channel.consume(this.queue, (message) => {
      if (message === null) {
        this.events.cancelled();
        return;
      }
      consumer.held.add(message.fields.deliveryTag);
      this.events.delivered(message);
    });
    const [{ consumerTag }] = await Promise.all([consuming, limited]);
    consumer.tag = consumerTag;
  }
}

function sum(consumers: readonly Consumer[]): number {
  return consumers.reduce((total, one) => total + one.prefetch, 0);
}
