/** Verdict ranges: due times decided without an occurrence, extended in place. */
import type { RangePart } from "../../actors/domain/plan.ts";
import { RANGE_REASONS, type RangeReason, type VerdictRange } from "../../actors/domain/verdict.ts";
import type { Database, Row, Session } from "./database.ts";
import type { JobStanding } from "./job_rows.ts";
import { asText, asTime, isUuid, millis, numbers, storable, texts, time } from "./literal.ts";

const RANGES = `SELECT j.id, r.job_version, ${millis("r.from_at")}, ${millis("r.to_at")}, r.count, r.reason,
  r.decided_by, ${millis("r.decided_at")}, r.note FROM verdict_ranges r JOIN jobs j ON j.seq = r.job`;

/** A range as a transaction leaves it: `count` is what it adds. */
interface RangeChange {
  readonly job: number;
  readonly from: number;
  readonly jobVersion: number;
  readonly reason: string;
  readonly by: string;
  readonly note: string | null;
  readonly isNew: boolean;
  to: number;
  count: number;
}

/** The ranges that a transaction extends or begins, written together at its end. */
export class RangeChanges {
  readonly #changes: RangeChange[] = [];
  /** The range of each job that its next undecided due time would extend. */
  readonly #open = new Map<number, RangeChange>();

  /** Reads the open ranges of these jobs, whose rows are locked. */
  async readOpen(session: Session, jobs: readonly JobStanding[]): Promise<void> {
    const open = jobs.filter((job) => job.openRange !== null);
    if (open.length === 0) return;
    const rows = await session.rows(
      `SELECT r.job, ${millis("r.from_at")}, r.job_version, r.reason, r.decided_by, ${
        millis("r.to_at")
      }, r.note
         FROM unnest($1::bigint[], $2::float8[]) AS u (job, at)
         JOIN verdict_ranges r ON r.job = u.job AND r.from_at = ${time("u.at")}`,
      [numbers(open.map((job) => job.seq)), numbers(open.map((job) => job.openRange))],
    );
    for (const row of rows) {
      this.#open.set(Number(row[0]), {
        job: Number(row[0]),
        from: asTime(row[1]),
        jobVersion: Number(row[2]),
        reason: String(row[3]),
        by: String(row[4]),
        note: asText(row[6]),
        isNew: false,
        to: asTime(row[5]),
        count: 0,
      });
    }
  }

  /** An occurrence lies after the open range of the job. */
  close(job: JobStanding): void {
    this.#open.delete(job.seq);
  }

  /**
   * Adds due times to the open range when they were decided alike, else begins a new one. Gives the start of the range
   * that is open now.
   */
  extend(job: JobStanding, part: RangePart): number {
    const by = storable(part.by);
    const note = part.note === undefined ? null : storable(part.note);
    const open = this.#open.get(job.seq);
    if (
      open?.jobVersion === job.version && open.reason === part.reason && open.by === by && open.note === note
    ) {
      if (!open.isNew && open.count === 0) this.#changes.push(open);
      open.to = part.to;
      open.count += part.count;
      return open.from;
    }
    const change: RangeChange = {
      job: job.seq,
      from: part.from,
      jobVersion: job.version,
      reason: part.reason,
      by,
      note,
      isNew: true,
      to: part.to,
      count: part.count,
    };
    this.#changes.push(change);
    this.#open.set(job.seq, change);
    return change.from;
  }

  async write(session: Session, now: number): Promise<void> {
    await extendRanges(session, this.#changes.filter((one) => !one.isNew), now);
    await insertRanges(session, this.#changes.filter((one) => one.isNew), now);
  }
}

async function extendRanges(session: Session, changes: readonly RangeChange[], now: number): Promise<void> {
  if (changes.length === 0) return;
  await session.rows(
    `UPDATE verdict_ranges r SET to_at = ${time("u.until")}, count = r.count + u.more, decided_at = ${
      time("$5::float8")
    }
       FROM unnest($1::bigint[], $2::float8[], $3::float8[], $4::bigint[]) AS u (job, at, until, more)
      WHERE r.job = u.job AND r.from_at = ${time("u.at")}`,
    [
      numbers(changes.map((one) => one.job)),
      numbers(changes.map((one) => one.from)),
      numbers(changes.map((one) => one.to)),
      numbers(changes.map((one) => one.count)),
      now,
    ],
  );
}

async function insertRanges(session: Session, changes: readonly RangeChange[], now: number): Promise<void> {
  if (changes.length === 0) return;
  await session.rows(
    `INSERT INTO verdict_ranges (job, from_at, to_at, job_version, count, reason, decided_by, decided_at, note)
     SELECT u.job, ${time("u.at")}, ${time("u.until")}, u.version, u.count, u.reason, u.by, ${
      time("$9::float8")
    }, u.note
       FROM unnest($1::bigint[], $2::float8[], $3::float8[], $4::integer[], $5::bigint[], $6::text[], $7::text[],
         $8::text[]) AS u (job, at, until, version, count, reason, by, note)
     ON CONFLICT (job, from_at) DO NOTHING`,
    [
      numbers(changes.map((one) => one.job)),
      numbers(changes.map((one) => one.from)),
      numbers(changes.map((one) => one.to)),
      numbers(changes.map((one) => one.jobVersion)),
      numbers(changes.map((one) => one.count)),
      texts(changes.map((one) => one.reason)),
      texts(changes.map((one) => one.by)),
      texts(changes.map((one) => one.note)),
      now,
    ],
  );
}

/** The range that a due time lies in, or null. */
export async function rangeAt(
  database: Database,
  jobId: string,
  dueAt: number,
): Promise<VerdictRange | null> {
  if (!isUuid(jobId)) return null;
  const [row] = await database.call("read a verdict range", (session) =>
    session.rows(
      `${RANGES} WHERE j.id = $1::uuid AND r.from_at <= ${
        time("$2::float8")
      } ORDER BY r.from_at DESC LIMIT 1`,
      [jobId, dueAt],
    ));
  const range = row === undefined ? null : toRange(row);
  return range !== null && range.to >= dueAt ? range : null;
}

/** Ranges of a job, newest first. */
export async function newestRanges(
  database: Database,
  jobId: string,
  limit: number,
): Promise<readonly VerdictRange[]> {
  if (!isUuid(jobId)) return [];
  const rows = await database.call(
    "read verdict ranges",
    (session) =>
      session.rows(`${RANGES} WHERE j.id = $1::uuid ORDER BY r.from_at DESC LIMIT $2::bigint`, [
        jobId,
        limit,
      ]),
  );
  return rows.map(toRange);
}

function toRange(row: Row): VerdictRange {
  const [jobId, jobVersion, from, to, count, reason, by, decidedAt, note] = row;
  return {
    jobId: String(jobId),
    jobVersion: Number(jobVersion),
    from: asTime(from),
    to: asTime(to),
    count: Number(count),
    reason: toReason(String(reason)),
    by: String(by),
    decidedAt: asTime(decidedAt),
    note: asText(note),
  };
}

function toReason(text: string): RangeReason {
  const reason = RANGE_REASONS.find((one) => one === text);
  if (reason === undefined) throw new RangeError(`No verdict range has the reason ${text}`);
  return reason;
}
