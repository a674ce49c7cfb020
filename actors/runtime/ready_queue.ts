/** The actors whose turn may come, each at most once. Linked through the cells, so that it allocates nothing. */

/** What can stand in the queue. */
export interface Queued {
  queued: boolean;
  nextQueued: Queued | null;
}

/** First in, first out, or by position for a seeded order. */
export class ReadyQueue<T extends Queued> {
  #first: T | null = null;
  #last: T | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Puts it at the end, unless it stands in the queue already. */
  add(item: T): void {
    if (item.queued) return;
    item.queued = true;
    if (this.#last === null) this.#first = item;
    else this.#last.nextQueued = item;
    this.#last = item;
    this.#size++;
  }

  /** Takes the item at a position (0 is the first), or null when there is none. */
  take(position: number): T | null {
    let before: T | null = null;
    let item = this.#first;
    for (let step = 0; step < position && item !== null; step++) {
      before = item;
      item = item.nextQueued as T | null;
    }
    if (item === null) return null;
    const next = item.nextQueued as T | null;
    if (before === null) this.#first = next;
    else before.nextQueued = next;
    if (next === null) this.#last = before;
    item.nextQueued = null;
    item.queued = false;
    this.#size--;
    return item;
  }
}
