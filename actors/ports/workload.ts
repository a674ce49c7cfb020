/**
 * What planning reads of the store: runs that were, runs that wait. Each call reads a range of one index and no more rows
 * than it says, however long the history and however large the backlog.
 */
import type { WaitingRuns } from "../domain/capacity_pools.ts";
import type { SampledRun } from "../domain/capacity_runs.ts";

export interface RunSample {
  /** Newest due time first. */
  readonly runs: readonly SampledRun[];
  /** True when the range holds more; those that are left out are older. */
  readonly isCut: boolean;
}

export interface WaitingSample {
  readonly groups: readonly WaitingRuns[];
  /** True when there were more active occurrences than were looked at: counts are at least so many. */
  readonly isCut: boolean;
  /** The earliest due time among them, or null. */
  readonly firstScheduledFor: number | null;
}

/** The database's connections. */
export interface ConnectionRoom {
  /** What it allows, less what it keeps for its superuser. */
  readonly limit: number;
  /** Most of one API instance. */
  readonly ofAnApi: number;
  /** API instances that are connected to this database now. */
  readonly apis: number;
}

export interface Workload {
  /** The newest occurrences that were due in a time: index by due time, at most `most` rows. */
  runs(dueAt: { readonly from: number; readonly until: number }, most: number): Promise<RunSample>;
  /** How many were due in a time, counted up to `most`: the same index. */
  count(dueAt: { readonly from: number; readonly until: number }, most: number): Promise<number>;
  /**
   * For a type that the newest runs of all do not show: the newest occurrences of its newest jobs, at most ten times
   * twenty rows.
   */
  runsOfType(jobType: string): Promise<readonly SampledRun[]>;
  /** What is ready and not taken, among the first `most` active occurrences. */
  waiting(now: number, most: number): Promise<WaitingSample>;
  /** Whether a worker of the pool ever took a run. */
  hasTakenRuns(pool: string): Promise<boolean>;
  /** Null where no server has to be asked for connections. */
  connections(): Promise<ConnectionRoom | null>;
}

/** Bounds of `runsOfType`. */
export const JOBS_OF_TYPE = 10;
export const RUNS_OF_JOB = 20;
