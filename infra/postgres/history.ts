/** What people read: occurrences with their attempts and state changes, verdict ranges, totals. */
import {
  type Attempt,
  attemptOutcomeOf,
  type ErrorReport,
  isFinal,
  type Occurrence,
  ORIGINS,
  statusNumber,
  statusOf,
} from "../../actors/domain/occurrence.ts";
import { attemptsOf, changesOf, type PastAttempt } from "../../actors/domain/state_changes.ts";
import type { VerdictRange } from "../../actors/domain/verdict.ts";
import type {
  History,
  JobHolding,
  OccurrenceDetail,
  OccurrenceFilter,
  OccurrenceSummary,
  Page,
  StatusCounts,
} from "../../actors/ports/store.ts";
import { readCounts } from "./counters.ts";
import type { Database, Row, Session } from "./database.ts";
import { dayOf, isStorableTime, LATEST_MS, onDay } from "./day.ts";
import { readHolds } from "./job_holds.ts";
import { asNumber, asText, asTime, asTimeOrNull, isUuid, millis, time } from "./literal.ts";
import { readCancel, readEnding } from "./occurrence_rows.ts";
import { newestRanges, rangeAt } from "./range_rows.ts";
import type { Instance, Terms, TermsBook } from "./terms.ts";
import { replayOf, replaysOf } from "./failed_rows.ts";
import { collectPage } from "./walk.ts";

const COLUMNS = `seq, id, terms, origin, status, ${millis("scheduled_for")}, ${millis("created_at")},
  ${millis("started_at")}, ${millis("ended_at")}, duration_ms, instance, attempt, token, ${
  millis("ready_at")
}, result,
  error, reason, created_reason, cancel, progress_done, progress_total, blocked_by, job_data,
  ending`;

const COMPLETED = statusNumber("Completed");

/** Bounds of a walk: due from one moment to another, and before the key. One upper bound: a page begins there. */
interface Bounds {
  readonly from: number;
  readonly last: number;
  readonly keyTime: number;
  readonly keySeq: number;
  readonly count: number;
}

/** What rows refer to. */
interface Names {
  readonly terms: ReadonlyMap<number, Terms>;
  readonly instances: ReadonlyMap<number, Instance>;
}

export class PostgresHistory implements History {
  constructor(private readonly database: Database, private readonly terms: TermsBook) {}

  async occurrences(
    filter: OccurrenceFilter,
    limit: number,
    after: string | null,
  ): Promise<Page<OccurrenceSummary>> {
    const { jobId, jobType, statuses } = filter;
    readKey(after);
    const wanted = statuses === undefined ? null : new Set(statuses.map(statusNumber));
    const from = filter.from ?? 0;
    const last = filter.to === undefined ? Infinity : filter.to - 1;
    const job = jobId === undefined ? null : await this.#jobSeq(jobId);
    if (job === undefined) return { items: [], next: null };

    // Completed ones are most of the table: a walk over all of it, in chunks, passes over the few others.
    const walked = wanted === null || wanted.has(COMPLETED) ? null : [...wanted];
    const read = async (key: string | null, count: number): Promise<readonly Row[]> => {
      const [keyTime, keySeq] = readKey(key);
      const bounds = { from, last: Math.min(last, keyTime), keyTime, keySeq, count };
      if (job !== null) return await this.#walk(`AND job = ${job}`, bounds);
      if (walked === null) return await this.#walk("", bounds);
      return merge(await Promise.all(walked.map((status) => this.#walk(ofStatus(status), bounds))), count);
    };
    return await collectPage<Row, OccurrenceSummary>({
      limit,
      after,
      isFiltered: jobType !== undefined || (wanted !== null && (job !== null || walked === null)),
      read,
      keyOf: (row) => `${asTime(row[5])}.${row[0]}`,
      toItems: async (rows) => {
        const names = await this.#names(rows);
        return rows.map((row) => {
          const passes = (wanted === null || wanted.has(Number(row[4]))) &&
            (jobType === undefined || names.terms.get(Number(row[2]))?.jobType === jobType);
          return passes ? summaryOf(row, names) : null;
        });
      },
    });
  }

  async occurrence(occurrenceId: string): Promise<OccurrenceDetail | null> {
    if (!isUuid(occurrenceId)) return null;
    return await this.database.call("read an occurrence", async (session) => {
      const [row] = await session.rows(`SELECT ${COLUMNS} FROM occurrences WHERE id = $1::uuid`, [
        occurrenceId,
      ]);
      if (row === undefined) return null;
      const past = await this.#pastAttempts(session, Number(row[0]), asTime(row[5]));
      const names = await this.#namesWithin(session, [row]);
      const payloads = await this.terms.payloads(session, names.terms.values());
      const of = names.terms.get(Number(row[2]));
      const jobData = asText(row[22]) ?? (of === undefined ? "{}" : payloads.get(of.payload) ?? "{}");
      const occurrence = occurrenceOf(row, names, jobData);
      return {
        occurrence,
        attempts: attemptsOf(occurrence, past, readProgress(row[19], row[20])),
        changes: changesOf(occurrence, past, asText(row[17])),
        blockedBy: asText(row[21]),
        replayOf: await replayOf(session, occurrence.id),
        replays: await replaysOf(session, occurrence.id),
      };
    });
  }

  async occurrenceAt(jobId: string, dueAt: number): Promise<OccurrenceSummary | null> {
    const job = isStorableTime(dueAt) ? await this.#jobSeq(jobId) : undefined;
    if (job === undefined) return null;
    const [row] = await this.database.call("read an occurrence", (session) =>
      session.rows(
        `SELECT ${COLUMNS} FROM occurrences WHERE job = $1::bigint AND twin = 0
           AND scheduled_for = ${time("$2::float8")} AND ${onDay(dayOf(dueAt), "scheduled_for")}`,
        [job, dueAt],
      ));
    return row === undefined ? null : summaryOf(row, await this.#names([row]));
  }

  rangeAt(jobId: string, dueAt: number): Promise<VerdictRange | null> {
    return rangeAt(this.database, jobId, dueAt);
  }

  ranges(jobId: string, limit: number): Promise<readonly VerdictRange[]> {
    return newestRanges(this.database, jobId, limit);
  }

  async holding(jobId: string): Promise<JobHolding> {
    const job = await this.#jobSeq(jobId);
    if (job === undefined) return { holder: null, count: 0 };
    const holds = await this.database.call("read who holds a job", (session) => readHolds(session, [job]));
    return holds.get(job) ?? { holder: null, count: 0 };
  }

  counts(): Promise<StatusCounts> {
    return readCounts(this.database);
  }

  async #jobSeq(jobId: string): Promise<number | undefined> {
    if (!isUuid(jobId)) return undefined;
    const [row] = await this.database.call(
      "read a job",
      (session) => session.rows("SELECT seq FROM jobs WHERE id = $1::uuid", [jobId]),
    );
    return row === undefined ? undefined : Number(row[0]);
  }

  /** Written out, not bound: a plan for these very bounds looks at their days only. All of them are numbers. */
  #walk(condition: string, { from, last, keyTime, keySeq, count }: Bounds): Promise<readonly Row[]> {
    const before = keyTime === Infinity ? "" : `AND (scheduled_for < ${moment(keyTime)} OR seq < ${keySeq})`;
    const until = last === Infinity ? "" : `AND scheduled_for <= ${moment(last)}`;
    return this.database.call("list occurrences", (session) =>
      session.rows(
        `SELECT ${COLUMNS} FROM occurrences WHERE seq > 0 AND scheduled_for >= ${
          moment(from)
        } ${until} ${before}
           ${condition} ORDER BY scheduled_for DESC, seq DESC LIMIT ${Math.trunc(count)}`,
      ));
  }

  #names(rows: readonly Row[]): Promise<Names> {
    return this.database.call("read names", (session) => this.#namesWithin(session, rows));
  }

  async #namesWithin(session: Session, rows: readonly Row[]): Promise<Names> {
    return {
      terms: await this.terms.load(session, new Set(rows.map((row) => Number(row[2])))),
      instances: await this.terms.instances(
        session,
        new Set(rows.flatMap((row) => asNumber(row[10]) ?? [])),
      ),
    };
  }

  async #pastAttempts(session: Session, seq: number, scheduledFor: number): Promise<readonly PastAttempt[]> {
    const rows = await session.rows(
      `SELECT token, number, instance, ${millis("claimed_at")}, ${
        millis("ended_at")
      }, duration_ms, outcome, error,
         reason, progress_done, progress_total FROM attempts
        WHERE occurrence = $1::bigint AND ${onDay(dayOf(scheduledFor), "scheduled_for")} ORDER BY token`,
      [seq],
    );
    const instances = await this.terms.instances(session, new Set(rows.map((row) => Number(row[2]))));
    return rows.map((row) => pastAttemptOf(row, instances.get(Number(row[2]))));
  }
}

function ofStatus(status: number): string {
  return isFinal(statusOf(status))
    ? `AND not_completed = ${status}`
    : `AND ended_at IS NULL AND status = ${status}`;
}

/** A moment as a literal, held to what a row can have. */
function moment(ms: number): string {
  const held = Math.min(Math.max(Math.trunc(ms), 0), LATEST_MS);
  return `'${new Date(held).toISOString()}'`;
}

function summaryOf(row: Row, names: Names): OccurrenceSummary {
  const { jobData: _, ...summary } = occurrenceOf(row, names, "");
  return summary;
}

function occurrenceOf(row: Row, names: Names, jobData: string): Occurrence {
  const terms = names.terms.get(Number(row[2]));
  if (terms === undefined) throw new Error(`Cannot read terms ${row[2]}: no such row`);
  const instance = row[10] === null ? undefined : names.instances.get(Number(row[10]));
  const status = statusOf(Number(row[4]));
  return {
    id: String(row[1]),
    jobId: terms.jobId,
    jobVersion: terms.jobVersion,
    jobType: terms.jobType,
    pool: terms.pool,
    origin: ORIGINS[Number(row[3])] ?? "schedule",
    status,
    scheduledFor: asTime(row[5]),
    createdAt: asTime(row[6]),
    startedAt: asTimeOrNull(row[7]),
    endedAt: asTimeOrNull(row[8]),
    durationMs: asNumber(row[9]),
    workerId: instance?.workerId ?? null,
    instanceId: instance?.instanceId ?? null,
    attempt: Number(row[11]),
    token: Number(row[12]),
    maxAttempts: terms.maxAttempts,
    baseRetryDelaySeconds: terms.baseRetryDelaySeconds,
    executionTimeoutSeconds: terms.executionTimeoutSeconds,
    readyAt: asTimeOrNull(row[13]),
    // One that was kept before its report is not the occurrence's yet.
    result: status === "Completed" ? asText(row[14]) : null,
    error: readError(row[15]),
    reason: asText(row[16]) ?? (isFinal(status) ? null : asText(row[17])),
    jobData,
    cancel: readCancel(row[18]),
    ending: readEnding(row[23]),
  };
}

function pastAttemptOf(row: Row, instance: Instance | undefined): PastAttempt {
  const [token, number, , claimedAt, endedAt, durationMs, outcome, error, reason] = row;
  return {
    reason: asText(reason),
    endedAt: asTime(endedAt),
    attempt: {
      token: Number(token),
      number: asNumber(number),
      workerId: instance?.workerId ?? "",
      instanceId: instance?.instanceId ?? "",
      claimedAt: asTime(claimedAt),
      endedAt: asTime(endedAt),
      durationMs: asNumber(durationMs),
      outcome: attemptOutcomeOf(outcome),
      error: readError(error),
      progress: readProgress(row[9], row[10]),
    },
  };
}

/** Merges walks that are each in order, and keeps the first `count`. */
function merge(walks: readonly (readonly Row[])[], count: number): readonly Row[] {
  const [only] = walks;
  if (only !== undefined && walks.length === 1) return only;
  return walks.flat()
    .sort((left, right) => Number(right[5]) - Number(left[5]) || Number(right[0]) - Number(left[0]))
    .slice(0, count);
}

function readKey(key: string | null): readonly [number, number] {
  if (key === null) return [Infinity, Number.MAX_SAFE_INTEGER];
  const [scheduledFor, seq] = key.split(".").map(Number);
  if (!Number.isSafeInteger(scheduledFor) || !Number.isSafeInteger(seq)) {
    throw new RangeError(`No page of this list begins after ${key}`);
  }
  return [scheduledFor ?? 0, seq ?? 0];
}

function readError(value: unknown): ErrorReport | null {
  return typeof value === "string" ? JSON.parse(value) as ErrorReport : null;
}

function readProgress(done: unknown, total: unknown): Attempt["progress"] {
  return typeof done === "number" && typeof total === "number" ? { done, total } : null;
}
