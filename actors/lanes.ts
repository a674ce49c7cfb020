/**
 * Lanes of one worker process: `Worker.MaxParallelJobs` bounds all job types together. Consumers take lanes before
 * they claim; a freed lane goes to the consumer that has waited longest, so that a busy type cannot starve another.
 */
export class Lanes {
  #free: number;
  /** Consumers with messages in hand that wait for a lane, in turn. */
  readonly #waiting: Waiting[] = [];
  /** Consumers that gave their messages back and want to hear of a free lane. */
  readonly #paused: Waiting[] = [];

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
    if (taken < wanted) addOnce(this.#waiting, { key, wake });
    else this.pass();
    return taken;
  }

  give(count: number): void {
    this.#free += count;
    this.pass();
  }

  /** Who was woken and needs nothing passes the free lane on. */
  pass(): void {
    if (this.#free === 0) return;
    const first = this.#waiting.shift();
    if (first !== undefined) first.wake();
    else for (const paused of this.#paused.splice(0)) paused.wake();
  }

  /** Calls `wake` once when a lane is free and no consumer with messages in hand waits for it. */
  whenFree(key: string, wake: () => void): void {
    addOnce(this.#paused, { key, wake });
  }

  /** Nobody with this key waits any more. */
  forget(key: string): void {
    for (const list of [this.#waiting, this.#paused]) {
      const at = list.findIndex((one) => one.key === key);
      if (at >= 0) list.splice(at, 1);
    }
  }
}

interface Waiting {
  readonly key: string;
  readonly wake: () => void;
}

function addOnce(list: Waiting[], one: Waiting): void {
  if (!list.some(({ key }) => key === one.key)) list.push(one);
}
