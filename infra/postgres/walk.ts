/** Long walks over an index in chunks, so that no statement runs long. */
import type { Page } from "../../actors/ports/store.ts";

/** Rows looked at by one statement. */
const CHUNK = 1000;

/**
 * Collects a page: reads chunks after a key until `limit` rows have passed the filter or the index ends.
 * Without a filter the first chunk is the page.
 */
export async function collectPage<Row, T>(options: {
  readonly limit: number;
  readonly after: string | null;
  readonly isFiltered: boolean;
  /** The next rows in order, after the key; at most `count`. */
  readonly read: (after: string | null, count: number) => Promise<readonly Row[]>;
  readonly keyOf: (row: Row) => string;
  /** The items of rows, null for those that do not pass; in the order of the rows. */
  readonly toItems: (rows: readonly Row[]) => Promise<readonly (T | null)[]>;
}): Promise<Page<T>> {
  const { limit, isFiltered, read, keyOf, toItems } = options;
  const count = isFiltered ? Math.max(CHUNK, limit + 1) : limit + 1;
  const items: T[] = [];
  let last: string | null = null;
  let after = options.after;
  while (true) {
    const rows = await read(after, count);
    for (const [index, item] of (await toItems(rows)).entries()) {
      const row = rows[index];
      if (item === null || row === undefined) continue;
      if (items.length === limit) return { items, next: last };
      items.push(item);
      last = keyOf(row);
    }
    const end = rows.at(-1);
    if (end === undefined || rows.length < count) return { items, next: null };
    after = keyOf(end);
  }
}
