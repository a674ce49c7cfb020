/** What schedules promise: due times a second over the next day. */
import type { Promised } from "./capacity_pools.ts";
import type { Job } from "./job.ts";
import { ScheduleFault } from "./local_cron.ts";
import { dueTimes } from "./schedule.ts";

const DAY_MS = 86_400_000;
/** A job that comes more often is taken to go on as it begins. */
const DUE_TIMES_READ = 25;

export type ScheduledJob = Pick<Job, "jobType" | "workerId" | "isActive" | "schedule" | "pause">;

/**
 * Due times a second of one job over the next day, by its next 25 due times; 0 while it is off, or paused for all of it.
 * A schedule that cannot be read promises nothing.
 */
export function promisedPerSecond(job: ScheduledJob, now: number): number {
  if (!job.isActive || (job.pause !== null && (job.pause.until ?? Infinity) > now + DAY_MS)) return 0;
  try {
    const due = dueTimes(job.schedule, now + 1, now + DAY_MS, DUE_TIMES_READ);
    const last = due.at(-1);
    if (last === undefined) return 0;
    const seconds = (due.length < DUE_TIMES_READ ? DAY_MS : last - now) / 1000;
    return due.length / seconds;
  } catch (error) {
    if (error instanceof ScheduleFault) return 0;
    throw error;
  }
}

/** Adds up what jobs promise, by type and the pool that they are pinned to. */
export function promisesOf(jobs: readonly ScheduledJob[], now: number): readonly Promised[] {
  const sums = new Map<string, Promised>();
  for (const job of jobs) {
    const perSecond = promisedPerSecond(job, now);
    if (perSecond === 0) continue;
    const { jobType, workerId: pool } = job;
    const key = JSON.stringify([jobType, pool]);
    sums.set(key, { jobType, pool, perSecond: (sums.get(key)?.perSecond ?? 0) + perSecond });
  }
  return [...sums.values()];
}
