/** Idempotency keys: what a request with this key brought about the first time. */
import type { Session } from "./database.ts";
import { numbers, storable, texts, time } from "./literal.ts";

/** How long a key is remembered. */
const KEY_LIFETIME_MS = 24 * 60 * 60 * 1000;
/** Old keys deleted on the way of each new one: more than one, so that the table shrinks. */
const PURGED_AT_ONCE = 10;

/** `Idempotency-Key`, with a hash of the request it came with. */
export interface RequestKey {
  readonly key: string;
  readonly requestHash: string;
}

/** What is known of a key. */
export interface KnownKey {
  readonly requestHash: string;
  /** The ids of the first answer. */
  readonly ids: readonly string[];
}

/**
 * What is known of these keys, by `storable(key)`. Holds them until the transaction ends: of two requests with one
 * key, the second waits for the first to commit.
 */
export async function seenKeys(
  session: Session,
  given: readonly RequestKey[],
  at: number,
): Promise<ReadonlyMap<string, KnownKey>> {
  const keys = [...new Set(given.map(({ key }) => storable(key)))].sort();
  if (keys.length === 0) return new Map();
  await session.rows(
    `SELECT pg_advisory_xact_lock(k.hash) FROM (SELECT hashtextextended(u.key, 0) AS hash
       FROM unnest($1::text[]) AS u (key) ORDER BY 1) AS k`,
    [texts(keys)],
  );
  const rows = await session.rows(
    `SELECT key, request_hash, occurrence_ids FROM idempotency
      WHERE key = ANY($1::text[]) AND created_at > ${time("$2::float8")}`,
    [texts(keys), at - KEY_LIFETIME_MS],
  );
  return new Map(
    rows.map((
      [key, hash, ids],
    ) => [String(key), { requestHash: String(hash), ids: JSON.parse(String(ids)) }]),
  );
}

/** Remembers what requests with these keys brought about. */
export async function keepKeys(
  session: Session,
  kept: readonly (RequestKey & KnownKey)[],
  at: number,
): Promise<void> {
  if (kept.length === 0) return;
  await session.rows(
    `DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at <= ${
      time("$1::float8")
    }
       ORDER BY created_at LIMIT ${PURGED_AT_ONCE} FOR UPDATE SKIP LOCKED)`,
    [at - KEY_LIFETIME_MS],
  );
  await session.rows(
    `INSERT INTO idempotency (key, request_hash, created_at, occurrence_ids)
     SELECT u.key, u.hash, ${time("u.at")}, u.ids
       FROM unnest($1::text[], $2::text[], $3::float8[], $4::text[]) AS u (key, hash, at, ids)
     ON CONFLICT (key) DO UPDATE SET request_hash = excluded.request_hash, created_at = excluded.created_at,
       occurrence_ids = excluded.occurrence_ids`,
    [
      texts(kept.map((one) => one.key)),
      texts(kept.map((one) => one.requestHash)),
      numbers(kept.map(() => at)),
      texts(kept.map((one) => JSON.stringify(one.ids))),
    ],
  );
}
