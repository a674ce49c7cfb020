/** Rows of `failed_occurrences` and `replays`: written inside the transactions of others, read by filter. */
import {
  type FailedOccurrence,
  FAILURE_KINDS,
  type FailureKind,
  failureKindOf,
  fingerprintOfFailure,
  LAST_LINES,
  type OutputLine,
  outputText,
  type Resolution,
  resolvedByReplay,
} from "../../actors/domain/failed_occurrence.ts";
import { LINE_LEVELS } from "../../actors/domain/message.ts";
import { type ErrorReport, type OccurrenceStatus, statusOf } from "../../actors/domain/occurrence.ts";
import type {
  FailedFilter,
  FailedGroup,
  ReplayLink,
  ResolveSelection,
} from "../../actors/ports/failed_occurrences.ts";
import type { Page } from "../../actors/ports/store.ts";
import type { Row, Session } from "./database.ts";
import { dayOf, LATEST_MS, onDay } from "./day.ts";
import {
  asText,
  asTime,
  type Bindable,
  isUuid,
  millis,
  numbers,
  storable,
  texts,
  time,
  uuids,
} from "./literal.ts";
import type { Standing } from "./occurrence_rows.ts";
import type { TermsBook } from "./terms.ts";

const COLUMNS = `f.seq, f.id, j.id, f.job_version, f.job_type, f.kind, ${millis("f.scheduled_for")},
  ${millis("f.failed_at")}, f.attempts, f.fingerprint, f.error, f.reason, f.resolution`;
const FAILED = "failed_occurrences f JOIN jobs j ON j.seq = f.job AND NOT j.is_leaving";

/** How an occurrence ended, as much as a failure depends on. */
export interface FinalEnd {
  readonly status: OccurrenceStatus;
  readonly endedAt: number;
  readonly reason: string | null;
  /** JSON text. */
  readonly error: string | null;
}

interface Failure {
  readonly one: Standing;
  readonly end: FinalEnd;
  readonly kind: FailureKind;
}

// ------------------------------------------------------------------------------------- with an occurrence's end

/** These have ended for good: what failed becomes a dead letter, and a replay settles what it replayed. */
export async function recordFinalEnds(
  session: Session,
  ended: readonly { readonly one: Standing; readonly end: FinalEnd }[],
  { terms, now }: { readonly terms: TermsBook; readonly now: number },
): Promise<void> {
  const failures = ended.flatMap(({ one, end }) => {
    const kind = failureKindOf(end.status, end.reason);
    return kind === null ? [] : [{ one, end, kind }];
  });
  if (failures.length > 0) await insertFailures(session, failures, terms);
  const settled = ended.flatMap(({ one, end }) => {
    const resolution = one.isReplay ? resolvedByReplay(one.id, end.status, now) : null;
    return resolution === null ? [] : [{ id: one.id, resolution }];
  });
  if (settled.length === 0) return;
  await session.rows(
    `UPDATE failed_occurrences f SET resolved_at = ${time("$3::float8")}, resolution = u.resolution
       FROM unnest($1::uuid[], $2::text[]) AS u (id, resolution) JOIN replays r ON r.occurrence_id = u.id
      WHERE f.id = r.failed_id AND f.resolved_at IS NULL`,
    [
      uuids(settled.map((one) => one.id)),
      texts(settled.map((one) => JSON.stringify(one.resolution))),
      now,
    ],
  );
}

async function insertFailures(
  session: Session,
  failures: readonly Failure[],
  terms: TermsBook,
): Promise<void> {
  const payloads = await terms.payloads(session, failures.map(({ one }) => one.terms));
  const output: (string | null)[] = [];
  for (const { one, kind } of failures) {
    output.push(kind === "suspect" ? outputText(await lastLines(session, one)) : null);
  }
  await session.rows(
    `INSERT INTO failed_occurrences (id, job, job_type, job_version, kind, scheduled_for, failed_at, attempts,
       fingerprint, error, reason, last_output, job_data)
     SELECT u.id, u.job, u.type, u.version, u.kind, ${time("u.due")}, ${time("u.failed")}, u.attempts,
       u.fingerprint, u.error, u.reason, u.output, u.payload
       FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::integer[], $5::smallint[], $6::float8[], $7::float8[],
         $8::integer[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])
         AS u (id, job, type, version, kind, due, failed, attempts, fingerprint, error, reason, output, payload)
     ON CONFLICT (id) DO NOTHING`,
    [
      uuids(failures.map(({ one }) => one.id)),
      numbers(failures.map(({ one }) => one.job)),
      texts(failures.map(({ one }) => one.terms.jobType)),
      numbers(failures.map(({ one }) => one.terms.jobVersion)),
      numbers(failures.map(({ kind }) => FAILURE_KINDS.indexOf(kind))),
      numbers(failures.map(({ one }) => one.scheduledFor)),
      numbers(failures.map(({ end }) => end.endedAt)),
      numbers(failures.map(({ one }) => one.attempt)),
      texts(
        failures.map(({ one, end, kind }) =>
          fingerprintOfFailure(kind, one.terms.jobType, readError(end.error))
        ),
      ),
      texts(failures.map(({ end }) => end.error)),
      texts(failures.map(({ end }) => end.reason)),
      texts(output),
      texts(failures.map(({ one }) => one.jobData ?? payloads.get(one.terms.payload) ?? "{}")),
    ],
  );
}

async function lastLines(session: Session, one: Standing): Promise<readonly OutputLine[]> {
  const rows = await session.rows(
    `SELECT token, ${millis("at")}, level, message FROM lines
      WHERE occurrence_id = $1::uuid AND ${onDay(dayOf(one.scheduledFor), "scheduled_for")}
      ORDER BY token DESC, sequence DESC LIMIT ${LAST_LINES}`,
    [one.id],
  );
  return rows.map(([token, at, level, message]) => ({
    token: Number(token),
    at: asTime(at),
    level: LINE_LEVELS[Number(level)] ?? "info",
    message: String(message),
  })).reverse();
}

// ----------------------------------------------------------------------------------------------------- replays

/** What an occurrence replays, or null. */
export async function replayOf(session: Session, occurrenceId: string): Promise<string | null> {
  const [row] = await session.rows("SELECT failed_id FROM replays WHERE occurrence_id = $1::uuid", [
    occurrenceId,
  ]);
  return asText(row?.[0]);
}

/** The replays of a failed occurrence, oldest first. */
export async function replaysOf(session: Session, failedId: string): Promise<readonly ReplayLink[]> {
  const rows = await session.rows(
    `SELECT r.occurrence_id, ${millis("r.scheduled_for")}, r.action_id, o.status
       FROM replays r LEFT JOIN occurrences o ON o.id = r.occurrence_id AND o.scheduled_for = r.scheduled_for
      WHERE r.failed_id = $1::uuid ORDER BY r.scheduled_for, r.occurrence_id`,
    [failedId],
  );
  return rows.map(([occurrenceId, at, actionId, status]) => ({
    occurrenceId: String(occurrenceId),
    at: asTime(at),
    actionId: asText(actionId),
    status: status === null ? null : statusOf(Number(status)),
  }));
}

// ---------------------------------------------------------------------------------------------------- resolving

/** Reads one and holds it until the transaction ends. */
export async function lockFailed(session: Session, id: string): Promise<FailedOccurrence | null> {
  const [row] = await session.rows(
    `SELECT ${COLUMNS} FROM ${FAILED} WHERE f.id = $1::uuid FOR NO KEY UPDATE OF f`,
    [id],
  );
  return row === undefined ? null : toFailed(row);
}

/** Null takes the resolution back. */
export async function resolveFailed(
  session: Session,
  id: string,
  resolution: Resolution | null,
): Promise<void> {
  await session.rows(
    `UPDATE failed_occurrences SET resolved_at = ${time("$2::float8")}, resolution = $3::text
      WHERE id = $1::uuid`,
    [id, resolution?.at ?? null, resolution === null ? null : storable(JSON.stringify(resolution))],
  );
}

/** The numbers of those that are selected and not resolved, `most` at most. They are held until the transaction ends. */
export async function lockOpen(
  session: Session,
  selection: ResolveSelection,
  most: number,
): Promise<readonly number[]> {
  const { where, values } = "filter" in selection
    ? conditionsOf({ ...selection.filter, isResolved: false }, [most])
    : {
      where: "f.id = ANY($2::uuid[]) AND f.resolved_at IS NULL",
      values: [most, uuids(selection.ids.filter(isUuid))],
    };
  const rows = await session.rows(
    `SELECT f.seq FROM failed_occurrences f WHERE ${where} ORDER BY f.seq LIMIT $1::bigint FOR NO KEY UPDATE`,
    values,
  );
  return rows.map((row) => Number(row[0]));
}

export async function resolveLocked(
  session: Session,
  seqs: readonly number[],
  resolution: Resolution,
): Promise<void> {
  await session.rows(
    `UPDATE failed_occurrences SET resolved_at = ${time("$2::float8")}, resolution = $3::text
      WHERE seq = ANY($1::bigint[])`,
    [numbers(seqs), resolution.at, storable(JSON.stringify(resolution))],
  );
}

/** How many have this very resolution, its moment included. */
export async function countResolvedAs(session: Session, resolution: Resolution): Promise<number> {
  const [row] = await session.rows(
    `SELECT count(*) FROM failed_occurrences WHERE resolved_at = ${
      time("$1::float8")
    } AND resolution = $2::text`,
    [resolution.at, storable(JSON.stringify(resolution))],
  );
  return Number(row?.[0]);
}

// ------------------------------------------------------------------------------------------------------ reading

export async function readFailed(session: Session, id: string): Promise<
  | {
    readonly failed: FailedOccurrence;
    readonly jobData: string;
    readonly lastOutput: readonly OutputLine[];
  }
  | null
> {
  const [row] = await session.rows(
    `SELECT ${COLUMNS}, f.job_data, f.last_output FROM ${FAILED} WHERE f.id = $1::uuid`,
    [id],
  );
  if (row === undefined) return null;
  const output = asText(row[14]);
  return {
    failed: toFailed(row),
    jobData: String(row[13]),
    lastOutput: output === null ? [] : JSON.parse(output),
  };
}

export async function countUnresolved(session: Session): Promise<Readonly<Record<FailureKind, number>>> {
  const counts = { failed: 0, "timed-out": 0, suspect: 0 };
  const rows = await session.rows(
    "SELECT kind, count(*) FROM failed_occurrences WHERE resolved_at IS NULL GROUP BY kind",
  );
  for (const [kind, count] of rows) counts[kindOf(kind)] = Number(count);
  return counts;
}

export async function listFailed(
  session: Session,
  filter: FailedFilter,
  limit: number,
  [at, seq]: ReturnType<typeof readListKey>,
): Promise<Page<FailedOccurrence>> {
  const { where, values } = conditionsOf(filter, [at, seq, limit + 1]);
  const rows = await session.rows(
    `SELECT ${COLUMNS} FROM ${FAILED} WHERE ${where} AND (f.failed_at, f.seq) < (${
      time("$1::float8")
    }, $2::bigint)
      ORDER BY f.failed_at DESC, f.seq DESC LIMIT $3::bigint`,
    values,
  );
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return {
    items: items.map(toFailed),
    next: rows.length > limit && last !== undefined ? `${asTime(last[7])}.${last[0]}` : null,
  };
}

export async function groupFailed(
  session: Session,
  filter: FailedFilter,
  limit: number,
  [count, fingerprint]: ReturnType<typeof readGroupKey>,
): Promise<Page<FailedGroup>> {
  const { where, values } = conditionsOf(filter, [count, fingerprint, limit + 1]);
  const rows = await session.rows(
    `WITH g AS (
       SELECT f.fingerprint, count(*) AS many, count(DISTINCT f.job) AS jobs, min(f.failed_at) AS first_at,
         max(f.failed_at) AS last_at, max(f.seq) AS newest FROM ${FAILED} WHERE ${where} GROUP BY f.fingerprint
       HAVING count(*) < $1::bigint OR (count(*) = $1::bigint AND f.fingerprint COLLATE "C" > $2::text)
        ORDER BY count(*) DESC, f.fingerprint COLLATE "C" LIMIT $3::bigint
     ) SELECT ${COLUMNS}, g.many, g.jobs, ${millis("g.first_at")}, ${millis("g.last_at")}
       FROM g JOIN failed_occurrences f ON f.seq = g.newest JOIN jobs j ON j.seq = f.job
      ORDER BY g.many DESC, g.fingerprint COLLATE "C"`,
    values,
  );
  const items = rows.slice(0, limit).map((row): FailedGroup => ({
    fingerprint: String(row[9]),
    count: Number(row[13]),
    jobs: Number(row[14]),
    firstAt: asTime(row[15]),
    lastAt: asTime(row[16]),
    sample: toFailed(row),
  }));
  const last = items.at(-1);
  return {
    items,
    next: rows.length > limit && last !== undefined ? `${last.count}.${last.fingerprint}` : null,
  };
}

/** A filter as SQL over `failed_occurrences f`; its values follow those given. */
export function conditionsOf(filter: FailedFilter, given: readonly Bindable[]): {
  readonly where: string;
  readonly values: readonly Bindable[];
} {
  const values = [...given];
  const bound = (value: Bindable) => `$${values.push(value)}`;
  const parts = ["true"];
  const { jobId, jobType, fingerprint, kinds, from, to, isResolved } = filter;
  if (jobId !== undefined) {
    parts.push(isUuid(jobId) ? `f.job = (SELECT seq FROM jobs WHERE id = ${bound(jobId)}::uuid)` : "false");
  }
  if (jobType !== undefined) parts.push(`f.job_type = ${bound(storable(jobType))}::text`);
  if (fingerprint !== undefined) parts.push(`f.fingerprint = ${bound(storable(fingerprint))}::text`);
  if (kinds !== undefined) {
    parts.push(
      `f.kind = ANY(${bound(numbers(kinds.map((kind) => FAILURE_KINDS.indexOf(kind))))}::smallint[])`,
    );
  }
  if (from !== undefined) parts.push(`f.failed_at >= ${time(`${bound(held(from))}::float8`)}`);
  if (to !== undefined) parts.push(`f.failed_at < ${time(`${bound(held(to))}::float8`)}`);
  if (isResolved !== undefined) parts.push(`f.resolved_at IS ${isResolved ? "NOT NULL" : "NULL"}`);
  return { where: parts.join(" AND "), values };
}

/** A moment held to what a row can have. */
export function held(ms: number): number {
  return Math.min(Math.max(ms, 0), LATEST_MS);
}

function toFailed(row: Row): FailedOccurrence {
  const resolution = asText(row[12]);
  return {
    id: String(row[1]),
    jobId: String(row[2]),
    jobVersion: Number(row[3]),
    jobType: String(row[4]),
    kind: kindOf(row[5]),
    scheduledFor: asTime(row[6]),
    failedAt: asTime(row[7]),
    attempts: Number(row[8]),
    fingerprint: String(row[9]),
    error: readError(row[10]),
    reason: asText(row[11]),
    resolution: resolution === null ? null : JSON.parse(resolution) as Resolution,
  };
}

function kindOf(number: unknown): FailureKind {
  const kind = FAILURE_KINDS[Number(number)];
  if (kind === undefined) throw new RangeError(`No kind of failure has the number ${number}`);
  return kind;
}

function readError(value: unknown): ErrorReport | null {
  return typeof value === "string" ? JSON.parse(value) as ErrorReport : null;
}

/** Where a page of the list begins. Throws `RangeError`. */
export function readListKey(key: string | null): readonly [number, number] {
  if (key === null) return [LATEST_MS, Number.MAX_SAFE_INTEGER];
  const [at = NaN, seq = NaN] = key.split(".").map(Number);
  if (!Number.isSafeInteger(at) || !Number.isSafeInteger(seq)) {
    throw new RangeError(`No page of this list begins after ${key}`);
  }
  return [held(at), seq];
}

/** Where a page of groups begins. Throws `RangeError`. */
export function readGroupKey(key: string | null): readonly [number, string] {
  if (key === null) return [Number.MAX_SAFE_INTEGER, ""];
  const [count = "", fingerprint = ""] = key.split(".");
  if (!/^\d+$/.test(count) || !/^[0-9a-f]{16}$/.test(fingerprint)) {
    throw new RangeError(`No page of this list begins after ${key}`);
  }
  return [Number(count), fingerprint];
}
