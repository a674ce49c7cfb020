/** Collects what arrives by itself, so that a test can await it. */
export class Inbox<T> {
  readonly #items: T[] = [];
  #waiting: { readonly count: number; readonly resolve: (items: T[]) => void } | null = null;

  push(items: readonly T[]): void {
    this.#items.push(...items);
    const waiting = this.#waiting;
    if (waiting === null || this.#items.length < waiting.count) return;
    this.#waiting = null;
    waiting.resolve(this.#items.splice(0, waiting.count));
  }

  /** The next `count` items, once there are so many. */
  take(count: number): Promise<T[]> {
    if (this.#items.length >= count) return Promise.resolve(this.#items.splice(0, count));
    return new Promise((resolve) => this.#waiting = { count, resolve });
  }

  /** True while somebody waits for more. */
  get isAwaited(): boolean {
    return this.#waiting !== null;
  }

  /** What has arrived and was not taken. */
  get length(): number {
    return this.#items.length;
  }
}
