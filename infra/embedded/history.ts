/** What people read: occurrences with their attempts and state changes, verdict ranges, totals. */
import {
  type Attempt,
  attemptOutcomeOf,
  type ErrorReport,
  isFinal,
  type Occurrence,
  OCCURRENCE_STATUSES,
  type OccurrenceStatus,
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
import type { Counters } from "./counters.ts";
import type { Bindable, Database, Row, Statement } from "./database.ts";
import type { FailedRows } from "./failed_rows.ts";
import type { GroupCommit } from "./group_commit.ts";
import type { JobHold } from "./job_hold.ts";
import { asNumber, readCancel, readEnding } from "./occurrence_rows.ts";
import type { RangeRows } from "./range_rows.ts";
import type { TermsBook } from "./terms.ts";
import { collectPage } from "./walk.ts";

const COLUMNS = `seq, id, terms, origin, status, scheduled_for, created_at, started_at, ended_at, duration_ms,
  instance, attempt, token, ready_at, result, error, reason, created_reason, cancel, progress_done, progress_total,
  blocked_by, job_data, ending`;

const QUEUED = statusNumber("Queued");
const RUNNING = statusNumber("Running");
const COMPLETED = statusNumber("Completed");

/** Bounds of a walk: due from ?1 to ?2, and before the key (?3, ?4). One upper bound, so that a page begins there. */
const WITHIN = "scheduled_for >= ?1 AND scheduled_for <= ?2 AND (scheduled_for < ?3 OR seq < ?4)";
const NEWEST_FIRST = "ORDER BY scheduled_for DESC, seq DESC LIMIT ?5";

export class EmbeddedHistory implements History {
  readonly #byId: Statement;
  readonly #idOf: Statement;
  readonly #ofJob: Statement;
  readonly #byTime: Statement;
  readonly #queued: Statement;
  readonly #running: Statement;
  readonly #notCompleted: Statement;
  readonly #jobSeq: Statement;
  readonly #atDueTime: Statement;
  readonly #attempts: Statement;

  constructor(
    database: Database,
    private readonly group: GroupCommit,
    private readonly terms: TermsBook,
    private readonly ranges_: RangeRows,
    private readonly counters: Counters,
    private readonly hold: JobHold,
    private readonly failed: FailedRows,
  ) {
    this.#byId = database.prepare(`SELECT ${COLUMNS} FROM occurrences WHERE id = ?`);
    this.#idOf = database.prepare("SELECT id FROM occurrences WHERE seq = ?");
    this.#jobSeq = database.prepare("SELECT seq FROM jobs WHERE id = ?");
    const walk = (condition: string) =>
      database.prepare(`SELECT ${COLUMNS} FROM occurrences WHERE ${condition} AND ${WITHIN} ${NEWEST_FIRST}`);
    this.#ofJob = walk("job = ?6");
    this.#byTime = walk("?6 IS NULL");
    this.#queued = walk("ended_at IS NULL AND status = ?6");
    this.#running = walk(`status = ${RUNNING} AND ?6 = ${RUNNING}`);
    this.#notCompleted = walk(`status > ${COMPLETED} AND status = ?6`);
    this.#atDueTime = database.prepare(
      `SELECT ${COLUMNS} FROM occurrences WHERE job = (SELECT seq FROM jobs WHERE id = ?) AND scheduled_for = ?
         AND twin = 0`,
    );
    this.#attempts = database.prepare(
      `SELECT token, number, instance, claimed_at, ended_at, duration_ms, outcome, error, reason, progress_done,
         progress_total FROM attempts WHERE occurrence = ? ORDER BY token`,
    );
  }

  async occurrences(
    filter: OccurrenceFilter,
    limit: number,
    after: string | null,
  ): Promise<Page<OccurrenceSummary>> {
    const { jobId, jobType, statuses } = filter;
    const wanted = statuses === undefined ? null : new Set(statuses.map(statusNumber));
    const from = filter.from ?? 0;
    const last = filter.to === undefined ? Number.MAX_SAFE_INTEGER : filter.to - 1;
    const job = jobId === undefined ? null : this.#jobSeq.row(jobId)?.[0];
    if (job === undefined) return { items: [], next: null };

    // Completed ones are most of the table: a walk over all of it, in chunks, passes over the few others.
    const walked = wanted === null || wanted.has(COMPLETED) ? null : [...wanted];
    const read = (key: string | null, count: number): readonly Row[] => {
      const [keyTime, keySeq] = readKey(key);
      const bounds = [from, Math.min(last, keyTime), keyTime, keySeq, count] as const;
      if (job !== null) return this.#ofJob.rows(...bounds, job);
      if (walked === null) return this.#byTime.rows(...bounds, null);
      return merge(walked.map((status) => this.#walkOf(status).rows(...bounds, status)), count);
    };
    return await collectPage<Row, OccurrenceSummary>({
      limit,
      after,
      isFiltered: jobType !== undefined || (wanted !== null && (job !== null || walked === null)),
      read,
      keyOf: (row) => `${row[5]}.${row[0]}`,
      toItem: (row) => {
        const passes = (wanted === null || wanted.has(Number(row[4]))) &&
          (jobType === undefined || this.terms.get(Number(row[2])).jobType === jobType);
        return passes ? this.#summary(row) : null;
      },
    });
  }

  occurrence(occurrenceId: string): Promise<OccurrenceDetail | null> {
    return this.group.read(() => {
      const row = this.#byId.row(occurrenceId);
      if (row === undefined) return null;
      const occurrence = this.#occurrence(row);
      const past = this.#attempts.rows(Number(row[0])).map((one) => this.#pastAttempt(one));
      const blockedBy = asNumber(row[21]);
      return {
        occurrence,
        attempts: attemptsOf(occurrence, past, readProgress(row[19], row[20])),
        changes: changesOf(occurrence, past, asText(row[17])),
        blockedBy: blockedBy === null ? null : asText(this.#idOf.row(blockedBy)?.[0]),
        replayOf: this.failed.replayOf(occurrenceId),
        replays: this.failed.replays(occurrenceId),
      };
    });
  }

  occurrenceAt(jobId: string, dueAt: number): Promise<OccurrenceSummary | null> {
    return this.group.read(() => {
      const row = this.#atDueTime.row(jobId, dueAt);
      return row === undefined ? null : this.#summary(row);
    });
  }

  rangeAt(jobId: string, dueAt: number): Promise<VerdictRange | null> {
    return this.group.read(() => this.ranges_.at(jobId, dueAt));
  }

  ranges(jobId: string, limit: number): Promise<readonly VerdictRange[]> {
    return this.group.read(() => this.ranges_.newest(jobId, limit));
  }

  holding(jobId: string): Promise<JobHolding> {
    return this.group.read(() => {
      const job = this.#jobSeq.row(jobId)?.[0];
      return job === undefined
        ? { holder: null, count: 0 }
        : { holder: this.hold.holder(Number(job))?.id ?? null, count: this.hold.count(Number(job)) };
    });
  }

  counts(): Promise<StatusCounts> {
    return this.group.read(() => {
      const totals = this.counters.read();
      const ofStatus = (status: OccurrenceStatus) => totals.get(`status.${statusNumber(status)}`) ?? 0;
      const byStatus = Object.fromEntries(OCCURRENCE_STATUSES.map((status) => [status, ofStatus(status)]));
      return {
        jobs: totals.get("jobs") ?? 0,
        activeJobs: totals.get("jobs.active") ?? 0,
        byStatus: byStatus as Record<OccurrenceStatus, number>,
      };
    });
  }

  #walkOf(status: number): Statement {
    if (status === QUEUED) return this.#queued;
    return status === RUNNING ? this.#running : this.#notCompleted;
  }

  #summary(row: Row): OccurrenceSummary {
    const { jobData: _, ...summary } = this.#fields(row, "");
    return summary;
  }

  #occurrence(row: Row): Occurrence {
    return this.#fields(row, asText(row[22]) ?? this.terms.payload(this.terms.get(Number(row[2]))));
  }

  #fields(row: Row, jobData: string): Occurrence {
    const terms = this.terms.get(Number(row[2]));
    const instance = typeof row[10] === "number" ? this.terms.instance(row[10]) : null;
    const status = statusOf(Number(row[4]));
    return {
      id: String(row[1]),
      jobId: terms.jobId,
      jobVersion: terms.jobVersion,
      jobType: terms.jobType,
      pool: terms.pool,
      origin: ORIGINS[Number(row[3])] ?? "schedule",
      status,
      scheduledFor: Number(row[5]),
      createdAt: Number(row[6]),
      startedAt: asNumber(row[7]),
      endedAt: asNumber(row[8]),
      durationMs: asNumber(row[9]),
      workerId: instance?.workerId ?? null,
      instanceId: instance?.instanceId ?? null,
      attempt: Number(row[11]),
      token: Number(row[12]),
      maxAttempts: terms.maxAttempts,
      baseRetryDelaySeconds: terms.baseRetryDelaySeconds,
      executionTimeoutSeconds: terms.executionTimeoutSeconds,
      readyAt: asNumber(row[13]),
      result: asText(row[14]),
      error: readError(row[15]),
      reason: asText(row[16]) ?? (isFinal(status) ? null : asText(row[17])),
      jobData,
      cancel: readCancel(row[18] ?? null),
      ending: readEnding(row[23] ?? null),
    };
  }

  #pastAttempt(row: Row): PastAttempt {
    const [token, number, instance, claimedAt, endedAt, durationMs, outcome, error, reason] = row;
    const { workerId, instanceId } = this.terms.instance(Number(instance));
    return {
      reason: asText(reason),
      endedAt: Number(endedAt),
      attempt: {
        token: Number(token),
        number: asNumber(number),
        workerId,
        instanceId,
        claimedAt: Number(claimedAt),
        endedAt: Number(endedAt),
        durationMs: asNumber(durationMs),
        outcome: attemptOutcomeOf(outcome),
        error: readError(error),
        progress: readProgress(row[9], row[10]),
      },
    };
  }
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
  if (key === null) return [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
  const [scheduledFor, seq] = key.split(".").map(Number);
  if (!Number.isSafeInteger(scheduledFor) || !Number.isSafeInteger(seq)) {
    throw new RangeError(`No page of this list begins after ${key}`);
  }
  return [scheduledFor ?? 0, seq ?? 0];
}

function asText(value: Bindable | undefined): string | null {
  return typeof value === "string" ? value : null;
}

function readError(value: Bindable | undefined): ErrorReport | null {
  return typeof value === "string" ? JSON.parse(value) as ErrorReport : null;
}

function readProgress(done: Bindable | undefined, total: Bindable | undefined): Attempt["progress"] {
  return typeof done === "number" && typeof total === "number" ? { done, total } : null;
}
