/** The due index in process: a binary heap of (due time, job), with outdated entries left in until they surface. */
import type { DueEntry, DueIndex } from "../../actors/ports/due_index.ts";

export class EmbeddedDueIndex implements DueIndex {
  /** The truth of this index; a heap entry that is not the very one here is outdated. */
  readonly #entries = new Map<string, DueEntry>();
  #heap: DueEntry[] = [];
  #builder: string | null = null;

  put(entries: readonly DueEntry[]): Promise<void> {
    for (const entry of entries) {
      if (this.#entries.get(entry.jobId)?.dueAt === entry.dueAt) continue;
      // An object of its own: a job that moves there and back must not find its first entry valid again.
      const own = { jobId: entry.jobId, dueAt: entry.dueAt };
      this.#entries.set(entry.jobId, own);
      this.#push(own);
    }
    // Moving a job leaves its old entry behind; without this a heap of often moved jobs would grow for ever.
    if (this.#heap.length > 2 * this.#entries.size + 1024) this.#rebuild();
    return Promise.resolve();
  }

  remove(jobIds: readonly string[]): Promise<void> {
    for (const jobId of jobIds) this.#entries.delete(jobId);
    return Promise.resolve();
  }

  due(now: number, limit: number): Promise<readonly DueEntry[]> {
    const found: DueEntry[] = [];
    while (found.length < limit) {
      const first = this.#first();
      if (first === undefined || first.dueAt > now) break;
      found.push(first);
      this.#pop();
    }
    for (const entry of found) this.#push(entry);
    return Promise.resolve(found);
  }

  nextAt(): Promise<number | null> {
    return Promise.resolve(this.#first()?.dueAt ?? null);
  }

  size(): Promise<number> {
    return Promise.resolve(this.#entries.size);
  }

  clear(): Promise<void> {
    this.#entries.clear();
    this.#heap = [];
    this.#builder = null;
    return Promise.resolve();
  }

  markBuilt(builder: string): Promise<void> {
    this.#builder = builder;
    return Promise.resolve();
  }

  builtBy(): Promise<string | null> {
    return Promise.resolve(this.#builder);
  }

  /** The earliest entry that is not outdated. */
  #first(): DueEntry | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (this.#entries.get(top.jobId) === top) return top;
      this.#pop();
    }
    return undefined;
  }

  #rebuild(): void {
    // A sorted array is a heap.
    this.#heap = [...this.#entries.values()].sort((a, b) => a.dueAt - b.dueAt);
  }

  #push(entry: DueEntry): void {
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || above.dueAt <= entry.dueAt) break;
      heap[place] = above;
      place = parent;
    }
    heap[place] = entry;
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
      const child = right !== undefined && right.dueAt < left.dueAt ? right : left;
      if (child.dueAt >= last.dueAt) break;
      heap[place] = child;
      place = 2 * place + (child === left ? 1 : 2);
    }
    heap[place] = last;
  }
}
