/**
 * Rows of `occurrences` and `attempts`, as the tracker and the reaper change them: what one transaction does is
 * gathered in `OccurrenceChanges` and written a statement a kind and day. Who may take an edge is decided by the
 * caller, under the row's lock; the table's trigger refuses what is no edge all the same.
 */
import type { Report } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  OCCURRENCE_STATUSES,
  type OccurrenceStatus,
  statusNumber,
} from "../../actors/domain/occurrence.ts";
import { CountChange } from "./counters.ts";
import type { Row, Session } from "./database.ts";
import { byDay, isStorableTime, onDay } from "./day.ts";
import { Restart } from "./fault.ts";
import { removeHolds } from "./job_holds.ts";
import { lockJobSeqs } from "./job_rows.ts";
import {
  asText,
  asTime,
  asTimeOrNull,
  isUuid,
  millis,
  numbers,
  storable,
  texts,
  time,
  uuids,
} from "./literal.ts";
import type { Terms, TermsBook } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const COMPLETED = statusNumber("Completed");

/** Where an occurrence stands, as much as its next step depends on. */
export interface Standing {
  readonly seq: number;
  readonly id: string;
  readonly job: number;
  readonly status: number;
  readonly token: number;
  readonly attempt: number;
  readonly lost: number;
  readonly terms: Terms;
  readonly scheduledFor: number;
  readonly endedAt: number | null;
  readonly leaseUntil: number | null;
  readonly cancel: CancelRequest | null;
  readonly holdsJob: boolean;
  /** Its own job data; null takes that of its terms. */
  readonly jobData: string | null;
}

/** The key of a row. */
export interface OccurrenceKey {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
}

/** How an attempt ended without ending its occurrence, or why its row keeps a word of its own. */
export interface PastAttempt {
  readonly endedAt: number;
  readonly durationMs: number | null;
  readonly outcome: "failed" | "handedBack" | "lost";
  /** JSON text. */
  readonly error: string | null;
  readonly reason: string;
  readonly counts: boolean;
}

const STANDING = `o.seq, o.id, o.job, o.status, o.token, o.attempt, o.lost, o.terms, ${
  millis("o.scheduled_for")
},
  ${millis("o.ended_at")}, ${millis("o.lease_until")}, o.cancel, o.holds_job, o.job_data`;

/**
 * Locks jobs first, then occurrences, each in the order of their keys, and gives where those stand by their ids.
 * Only jobs that are held by one of them are locked: the others have nobody waiting.
 */
export async function lockOccurrences(
  session: Session,
  keys: readonly OccurrenceKey[],
  book: TermsBook,
): Promise<ReadonlyMap<string, Standing>> {
  const known = keys.filter((key) => isUuid(key.occurrenceId) && isStorableTime(key.scheduledFor));
  const days = byDay(known, (key) => key.scheduledFor);
  const jobs = new Set<number>();
  for (const [day, some] of days) {
    const rows = await session.rows(
      `SELECT DISTINCT o.job FROM unnest($1::uuid[], $2::float8[]) AS u (id, at) JOIN occurrences o
         ON o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
        WHERE o.holds_job`,
      keyParameters(some),
    );
    for (const [job] of rows) jobs.add(Number(job));
  }
  await lockJobSeqs(session, jobs);
  const locked: Row[] = [];
  for (const [day, some] of [...days].sort(([left], [right]) => left - right)) {
    locked.push(
      ...await session.rows(
        `SELECT ${STANDING} FROM unnest($1::uuid[], $2::float8[]) AS u (id, at) JOIN occurrences o
           ON o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
          ORDER BY o.id FOR UPDATE OF o`,
        keyParameters(some),
      ),
    );
  }
  if (locked.some((row) => row[12] === true && !jobs.has(Number(row[2])))) {
    throw new Restart("a job's policy changed in between");
  }
  const terms = await book.load(session, new Set(locked.map((row) => Number(row[7]))));
  return new Map(locked.map((row) => [String(row[1]), toStanding(row, terms)]));
}

/** The due time of an occurrence that is known by its id only, or null. */
export async function findScheduledFor(session: Session, id: string): Promise<number | null> {
  const [row] = await session.rows(
    `SELECT ${millis("scheduled_for")} FROM occurrences WHERE id = $1::uuid`,
    [id],
  );
  return asTimeOrNull(row?.[0]);
}

/** How an occurrence ends. */
export interface End {
  readonly endedAt: number;
  readonly durationMs: number | null;
  readonly reason: string | null;
  readonly error: string | null;
  readonly result: string | null;
}

/** How an attempt's occurrence goes on. */
export interface Again {
  readonly readyAt: number;
  readonly nextActionAt: number;
  readonly lost: number;
}

interface Ended extends End {
  readonly one: Standing;
  readonly status: number;
  /** JSON text of the cancel request that ended it while it was queued, or null. */
  readonly cancel: string | null;
}

/** What one transaction changes, written by `write`. */
export class OccurrenceChanges {
  readonly count = new CountChange();
  readonly #ended: Ended[] = [];
  readonly #again: { readonly one: Standing; readonly past: PastAttempt; readonly again: Again }[] = [];
  readonly #past: { readonly one: Standing; readonly past: PastAttempt }[] = [];

  /** Running → Completed, Failed, Cancelled or TimedOut. */
  finish(one: Standing, to: OccurrenceStatus, end: End): void {
    this.#end(one, to, end, null);
  }

  /** Queued → Cancelled. */
  cancelQueued(one: Standing, request: CancelRequest, reason: string): void {
    const end = { endedAt: request.requestedAt, durationMs: null, reason, error: null, result: null };
    this.#end(one, "Cancelled", end, JSON.stringify(request));
  }

  /** Running → Queued. The attempt moves to the past ones. */
  requeue(one: Standing, past: PastAttempt, again: Again): void {
    this.keepAttempt(one, past);
    this.#again.push({ one, past, again });
    this.count.moved(one.status, QUEUED);
  }

  /** Writes the newest attempt into the past ones, when its end says more than the occurrence's. */
  keepAttempt(one: Standing, past: PastAttempt): void {
    this.#past.push({ one, past });
  }

  async write(session: Session): Promise<void> {
    for (const [day, some] of byDay(this.#past, ({ one }) => one.scheduledFor)) {
      await keepAttempts(session, day, some);
    }
    for (const [day, some] of byDay(this.#ended, ({ one }) => one.scheduledFor)) {
      await endAll(session, day, some);
    }
    for (const [day, some] of byDay(this.#again, ({ one }) => one.scheduledFor)) {
      await requeueAll(session, day, some);
    }
    await removeHolds(session, this.#ended.filter(({ one }) => one.holdsJob).map(({ one }) => one));
    await this.count.write(session);
  }

  #end(one: Standing, to: OccurrenceStatus, end: End, cancel: string | null): void {
    const status = statusNumber(to);
    this.#ended.push({ ...end, one, status, cancel });
    this.count.moved(one.status, status);
  }
}

async function endAll(session: Session, day: number, ended: readonly Ended[]): Promise<void> {
  await session.rows(
    `UPDATE occurrences o SET status = u.status, not_completed = nullif(u.status, ${COMPLETED}),
       ended_at = ${time("u.ended")}, duration_ms = u.duration, lease_until = NULL, next_action_at = NULL,
       reason = u.reason, error = u.error, result = u.result, cancel = coalesce(u.cancel, o.cancel)
       FROM unnest($1::uuid[], $2::float8[], $3::smallint[], $4::float8[], $5::float8[], $6::text[], $7::text[],
         $8::text[], $9::text[]) AS u (id, at, status, ended, duration, reason, error, result, cancel)
      WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}`,
    [
      ...rowKeys(ended),
      numbers(ended.map((end) => end.status)),
      numbers(ended.map((end) => end.endedAt)),
      numbers(ended.map((end) => end.durationMs)),
      texts(ended.map((end) => end.reason)),
      texts(ended.map((end) => end.error)),
      texts(ended.map((end) => end.result)),
      texts(ended.map((end) => end.cancel)),
    ],
  );
}

async function requeueAll(
  session: Session,
  day: number,
  again: readonly { readonly one: Standing; readonly past: PastAttempt; readonly again: Again }[],
): Promise<void> {
  await session.rows(
    `UPDATE occurrences o SET status = ${QUEUED}, attempt = u.attempt, lost = u.lost, ready_at = ${
      time("u.ready")
    },
       next_action_at = ${time("u.next")}, looks = 0, duration_ms = u.duration, lease_until = NULL,
       reason = u.reason, error = u.error
       FROM unnest($1::uuid[], $2::float8[], $3::integer[], $4::smallint[], $5::float8[], $6::float8[],
         $7::float8[], $8::text[], $9::text[]) AS u (id, at, attempt, lost, ready, next, duration, reason, error)
      WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}`,
    [
      ...rowKeys(again),
      numbers(again.map(({ one, past }) => past.counts ? one.attempt : one.attempt - 1)),
      numbers(again.map((row) => row.again.lost)),
      numbers(again.map((row) => row.again.readyAt)),
      numbers(again.map((row) => row.again.nextActionAt)),
      numbers(again.map(({ past }) => past.durationMs)),
      texts(again.map(({ past }) => past.reason)),
      texts(again.map(({ past }) => past.error)),
    ],
  );
}

async function keepAttempts(
  session: Session,
  day: number,
  kept: readonly { readonly one: Standing; readonly past: PastAttempt }[],
): Promise<void> {
  await session.rows(
    `INSERT INTO attempts (occurrence, token, number, instance, scheduled_for, claimed_at, ended_at, duration_ms,
       outcome, error, reason, progress_done, progress_total)
     SELECT o.seq, o.token, u.number, o.instance, o.scheduled_for, o.started_at, ${
      time("u.ended")
    }, u.duration,
       u.outcome, u.error, u.reason, o.progress_done, o.progress_total
       FROM unnest($1::uuid[], $2::float8[], $3::integer[], $4::float8[], $5::float8[], $6::text[], $7::text[],
         $8::text[]) AS u (id, at, number, ended, duration, outcome, error, reason)
       JOIN occurrences o ON o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${
      onDay(day, "o.scheduled_for")
    }`,
    [
      ...rowKeys(kept),
      numbers(kept.map(({ one, past }) => past.counts ? one.attempt : null)),
      numbers(kept.map(({ past }) => past.endedAt)),
      numbers(kept.map(({ past }) => past.durationMs)),
      texts(kept.map(({ past }) => past.outcome)),
      texts(kept.map(({ past }) => past.error)),
      texts(kept.map(({ past }) => past.reason)),
    ],
  );
}

/** The request stays with the row until its worker reports. */
export async function requestCancel(session: Session, one: Standing, request: CancelRequest): Promise<void> {
  await session.rows(
    `UPDATE occurrences SET cancel = $3::text WHERE id = $1::uuid AND scheduled_for = ${time("$2::float8")}`,
    [one.id, one.scheduledFor, storable(JSON.stringify(request))],
  );
}

/** Reports that came too late, kept as evidence. One that repeats what was applied already is none. */
export async function keepEvidence(
  session: Session,
  late: readonly { readonly report: Report; readonly one: Standing | undefined }[],
  now: number,
): Promise<void> {
  const past = await pastEnds(session, late.flatMap(({ one }) => one ?? []));
  const kept = late.filter(({ report, one }) => {
    if (!isUuid(report.occurrenceId) || !isStorableTime(report.endedAt)) return false;
    if (one === undefined) return true;
    const isEnd = one.token === report.token && one.endedAt === Math.round(report.endedAt);
    return !isEnd && !past.has(`${one.seq} ${report.token} ${Math.round(report.endedAt)}`);
  });
  if (kept.length === 0) return;
  await session.rows(
    `INSERT INTO late_reports (occurrence_id, token, ended_at, recorded_at, report)
     SELECT u.id, u.token, ${time("u.ended")}, ${time("$5::float8")}, u.report
       FROM unnest($1::uuid[], $2::integer[], $3::float8[], $4::text[]) AS u (id, token, ended, report)
     ON CONFLICT DO NOTHING`,
    [
      uuids(kept.map(({ report }) => report.occurrenceId)),
      numbers(kept.map(({ report }) => report.token)),
      numbers(kept.map(({ report }) => report.endedAt)),
      texts(kept.map(({ report }) => JSON.stringify(report))),
      now,
    ],
  );
}

/** `seq token endedAt` of the past attempts of these. */
async function pastEnds(session: Session, of: readonly Standing[]): Promise<ReadonlySet<string>> {
  const ends = new Set<string>();
  for (const [day, some] of byDay(of, (one) => one.scheduledFor)) {
    const rows = await session.rows(
      `SELECT occurrence, token, ${millis("ended_at")} FROM attempts
        WHERE occurrence = ANY($1::bigint[]) AND ${onDay(day, "scheduled_for")}`,
      [numbers(some.map((one) => one.seq))],
    );
    for (const [seq, token, endedAt] of rows) ends.add(`${seq} ${token} ${asTime(endedAt)}`);
  }
  return ends;
}

function keyParameters(keys: readonly OccurrenceKey[]): readonly [string, string] {
  return [uuids(keys.map((key) => key.occurrenceId)), numbers(keys.map((key) => key.scheduledFor))];
}

function rowKeys(rows: readonly { readonly one: Standing }[]): readonly [string, string] {
  return [uuids(rows.map(({ one }) => one.id)), numbers(rows.map(({ one }) => one.scheduledFor))];
}

function toStanding(row: Row, terms: ReadonlyMap<number, Terms>): Standing {
  const of = terms.get(Number(row[7]));
  if (of === undefined) throw new Error(`no terms ${row[7]}`);
  const status = Number(row[3]);
  if (OCCURRENCE_STATUSES[status] === undefined) throw new RangeError(`No status has the number ${status}`);
  return {
    seq: Number(row[0]),
    id: String(row[1]),
    job: Number(row[2]),
    status,
    token: Number(row[4]),
    attempt: Number(row[5]),
    lost: Number(row[6]),
    terms: of,
    scheduledFor: asTime(row[8]),
    endedAt: asTimeOrNull(row[9]),
    leaseUntil: asTimeOrNull(row[10]),
    cancel: readCancel(row[11]),
    holdsJob: row[12] === true,
    jobData: asText(row[13]),
  };
}

/** A stored cancel request, or null. */
export function readCancel(value: unknown): CancelRequest | null {
  return typeof value === "string" ? JSON.parse(value) as CancelRequest : null;
}
