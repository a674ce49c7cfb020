/**
 * Lanes of one worker process: `Worker.MaxParallelJobs` bounds all job types together. Consumers take lanes before
 * they claim; a freed lane goes to the consumer that has waited longest, so that a busy type cannot starve another.
 */
export class Lanes {
  #free: number;
  readonly #waiting: { readonly key: string; readonly wake: () => void }[] = [];

  /** `total`: how many attempts may run in this process at once. */
  constructor(readonly total: number) {
    this.#free = total;
  }

  get free(): number {
    return this.#free;
  }

  /** Takes up to `wanted` lanes and says how many. With fewer than wanted, `wake` is called once when one is free. */
  take(key: string, wanted: number, wake: () => void): number {
    const taken = Math.min(wanted, this.#free);
    this.#free -= taken;
    if (taken < wanted && !this.#waiting.some((one) => one.key === key)) this.#waiting.push({ key, wake });
    return taken;
  }

  give(count: number): void {
    this.#free += count;
    if (this.#free > 0) this.#waiting.shift()?.wake();
  }

  /** Nobody with this key waits any more. */
  forget(key: string): void {
    const at = this.#waiting.findIndex((one) => one.key === key);
    if (at >= 0) this.#waiting.splice(at, 1);
  }
}
