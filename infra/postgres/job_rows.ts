/** Definitions: the `JobStore` port. A job's row holds what changes at each due time apart from its definition. */
import { isDisabledNow, readAutoDisabled } from "../../actors/domain/auto_disable.ts";
import {
  type AutoDisabled,
  type Definition,
  definitionText,
  type Job,
  JOB_DEFAULTS,
  type Pause,
  pauseAt,
  readDefinition,
  type SkippedDueTime,
} from "../../actors/domain/job.ts";
import { isAsSeen, nextVersion, pausedWith, resumedAt } from "../../actors/domain/kept.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { DueEntry } from "../../actors/ports/due_index.ts";
import type { JobFilter, JobStore, Page, RemoveAnswer, SaveAnswer } from "../../actors/ports/store.ts";
import { CountChange } from "./counters.ts";
import type { Database, Row, Session } from "./database.ts";
import { enableJob } from "./failing_jobs.ts";
import { countFromNow } from "./job_holds.ts";
import {
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
import { finishRemovals, removeHistory } from "./removal.ts";
import { collectPage } from "./walk.ts";

/** A job row as the ledger and triggers need it, inside their transaction. */
export interface JobStanding {
  readonly seq: number;
  readonly id: string;
  readonly version: number;
  readonly nextDueAt: number | null;
  readonly openRange: number | null;
  readonly payload: number;
  readonly autoDisabled: AutoDisabled | null;
  readonly definition: Definition;
  readonly runCount: number;
  readonly skippedDueAt: number | null;
}

/**
 * `share` keeps the definition from being changed or removed; any number of transactions may hold it. `own` keeps
 * everybody else out who would create, end or decide runs of the job.
 */
export type JobLock = "share" | "own";

export const JOB_COLUMNS = `j.seq, j.version, ${
  millis("j.next_due_at")
}, j.pause, j.definition, p.data, j.run_count,
  j.skipped_due_time, ${millis("j.last_catch_up_at")}, j.auto_disabled`;
const JOBS = `SELECT ${JOB_COLUMNS} FROM jobs j JOIN payloads p ON p.seq = j.payload`;

export class JobRows implements JobStore {
  constructor(private readonly database: Database, private readonly clock: Clock) {}

  insert(jobs: readonly Job[]): Promise<void> {
    const count = new CountChange();
    count.jobs = jobs.length;
    count.activeJobs = jobs.filter((job) => job.isActive).length;
    return this.database.transaction("insert jobs", async (session, isRetry) => {
      if (isRetry && await areThere(session, jobs)) return;
      await session.rows(
        `WITH n AS MATERIALIZED (
           SELECT nextval('jobs_seq_seq') AS seq, nextval('payloads_seq_seq') AS payload, u.*
             FROM unnest($1::uuid[], $2::integer[], $3::float8[], $4::boolean[], $5::text[], $6::text[], $7::text[],
               $8::text[], $9::integer[], $10::text[], $11::float8[])
               AS u (id, version, due, active, pause, type, definition, data, runs, skipped, caught_up)
         ), p AS (INSERT INTO payloads (seq, data) SELECT payload, data FROM n)
         INSERT INTO jobs (seq, id, version, next_due_at, is_active, pause, job_type, definition, payload, run_count,
             skipped_due_time, last_catch_up_at)
           SELECT seq, id, version, ${time("due")}, active, pause, type, definition, payload, runs, skipped,
             ${time("caught_up")} FROM n`,
        [
          uuids(jobs.map((job) => job.id)),
          numbers(jobs.map((job) => job.version)),
          numbers(jobs.map((job) => job.nextDueAt)),
          booleans(jobs.map((job) => job.isActive)),
          texts(jobs.map((job) => pauseText(job.pause))),
          texts(jobs.map((job) => job.jobType)),
          texts(jobs.map(definitionText)),
          texts(jobs.map((job) => job.jobData)),
          numbers(jobs.map((job) => job.runCount)),
          texts(jobs.map((job) => skipText(job.skippedDueTime))),
          numbers(jobs.map((job) => job.lastCatchUpAt)),
        ],
      );
      await count.write(session);
    });
  }

  async get(jobId: string): Promise<Job | null> {
    if (!isUuid(jobId)) return null;
    return await this.database.call("read a job", (session) => readJob(session, jobId));
  }

  async list(filter: JobFilter, limit: number, after: string | null): Promise<Page<Job>> {
    const { search, jobType, tag, isActive, isPaused, isAutoDisabled } = filter;
    const wanted = search?.toLowerCase();
    const now = this.clock.now();
    if (after !== null) readKey(after);
    return await collectPage<Row, Job>({
      limit,
      after,
      isFiltered: wanted !== undefined || tag !== undefined || isActive !== undefined ||
        isPaused !== undefined || isAutoDisabled !== undefined,
      read: (key, count) =>
        this.database.call("list jobs", (session) =>
          session.rows(
            `${JOBS} WHERE j.seq < $1::bigint AND NOT j.is_leaving
               ${
              jobType === undefined ? "" : "AND j.job_type = $3::text"
            } ORDER BY j.seq DESC LIMIT $2::bigint`,
            [
              key === null ? Number.MAX_SAFE_INTEGER : readKey(key),
              count,
              ...(jobType === undefined ? [] : [storable(jobType)]),
            ],
          )),
      keyOf: (row) => String(row[0]),
      toItems: (rows) =>
        Promise.resolve(rows.map((row) => {
          const job = toJob(row);
          return (wanted === undefined || contains(job, wanted)) &&
              (tag === undefined || job.tags.includes(tag)) &&
              (isActive === undefined || job.isActive === isActive) &&
              (isPaused === undefined || (pauseAt(job, now) !== null) === isPaused) &&
              (isAutoDisabled === undefined || isDisabledNow(job.autoDisabled) === isAutoDisabled)
            ? job
            : null;
        })),
    });
  }

  async update(job: Job, expectedVersion: number): Promise<SaveAnswer> {
    if (!isUuid(job.id)) return { ok: false, reason: "not-found" };
    return await this.database.transaction("save a job", async (session, isRetry): Promise<SaveAnswer> => {
      const [row] = await session.rows(
        `SELECT ${JOB_COLUMNS}, ${
          millis("j.decided_until")
        }, j.payload FROM jobs j JOIN payloads p ON p.seq = j.payload
          WHERE j.id = $1::uuid AND NOT j.is_leaving FOR UPDATE OF j`,
        [job.id],
      );
      if (row === undefined) return { ok: false, reason: "not-found" };
      const current = toJob(row);
      if (current.version !== expectedVersion || asTime(row[10]) > job.updatedAt) {
        const isSaved = isRetry && current.version === expectedVersion + 1 &&
          definitionText(current) === definitionText(job) && current.jobData === storable(job.jobData);
        return isSaved ? { ok: true, job: current } : { ok: false, reason: "version-conflict", current };
      }
      return { ok: true, job: await replace(session, { row, current, next: job }) };
    });
  }

  setPause(jobId: string, pause: Pause): Promise<SaveAnswer> {
    return this.#changePause(jobId, (job) => pausedWith(job, pause));
  }

  resume(jobId: string, at: number): Promise<SaveAnswer> {
    return this.#changePause(jobId, (job) => resumedAt(job, at));
  }

  async #changePause(jobId: string, change: (job: Job) => Pause | null): Promise<SaveAnswer> {
    if (!isUuid(jobId)) return { ok: false, reason: "not-found" };
    return await this.database.transaction("pause or resume a job", async (session): Promise<SaveAnswer> => {
      const job = await lockJob(session, jobId);
      if (job === null) return { ok: false, reason: "not-found" };
      const pause = change(job);
      await session.rows("UPDATE jobs SET pause = $2::text WHERE id = $1::uuid", [jobId, pauseText(pause)]);
      return { ok: true, job: { ...job, pause } };
    });
  }

  async skipDueTime(seen: Job, skipped: SkippedDueTime | null): Promise<SaveAnswer> {
    if (!isUuid(seen.id)) return { ok: false, reason: "not-found" };
    return await this.database.transaction(
      "skip a due time",
      async (session, isRetry): Promise<SaveAnswer> => {
        const current = await lockJob(session, seen.id);
        if (current === null) return { ok: false, reason: "not-found" };
        if (isRetry && skipText(current.skippedDueTime) === skipText(skipped)) {
          return { ok: true, job: current };
        }
        if (!isAsSeen(current, seen)) return { ok: false, reason: "version-conflict", current };
        await session.rows("UPDATE jobs SET skipped_due_time = $2::text WHERE id = $1::uuid", [
          seen.id,
          skipText(skipped),
        ]);
        return { ok: true, job: { ...current, skippedDueTime: skipped } };
      },
    );
  }

  async enable(jobId: string, now: number): Promise<SaveAnswer> {
    if (!isUuid(jobId)) return { ok: false, reason: "not-found" };
    return await this.database.transaction("enable a job", async (session): Promise<SaveAnswer> => {
      const [row] = await session.rows(
        "SELECT seq, auto_disabled FROM jobs WHERE id = $1::uuid AND NOT is_leaving FOR NO KEY UPDATE",
        [jobId],
      );
      if (row !== undefined) await enableJob(session, Number(row[0]), row[1], now);
      const job = await readJob(session, jobId);
      return job === null ? { ok: false, reason: "not-found" } : { ok: true, job };
    });
  }

  async remove(jobId: string): Promise<RemoveAnswer> {
    if (!isUuid(jobId)) return { ok: false, reason: "not-found" };
    const left = await this.database.transaction(
      "remove a job",
      async (session, isRetry): Promise<{ readonly seq: number } | Exclude<RemoveAnswer, { ok: true }>> => {
        const [row] = await session.rows(
          "SELECT seq, is_leaving, is_active FROM jobs WHERE id = $1::uuid FOR UPDATE",
          [jobId],
        );
        if (row === undefined) return { ok: false, reason: "not-found" };
        const seq = Number(row[0]);
        if (row[1] === true) return isRetry ? { seq } : { ok: false, reason: "not-found" };
        const [active] = await session.rows(
          "SELECT id FROM occurrences WHERE job = $1::bigint AND ended_at IS NULL LIMIT 1",
          [seq],
        );
        if (active !== undefined) return { ok: false, reason: "in-use", occurrenceId: String(active[0]) };
        await session.rows("UPDATE jobs SET is_leaving = true, next_due_at = NULL WHERE seq = $1::bigint", [
          seq,
        ]);
        const count = new CountChange();
        count.jobs = -1;
        count.activeJobs = row[2] === true ? -1 : 0;
        await count.write(session);
        return { seq };
      },
    );
    if (!("seq" in left)) return left;
    await removeHistory(this.database, left.seq);
    return { ok: true };
  }

  dueEntries(limit: number, after: string | null): Promise<Page<DueEntry>> {
    const key = after === null ? 0 : readKey(after);
    return this.database.call("read due times", async (session) => {
      const rows = await session.rows(
        `SELECT seq, id, ${millis("next_due_at")} FROM jobs
          WHERE seq > $1::bigint AND next_due_at IS NOT NULL AND NOT is_leaving ORDER BY seq LIMIT $2::bigint`,
        [key, limit],
      );
      const items = rows.map(([, id, dueAt]) => ({ jobId: String(id), dueAt: asTime(dueAt) }));
      return { items, next: rows.length < limit ? null : String(rows.at(-1)?.[0] ?? "") };
    });
  }

  dueAmong(jobIds: readonly string[], now: number): Promise<readonly Job[]> {
    return this.database.call("read due jobs", async (session) => {
      const rows = await session.rows(
        `${JOBS} WHERE j.id = ANY($1::uuid[]) AND j.next_due_at <= ${
          time("$2::float8")
        } AND NOT j.is_leaving`,
        [uuids(jobIds.filter(isUuid)), now],
      );
      return rows.map(toJob);
    });
  }

  dueLongest(now: number, limit: number): Promise<readonly Job[]> {
    return this.database.call("read due jobs", async (session) => {
      const rows = await session.rows(
        `${JOBS} WHERE j.next_due_at <= ${time("$1::float8")} AND NOT j.is_leaving
          ORDER BY j.next_due_at LIMIT $2::bigint`,
        [now, limit],
      );
      return rows.map(toJob);
    });
  }

  /** Goes on with removals that a crash cut short. */
  finishRemovals(): Promise<void> {
    return finishRemovals(this.database);
  }
}

/** Where these jobs stand, locked in the order of their numbers; those that are not there are left out. */
export async function lockJobs(
  session: Session,
  jobIds: Iterable<string>,
  lock: JobLock,
): Promise<ReadonlyMap<string, JobStanding>> {
  const ids = [...new Set(jobIds)].filter(isUuid);
  const rows = await session.rows(
    `SELECT seq, id, version, ${millis("next_due_at")}, ${
      millis("open_range")
    }, payload, definition, run_count, skipped_due_time, auto_disabled FROM jobs
      WHERE id = ANY($1::uuid[]) AND NOT is_leaving ORDER BY seq ${
      lock === "own" ? "FOR NO KEY UPDATE" : "FOR KEY SHARE"
    }`,
    [uuids(ids)],
  );
  return new Map(rows.map((row) => [String(row[1]), {
    seq: Number(row[0]),
    id: String(row[1]),
    version: Number(row[2]),
    nextDueAt: asTimeOrNull(row[3]),
    openRange: asTimeOrNull(row[4]),
    payload: Number(row[5]),
    definition: readDefinition(String(row[6])),
    runCount: Number(row[7]),
    skippedDueAt: readSkip(row[8])?.dueAt ?? null,
    autoDisabled: readAutoDisabled(row[9]),
  }]));
}

/** Keeps others from creating, ending or deciding runs of these jobs until the transaction ends. */
export async function lockJobSeqs(session: Session, seqs: Iterable<number>): Promise<void> {
  const wanted = [...new Set(seqs)];
  if (wanted.length === 0) return;
  await session.rows(
    "SELECT 1 FROM jobs WHERE seq = ANY($1::bigint[]) ORDER BY seq FOR NO KEY UPDATE",
    [numbers(wanted)],
  );
}

/** How a decision moves a job on. */
export interface JobStep {
  readonly seq: number;
  readonly nextDueAt: number | null;
  readonly openRange: number | null;
  /** Due times that run by this decision. */
  readonly ran: number;
  readonly dropsSkip: boolean;
  readonly lastCatchUpAt: number | null;
}

/** Moves jobs on to their next due times. */
export async function advanceJobs(
  session: Session,
  steps: readonly JobStep[],
  decidedUntil: number,
): Promise<void> {
  if (steps.length === 0) return;
  await session.rows(
    `UPDATE jobs j SET next_due_at = ${time("u.next")}, open_range = ${time("u.range")},
       decided_until = greatest(j.decided_until, ${time("$4::float8")}), run_count = j.run_count + u.ran,
       skipped_due_time = CASE WHEN u.drops THEN NULL ELSE j.skipped_due_time END,
       last_catch_up_at = coalesce(${time("u.caught_up")}, j.last_catch_up_at)
       FROM unnest($1::bigint[], $2::float8[], $3::float8[], $5::integer[], $6::boolean[], $7::float8[])
         AS u (seq, next, range, ran, drops, caught_up) WHERE j.seq = u.seq`,
    [
      numbers(steps.map((one) => one.seq)),
      numbers(steps.map((one) => one.nextDueAt)),
      numbers(steps.map((one) => one.openRange)),
      decidedUntil,
      numbers(steps.map((one) => one.ran)),
      booleans(steps.map((one) => one.dropsSkip)),
      numbers(steps.map((one) => one.lastCatchUpAt)),
    ],
  );
}

async function readJob(session: Session, jobId: string): Promise<Job | null> {
  const [row] = await session.rows(`${JOBS} WHERE j.id = $1::uuid AND NOT j.is_leaving`, [jobId]);
  return row === undefined ? null : toJob(row);
}

/** The job as it is, kept from everybody who would change or decide it. */
async function lockJob(session: Session, jobId: string): Promise<Job | null> {
  const [row] = await session.rows(
    `${JOBS} WHERE j.id = $1::uuid AND NOT j.is_leaving FOR NO KEY UPDATE OF j`,
    [
      jobId,
    ],
  );
  return row === undefined ? null : toJob(row);
}

async function areThere(session: Session, jobs: readonly Job[]): Promise<boolean> {
  const [row] = await session.rows("SELECT count(*) FROM jobs WHERE id = ANY($1::uuid[])", [
    uuids(jobs.map((job) => job.id)),
  ]);
  return Number(row?.[0]) === jobs.length;
}

/** Writes the next version over the current one, whose row is locked. */
async function replace(
  session: Session,
  { row, current, next }: { readonly row: Row; readonly current: Job; readonly next: Job },
): Promise<Job> {
  const saved = nextVersion(current, next);
  const seq = Number(row[0]);
  const payload = storable(saved.jobData) === current.jobData ? Number(row[11]) : Number(
    (await session.rows("INSERT INTO payloads (data) VALUES ($1::text) RETURNING seq", [
      storable(saved.jobData),
    ]))[0]?.[0],
  );
  await session.rows(
    `UPDATE jobs SET version = $2::integer, next_due_at = ${time("$3::float8")}, open_range = NULL,
       is_active = $4::boolean, job_type = $5::text, definition = $6::text, payload = $7::bigint,
       skipped_due_time = $8::text
      WHERE seq = $1::bigint`,
    [
      seq,
      saved.version,
      saved.nextDueAt,
      saved.isActive,
      storable(saved.jobType),
      storable(definitionText(saved)),
      payload,
      skipText(saved.skippedDueTime),
    ],
  );
  const count = new CountChange();
  count.activeJobs = Number(saved.isActive) - Number(current.isActive);
  await count.write(session);
  const wasAllow = current.concurrentExecutionPolicy === "Allow";
  if (wasAllow && saved.concurrentExecutionPolicy !== "Allow") await countFromNow(session, seq);
  return saved;
}

export function toJob(row: Row): Job {
  const [, version, nextDueAt, pause, definition, jobData, runCount, skipped, lastCatchUpAt, autoDisabled] =
    row;
  return {
    ...JOB_DEFAULTS,
    ...readDefinition(String(definition)),
    version: Number(version),
    nextDueAt: asTimeOrNull(nextDueAt),
    pause: pause === null ? null : JSON.parse(String(pause)) as Pause,
    jobData: String(jobData),
    runCount: Number(runCount),
    skippedDueTime: readSkip(skipped),
    lastCatchUpAt: asTimeOrNull(lastCatchUpAt),
    autoDisabled: readAutoDisabled(autoDisabled),
  };
}

function skipText(skipped: SkippedDueTime | null): string | null {
  return skipped === null ? null : storable(JSON.stringify(skipped));
}

function readSkip(value: unknown): SkippedDueTime | null {
  return typeof value === "string" ? JSON.parse(value) as SkippedDueTime : null;
}

function pauseText(pause: Pause | null): string | null {
  return pause === null ? null : storable(JSON.stringify(pause));
}

function contains(job: Job, wanted: string): boolean {
  return [job.displayName, job.description, job.jobType].some((text) => text.toLowerCase().includes(wanted));
}

function readKey(key: string): number {
  const seq = Number(key);
  if (!Number.isSafeInteger(seq)) throw new RangeError(`No page of this list begins after ${key}`);
  return seq;
}
