/**
 * Queues that take nothing more. Their rows keep their place, which is before all that wanted a look later; so recovery
 * passes them over until there is room, or a page of them would hide what is behind them.
 *
 * There may be news of room between the moment at which something is published and that of the answer. Such an answer
 * says nothing: `timesDrained` is read before, and told afterwards.
 */
import type { Clock } from "./ports/clock.ts";
import type { JobMessage } from "./domain/message.ts";
import type { PassedOver, QueueName } from "./ports/store.ts";

/** News of room may be lost: after so long all are asked again. */
const ASK_AGAIN_MS = 10_000;
/** A row may be committed so long after the moment at which it wants a look. */
const LATE_MS = 60_000;

export class FullQueues {
  #queues: QueueName[] = [];
  #askAgainAt = 0;
  #from = -Infinity;
  #timesDrained = 0;

  constructor(private readonly clock: Pick<Clock, "mono">) {}

  get none(): boolean {
    return this.#queues.length === 0;
  }

  get timesDrained(): number {
    return this.#timesDrained;
  }

  /** What needs no look now, or null when everything does. */
  passedOver(): PassedOver | null {
    if (this.clock.mono() >= this.#askAgainAt) this.forget();
    return this.none ? null : { queues: this.#queues, from: this.#from };
  }

  /** These were turned away. */
  add(messages: readonly JobMessage[], timesDrained: number): void {
    if (timesDrained !== this.#timesDrained) return;
    if (this.none) this.#askAgainAt = this.clock.mono() + ASK_AGAIN_MS;
    for (const { jobType, pool } of messages) {
      const isKnown = this.#queues.some((one) => one.jobType === jobType && one.pool === pool);
      if (!isKnown) this.#queues.push({ jobType, pool });
    }
  }

  /** All that wanted a look at this moment (epoch milliseconds) and is not theirs has had it. */
  looked(now: number, timesDrained: number): void {
    if (timesDrained === this.#timesDrained && !this.none) this.#from = now - LATE_MS;
  }

  /** There may be room in the queues of this type. */
  drained(jobType: string): void {
    this.#timesDrained += 1;
    this.#queues = this.#queues.filter((one) => one.jobType !== jobType);
    this.#from = -Infinity;
  }

  forget(): void {
    this.#queues = [];
    this.#from = -Infinity;
  }
}
