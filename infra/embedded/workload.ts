/** What planning reads: runs that were, runs that wait. */
import type { SampledRun } from "../../actors/domain/capacity_runs.ts";
import type { WaitingRuns } from "../../actors/domain/capacity_pools.ts";
import { statusNumber, statusOf } from "../../actors/domain/occurrence.ts";
import {
  type ConnectionRoom,
  JOBS_OF_TYPE,
  RUNS_OF_JOB,
  type RunSample,
  type WaitingSample,
  type Workload,
} from "../../actors/ports/workload.ts";
import type { Database, Row, Statement } from "./database.ts";
import type { GroupCommit } from "./group_commit.ts";
import { asNumber } from "./occurrence_rows.ts";
import type { TermsBook } from "./terms.ts";

const COLUMNS = "terms, instance, status, attempt, scheduled_for, duration_ms";
const QUEUED = statusNumber("Queued");

export class EmbeddedWorkload implements Workload {
  readonly #runs: Statement;
  readonly #count: Statement;
  readonly #jobsOfType: Statement;
  readonly #runsOfJob: Statement;
  readonly #waiting: Statement;
  readonly #taken: Statement;

  constructor(database: Database, private readonly group: GroupCommit, private readonly terms: TermsBook) {
    this.#runs = database.prepare(
      `SELECT ${COLUMNS} FROM occurrences WHERE scheduled_for >= ? AND scheduled_for <= ?
         ORDER BY scheduled_for DESC, seq DESC LIMIT ?`,
    );
    this.#count = database.prepare(
      `SELECT count(*) FROM (SELECT 1 FROM occurrences WHERE scheduled_for >= ? AND scheduled_for <= ? LIMIT ?)`,
    );
    this.#jobsOfType = database.prepare(
      `SELECT seq FROM jobs WHERE job_type = ? AND is_leaving = 0 ORDER BY seq DESC LIMIT ${JOBS_OF_TYPE}`,
    );
    this.#runsOfJob = database.prepare(
      `SELECT ${COLUMNS} FROM occurrences WHERE job = ? ORDER BY scheduled_for DESC, twin DESC LIMIT ${RUNS_OF_JOB}`,
    );
    // The bound is on what is looked at, not on what is found.
    const isReady = `status = ${QUEUED} AND ready_at <= ?1`;
    this.#waiting = database.prepare(
      `SELECT terms, count(*), count(*) FILTER (WHERE ${isReady}), min(ready_at) FILTER (WHERE ${isReady}),
         min(scheduled_for) FILTER (WHERE ${isReady}) FROM (
         SELECT terms, status, ready_at, scheduled_for FROM occurrences WHERE ended_at IS NULL
           ORDER BY scheduled_for LIMIT ?2) GROUP BY terms`,
    );
    this.#taken = database.prepare("SELECT 1 FROM instances WHERE worker_id = ? LIMIT 1");
  }

  runs(dueAt: { readonly from: number; readonly until: number }, most: number): Promise<RunSample> {
    return this.group.read(() => {
      const rows = this.#runs.rows(dueAt.from, dueAt.until, most + 1);
      return { runs: rows.slice(0, most).map((row) => this.#run(row)), isCut: rows.length > most };
    });
  }

  count(dueAt: { readonly from: number; readonly until: number }, most: number): Promise<number> {
    return this.group.read(() => Number(this.#count.row(dueAt.from, dueAt.until, most)?.[0] ?? 0));
  }

  runsOfType(jobType: string): Promise<readonly SampledRun[]> {
    return this.group.read(() =>
      this.#jobsOfType.rows(jobType).flatMap(([job]) => this.#runsOfJob.rows(Number(job)))
        .map((row) => this.#run(row)).filter((run) => run.jobType === jobType)
    );
  }

  waiting(now: number, most: number): Promise<WaitingSample> {
    return this.group.read(() => {
      const groups = new Map<string, WaitingRuns>();
      let firstScheduledFor: number | null = null;
      let lookedAt = 0;
      for (const [terms, rows, ready, readyAt, scheduledFor] of this.#waiting.rows(now, most)) {
        lookedAt += Number(rows);
        if (ready === 0) continue;
        const { jobType, pool } = this.terms.get(Number(terms));
        const key = JSON.stringify([jobType, pool]);
        const { count = 0, oldestReadyAt = Infinity } = groups.get(key) ?? {};
        groups.set(key, {
          jobType,
          pool,
          count: count + Number(ready),
          oldestReadyAt: Math.min(oldestReadyAt, Number(readyAt)),
        });
        firstScheduledFor = Math.min(firstScheduledFor ?? Infinity, Number(scheduledFor));
      }
      return { groups: [...groups.values()], isCut: lookedAt >= most, firstScheduledFor };
    });
  }

  hasTakenRuns(pool: string): Promise<boolean> {
    return this.group.read(() => this.#taken.row(pool) !== undefined);
  }

  connections(): Promise<ConnectionRoom | null> {
    return Promise.resolve(null);
  }

  #run([terms, instance, status, attempt, scheduledFor, durationMs]: Row): SampledRun {
    const { jobType, pool } = this.terms.get(Number(terms));
    return {
      jobType,
      pool,
      takenBy: typeof instance === "number" ? this.terms.instance(instance).workerId : null,
      status: statusOf(Number(status)),
      attempt: Number(attempt),
      scheduledFor: Number(scheduledFor),
      durationMs: asNumber(durationMs),
    };
  }
}
