/**
 * Who holds a job whose policy lets no run beside another (Skip, Queue), and who comes next. A run holds its job from
 * its creation to its end, retries included; those that wait for it (policy Queue, runs that catch up) have no `ready_at`.
 *
 * Rows of `holds` are written under the lock of their job's row only, by the transactions that create and end the
 * occurrences; so after that lock a plain read is the truth.
 */
import { MAX_WAITING } from "../../actors/domain/concurrency.ts";
import type { Row, Session } from "./database.ts";
import { byDay, onDay } from "./day.ts";
import { MESSAGE_COLUMNS } from "./job_messages.ts";
import { asTime, millis, numbers, time, uuids } from "./literal.ts";

/** Who commits also publishes; recovery looks after this long whether that happened, milliseconds. */
export const PUBLISHED_WITHIN_MS = 10_000;

export interface HeldJob {
  /** The run that holds it, or null. */
  readonly holder: string | null;
  /** How many are on or wait, counted up to one more than may wait. */
  readonly count: number;
}

/** A row of `holds`, by its key. */
export interface Held {
  readonly job: number;
  readonly scheduledFor: number;
  readonly seq: number;
}

/** Who holds these jobs now; under their locks. */
export async function readHolds(
  session: Session,
  jobs: readonly number[],
): Promise<ReadonlyMap<number, HeldJob>> {
  if (jobs.length === 0) return new Map();
  const rows = await session.rows(
    `SELECT j.seq,
       (SELECT h.id FROM holds h WHERE h.job = j.seq AND NOT h.is_waiting ORDER BY h.scheduled_for, h.seq LIMIT 1),
       (SELECT count(*) FROM (SELECT 1 FROM holds h WHERE h.job = j.seq LIMIT ${MAX_WAITING + 1}) AS counted)
     FROM unnest($1::bigint[]) AS j (seq)`,
    [numbers(jobs)],
  );
  return new Map(rows.map(([job, holder, count]) => [
    Number(job),
    { holder: holder === null ? null : String(holder), count: Number(count) },
  ]));
}

/** These have ended. */
export async function removeHolds(session: Session, held: readonly Held[]): Promise<void> {
  if (held.length === 0) return;
  await session.rows(
    `DELETE FROM holds h USING unnest($1::bigint[], $2::float8[], $3::bigint[]) AS u (job, at, seq)
      WHERE h.job = u.job AND h.scheduled_for = ${time("u.at")} AND h.seq = u.seq`,
    [
      numbers(held.map((one) => one.job)),
      numbers(held.map((one) => one.scheduledFor)),
      numbers(held.map((one) => one.seq)),
    ],
  );
}

/**
 * In each of these jobs that nothing holds, the waiting one that is due first may run: now, or later when it is a
 * catch-up run. Gives rows of `MESSAGE_COLUMNS` and when it may.
 */
export async function releaseNext(
  session: Session,
  jobs: readonly number[],
  now: number,
): Promise<readonly Row[]> {
  if (jobs.length === 0) return [];
  const next = await session.rows(
    `UPDATE holds h SET is_waiting = false FROM (
       SELECT w.* FROM unnest($1::bigint[]) AS j (seq), LATERAL (
         SELECT job, scheduled_for, seq FROM holds WHERE job = j.seq AND is_waiting ORDER BY scheduled_for, seq LIMIT 1
       ) AS w WHERE NOT EXISTS (SELECT 1 FROM holds x WHERE x.job = j.seq AND NOT x.is_waiting)
     ) AS n WHERE h.job = n.job AND h.scheduled_for = n.scheduled_for AND h.seq = n.seq
     RETURNING h.id, ${millis("h.scheduled_for")}`,
    [numbers(jobs)],
  );
  const released: Row[] = [];
  for (const [day, rows] of byDay(next, (row) => asTime(row[1]))) {
    released.push(
      ...await session.rows(
        `UPDATE occurrences o SET ready_at = greatest(${time("$3::float8")}, o.not_before),
           next_action_at = CASE WHEN o.not_before > ${time("$3::float8")} THEN o.not_before ELSE ${
          time("$4::float8")
        } END, looks = 0, reason = NULL FROM unnest($1::uuid[], $2::float8[]) AS u (id, at)
          WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
          RETURNING ${MESSAGE_COLUMNS}, ${millis("o.ready_at")}`,
        [
          uuids(rows.map((row) => String(row[0]))),
          numbers(rows.map((row) => asTime(row[1]))),
          now,
          now + PUBLISHED_WITHIN_MS,
        ],
      ),
    );
  }
  return released;
}

/** The job's policy lets no run beside another from now on: what is on counts, whatever it was before. */
export async function countFromNow(session: Session, job: number): Promise<void> {
  // Locked in the order of their ids first, as everywhere, so that no two transactions wait for each other.
  await session.rows(
    "SELECT 1 FROM occurrences WHERE job = $1::bigint AND ended_at IS NULL AND NOT holds_job ORDER BY id FOR UPDATE",
    [job],
  );
  await session.rows(
    `WITH counted AS (
       UPDATE occurrences SET holds_job = true WHERE job = $1::bigint AND ended_at IS NULL AND NOT holds_job
       RETURNING job, scheduled_for, seq, id, status = 0 AND ready_at IS NULL AS is_waiting
     ) INSERT INTO holds (job, scheduled_for, seq, id, is_waiting) SELECT * FROM counted`,
    [job],
  );
}
