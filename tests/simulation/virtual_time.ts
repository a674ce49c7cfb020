/**
 * Time and order of a simulated world. One thing happens at a time, all its promises settle, then comes the next: of
 * what is ready in the same moment the seed chooses. Time goes on only when nothing is ready.
 */
import type { Chance } from "./chance.ts";

interface Timer {
  readonly at: number;
  /** Among timers of the same moment. */
  readonly tie: number;
  callback: (() => void) | null;
}

/** More than this in one moment is a loop that never lets time go on. */
const EVENTS_IN_A_MOMENT = 1_000_000;

export class VirtualTime {
  /** How many things have happened. */
  events = 0;
  #mono = 0;
  #eventsBefore = 0;
  #digest = 0;
  readonly #ready: (() => void)[] = [];
  readonly #heap: Timer[] = [];

  constructor(private readonly order: Chance) {}

  /** Milliseconds since the beginning. */
  get mono(): number {
    return this.#mono;
  }

  /** Differs when anything happened at another time or in another order. */
  get digest(): number {
    return this.#digest >>> 0;
  }

  /** Runs it in this moment, before or after whatever else is ready. */
  soon(run: () => void): void {
    this.#ready.push(run);
  }

  /** Settles in this moment, before or after whatever else is ready. */
  turn(): Promise<void> {
    return new Promise((resolve) => this.soon(resolve));
  }

  /** Calls back once after `delayMs`. The result cancels it. */
  timer(delayMs: number, callback: () => void): () => void {
    const timer: Timer = { at: this.#mono + Math.max(0, delayMs), tie: this.order.next(), callback };
    this.#push(timer);
    return () => timer.callback = null;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.timer(ms, resolve));
  }

  /** Lets time pass, with all that happens meanwhile. */
  async advance(ms: number): Promise<void> {
    const until = this.#mono + ms;
    while (await this.#step(until));
    this.#mono = until;
  }

  /** Lets time pass until it settles; fails when nothing is left that could settle it, or after `atMostMs`. */
  async until<T>(promise: Promise<T>, atMostMs = 3_600_000): Promise<T> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    promise.then(settled, settled);
    await drained();
    const over = this.#mono + atMostMs;
    while (!isSettled && await this.#step(over));
    if (!isSettled) throw new Error(`Waited ${atMostMs} simulated ms for something that never came`);
    return await promise;
  }

  /** The next thing happens; false when there is none by then. */
  async #step(until: number): Promise<boolean> {
    if (this.#ready.length === 0 && !this.#moveOn(until)) return false;
    const place = this.#ready.length === 1 ? 0 : this.order.below(this.#ready.length);
    const run = this.#ready[place];
    const last = this.#ready.pop();
    if (last !== undefined && place < this.#ready.length) this.#ready[place] = last;
    this.events += 1;
    if (this.events - this.#eventsBefore > EVENTS_IN_A_MOMENT) {
      throw new Error(`Simulated time stands still at ${this.#mono} ms: something goes on without end`);
    }
    this.#digest = Math.imul(this.#digest ^ (this.#mono * 8 + this.#ready.length), 0x01000193) + place;
    run?.();
    await drained();
    return true;
  }

  /** To the moment of the next timer, and of all others that are due in it. */
  #moveOn(until: number): boolean {
    for (let first = this.#heap[0]; first !== undefined && first.at <= until; first = this.#heap[0]) {
      const { at } = first;
      for (let due = this.#heap[0]; due !== undefined && due.at === at; due = this.#heap[0]) {
        this.#pop();
        const timer = due;
        if (timer.callback !== null) this.#ready.push(() => timer.callback?.());
      }
      if (this.#ready.length === 0) continue;
      this.#mono = at;
      this.#eventsBefore = this.events;
      return true;
    }
    return false;
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(timer, above)) break;
      heap[place] = above;
      place = parent;
    }
    heap[place] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let place = 0;
    while (true) {
      const left = heap[2 * place + 1];
      const right = heap[2 * place + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (!isBefore(child, last)) break;
      heap[place] = child;
      place = 2 * place + (isRight ? 2 : 1);
    }
    heap[place] = last;
  }
}

function isBefore(one: Timer, other: Timer): boolean {
  return one.at < other.at || (one.at === other.at && one.tie < other.tie);
}

/** Only the event loop knows when no promise is left to settle. */
function drained(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
