/** After scaling: how evenly the instances of a pool work, and which runs come near their time limit. */

/** What is known of a run that has ended. */
export interface EndedRun {
  readonly jobType: string;
  readonly status: string;
  readonly workerId: string | null;
  readonly instanceId: string | null;
  /** Milliseconds. */
  readonly durationMs: number | null;
  readonly executionTimeoutSeconds: number | null;
}

export interface PoolEvenness {
  /** The pool. */
  readonly workerId: string;
  readonly instances: readonly { readonly instanceId: string; readonly completed: number }[];
  /** Standard deviation by mean of what the instances completed; 0 is perfectly even. */
  readonly variation: number;
  /** What chance alone would make of so few runs, were each instance as likely. */
  readonly chance: number;
  readonly isEven: boolean;
}

/** A variation that nobody needs to look at. */
export const EVEN_VARIATION = 0.25;
/** With fewer completed runs an instance nothing can be said. */
export const FEWEST_RUNS = 10;

/**
 * Of each pool with two instances or more. `present` are those that are there now, so that one that gets nothing is
 * seen; those that have gone are left out.
 */
export function poolEvenness(
  runs: readonly EndedRun[],
  present: readonly { readonly workerId: string; readonly instanceId: string }[],
): readonly PoolEvenness[] {
  const completed = new Map<string, number>();
  for (const { status, instanceId } of runs) {
    if (status !== "Completed" || instanceId === null) continue;
    completed.set(instanceId, (completed.get(instanceId) ?? 0) + 1);
  }
  return [...Map.groupBy(present, ({ workerId }) => workerId)].flatMap(([workerId, those]) => {
    const instances = those.map(({ instanceId }) => ({
      instanceId,
      completed: completed.get(instanceId) ?? 0,
    }));
    const total = instances.reduce((sum, one) => sum + one.completed, 0);
    const mean = total / instances.length;
    if (instances.length < 2 || mean < FEWEST_RUNS) return [];
    const variance = instances.reduce((sum, one) => sum + (one.completed - mean) ** 2, 0) / instances.length;
    const variation = Math.sqrt(variance) / mean;
    const chance = 1 / Math.sqrt(mean);
    return [{
      workerId,
      instances,
      variation,
      chance,
      isEven: variation <= Math.max(EVEN_VARIATION, chance),
    }];
  });
}

/** How the runs of a type stand to their time limit. */
export interface TimeoutStanding {
  readonly jobType: string;
  readonly runs: number;
  readonly timedOut: number;
  /** Runs that took four fifths of their limit or more, and ended in time. */
  readonly nearLimit: number;
  readonly longestMs: number;
  /** The shortest among the runs'; null when none has one. */
  readonly limitSeconds: number | null;
}

/** Part of its time limit from which on a run is near it. */
export const NEAR_TIMEOUT = 0.8;

/** By type, those with time-outs first. */
export function timeoutStandings(runs: readonly EndedRun[]): readonly TimeoutStanding[] {
  return [...Map.groupBy(runs, ({ jobType }) => jobType)].map(([jobType, those]) => {
    const limits = those.flatMap(({ executionTimeoutSeconds }) => executionTimeoutSeconds ?? []);
    return {
      jobType,
      runs: those.length,
      timedOut: those.filter(({ status }) => status === "TimedOut").length,
      nearLimit: those.filter(isNearLimit).length,
      longestMs: Math.max(0, ...those.map(({ durationMs }) => durationMs ?? 0)),
      limitSeconds: limits.length === 0 ? null : Math.min(...limits),
    };
  }).sort((a, b) => b.timedOut - a.timedOut || b.nearLimit - a.nearLimit);
}

function isNearLimit({ status, durationMs, executionTimeoutSeconds }: EndedRun): boolean {
  return status !== "TimedOut" && durationMs !== null && executionTimeoutSeconds !== null &&
    durationMs >= executionTimeoutSeconds * 1000 * NEAR_TIMEOUT;
}
