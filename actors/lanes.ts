/**
 * Lanes of one worker process: `Worker.MaxParallelJobs` bounds all job types together. Consumers take lanes before
 * they claim. Who finds none stands in line, and keeps the place when its messages go back to the queue meanwhile; a
 * freed lane is kept for the first in line until that one has taken it, or leaves it: so that busy types, however many,
 * cannot starve another.
 */
export class Lanes {
  #free: number;
  /** Consumers that wait for a lane. */
  readonly #line: Waiting[] = [];
  /** Those that have been woken: one lane each is theirs, and not free. */
  readonly #keptFor = new Set<string>();

  /** `total`: how many attempts may run in this process at once. */
  constructor(readonly total: number) {
    this.#free = total;
  }

  get free(): number {
    return this.#free;
  }

  /** A consumer waits for a lane, with messages in hand or after it gave them back. */
  get isWanted(): boolean {
    return this.#line.length > 0;
  }

  /** Takes up to `wanted` lanes and says how many. With fewer than wanted, it stands in line. */
  take(key: string, wanted: number, wake: () => void): number {
    const kept = this.#keptFor.delete(key) ? 1 : 0;
    const others = Math.min(wanted - kept, this.#free);
    this.#free -= others;
    if (kept + others < wanted) this.wait(key, wake);
    return kept + others;
  }

  give(count: number): void {
    this.#free += count;
    while (this.#free > 0) {
      const first = this.#line.shift();
      if (first === undefined) return;
      // One that is woken twice before it looks gets one.
      if (!this.#keptFor.has(first.key)) this.#free -= 1;
      this.#keptFor.add(first.key);
      first.wake();
    }
  }

  /** Stands in line: `wake` is called once, when a lane is kept for it. */
  wait(key: string, wake: () => void): void {
    if (!this.#line.some((one) => one.key === key)) this.#line.push({ key, wake });
  }

  /** Keeps a lane for this one until it takes or leaves it, if that can be; true when one is kept. */
  keep(key: string): boolean {
    if (this.#keptFor.has(key)) return true;
    if (this.#free === 0) return false;
    this.#free -= 1;
    this.#keptFor.add(key);
    return true;
  }

  /** It needs no lane: one that was kept for it goes to the next. */
  leave(key: string): void {
    if (this.#keptFor.delete(key)) this.give(1);
  }

  /** It waits no more, and needs no lane. */
  forget(key: string): void {
    const at = this.#line.findIndex((one) => one.key === key);
    if (at >= 0) this.#line.splice(at, 1);
    this.leave(key);
  }
}

interface Waiting {
  readonly key: string;
  readonly wake: () => void;
}
