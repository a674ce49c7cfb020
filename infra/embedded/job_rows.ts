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
import type { DueEntry } from "../../actors/ports/due_index.ts";
import type { JobFilter, JobStore, Page, RemoveAnswer, SaveAnswer } from "../../actors/ports/store.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Counters } from "./counters.ts";
import type { Database, Row, Statement } from "./database.ts";
import type { FailingJobs } from "./failing_jobs.ts";
import type { GroupCommit } from "./group_commit.ts";
import type { JobHold } from "./job_hold.ts";
import { Removal } from "./removal.ts";
import { collectPage, nextTurn } from "./walk.ts";

/** A job row as the ledger and triggers need it, inside their transaction. */
export interface JobStanding {
  readonly seq: number;
  readonly version: number;
  readonly nextDueAt: number | null;
  readonly openRange: number | null;
  readonly payload: number;
  readonly autoDisabled: AutoDisabled | null;
  readonly definition: Definition;
  readonly runCount: number;
  readonly skippedDueAt: number | null;
}

export const JOB_COLUMNS =
  `j.seq, j.version, j.next_due_at, j.pause, j.definition, p.data, j.run_count, j.skipped_due_time,
  j.last_catch_up_at, j.auto_disabled`;
const JOBS = `SELECT ${JOB_COLUMNS} FROM jobs j JOIN payloads p ON p.seq = j.payload`;

/** Rows of history deleted in one transaction while a job is removed. */
const REMOVE_CHUNK = 1000;

export class JobRows implements JobStore {
  readonly #byId: Statement;
  readonly #standing: Statement;
  readonly #insert: Statement;
  readonly #insertPayload: Statement;
  readonly #replace: Statement;
  readonly #forUpdate: Statement;
  readonly #setPause: Statement;
  readonly #skip: Statement;
  readonly #advance: Statement;
  readonly #list: Statement;
  readonly #listOfType: Statement;
  readonly #due: Statement;
  readonly #dueEntries: Statement;
  readonly #active: Statement;
  readonly #leave: Statement;
  readonly #leaving: Statement;
  readonly #removal: Removal;

  constructor(
    database: Database,
    private readonly group: GroupCommit,
    private readonly counters: Counters,
    private readonly clock: Clock,
    private readonly hold: JobHold,
    private readonly failing: FailingJobs,
    private readonly removeLines: (occurrenceIds: readonly string[]) => Promise<void>,
  ) {
    this.#byId = database.prepare(`${JOBS} WHERE j.id = ? AND j.is_leaving = 0`);
    this.#standing = database.prepare(
      `SELECT seq, version, next_due_at, open_range, payload, definition, run_count, skipped_due_time, auto_disabled FROM jobs
        WHERE id = ? AND is_leaving = 0`,
    );
    this.#insertPayload = database.prepare("INSERT INTO payloads (data) VALUES (?) RETURNING seq");
    this.#insert = database.prepare(
      `INSERT INTO jobs (id, version, next_due_at, is_active, pause, job_type, definition, payload, run_count,
         skipped_due_time, last_catch_up_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#forUpdate = database.prepare(
      "SELECT seq, decided_until, payload FROM jobs WHERE id = ? AND is_leaving = 0",
    );
    this.#replace = database.prepare(
      `UPDATE jobs SET version = ?, next_due_at = ?, open_range = NULL, is_active = ?, job_type = ?,
         definition = ?, payload = ?, skipped_due_time = ? WHERE seq = ?`,
    );
    this.#setPause = database.prepare("UPDATE jobs SET pause = ? WHERE id = ? AND is_leaving = 0");
    this.#skip = database.prepare("UPDATE jobs SET skipped_due_time = ? WHERE id = ? AND is_leaving = 0");
    this.#advance = database.prepare(
      `UPDATE jobs SET next_due_at = ?, decided_until = max(decided_until, ?), open_range = ?, run_count = run_count + ?,
         skipped_due_time = CASE WHEN ? THEN NULL ELSE skipped_due_time END,
         last_catch_up_at = coalesce(?, last_catch_up_at) WHERE seq = ?`,
    );
    this.#list = database.prepare(`${JOBS} WHERE j.seq < ? AND j.is_leaving = 0 ORDER BY j.seq DESC LIMIT ?`);
    this.#listOfType = database.prepare(
      `${JOBS} WHERE j.job_type = ? AND j.seq < ? AND j.is_leaving = 0 ORDER BY j.seq DESC LIMIT ?`,
    );
    this.#due = database.prepare(
      `${JOBS} WHERE j.next_due_at <= ? AND j.is_leaving = 0 ORDER BY j.next_due_at LIMIT ?`,
    );
    this.#dueEntries = database.prepare(
      `SELECT seq, id, next_due_at FROM jobs
        WHERE seq > ? AND next_due_at IS NOT NULL AND is_leaving = 0 ORDER BY seq LIMIT ?`,
    );
    this.#active = database.prepare(
      // Newest first: what is active stands there, so a long history is walked only when it is to be deleted.
      `SELECT id FROM occurrences INDEXED BY occurrences_of_job WHERE job = ? AND ended_at IS NULL
        ORDER BY scheduled_for DESC, twin DESC LIMIT 1`,
    );
    this.#leave = database.prepare("UPDATE jobs SET is_leaving = 1, next_due_at = NULL WHERE seq = ?");
    this.#leaving = database.prepare("SELECT seq FROM jobs WHERE is_leaving = 1");
    this.#removal = new Removal(database, counters);
  }

  insert(jobs: readonly Job[]): Promise<void> {
    return this.group.write(() => {
      for (const job of jobs) {
        const payload = Number(this.#insertPayload.row(job.jobData)?.[0]);
        this.#insert.execute(
          job.id,
          job.version,
          job.nextDueAt,
          Number(job.isActive),
          pauseText(job.pause),
          job.jobType,
          definitionText(job),
          payload,
          job.runCount,
          skipText(job.skippedDueTime),
          job.lastCatchUpAt,
        );
        this.#count(1, job.isActive ? 1 : 0);
      }
    });
  }

  get(jobId: string): Promise<Job | null> {
    return this.group.read(() => this.#read(jobId));
  }

  async list(filter: JobFilter, limit: number, after: string | null): Promise<Page<Job>> {
    const { search, jobType, tag, isActive, isPaused, isAutoDisabled } = filter;
    const wanted = search?.toLowerCase();
    const now = this.clock.now();
    return await collectPage<Row, Job>({
      limit,
      after,
      isFiltered: wanted !== undefined || tag !== undefined || isActive !== undefined ||
        isPaused !== undefined || isAutoDisabled !== undefined,
      read: (key, count) => {
        const before = key === null ? Number.MAX_SAFE_INTEGER : readKey(key);
        return jobType === undefined
          ? this.#list.rows(before, count)
          : this.#listOfType.rows(jobType, before, count);
      },
      keyOf: (row) => String(row[0]),
      toItem: (row) => {
        const job = toJob(row);
        return (wanted === undefined || contains(job, wanted)) &&
            (tag === undefined || job.tags.includes(tag)) &&
            (isActive === undefined || job.isActive === isActive) &&
            (isPaused === undefined || (pauseAt(job, now) !== null) === isPaused) &&
            (isAutoDisabled === undefined || isDisabledNow(job.autoDisabled) === isAutoDisabled)
          ? job
          : null;
      },
    });
  }

  update(job: Job, expectedVersion: number): Promise<SaveAnswer> {
    return this.group.write((): SaveAnswer => {
      const row = this.#forUpdate.row(job.id);
      if (row === undefined) return { ok: false, reason: "not-found" };
      const [seq, decidedUntil, payload] = row;
      const current = this.#read(job.id);
      if (current === null) return { ok: false, reason: "not-found" };
      if (current.version !== expectedVersion || Number(decidedUntil) > job.updatedAt) {
        return { ok: false, reason: "version-conflict", current };
      }
      const saved = nextVersion(current, job);
      this.#replace.execute(
        saved.version,
        saved.nextDueAt,
        Number(saved.isActive),
        saved.jobType,
        definitionText(saved),
        current.jobData === saved.jobData
          ? Number(payload)
          : Number(this.#insertPayload.row(saved.jobData)?.[0]),
        skipText(saved.skippedDueTime),
        Number(seq),
      );
      this.#count(0, Number(saved.isActive) - Number(current.isActive));
      const wasAllow = current.concurrentExecutionPolicy === "Allow";
      if (wasAllow && saved.concurrentExecutionPolicy !== "Allow") this.hold.countFromNow(Number(seq));
      return { ok: true, job: saved };
    });
  }

  setPause(jobId: string, pause: Pause): Promise<SaveAnswer> {
    return this.#changePause(jobId, (job) => pausedWith(job, pause));
  }

  resume(jobId: string, at: number): Promise<SaveAnswer> {
    return this.#changePause(jobId, (job) => resumedAt(job, at));
  }

  skipDueTime(seen: Job, skipped: SkippedDueTime | null): Promise<SaveAnswer> {
    return this.group.write((): SaveAnswer => {
      const current = this.#read(seen.id);
      if (current === null) return { ok: false, reason: "not-found" };
      if (!isAsSeen(current, seen)) return { ok: false, reason: "version-conflict", current };
      this.#skip.execute(skipText(skipped), seen.id);
      return { ok: true, job: { ...current, skippedDueTime: skipped } };
    });
  }

  enable(jobId: string, now: number): Promise<SaveAnswer> {
    return this.group.write((): SaveAnswer => {
      const standing = this.standing(jobId);
      if (standing !== null) this.failing.enable(standing.seq, now);
      const job = this.#read(jobId);
      return job === null ? { ok: false, reason: "not-found" } : { ok: true, job };
    });
  }

  async remove(jobId: string): Promise<RemoveAnswer> {
    const left = await this.group.write(
      (): { readonly seq: number } | Exclude<RemoveAnswer, { ok: true }> => {
        const job = this.standing(jobId);
        if (job === null) return { ok: false, reason: "not-found" };
        const active = this.#active.row(job.seq);
        if (active !== undefined) return { ok: false, reason: "in-use", occurrenceId: String(active[0]) };
        this.#leave.execute(job.seq);
        this.#count(-1, job.definition.isActive ? -1 : 0);
        return { seq: job.seq };
      },
    );
    if (!("seq" in left)) return left;
    await this.#removeHistory(left.seq);
    return { ok: true };
  }

  dueEntries(limit: number, after: string | null): Promise<Page<DueEntry>> {
    return this.group.read(() => {
      const rows = this.#dueEntries.rows(after === null ? 0 : readKey(after), limit);
      const items = rows.map(([, id, dueAt]) => ({ jobId: String(id), dueAt: Number(dueAt) }));
      return { items, next: rows.length < limit ? null : String(rows.at(-1)?.[0] ?? "") };
    });
  }

  // ------------------------------------------------------------------- for the ledger, inside its transaction

  standing(jobId: string): JobStanding | null {
    const row = this.#standing.row(jobId);
    if (row === undefined) return null;
    const [seq, version, nextDueAt, openRange, payload, definition, runCount, skipped, autoDisabled] = row;
    return {
      seq: Number(seq),
      version: Number(version),
      nextDueAt: nextDueAt === null ? null : Number(nextDueAt),
      openRange: openRange === null ? null : Number(openRange),
      payload: Number(payload),
      autoDisabled: readAutoDisabled(autoDisabled),
      definition: readDefinition(String(definition)),
      runCount: Number(runCount),
      skippedDueAt: readSkip(skipped)?.dueAt ?? null,
    };
  }

  advance(
    seq: number,
    to: {
      readonly nextDueAt: number | null;
      readonly decidedUntil: number;
      readonly openRange: number | null;
      /** Due times that run by this decision. */
      readonly ran: number;
      readonly dropsSkip: boolean;
      readonly lastCatchUpAt: number | null;
    },
  ): void {
    const { nextDueAt, decidedUntil, openRange, ran, dropsSkip, lastCatchUpAt } = to;
    this.#advance.execute(nextDueAt, decidedUntil, openRange, ran, Number(dropsSkip), lastCatchUpAt, seq);
  }

  dueAmong(jobIds: readonly string[], now: number): Promise<readonly Job[]> {
    return this.group.read(() =>
      jobIds.map((id) => this.#read(id)).filter((job): job is Job =>
        job !== null && job.nextDueAt !== null && job.nextDueAt <= now
      )
    );
  }

  dueLongest(now: number, limit: number): Promise<readonly Job[]> {
    return this.group.read(() => this.#due.rows(now, limit).map(toJob));
  }

  /** Goes on with removals that a crash cut short. */
  async finishRemovals(): Promise<void> {
    for (const [seq] of this.#leaving.rows()) await this.#removeHistory(Number(seq));
  }

  // ------------------------------------------------------------------------------------------------- private

  #changePause(jobId: string, change: (job: Job) => Pause | null): Promise<SaveAnswer> {
    return this.group.write((): SaveAnswer => {
      const job = this.#read(jobId);
      if (job === null) return { ok: false, reason: "not-found" };
      const pause = change(job);
      this.#setPause.execute(pauseText(pause), jobId);
      return { ok: true, job: { ...job, pause } };
    });
  }

  #read(jobId: string): Job | null {
    const row = this.#byId.row(jobId);
    return row === undefined ? null : toJob(row);
  }

  #count(jobs: number, active: number): void {
    this.counters.add("jobs", jobs);
    this.counters.add("jobs.active", active);
  }

  /** Lines first: what is left of the history still names those to be deleted. */
  async #removeHistory(job: number): Promise<void> {
    while (true) {
      const chunk = this.#removal.next(job, REMOVE_CHUNK);
      if (chunk.length === 0) break;
      await this.removeLines(chunk.map((one) => one.id));
      await this.group.write(() => this.#removal.delete(chunk));
      await nextTurn();
    }
    await this.group.write(() => this.#removal.deleteJob(job));
  }
}

export function toJob(row: Row): Job {
  const [, version, nextDueAt, pause, definition, jobData, runCount, skipped, lastCatchUpAt, autoDisabled] =
    row;
  return {
    ...JOB_DEFAULTS,
    ...readDefinition(String(definition)),
    version: Number(version),
    nextDueAt: nextDueAt === null ? null : Number(nextDueAt),
    pause: pause === null ? null : JSON.parse(String(pause)) as Pause,
    jobData: String(jobData),
    runCount: Number(runCount),
    skippedDueTime: readSkip(skipped),
    lastCatchUpAt: typeof lastCatchUpAt === "number" ? lastCatchUpAt : null,
    autoDisabled: readAutoDisabled(autoDisabled),
  };
}

function skipText(skipped: SkippedDueTime | null): string | null {
  return skipped === null ? null : JSON.stringify(skipped);
}

function readSkip(value: Row[number] | undefined): SkippedDueTime | null {
  return typeof value === "string" ? JSON.parse(value) as SkippedDueTime : null;
}

function pauseText(pause: Pause | null): string | null {
  return pause === null ? null : JSON.stringify(pause);
}

function contains(job: Job, wanted: string): boolean {
  return [job.displayName, job.description, job.jobType].some((text) => text.toLowerCase().includes(wanted));
}

function readKey(key: string): number {
  const seq = Number(key);
  if (!Number.isSafeInteger(seq)) throw new RangeError(`No page of this list begins after ${key}`);
  return seq;
}
