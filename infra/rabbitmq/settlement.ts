/**
 * Acknowledgements of one channel, gathered over a turn of the event loop: a run of settled deliveries with none
 * open before it is one frame instead of many.
 */
import type { Channel, Message } from "amqplib";

export class Settlement {
  /** Delivery tags that are open, oldest first. */
  readonly #open = new Set<number>();
  #toAck: number[] = [];
  #isFlushAsked = false;
  #isOver = false;

  constructor(private readonly channel: Channel) {}

  get open(): number {
    return this.#open.size;
  }

  delivered(tag: number): void {
    this.#open.add(tag);
  }

  ack(tag: number): void {
    if (this.#isOver) return;
    this.#toAck.push(tag);
    if (this.#isFlushAsked) return;
    this.#isFlushAsked = true;
    setImmediate(() => this.flush());
  }

  /** Back to its queue, for anybody. */
  requeue(tag: number): void {
    if (this.#isOver) return;
    this.flush();
    if (this.#isOver || !this.#open.delete(tag)) return;
    this.#send(() => this.channel.nack(asMessage(tag), false, true));
  }

  /** Sends what was gathered. */
  flush(): void {
    this.#isFlushAsked = false;
    if (this.#isOver || this.#toAck.length === 0) return;
    const tags = this.#toAck;
    this.#toAck = [];
    for (const tag of tags) this.#open.delete(tag);
    const [oldestOpen = Infinity] = this.#open;
    let upTo = 0;
    for (const tag of tags) {
      if (tag < oldestOpen) upTo = Math.max(upTo, tag);
      else this.#send(() => this.channel.ack(asMessage(tag)));
    }
    if (upTo > 0) this.#send(() => this.channel.ack(asMessage(upTo), true));
  }

  /** The channel is gone: the broker delivers again what is open, and nothing is to be sent any more. */
  over(): void {
    this.#isOver = true;
    this.#open.clear();
    this.#toAck = [];
  }

  #send(send: () => void): void {
    try {
      send();
    } catch {
      // The channel ended in this very turn; its end is heard of otherwise.
      this.over();
    }
  }
}

/** amqplib reads nothing but the tag. */
function asMessage(deliveryTag: number): Message {
  return { fields: { deliveryTag } } as Message;
}
