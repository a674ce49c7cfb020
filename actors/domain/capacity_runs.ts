/** What runs tell about a job type: how long they take, and how many become ready a second. */
import type { OccurrenceStatus } from "./occurrence.ts";

/** One occurrence as planning sees it. Moments are epoch milliseconds. */
export interface SampledRun {
  readonly jobType: string;
  /** The pool that its job is pinned to. */
  readonly pool: string | null;
  /** The pool whose worker took it last; null when none has. */
  readonly takenBy: string | null;
  readonly status: OccurrenceStatus;
  /** Tries so far; each keeps a lane busy. */
  readonly attempt: number;
  readonly scheduledFor: number;
  /** Of the newest attempt, milliseconds; null until it has ended. */
  readonly durationMs: number | null;
}

/** How long runs took. */
export interface RunFigures {
  readonly count: number;
  readonly averageSeconds: number;
  /** 95 of 100 were shorter. */
  readonly p95Seconds: number;
  /** Due times of the first and the last of them. */
  readonly from: number;
  readonly until: number;
}

/** A run shorter than this counts as this long: it keeps its lane from the next one for about that time. */
const SHORTEST_SECONDS = 0.0001;
/** Attempts that kept a lane to their end. */
const ENDED: readonly OccurrenceStatus[] = ["Completed", "Failed", "TimedOut"];

/** Null when none of them has ended by itself or by its time limit. */
export function runFigures(runs: readonly SampledRun[]): RunFigures | null {
  const ended = runs.filter((run) => run.durationMs !== null && ENDED.includes(run.status));
  if (ended.length === 0) return null;
  const seconds = ended.map((run) => Math.max((run.durationMs ?? 0) / 1000, SHORTEST_SECONDS)).sort(
    (a, b) => a - b,
  );
  const dueTimes = ended.map(({ scheduledFor }) => scheduledFor);
  return {
    count: ended.length,
    averageSeconds: seconds.reduce((sum, one) => sum + one, 0) / seconds.length,
    p95Seconds: seconds[Math.min(seconds.length - 1, Math.ceil(seconds.length * 0.95) - 1)] ?? 0,
    from: dueTimes.reduce((least, one) => Math.min(least, one)),
    until: dueTimes.reduce((most, one) => Math.max(most, one)),
  };
}

/** Attempts that a run has kept, or will keep, a lane busy for. None for what never starts. */
export function attemptsOf({ status, attempt, takenBy }: SampledRun): number {
  if (status === "Skipped" || (status === "Cancelled" && takenBy === null)) return 0;
  return Math.max(1, attempt);
}
