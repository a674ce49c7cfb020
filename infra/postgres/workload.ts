/** What planning reads: runs that were, runs that wait. */
import type { SampledRun } from "../../actors/domain/capacity_runs.ts";
import { statusNumber, statusOf } from "../../actors/domain/occurrence.ts";
import {
  type ConnectionRoom,
  JOBS_OF_TYPE,
  RUNS_OF_JOB,
  type RunSample,
  type WaitingSample,
  type Workload,
} from "../../actors/ports/workload.ts";
import { API_APPLICATION } from "./application_name.ts";
import type { Database, Row } from "./database.ts";
import { LATEST_MS } from "./day.ts";
import { asNumber, asText, asTime, millis, time } from "./literal.ts";

const COLUMNS = "terms, instance, status, attempt, scheduled_for, duration_ms, seq, twin";
const QUEUED = statusNumber("Queued");

/** Occurrences of a subselect with the names that they refer to. */
function named(subselect: string, order: string): string {
  return `SELECT t.job_type, t.pool, i.worker_id, o.status, o.attempt, ${
    millis("o.scheduled_for")
  }, o.duration_ms
    FROM (${subselect}) o JOIN terms t ON t.seq = o.terms LEFT JOIN instances i ON i.seq = o.instance ${order}`;
}

export class PostgresWorkload implements Workload {
  constructor(private readonly database: Database) {}

  async runs(dueAt: { readonly from: number; readonly until: number }, most: number): Promise<RunSample> {
    const rows = await this.database.call("read recent runs", (session) =>
      session.rows(named(
        `SELECT ${COLUMNS} FROM occurrences WHERE ${isDue(dueAt)}
           ORDER BY scheduled_for DESC, seq DESC LIMIT ${Math.trunc(most) + 1}`,
        "ORDER BY o.scheduled_for DESC, o.seq DESC",
      )));
    return { runs: rows.slice(0, most).map(runOf), isCut: rows.length > most };
  }

  async count(dueAt: { readonly from: number; readonly until: number }, most: number): Promise<number> {
    const [row] = await this.database.call("count recent runs", (session) =>
      session.rows(
        `SELECT count(*) FROM (SELECT 1 FROM occurrences WHERE ${isDue(dueAt)} LIMIT ${
          Math.trunc(most)
        }) due`,
      ));
    return Number(row?.[0] ?? 0);
  }

  async runsOfType(jobType: string): Promise<readonly SampledRun[]> {
    const rows = await this.database.call("read runs of a type", (session) =>
      session.rows(
        named(
          `SELECT r.* FROM (SELECT seq FROM jobs WHERE job_type = $1::text AND NOT is_leaving
               ORDER BY seq DESC LIMIT ${JOBS_OF_TYPE}) j
             CROSS JOIN LATERAL (SELECT ${COLUMNS} FROM occurrences WHERE job = j.seq
               ORDER BY scheduled_for DESC, twin DESC LIMIT ${RUNS_OF_JOB}) r`,
          "ORDER BY o.scheduled_for DESC, o.seq DESC",
        ),
        [jobType],
      ));
    return rows.map(runOf).filter((run) => run.jobType === jobType);
  }

  async waiting(now: number, most: number): Promise<WaitingSample> {
    // The bound is on what is looked at, not on what is found. What waits for the run before it has no next action and
    // comes last.
    const isReady = `o.status = ${QUEUED} AND o.ready_at <= ${time("$1::float8")}`;
    const rows = await this.database.call("read what waits", (session) =>
      session.rows(
        `SELECT t.job_type, t.pool, count(*), count(*) FILTER (WHERE ${isReady}),
           ${millis(`min(o.ready_at) FILTER (WHERE ${isReady})`)},
           ${millis(`min(o.scheduled_for) FILTER (WHERE ${isReady})`)}
         FROM (SELECT terms, status, ready_at, scheduled_for FROM occurrences WHERE ended_at IS NULL
             ORDER BY next_action_at LIMIT $2::bigint) o
           JOIN terms t ON t.seq = o.terms GROUP BY t.job_type, t.pool`,
        [now, Math.trunc(most)],
      ));
    const ready = rows.filter((row) => Number(row[3]) > 0);
    return {
      groups: ready.map((row) => ({
        jobType: String(row[0]),
        pool: asText(row[1]),
        count: Number(row[3]),
        oldestReadyAt: asTime(row[4]),
      })),
      isCut: rows.reduce((sum, row) => sum + Number(row[2]), 0) >= most,
      firstScheduledFor: ready.length === 0 ? null : Math.min(...ready.map((row) => asTime(row[5]))),
    };
  }

  async hasTakenRuns(pool: string): Promise<boolean> {
    const rows = await this.database.call(
      "look for a pool",
      (session) => session.rows("SELECT 1 FROM instances WHERE worker_id = $1::text LIMIT 1", [pool]),
    );
    return rows.length > 0;
  }

  async connections(): Promise<ConnectionRoom | null> {
    const [row] = await this.database.call("read the limit of connections", (session) =>
      session.rows(
        `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
           (SELECT count(DISTINCT application_name) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE '${API_APPLICATION} %')`,
      ));
    // This instance asks, whatever its connections are called.
    const apis = Math.max(1, Number(row?.[1]));
    return { limit: Number(row?.[0]), ofAnApi: this.database.options.maxConnections, apis };
  }
}

/** Written out, not bound: a plan for these very bounds looks at their days only. */
function isDue({ from, until }: { readonly from: number; readonly until: number }): string {
  return `seq > 0 AND scheduled_for >= ${moment(from)} AND scheduled_for <= ${moment(until)}`;
}

/** A moment as a literal, held to what a row can have. */
function moment(ms: number): string {
  const held = Math.min(Math.max(Math.trunc(ms), 0), LATEST_MS);
  return `'${new Date(held).toISOString()}'`;
}

function runOf(row: Row): SampledRun {
  return {
    jobType: String(row[0]),
    pool: asText(row[1]),
    takenBy: asText(row[2]),
    status: statusOf(Number(row[3])),
    attempt: Number(row[4]),
    scheduledFor: asTime(row[5]),
    durationMs: asNumber(row[6]),
  };
}
