/**
 * The leader's fencing numbers: one row an epoch, and one row (`leadership`) that says which is the newest. Each write
 * of the leader reads that row FOR SHARE inside its transaction; who raises the epoch updates it, and so waits for
 * writes under way and is seen by all that follow. The lease lies elsewhere, so that renewing it waits for nobody.
 */
import type { EpochRow } from "../../actors/ports/store.ts";
import type { Database, Row, Session } from "./database.ts";
import { asTime, asTimeOrNull, millis, storable, time } from "./literal.ts";

const COLUMNS = `epoch, holder, ${millis("since")}, ${millis("lease_until")}, ${
  millis("ended_at")
}, refused_writes`;

export class Epochs {
  constructor(private readonly database: Database) {}

  raise(holder: string, now: number, leaseUntil: number): Promise<EpochRow> {
    return this.database.transaction("raise the epoch", async (session) => {
      await session.rows("SELECT 1 FROM leadership FOR UPDATE");
      return await raiseLocked(session, holder, now, leaseUntil);
    });
  }

  /** Null while the newest epoch holds. */
  raiseLapsed(holder: string, now: number, leaseUntil: number): Promise<EpochRow | null> {
    return this.database.transaction("raise the epoch", async (session) => {
      await session.rows("SELECT 1 FROM leadership FOR UPDATE");
      const [row] = await session.rows(`SELECT ${COLUMNS} FROM epochs ORDER BY epoch DESC LIMIT 1`);
      const newest = row === undefined ? null : toEpoch(row);
      const holds = newest !== null && newest.endedAt === null && newest.leaseUntil >= now;
      return holds ? null : await raiseLocked(session, holder, now, leaseUntil);
    });
  }

  async renew(epoch: number, leaseUntil: number): Promise<boolean> {
    const renewed = await this.database.call("renew the epoch", (session) =>
      session.rows(
        `WITH fence AS (SELECT epoch FROM leadership WHERE epoch = $1::bigint AND NOT is_ended FOR SHARE)
         UPDATE epochs e SET lease_until = ${
          time("$2::float8")
        } FROM fence WHERE e.epoch = fence.epoch RETURNING 1`,
        [epoch, leaseUntil],
      ));
    if (renewed.length === 0) await this.countRefusedWrite(epoch);
    return renewed.length > 0;
  }

  end(epoch: number, now: number): Promise<void> {
    return this.database.transaction("end the epoch", async (session) => {
      await session.rows("UPDATE leadership SET is_ended = true WHERE epoch = $1::bigint", [epoch]);
      await session.rows(
        `UPDATE epochs SET ended_at = ${time("$2::float8")} WHERE epoch = $1::bigint AND ended_at IS NULL`,
        [epoch, now],
      );
    });
  }

  newest(limit: number): Promise<readonly EpochRow[]> {
    return this.database.call("read the epochs", async (session) => {
      const rows = await session.rows(`SELECT ${COLUMNS} FROM epochs ORDER BY epoch DESC LIMIT $1::bigint`, [
        limit,
      ]);
      return rows.map(toEpoch);
    });
  }

  /** Outside the refused transaction, which changes nothing. */
  countRefusedWrite(epoch: number): Promise<void> {
    return this.database.call("count a refused write", async (session) => {
      await session.rows("UPDATE epochs SET refused_writes = refused_writes + 1 WHERE epoch = $1::bigint", [
        epoch,
      ]);
    });
  }
}

/** Holds the epoch until the transaction ends. Gives the newest epoch, and whether it is this one and not ended. */
export async function readFence(
  session: Session,
  epoch: number,
): Promise<{ readonly isCurrent: boolean; readonly newest: number }> {
  const [row] = await session.rows("SELECT epoch, is_ended FROM leadership FOR SHARE");
  const newest = Number(row?.[0]);
  return { isCurrent: newest === epoch && row?.[1] === false, newest };
}

async function raiseLocked(
  session: Session,
  holder: string,
  now: number,
  leaseUntil: number,
): Promise<EpochRow> {
  await session.rows(`UPDATE epochs SET ended_at = ${time("$1::float8")} WHERE ended_at IS NULL`, [now]);
  const [row] = await session.rows(
    `WITH raised AS (UPDATE leadership SET epoch = epoch + 1, is_ended = false RETURNING epoch)
     INSERT INTO epochs (epoch, holder, since, lease_until)
       SELECT epoch, $1::text, ${time("$2::float8")}, ${time("$3::float8")} FROM raised RETURNING ${COLUMNS}`,
    [storable(holder), now, leaseUntil],
  );
  if (row === undefined) throw new Error("no row came back");
  return toEpoch(row);
}

function toEpoch(row: Row): EpochRow {
  const [epoch, holder, since, leaseUntil, endedAt, refusedWrites] = row;
  return {
    epoch: Number(epoch),
    holder: String(holder),
    since: asTime(since),
    leaseUntil: asTime(leaseUntil),
    endedAt: asTimeOrNull(endedAt),
    refusedWrites: Number(refusedWrites),
  };
}
