/** A warning for schedules that can bury a server: many runs at once, side by side. */
import type { ConcurrencyPolicy } from "./job.ts";
import type { Problem } from "./problem.ts";
import { dueTimes, type Schedule } from "./schedule.ts";

const MOST_SIDE_BY_SIDE = 100;
const DUE_TIMES_LOOKED_AT = 61;

/** The parts of a job that say how often it runs, and how long. */
export interface Frequency {
  readonly schedule: Schedule;
  readonly policy: ConcurrencyPolicy;
  /** What holds for the job, its own or its type's; null for no limit, of which nothing can be said. */
  readonly executionTimeoutSeconds: number | null;
}

/**
 * Warns (code `too_frequent`) when a job whose runs may overlap comes so often that more than a hundred could be on
 * at once before the first is timed out. Null when all is well. Throws ScheduleFault.
 */
export function tooFrequent(job: Frequency, now: number): Problem | null {
  if (job.policy !== "Allow" || job.executionTimeoutSeconds === null) return null;
  const shortest = shortestIntervalMs(job.schedule, now);
  const sideBySide = Math.ceil((job.executionTimeoutSeconds * 1000) / shortest);
  if (sideBySide <= MOST_SIDE_BY_SIDE) return null;
  const message =
    `Up to ${sideBySide} runs can be on at once: it comes each ${shortest / 1000} s, and a run may take ` +
    `${job.executionTimeoutSeconds} s. Take policy Skip or Queue, a shorter time limit, or a longer interval.`;
  return { field: "concurrentExecutionPolicy", code: "too_frequent", message };
}

/** The shortest distance among the next due times; Infinity when there are less than two. */
function shortestIntervalMs(schedule: Schedule, after: number): number {
  const dues = dueTimes(schedule, after + 1, Infinity, DUE_TIMES_LOOKED_AT);
  return Math.min(...dues.slice(1).map((due, index) => due - (dues[index] ?? -Infinity)));
}
