/** The scaling guide's formula: Jobs per second = Workers × MaxParallelJobs × (1 / AvgJobDuration). */

/** Lanes that are busy for a larger part of the time leave no room for what comes in bursts. */
export const ROOMY_UTILISATION = 0.8;

/** What one worker does for a job type. */
export interface Lane {
  /** Lanes of one worker; need not be whole, where workers of a pool differ. */
  readonly maxParallelJobs: number;
  /** How long a run takes on average. More than 0. */
  readonly averageSeconds: number;
}

/** The guide's formula as it is printed there. */
export function jobsPerSecond(
  { workers, maxParallelJobs, averageSeconds }: Lane & { readonly workers: number },
): number {
  return workers * maxParallelJobs * (1 / averageSeconds);
}

/** Lanes that a rate keeps busy on average: rate × duration. */
export function busyLanes(ratePerSecond: number, averageSeconds: number): number {
  return ratePerSecond * averageSeconds;
}

/** The fewest workers that do this rate with their lanes busy for no larger part of the time. 0 for no rate. */
export function workersForRate(
  { ratePerSecond, maxParallelJobs, averageSeconds, utilisation = 1 }: Lane & {
    readonly ratePerSecond: number;
    /** More than 0, at most 1. */
    readonly utilisation?: number;
  },
): number {
  return wholeUp(busyLanes(ratePerSecond, averageSeconds) / (maxParallelJobs * utilisation));
}

/** Rounds up, but for what only the binary fraction adds: 3.0000000000000004 is 3. */
export function wholeUp(value: number): number {
  return Math.ceil(value - 1e-9 * Math.max(1, Math.abs(value)));
}
