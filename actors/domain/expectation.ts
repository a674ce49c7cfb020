/**
 * Which due times of a job should have been decided: computed from its schedule alone, not from the row's next due time,
 * so that a row which was moved on past a due time is found.
 */
import type { Job } from "./job.ts";
import { latestDue } from "./schedule.ts";

/** A job without its payload. */
export type WatchedJob = Omit<Job, "jobData">;

/** What the ledger holds of one job within a span of time. */
export interface DecidedDueTimes {
  /** Due times with an occurrence, epoch milliseconds. */
  readonly occurrences: readonly number[];
  /** Ranges that touch the span; both ends included. */
  readonly ranges: readonly { readonly from: number; readonly to: number }[];
}

export interface ExpectationOptions {
  readonly now: number;
  /** What came within this is still on its way. Milliseconds. */
  readonly toleranceMs: number;
  /** How far back it is looked. Milliseconds. */
  readonly windowMs: number;
  /** The newest so many are looked at. */
  readonly most: number;
}

const DAY_MS = 86_400_000;

/**
 * The newest due times that the job's row claims to be decided, oldest first: they have come, and lie before its next
 * due time. Those from before its present definition are left out, for another schedule may have held then; so are
 * those that retention may have removed. Throws ScheduleFault.
 */
export function expectedDueTimes(job: WatchedJob, options: ExpectationOptions): readonly number[] {
  const { schedule } = job;
  const { first, last } = expectedSpan(job, options);
  switch (schedule.kind) {
    case "triggerOnly":
      return [];
    case "once":
      return schedule.executeAt >= first && schedule.executeAt <= last ? [schedule.executeAt] : [];
    case "cron": {
      const found: number[] = [];
      let at = latestDue(schedule, last);
      while (at !== null && at >= first && found.length < options.most) {
        found.push(at);
        at = latestDue(schedule, at - 1);
      }
      return found.reverse();
    }
  }
}

/** True for a due time of a job's schedule that its row claims to be decided, and whose record is surely kept still. */
export function isExpected(job: WatchedJob, at: number, options: Omit<ExpectationOptions, "most">): boolean {
  const { first, last } = expectedSpan(job, options);
  return at >= first && at <= last;
}

/** Both ends included; empty when the first comes after the last. */
function expectedSpan(
  job: WatchedJob,
  { now, windowMs, toleranceMs }: Omit<ExpectationOptions, "most">,
): { readonly first: number; readonly last: number } {
  const oldest = now - Math.min(windowMs, keptMs(job));
  const last = Math.min(now - toleranceMs, job.nextDueAt === null ? Infinity : job.nextDueAt - 1);
  if (job.schedule.kind === "once") return { first: oldest + 1, last };
  return {
    // Strictly after the definition: it begins with the first due time after that moment.
    first: Math.max(oldest, job.createdAt + 1, job.updatedAt + 1, job.startAt ?? 0),
    last: Math.min(last, (job.endAt ?? Infinity) - 1),
  };
}

/** Those of the expected due times that the ledger knows nothing of. */
export function missingDueTimes(
  job: WatchedJob,
  expected: readonly number[],
  decided: DecidedDueTimes,
): readonly number[] {
  const ran = new Set(decided.occurrences);
  // When a run limit ended the schedule is not stored: after what was decided last, nothing is expected.
  const isLimited = job.runLimit !== null && job.runCount >= job.runLimit && job.nextDueAt === null;
  const last = isLimited
    ? Math.max(0, ...decided.occurrences, ...decided.ranges.map(({ to }) => to))
    : Infinity;
  return expected.filter((at) =>
    at <= last && !ran.has(at) && !decided.ranges.some(({ from, to }) => from <= at && at <= to)
  );
}

/** How long history is surely kept, where the job says so itself. */
function keptMs({ retention }: WatchedJob): number {
  const days = [retention?.completedDays ?? null, retention?.failedDays ?? null].filter((one) =>
    one !== null
  );
  return Math.min(Infinity, ...days) * DAY_MS;
}
