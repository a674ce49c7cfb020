/**
 * How many messages a consumer takes: as many as it has lanes, and a look-ahead of those that lanes will surely take in
 * a moment; none while it is paused. Without the look-ahead a lane idles from the end of a run until its report is safe
 * and the next message has come.
 */
import type { Subscription } from "./ports/queue.ts";

/** Messages that lanes take within this time are taken ahead, at most so many a lane. */
const AHEAD_MS = 100;
const AHEAD_AT_MOST = 5;
/** How much one run counts in the average. */
const WEIGHT = 1 / 16;

/** full: what came was given back, for no lane came free. */
export type PauseReason = "full" | "claims-fail";

export class MessageFlow {
  #subscription: Subscription | null = null;
  #prefetch: number;
  #paused: PauseReason | null = null;
  #averageMs: number | null = null;

  constructor(private readonly lanes: number) {
    this.#prefetch = lanes;
  }

  get subscription(): Subscription | null {
    return this.#subscription;
  }

  /** Messages that may be held unacknowledged. */
  get prefetch(): number {
    return this.#prefetch;
  }

  get paused(): PauseReason | null {
    return this.#paused;
  }

  begin(subscription: Subscription): void {
    this.#subscription = subscription;
    if (this.#paused !== null) subscription.setPrefetch(0);
  }

  pause(why: PauseReason): void {
    if (this.#paused === null) this.#subscription?.setPrefetch(0);
    this.#paused = why;
  }

  resume(): void {
    if (this.#paused === null) return;
    this.#paused = null;
    this.#subscription?.setPrefetch(this.#prefetch);
  }

  /** A run has ended. */
  ran(durationMs: number): void {
    this.#averageMs = this.#averageMs === null
      ? durationMs
      : this.#averageMs + (durationMs - this.#averageMs) * WEIGHT;
  }

  /** What was taken ahead found no lane: runs are longer than they were. No look-ahead until they are short again. */
  noneAhead(): void {
    this.#averageMs = Math.max(this.#averageMs ?? 0, AHEAD_MS * (this.lanes + 1));
    this.adjust();
  }

  adjust(): void {
    if (this.#averageMs === null) return;
    const ahead = Math.min(AHEAD_AT_MOST * this.lanes, Math.floor(this.lanes * AHEAD_MS / this.#averageMs));
    const before = this.#prefetch - this.lanes;
    // A change costs the broker something, and averages tremble.
    if (ahead === before || (ahead > before * 0.7 && ahead < before * 1.5)) return;
    this.#prefetch = this.lanes + ahead;
    if (this.#paused === null) this.#subscription?.setPrefetch(this.#prefetch);
  }
}
