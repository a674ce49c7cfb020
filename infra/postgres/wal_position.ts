/**
 * Positions in the write-ahead log, the order of all that a server ever wrote. A replica has a transaction once it has
 * replayed the position at which the transaction's commit ended.
 */
import type { Position } from "../../actors/ports/reads.ts";
import type { Session } from "./database.ts";

/**
 * After every commit that was answered by now: on the disk already, unless the server answers commits before that.
 */
const WRITTEN = `CASE WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn()
  ELSE pg_current_wal_flush_lsn() END::text`;

export interface WalSample {
  /** After every commit that was answered before it was asked for. */
  readonly position: Position;
  /** The server's clock, epoch milliseconds; to compare with what replicas say of their last commit. */
  readonly serverTime: number;
}

/** Asks a primary. Rejects on a server that is a replica itself. */
export async function readWritten(session: Session): Promise<WalSample> {
  const [row] = await session.rows(`SELECT ${WRITTEN}, date_part('epoch', clock_timestamp()) * 1000`);
  return { position: String(row?.[0]), serverTime: Number(row?.[1]) };
}

/** Bytes from the beginning of the log. */
export function offsetOf(position: Position): bigint {
  const [high, low] = position.split("/");
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
}

/** The later of two; null is before all. */
export function later(one: Position | null, other: Position | null): Position | null {
  if (one === null || other === null) return one ?? other;
  return offsetOf(one) >= offsetOf(other) ? one : other;
}
