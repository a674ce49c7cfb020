/** A clock that stands still until it is told to go on. */
import type { KernelClock } from "./actor.ts";

interface Due {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/** The manual twin of the `Clock` port. */
export class ManualClock implements KernelClock {
  #mono = 0;
  /** Wall time at monotonic time 0. */
  #wallAtZero: number;
  #order = 0;
  /** Sorted: the next one is last. */
  readonly #due: Due[] = [];
  #settle: () => Promise<void> = async () => {};

  /** Starts at 2026-01-01 unless `now` (epoch milliseconds) says otherwise; monotonic time starts at 0. */
  constructor(options: { readonly now?: number } = {}) {
    this.#wallAtZero = options.now ?? Date.UTC(2026, 0, 1);
  }

  now(): number {
    return Math.round(this.#wallAtZero + this.#mono);
  }

  mono(): number {
    return this.#mono;
  }

  /** How many timers run. */
  get timers(): number {
    return this.#due.length;
  }

  timer(delayMs: number, callback: () => void): () => void {
    const due: Due = { at: this.#mono + Math.max(0, delayMs), order: this.#order++, callback };
    this.#due.splice(this.#placeOf(due), 0, due);
    return () => {
      const place = this.#placeOf(due);
      if (this.#due[place] === due) this.#due.splice(place, 1);
    };
  }

  /** What `advance` awaits between two timers: `() => system.idle()`. Without it nothing. */
  settleWith(settle: () => Promise<void>): void {
    this.#settle = settle;
  }

  /**
   * Lets `ms` milliseconds pass. Each timer that comes due on the way, old or new, fires at its own time, in
   * order; what it causes settles before the next. Does not wait for anything else.
   */
  async advance(ms: number): Promise<void> {
    const until = this.#mono + ms;
    await this.#settle();
    for (let due = this.#due.at(-1); due !== undefined && due.at <= until; due = this.#due.at(-1)) {
      this.#due.pop();
      this.#mono = due.at;
      due.callback();
      await this.#settle();
    }
    this.#mono = until;
  }

  /** The wall clock jumps, forth or back, as an operator or NTP makes it; monotonic time and timers do not. */
  setWall(epochMs: number): void {
    this.#wallAtZero = epochMs - this.#mono;
  }

  /** Where it stands, or would stand: before all that are due earlier, or at the same time and asked for earlier. */
  #placeOf(due: Due): number {
    let low = 0;
    let high = this.#due.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#due[middle];
      const later = other !== undefined &&
        (other.at > due.at || (other.at === due.at && other.order > due.order));
      if (later) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
