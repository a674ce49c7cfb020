/**
 * Rows of `occurrences` and `attempts`, as the tracker and the reaper change them: what one transaction does is
 * gathered in `OccurrenceChanges` and written a statement a kind and day. Who may take an edge is decided by the
 * caller, under the row's lock; the table's trigger refuses what is no edge all the same.
 */
import { type Failing, readAutoDisabled, readStreak } from "../../actors/domain/auto_disable.ts";
import { noticed } from "../../actors/domain/cancellation.ts";
import type { Report, SignalNotice } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  type Ending,
  OCCURRENCE_STATUSES,
  type OccurrenceStatus,
  ORIGINS,
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
  booleans,
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
const RUNNING = statusNumber("Running");
const COMPLETED = statusNumber("Completed");
const REPLAY = ORIGINS.indexOf("replay");

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
  readonly startedAt: number | null;
  /** Start of the first attempt; null while there has been one at most. */
  readonly firstStartedAt: number | null;
  readonly cancel: CancelRequest | null;
  readonly ending: Ending | null;
  readonly holdsJob: boolean;
  /** The failures of its job; null when the job is not locked. */
  readonly failing: Failing | null;
  /** Its own job data; null takes that of its terms. */
  readonly jobData: string | null;
  /** It replays a failed occurrence. */
  readonly isReplay: boolean;
}

/** The key of a row. */
export interface OccurrenceKey {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  /** Its end may be a failure, which is counted under the job's lock. */
  readonly mayFail?: boolean;
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
  ${millis("o.ended_at")}, ${millis("o.lease_until")}, o.cancel, o.holds_job, o.job_data,
  ${millis("o.started_at")}, ${
  millis("o.first_started_at")
}, o.origin, f.failures, j.auto_disabled, o.ending`;

/**
 * Locks jobs first, then occurrences, each in the order of their keys, and gives where those stand by their ids.
 * Only jobs that are held by one of them are locked, that may fail now, or that have failed: the others have nobody
 * waiting and nothing to count.
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
      `SELECT DISTINCT o.job FROM unnest($1::uuid[], $2::float8[], $3::boolean[]) AS u (id, at, fails)
         JOIN occurrences o
         ON o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
        WHERE o.holds_job OR u.fails OR EXISTS (SELECT 1 FROM failure_streaks f WHERE f.job = o.job)`,
      [...keyParameters(some), booleans(some.map((key) => key.mayFail ?? false))],
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
           LEFT JOIN failure_streaks f ON f.job = o.job LEFT JOIN jobs j ON j.seq = f.job
          ORDER BY o.id FOR UPDATE OF o`,
        keyParameters(some),
      ),
    );
  }
  if (locked.some((row) => row[12] === true && !jobs.has(Number(row[2])))) {
    throw new Restart("a job's policy changed in between");
  }
  const terms = await book.load(session, new Set(locked.map((row) => Number(row[7]))));
  return new Map(locked.map((row) => [String(row[1]), toStanding(row, terms, jobs)]));
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
  /** The row has its result already, and `result` stands for it. */
  readonly resultIsKept: boolean;
  readonly ending: Ending | null;
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
    const nothing = { durationMs: null, error: null, result: null, resultIsKept: false, ending: null };
    const end = { ...nothing, endedAt: request.requestedAt, reason };
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
       reason = u.reason, error = u.error, cancel = coalesce(u.cancel, o.cancel), ending = u.ending,
       result = CASE WHEN u.kept THEN coalesce(o.result, u.result) ELSE u.result END
       FROM unnest($1::uuid[], $2::float8[], $3::smallint[], $4::float8[], $5::float8[], $6::text[], $7::text[],
         $8::text[], $9::text[], $10::text[], $11::boolean[])
         AS u (id, at, status, ended, duration, reason, error, result, cancel, ending, kept)
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
      texts(ended.map((end) => end.ending === null ? null : JSON.stringify(end.ending))),
      booleans(ended.map((end) => end.resultIsKept)),
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
       reason = u.reason, error = u.error, result = NULL, ending = NULL,
       first_started_at = CASE WHEN u.counts THEN coalesce(o.first_started_at, o.started_at) ELSE o.first_started_at END
       FROM unnest($1::uuid[], $2::float8[], $3::integer[], $4::smallint[], $5::float8[], $6::float8[],
         $7::float8[], $8::text[], $9::text[], $10::boolean[])
         AS u (id, at, attempt, lost, ready, next, duration, reason, error, counts)
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
      booleans(again.map(({ past }) => past.counts)),
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

/** Keeps for running attempts that their workers told them to end. Worth no sync: their reports say it again. */
export async function keepSignals(
  session: Session,
  day: number,
  signals: readonly SignalNotice[],
): Promise<void> {
  await session.rows(
    `UPDATE occurrences o SET ending = u.ending
       FROM unnest($1::uuid[], $2::float8[], $3::integer[], $4::text[]) AS u (id, at, token, ending),
         (SELECT set_config('synchronous_commit', 'off', true) AS lax) AS c
      WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
        AND o.token = u.token AND o.status = ${RUNNING} AND c.lax IS NOT NULL`,
    [
      ...keyParameters(signals),
      numbers(signals.map((one) => one.token)),
      texts(signals.map((one) => JSON.stringify(noticed(one)))),
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

function toStanding(row: Row, terms: ReadonlyMap<number, Terms>, locked: ReadonlySet<number>): Standing {
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
    ending: readEnding(row[19]),
    holdsJob: row[12] === true,
    jobData: asText(row[13]),
    startedAt: asTimeOrNull(row[14]),
    firstStartedAt: asTimeOrNull(row[15]),
    isReplay: Number(row[16]) === REPLAY,
    failing: locked.has(Number(row[2]))
      ? { streak: readStreak(row[17]), disabled: readAutoDisabled(row[18]) }
      : null,
  };
}

/** How an attempt was made to end, as it is stored, or null. */
export function readEnding(value: unknown): Ending | null {
  return typeof value === "string" ? JSON.parse(value) as Ending : null;
}

/** A stored cancel request, or null. */
export function readCancel(value: unknown): CancelRequest | null {
  return typeof value === "string" ? JSON.parse(value) as CancelRequest : null;
}
