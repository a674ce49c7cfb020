/** The leader's fencing numbers: one row an epoch, the newest is the only one that may write. */
import type { EpochRow } from "../../actors/ports/store.ts";
import type { Database, Row, Statement } from "./database.ts";
import { asNumber } from "./occurrence_rows.ts";

const COLUMNS = "epoch, holder, since, lease_until, ended_at, refused_writes";

export class Epochs {
  readonly #raise: Statement;
  readonly #newest: Statement;
  readonly #renew: Statement;
  readonly #end: Statement;
  readonly #endEarlier: Statement;
  readonly #refused: Statement;

  constructor(database: Database) {
    this.#endEarlier = database.prepare("UPDATE epochs SET ended_at = ? WHERE ended_at IS NULL");
    this.#raise = database.prepare(
      `INSERT INTO epochs (epoch, holder, since, lease_until)
         SELECT coalesce(max(epoch), 0) + 1, ?, ?, ? FROM epochs RETURNING ${COLUMNS}`,
    );
    this.#newest = database.prepare(`SELECT ${COLUMNS} FROM epochs ORDER BY epoch DESC LIMIT ?`);
    this.#renew = database.prepare("UPDATE epochs SET lease_until = ? WHERE epoch = ?");
    this.#end = database.prepare("UPDATE epochs SET ended_at = ? WHERE epoch = ? AND ended_at IS NULL");
    this.#refused = database.prepare("UPDATE epochs SET refused_writes = refused_writes + 1 WHERE epoch = ?");
  }

  raise(holder: string, now: number, leaseUntil: number): EpochRow {
    this.#endEarlier.execute(now);
    const row = this.#raise.row(holder, now, leaseUntil);
    if (row === undefined) throw new Error("Cannot raise the epoch: no row came back");
    return toEpoch(row);
  }

  /** Null while the newest epoch holds. */
  raiseLapsed(holder: string, now: number, leaseUntil: number): EpochRow | null {
    const newest = this.newest(1)[0];
    const holds = newest !== undefined && newest.endedAt === null && newest.leaseUntil >= now;
    return holds ? null : this.raise(holder, now, leaseUntil);
  }

  newest(limit: number): readonly EpochRow[] {
    return this.#newest.rows(limit).map(toEpoch);
  }

  /** 0 before the first one. */
  current(): number {
    return this.newest(1)[0]?.epoch ?? 0;
  }

  isCurrent(epoch: number): boolean {
    const newest = this.newest(1)[0];
    return newest !== undefined && newest.epoch === epoch && newest.endedAt === null;
  }

  renew(epoch: number, leaseUntil: number): true {
    this.#renew.execute(leaseUntil, epoch);
    return true;
  }

  end(epoch: number, now: number): void {
    this.#end.execute(now, epoch);
  }

  countRefusedWrite(epoch: number): void {
    this.#refused.execute(epoch);
  }
}

function toEpoch(row: Row): EpochRow {
  const [epoch, holder, since, leaseUntil, endedAt, refusedWrites] = row;
  return {
    epoch: Number(epoch),
    holder: String(holder),
    since: Number(since),
    leaseUntil: Number(leaseUntil),
    endedAt: asNumber(endedAt),
    refusedWrites: Number(refusedWrites),
  };
}
