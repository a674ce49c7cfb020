/** Long walks over an index that never hold the event loop: a chunk of rows, then a turn for everybody else. */
import { setImmediate } from "node:timers";
import type { Page } from "../../actors/ports/store.ts";

/** Rows looked at in one turn: about a millisecond. */
const CHUNK = 1000;

/** A turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Collects a page: reads chunks after a key until `limit` rows have passed the filter or the index ends.
 * Without a filter the first chunk is the page.
 */
export async function collectPage<Row, T>(options: {
  readonly limit: number;
  readonly after: string | null;
  readonly isFiltered: boolean;
  /** The next rows in order, after the key; at most `count`. */
  readonly read: (after: string | null, count: number) => readonly Row[];
  readonly keyOf: (row: Row) => string;
  /** The item of a row, or null when it does not pass. */
  readonly toItem: (row: Row) => T | null;
}): Promise<Page<T>> {
  const { limit, isFiltered, read, keyOf, toItem } = options;
  const count = isFiltered ? Math.max(CHUNK, limit + 1) : limit + 1;
  const items: T[] = [];
  let last: string | null = null;
  let after = options.after;
  while (true) {
    const rows = read(after, count);
    for (const row of rows) {
      const item = toItem(row);
      if (item === null) continue;
      if (items.length === limit) return { items, next: last };
      items.push(item);
      last = keyOf(row);
    }
    const end = rows.at(-1);
    if (end === undefined || rows.length < count) return { items, next: null };
    after = keyOf(end);
    await nextTurn();
  }
}
