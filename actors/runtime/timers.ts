/**
 * The keyed timers of one run of an actor. A timer that fires puts a tick into the mailbox; until that tick is
 * opened the timer can still be cancelled or replaced, and then the tick is void. The generation that this takes
 * is the identity of the timer object: each `after` and `every` makes a new one.
 */
import type { KernelClock } from "./actor.ts";
import { NOTHING, type Sealed } from "./mailbox.ts";

/** One generation of one key; sealed in the mailbox when it has fired. */
class Timer<M> implements Sealed {
  readonly carries = NOTHING;
  live = true;
  /** A tick of this timer waits in the mailbox. */
  waiting = false;
  cancelClock: () => void = () => {};

  constructor(
    readonly timers: Map<string, Timer<M>>,
    readonly key: string,
    readonly message: M,
    /** Milliseconds between ticks, or null for one tick. */
    readonly periodMs: number | null,
  ) {}

  open(): M | typeof NOTHING {
    if (!this.live) return NOTHING;
    this.waiting = false;
    if (this.periodMs === null) this.end();
    return this.message;
  }

  end(): void {
    this.live = false;
    this.cancelClock();
    this.timers.delete(this.key);
  }
}

/** Timers by key, on a clock. `deliver` takes the ticks to the mailbox. */
export class Timers<M> {
  readonly #clock: KernelClock;
  readonly #deliver: (tick: Sealed, key: string) => void;
  readonly #timers = new Map<string, Timer<M>>();

  constructor(clock: KernelClock, deliver: (tick: Sealed, key: string) => void) {
    this.#clock = clock;
    this.#deliver = deliver;
  }

  /** How many timers run or have a tick that waits. */
  get size(): number {
    return this.#timers.size;
  }

  /** One tick after `delayMs` (0 or more, finite; else a RangeError). Replaces the timer of that key. */
  after(key: string, delayMs: number, message: M): void {
    if (!Number.isFinite(delayMs) || delayMs < 0) {
      throw new RangeError(`Timer ${key}: the delay is a finite number of milliseconds, not ${delayMs}`);
    }
    this.#arm(this.#add(key, message, null), this.#clock.mono() + delayMs, delayMs);
  }

  /** A tick each `periodMs` (more than 0, finite; else a RangeError), without drift. Replaces likewise. */
  every(key: string, periodMs: number, message: M): void {
    if (!Number.isFinite(periodMs) || periodMs <= 0) {
      throw new RangeError(`Timer ${key}: the period is a finite number above 0, not ${periodMs}`);
    }
    this.#arm(this.#add(key, message, periodMs), this.#clock.mono() + periodMs, periodMs);
  }

  /** Ends the timer of that key, if there is one. A tick of it that waits is void. */
  cancel(key: string): void {
    this.#timers.get(key)?.end();
  }

  /** Ends all of them. */
  cancelAll(): void {
    for (const timer of this.#timers.values()) timer.end();
  }

  #add(key: string, message: M, periodMs: number | null): Timer<M> {
    this.cancel(key);
    const timer = new Timer(this.#timers, key, message, periodMs);
    this.#timers.set(key, timer);
    return timer;
  }

  #arm(timer: Timer<M>, dueAt: number, delayMs: number): void {
    timer.cancelClock = this.#clock.timer(delayMs, () => this.#fired(timer, dueAt));
  }

  #fired(timer: Timer<M>, dueAt: number): void {
    if (timer.periodMs !== null) {
      // A clock that comes late (a busy process, a laptop asleep) leaves ticks out rather than firing in a burst.
      const now = this.#clock.mono();
      const late = Math.max(0, Math.floor((now - dueAt) / timer.periodMs));
      const nextAt = dueAt + (late + 1) * timer.periodMs;
      this.#arm(timer, nextAt, Math.max(0, nextAt - now));
    }
    if (timer.waiting) return;
    timer.waiting = true;
    this.#deliver(timer, timer.key);
  }
}
