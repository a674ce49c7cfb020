/** What all lists have in common: `{items, nextCursor}`, `limit` and `cursor`. */
import { z } from "zod";
import type { Page } from "../actors/ports/store.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import { queryInteger } from "./fields.ts";

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 200;

/** The parameters of a list that goes on. */
export const pageQuery = {
  limit: queryInteger(1, MAX_LIMIT).optional().describe(`How many at most; ${DEFAULT_LIMIT} when absent`),
  cursor: z.string().max(2000).optional().describe("nextCursor of the page before, with the same filter"),
};

/** A list in an answer. */
export function listView<T extends z.ZodType>(item: T) {
  return z.strictObject({
    items: z.array(item),
    nextCursor: z.string().nullable().describe("Goes on where this page ends; null at the end"),
  });
}

/** What a page is asked with: `filter` are the other parameters, as they came in. */
export interface PageRequest {
  readonly storeId: string;
  readonly list: string;
  readonly filter: Readonly<Record<string, unknown>>;
  readonly limit: number | undefined;
  readonly cursor: string | undefined;
}

/** Reads one page of a list and writes it. Throws ApiProblem for a cursor from elsewhere. */
export async function page<T, V>(
  request: PageRequest,
  read: (limit: number, after: string | null) => Promise<Page<T>>,
  view: (item: T) => V,
): Promise<{ readonly items: readonly V[]; readonly nextCursor: string | null }> {
  const given = Object.entries(request.filter).filter(([, value]) => value !== undefined).sort(([a], [b]) =>
    a < b ? -1 : 1
  );
  const scope = { storeId: request.storeId, list: [request.list, given] };
  const after = await readCursor(scope, request.cursor);
  const { items, next } = await read(request.limit ?? DEFAULT_LIMIT, after);
  return { items: items.map(view), nextCursor: await writeCursor(scope, next) };
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** A filter of the parameters that were given. */
export function withoutUndefined<T extends Record<string, unknown>>(given: T): Partial<Defined<T>> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<
    Defined<T>
  >;
}
