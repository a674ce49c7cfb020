/**
 * What stays as it is stored when a job is saved again, paused or resumed: the parts beside its definition, and due
 * times that have come and are not decided yet.
 */
import { hasReachedLimit, type Job, type Pause, pauseAt, type SkippedDueTime } from "./job.ts";
import { nextInWindow, type Timing } from "./plan.ts";

/**
 * The next version of a job over the stored one. A due time that has come undecided by `next.updatedAt` stays the
 * next one, so that no change loses a due time. A schedule whose run limit is reached has no next due time; with a
 * raised limit it goes on with the next one to come. Throws ScheduleFault.
 */
export function nextVersion(current: Job, next: Job): Job {
  const isOverdue = current.nextDueAt !== null && current.nextDueAt <= next.updatedAt;
  const { runCount } = current;
  return {
    ...next,
    version: current.version + 1,
    nextDueAt: hasReachedLimit({ runLimit: next.runLimit, runCount })
      ? null
      : isOverdue
      ? current.nextDueAt
      : next.nextDueAt,
    pause: current.pause,
    runCount,
    skippedDueTime: keptSkip(next, current.skippedDueTime),
    lastCatchUpAt: current.lastCatchUpAt,
    autoDisabled: current.autoDisabled,
  };
}

/** A skipped due time that the new schedule does not have is dropped, unless it has come already. */
function keptSkip(
  next: Timing & Pick<Job, "updatedAt">,
  skipped: SkippedDueTime | null,
): SkippedDueTime | null {
  if (skipped === null || skipped.dueAt <= next.updatedAt) return skipped;
  return nextInWindow(next, skipped.dueAt - 1) === skipped.dueAt ? skipped : null;
}

/** A job whose pause is set. An earlier pause that holds undecided due times goes on into the new one. */
export function pausedWith(job: Pick<Job, "pause" | "nextDueAt">, pause: Pause): Pause {
  const earlier = job.pause;
  const holdsUndecided = earlier !== null && job.nextDueAt !== null && job.nextDueAt < pause.since &&
    (earlier.until === null || earlier.until > job.nextDueAt);
  return holdsUndecided ? { ...pause, since: Math.min(earlier.since, pause.since) } : pause;
}

/**
 * The pause of a job that is resumed: kept with its end, so that due times which came meanwhile and are not decided
 * yet are decided as paused, even when nobody led.
 */
export function resumedAt(job: Pick<Job, "pause">, at: number): Pause | null {
  const pause = pauseAt(job, at);
  return pause === null ? job.pause : { ...pause, until: at };
}

/** Nothing has changed that somebody who looked at the due times of a job went by. */
export function isAsSeen(current: Job, seen: Job): boolean {
  return current.version === seen.version && current.nextDueAt === seen.nextDueAt &&
    current.skippedDueTime?.dueAt === seen.skippedDueTime?.dueAt;
}
