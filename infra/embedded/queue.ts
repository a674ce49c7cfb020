/**
 * The job queue in process, over the store: a bounded list of messages per type and pool. What does not fit is
 * answered `full` and stays where it is safe, in the store; recovery publishes it when the list has drained.
 */
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Delivery, PublishAnswer, Queue, QueueDepth, Subscription } from "../../actors/ports/queue.ts";

/** Messages a type's list holds at most: some 25 MB, and seconds of work for the fastest worker. */
export const QUEUE_BOUND = 50_000;
/** Room is announced when no more than this share is left: what is still waiting is then read again in vain. */
const DRAINED_SHARE = 1 / 16;

interface Consumer {
  readonly onDeliveries: (deliveries: readonly Delivery[]) => void;
  /** Both lists share the prefetch: the one that any pool may serve and the one pinned to its pool. */
  readonly queues: readonly TypeQueue[];
  prefetch: number;
  readonly held: Set<Held>;
}

interface Held {
  readonly message: JobMessage;
}

/** The list of one (type, pool). Taken from its front; a gap at the front is closed now and then. */
class MessageList {
  #items: Held[] = [];
  #front = 0;

  get length(): number {
    return this.#items.length - this.#front;
  }

  push(held: Held): void {
    this.#items.push(held);
  }

  /** A message that comes back keeps its place before younger ones. */
  putBack(held: Held): void {
    if (this.#front > 0) this.#items[--this.#front] = held;
    else this.#items.unshift(held);
  }

  take(count: number): Held[] {
    const taken = this.#items.slice(this.#front, this.#front + count);
    this.#front += taken.length;
    if (this.#front > 1024 && this.#front * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#front);
      this.#front = 0;
    }
    return taken;
  }
}

class TypeQueue {
  readonly waiting = new MessageList();
  readonly consumers: Consumer[] = [];
  unacknowledged = 0;
  /** Why a publisher was sent away since it last drained. */
  turnedAway: "full" | "unroutable" | null = null;
  nextConsumer = 0;

  constructor(readonly jobType: string, readonly pool: string | null) {}
}

export class EmbeddedQueue implements Queue {
  readonly #queues = new Map<string, TypeQueue>();
  /** occurrence → token of its newest message that waits or is unacknowledged. */
  readonly #known = new Map<string, number>();
  readonly #drainListeners = new Set<(jobType: string, why: "room" | "new") => void>();

  constructor(private readonly bound: number = QUEUE_BOUND) {}

  canPublish(): boolean {
    return true;
  }

  publish(messages: readonly JobMessage[]): Promise<readonly PublishAnswer[]> {
    const touched = new Set<TypeQueue>();
    const answers = messages.map((message): PublishAnswer => {
      const queue = this.#queue(message.jobType, message.pool);
      if (this.#known.get(message.occurrenceId) === message.token) return "accepted";
      if (queue.consumers.length === 0) {
        queue.turnedAway = "unroutable";
        return "unroutable";
      }
      if (queue.waiting.length >= this.bound) {
        queue.turnedAway = "full";
        return "full";
      }
      this.#known.set(message.occurrenceId, message.token);
      queue.waiting.push({ message });
      touched.add(queue);
      return "accepted";
    });
    for (const queue of touched) this.#deliver(queue);
    return Promise.resolve(answers);
  }

  consume(
    options: {
      readonly jobType: string;
      readonly routingPattern: string;
      readonly pool: string;
      readonly prefetch: number;
    },
    onDeliveries: (deliveries: readonly Delivery[]) => void,
  ): Promise<Subscription> {
    const queues = [this.#queue(options.jobType, null), this.#queue(options.jobType, options.pool)];
    const consumer: Consumer = { onDeliveries, queues, prefetch: options.prefetch, held: new Set() };
    for (const queue of queues) {
      queue.consumers.push(consumer);
      this.#deliver(queue);
    }
    for (const queue of queues) if (queue.turnedAway === "unroutable") this.#drained(queue, "new");
    return Promise.resolve({
      setPrefetch: (count) => {
        consumer.prefetch = count;
        for (const queue of queues) this.#deliver(queue);
      },
      stop: () => {
        for (const queue of queues) {
          const place = queue.consumers.indexOf(consumer);
          if (place >= 0) queue.consumers.splice(place, 1);
        }
        // The youngest first: each takes its place before the ones put back already.
        for (const held of [...consumer.held].reverse()) this.#putBack(held, consumer);
        for (const queue of queues) this.#deliver(queue);
        return Promise.resolve();
      },
    });
  }

  depth(): Promise<readonly QueueDepth[]> {
    return Promise.resolve(
      [...this.#queues.values()].map((queue) => ({
        jobType: queue.jobType,
        pool: queue.pool,
        ready: queue.waiting.length,
        unacknowledged: queue.unacknowledged,
        consumers: queue.consumers.length,
      })),
    );
  }

  onDrained(listener: (jobType: string, why: "room" | "new") => void): () => void {
    this.#drainListeners.add(listener);
    return () => this.#drainListeners.delete(listener);
  }

  #queue(jobType: string, pool: string | null): TypeQueue {
    const name = pool === null ? jobType : `${pool}/${jobType}`;
    const queue = this.#queues.get(name) ?? new TypeQueue(jobType, pool);
    this.#queues.set(name, queue);
    return queue;
  }

  /** Hands out what fits, to the consumers in turn. */
  #deliver(queue: TypeQueue): void {
    for (let tried = 0; tried < queue.consumers.length && queue.waiting.length > 0; tried += 1) {
      const consumer = queue.consumers[queue.nextConsumer % queue.consumers.length];
      queue.nextConsumer += 1;
      if (consumer === undefined) continue;
      const room = consumer.prefetch - consumer.held.size;
      if (room <= 0) continue;
      const taken = queue.waiting.take(room);
      queue.unacknowledged += taken.length;
      for (const held of taken) consumer.held.add(held);
      consumer.onDeliveries(taken.map((held) => this.#delivery(queue, consumer, held)));
    }
    if (queue.turnedAway === "full" && queue.waiting.length <= this.bound * DRAINED_SHARE) {
      this.#drained(queue, "room");
    }
  }

  #delivery(queue: TypeQueue, consumer: Consumer, held: Held): Delivery {
    return {
      message: held.message,
      ack: () => {
        if (!consumer.held.delete(held)) return;
        queue.unacknowledged -= 1;
        const { occurrenceId, token } = held.message;
        if (this.#known.get(occurrenceId) === token) this.#known.delete(occurrenceId);
        for (const one of consumer.queues) this.#deliver(one);
      },
      requeue: () => {
        this.#putBack(held, consumer);
        this.#deliver(queue);
      },
    };
  }

  #putBack(held: Held, consumer: Consumer): void {
    if (!consumer.held.delete(held)) return;
    const queue = this.#queue(held.message.jobType, held.message.pool);
    queue.unacknowledged -= 1;
    queue.waiting.putBack(held);
  }

  #drained(queue: TypeQueue, why: "room" | "new"): void {
    queue.turnedAway = null;
    for (const listener of [...this.#drainListeners]) listener(queue.jobType, why);
  }
}
