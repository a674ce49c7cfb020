/**
 * The decision over the due times of one job that have come: which make an occurrence, and why the others do not.
 *
 *   not in the ledger yet, up to now
 *     outside startAt…endAt ......... range "outside-window"
 *     the job is not active ......... range "disabled"
 *     inside the pause .............. range "paused", by whoever paused
 *     younger than the threshold .... occurrence, origin "schedule"
 *     older (a misfire) ............. by policy: occurrence of origin "catch-up", or range "missed"
 *
 * One pass decides at most `maxDueTimes`, and the next goes on where it stopped; what a misfire policy keeps is
 * always chosen by what lies behind the pass, up to now, so that the number of passes does not matter.
 *
 * FireOnce is one run for a whole outage. When a younger due time fires anyway, that is the run; otherwise the
 * latest missed one fires. FireAll fires the newest `misfireLimit` missed ones. Skip fires none.
 *
 * Outside its window nothing is due: `nextDueAt` goes straight to the first due time at or after startAt, and is null
 * once the next would lie at or after endAt. Due times outside that a pass still meets are recorded as such.
 */
import type { Job } from "./job.ts";
import { ScheduleFault } from "./local_cron.ts";
import { nextDue } from "./schedule.ts";
import type { RangeReason } from "./verdict.ts";

/** What becomes of one due time. */
export interface Slot {
  readonly occurrenceId: string;
  readonly dueAt: number;
  readonly origin: "schedule" | "catch-up";
}

/** Due times decided without an occurrence. */
export interface RangePart {
  readonly from: number;
  readonly to: number;
  readonly count: number;
  readonly reason: RangeReason;
  readonly by: string;
}

/** What the job type gives where the job says nothing. */
export interface TypeDefaults {
  readonly maxRetries: number;
  readonly baseRetryDelaySeconds: number;
  readonly executionTimeoutSeconds: number | null;
}

/** The decision over all due times of one job from `expectedDueAt` up to, but not including, `nextDueAt`. */
export interface Decision {
  readonly jobId: string;
  readonly jobVersion: number;
  readonly expectedDueAt: number;
  readonly nextDueAt: number | null;
  readonly slots: readonly Slot[];
  readonly ranges: readonly RangePart[];
  readonly defaults: TypeDefaults;
}

/** What a decision depends on besides the job. */
export interface PlanOptions {
  /** Older due times are misfires, unless the job has a threshold of its own. */
  readonly misfireThresholdMs: number;
  /** Most due times decided in one pass. */
  readonly maxDueTimes: number;
  /** Who decides: named in ranges that no person is behind. */
  readonly instanceId: string;
  readonly defaults: TypeDefaults;
  /** Called once for each slot, in the order of the due times. */
  readonly newId: () => string;
}

/** A decision, or why there is none. */
export type PlanAnswer =
  | { readonly ok: true; readonly decision: Decision }
  /** Nothing has come yet, or nothing ever will. */
  | { readonly ok: false; readonly reason: "not-due" }
  /** The schedule cannot be computed. The job stands still, and says so; no other job is touched. */
  | { readonly ok: false; readonly reason: "schedule-fault"; readonly message: string };

/** The default of `PlanOptions.maxDueTimes`. */
export const MAX_DUE_TIMES = 500;

/** The largest `misfireLimit` of a job. */
export const MAX_MISFIRE_LIMIT = 1000;

/** Decides the due times of a job that have come. Never throws for a schedule's fault. */
export function planDecision(job: Job, now: number, options: PlanOptions): PlanAnswer {
  const { nextDueAt } = job;
  if (nextDueAt === null || nextDueAt > now) return { ok: false, reason: "not-due" };
  try {
    return { ok: true, decision: decide(job, { nextDueAt, now }, options) };
  } catch (error) {
    if (!(error instanceof ScheduleFault)) throw error;
    return { ok: false, reason: "schedule-fault", message: error.message };
  }
}

/** The parts of a job that say when it is due. */
export type Timing = Pick<Job, "schedule" | "startAt" | "endAt">;

/**
 * The next due time that a new or changed definition starts with: the first one strictly after `now`, inside the
 * window. A one-shot job starts with its moment, even when that has passed; when `previous` had the same moment, it
 * keeps what it had, so that saving a job again does not run it again. Throws ScheduleFault.
 */
export function firstDue(
  job: Timing,
  now: number,
  previous: Pick<Job, "schedule" | "nextDueAt"> | null = null,
): number | null {
  const { schedule } = job;
  if (schedule.kind === "once") {
    const isSame = previous?.schedule.kind === "once" && previous.schedule.executeAt === schedule.executeAt;
    return isSame ? previous.nextDueAt : schedule.executeAt;
  }
  return nextInWindow(job, now);
}

function nextInWindow({ schedule, startAt, endAt }: Timing, after: number): number | null {
  const at = nextDue(schedule, startAt === null ? after : Math.max(after, startAt - 1));
  return at === null || (endAt !== null && at >= endAt) ? null : at;
}

function decide(
  job: Job,
  time: { readonly nextDueAt: number; readonly now: number },
  options: PlanOptions,
): Decision {
  const { now } = time;
  const dues: number[] = [];
  let undecided: number | null = time.nextDueAt;
  while (undecided !== null && undecided <= now && dues.length < options.maxDueTimes) {
    dues.push(undecided);
    undecided = nextDue(job.schedule, undecided);
  }
  const isCutOff = undecided !== null && undecided <= now;
  const nextDueAt = isCutOff ? undecided : nextInWindow(job, now);

  const bars = dues.map((due) => barAt(job, due, options.instanceId));
  const thresholdMs = job.misfireThresholdSeconds === null
    ? options.misfireThresholdMs
    : job.misfireThresholdSeconds * 1000;
  const youngFrom = now - thresholdMs;
  const isOpen = (index: number, isYoung: boolean): boolean =>
    bars[index] === null && ((dues[index] ?? 0) >= youngFrom) === isYoung;

  let catchUps = catchUpsWithin(job, {
    after: dues.at(-1) ?? now,
    isCutOff,
    youngFrom,
    now,
    firesYoung: dues.some((_, index) => isOpen(index, true)),
  });
  for (let index = dues.length - 1; index >= 0; index--) {
    if (!isOpen(index, false)) continue;
    if (catchUps > 0) catchUps -= 1;
    else bars[index] = { reason: "missed", by: options.instanceId };
  }

  const slots: Slot[] = [];
  const ranges: RangePart[] = [];
  for (const [index, dueAt] of dues.entries()) {
    const bar = bars[index] ?? null;
    if (bar === null) {
      slots.push({
        occurrenceId: options.newId(),
        dueAt,
        origin: dueAt >= youngFrom ? "schedule" : "catch-up",
      });
      continue;
    }
    const last = ranges.at(-1);
    const isNext = last !== undefined && last.to === dues[index - 1];
    if (isNext && last.reason === bar.reason && last.by === bar.by) {
      ranges[ranges.length - 1] = { ...last, to: dueAt, count: last.count + 1 };
    } else ranges.push({ from: dueAt, to: dueAt, count: 1, ...bar });
  }
  return {
    jobId: job.id,
    jobVersion: job.version,
    expectedDueAt: time.nextDueAt,
    nextDueAt,
    slots,
    ranges,
    defaults: options.defaults,
  };
}

interface Bar {
  readonly reason: RangeReason;
  readonly by: string;
}

/** Why a due time may not fire whatever its age, or null when it may. */
function barAt(job: Job, due: number, instanceId: string): Bar | null {
  const { startAt, endAt, pause } = job;
  if ((startAt !== null && due < startAt) || (endAt !== null && due >= endAt)) {
    return { reason: "outside-window", by: instanceId };
  }
  if (!job.isActive) return { reason: "disabled", by: instanceId };
  if (pause !== null && due >= pause.since && (pause.until === null || due < pause.until)) {
    return { reason: "paused", by: pause.by };
  }
  return null;
}

/** The stretches between two moments (both included) in which nothing bars a due time; the opposite of `barAt`. */
function openStretches(job: Job, from: number, to: number): readonly (readonly [number, number])[] {
  if (!job.isActive) return [];
  const first = Math.max(from, job.startAt ?? from);
  const last = Math.min(to, (job.endAt ?? Infinity) - 1);
  const { pause } = job;
  if (pause === null) return [[first, last]];
  return [
    [first, Math.min(last, pause.since - 1)],
    [Math.max(first, pause.until ?? Infinity), last],
  ];
}

/** How many of the newest missed due times of a pass run, given what lies behind it. */
function catchUpsWithin(
  job: Job,
  pass: {
    /** The last due time of the pass. */
    readonly after: number;
    /** Whether more due times have come than the pass holds. */
    readonly isCutOff: boolean;
    readonly youngFrom: number;
    readonly now: number;
    readonly firesYoung: boolean;
  },
): number {
  switch (job.misfirePolicy) {
    case "Skip":
      return 0;
    case "FireOnce":
      if (pass.firesYoung) return 0;
      return pass.isCutOff && countOpen(job, pass.after, pass.now, 1) > 0 ? 0 : 1;
    case "FireAll": {
      const limit = Math.min(job.misfireLimit, MAX_MISFIRE_LIMIT);
      return pass.isCutOff ? limit - countOpen(job, pass.after, pass.youngFrom - 1, limit) : limit;
    }
  }
}

/** Due times that nothing bars, after a moment and up to another; counting stops at `most`. */
function countOpen(job: Job, after: number, upTo: number, most: number): number {
  let count = 0;
  for (const [from, to] of openStretches(job, after + 1, upTo)) {
    let at = from <= to ? nextDue(job.schedule, from - 1) : null;
    while (at !== null && at <= to && count < most) {
      count += 1;
      at = nextDue(job.schedule, at);
    }
  }
  return count;
}
