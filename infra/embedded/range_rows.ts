/** Verdict ranges: due times decided without an occurrence, extended in place. */
import type { RangePart } from "../../actors/domain/plan.ts";
import { RANGE_REASONS, type RangeReason, type VerdictRange } from "../../actors/domain/verdict.ts";
import type { Database, Row, Statement } from "./database.ts";
import type { JobStanding } from "./job_rows.ts";

const COLUMNS =
  "j.id, r.job_version, r.from_at, r.to_at, r.count, r.reason, r.decided_by, r.decided_at, r.note";
const RANGES = `SELECT ${COLUMNS} FROM verdict_ranges r JOIN jobs j ON j.seq = r.job`;

export class RangeRows {
  readonly #extend: Statement;
  readonly #insert: Statement;
  readonly #at: Statement;
  readonly #newest: Statement;

  constructor(database: Database) {
    this.#extend = database.prepare(
      `UPDATE verdict_ranges SET to_at = ?, count = count + ?, decided_at = ?
        WHERE job = ? AND from_at = ? AND job_version = ? AND reason = ? AND decided_by = ? AND note IS ?`,
    );
    this.#insert = database.prepare(
      `INSERT INTO verdict_ranges (job, from_at, to_at, job_version, count, reason, decided_by, decided_at, note)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job, from_at) DO NOTHING`,
    );
    this.#at = database.prepare(
      `${RANGES} WHERE j.id = ? AND r.from_at <= ? ORDER BY r.from_at DESC LIMIT 1`,
    );
    this.#newest = database.prepare(`${RANGES} WHERE j.id = ? ORDER BY r.from_at DESC LIMIT ?`);
  }

  /**
   * Adds due times to the range that began at `openRange` when they were decided alike, else begins a new one.
   * Gives the start of the range that is open now.
   */
  extend(job: JobStanding, openRange: number | null, part: RangePart, now: number): number {
    const { from, to, count, reason, by, note = null } = part;
    const isExtended = openRange !== null &&
      this.#extend.change(to, count, now, job.seq, openRange, job.version, reason, by, note) === 1;
    if (isExtended) return openRange;
    this.#insert.execute(job.seq, from, to, job.version, count, reason, by, now, note);
    return from;
  }

  at(jobId: string, dueAt: number): VerdictRange | null {
    const row = this.#at.row(jobId, dueAt);
    const range = row === undefined ? null : toRange(row);
    return range !== null && range.to >= dueAt ? range : null;
  }

  newest(jobId: string, limit: number): readonly VerdictRange[] {
    return this.#newest.rows(jobId, limit).map(toRange);
  }
}

function toRange(row: Row): VerdictRange {
  const [jobId, jobVersion, from, to, count, reason, by, decidedAt, note] = row;
  return {
    jobId: String(jobId),
    jobVersion: Number(jobVersion),
    from: Number(from),
    to: Number(to),
    count: Number(count),
    reason: toReason(String(reason)),
    by: String(by),
    decidedAt: Number(decidedAt),
    note: typeof note === "string" ? note : null,
  };
}

function toReason(text: string): RangeReason {
  const reason = RANGE_REASONS.find((one) => one === text);
  if (reason === undefined) throw new RangeError(`No verdict range has the reason ${text}`);
  return reason;
}
