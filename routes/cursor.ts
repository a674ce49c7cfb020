/**
 * Cursors: where a list goes on. Opaque to clients, bound to the list, its filter and the store they come from, so
 * that one made up, changed, or taken from another list is refused instead of giving a page of something else.
 */
import { problem } from "./errors.ts";

const DIGEST_BYTES = 9;

/** What a cursor belongs to. */
export interface CursorScope {
  readonly storeId: string;
  /** The list and its filter; order and spelling count. */
  readonly list: readonly unknown[];
}

/** Writes the store's key as a cursor; null stays null. */
export async function writeCursor(scope: CursorScope, key: string | null): Promise<string | null> {
  if (key === null) return null;
  return toBase64Url(new TextEncoder().encode(JSON.stringify([key, await digest(scope, key)])));
}

/** The store's key in a cursor, null when there is no cursor. Throws ApiProblem when it is not one of this list. */
export async function readCursor(scope: CursorScope, cursor: string | undefined): Promise<string | null> {
  if (cursor === undefined) return null;
  const [key, sum] = parsed(cursor);
  if (key !== null && sum === await digest(scope, key)) return key;
  const message = "The cursor does not belong to this list with this filter. Begin again without a cursor.";
  throw problem("cursor_invalid", message, {
    errors: [{ field: "cursor", code: "cursor_invalid", message }],
  });
}

function parsed(cursor: string): readonly [key: string | null, sum: unknown] {
  try {
    const parts: unknown = JSON.parse(
      new TextDecoder().decode(Uint8Array.fromBase64(cursor, { alphabet: "base64url" })),
    );
    return Array.isArray(parts) && typeof parts[0] === "string" ? [parts[0], parts[1]] : [null, null];
  } catch {
    return [null, null];
  }
}

/** Not a secret: it tells mistakes from cursors, and whoever may list may see every page anyway. */
async function digest(scope: CursorScope, key: string): Promise<string> {
  const text = JSON.stringify([scope.storeId, ...scope.list, key]);
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return toBase64Url(new Uint8Array(bytes, 0, DIGEST_BYTES));
}

function toBase64Url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
