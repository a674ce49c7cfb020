/** Idempotency keys: what a request with this key brought about the first time. */
import type { Database, Statement } from "./database.ts";

/** How long a key is remembered. */
const KEY_LIFETIME_MS = 24 * 60 * 60 * 1000;
/** Old keys deleted on the way of each new one: more than one, so that the table shrinks. */
const PURGED_AT_ONCE = 10;

/** `Idempotency-Key`, with a hash of the request it came with. */
export interface RequestKey {
  readonly key: string;
  readonly requestHash: string;
}

export class IdempotencyKeys {
  readonly #find: Statement;
  readonly #keep: Statement;
  readonly #purge: Statement;

  constructor(database: Database) {
    this.#find = database.prepare(
      "SELECT request_hash, occurrence_ids FROM idempotency WHERE key = ? AND created_at > ?",
    );
    this.#keep = database.prepare(
      `INSERT INTO idempotency (key, request_hash, created_at, occurrence_ids) VALUES (?, ?, ?, ?)
         ON CONFLICT (key) DO UPDATE SET request_hash = excluded.request_hash, created_at = excluded.created_at,
           occurrence_ids = excluded.occurrence_ids`,
    );
    this.#purge = database.prepare(
      `DELETE FROM idempotency WHERE key IN
         (SELECT key FROM idempotency WHERE created_at <= ? ORDER BY created_at LIMIT ${PURGED_AT_ONCE})`,
    );
  }

  /** The ids of the first answer; `mismatch` when another request came with the key; null when none did. */
  find(given: RequestKey | null, at: number): readonly string[] | "mismatch" | null {
    if (given === null) return null;
    const seen = this.#find.row(given.key, at - KEY_LIFETIME_MS);
    if (seen === undefined) return null;
    return seen[0] === given.requestHash ? JSON.parse(String(seen[1])) : "mismatch";
  }

  keep(given: RequestKey | null, at: number, ids: readonly string[]): void {
    if (given === null) return;
    this.#purge.execute(at - KEY_LIFETIME_MS);
    this.#keep.execute(given.key, given.requestHash, at, JSON.stringify(ids));
  }
}
