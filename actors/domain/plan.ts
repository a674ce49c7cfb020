/**
 * The decision over the due times of one job that have come: which make an occurrence, and why the others do not.
 *
 *   not in the ledger yet, up to now
 *     outside startAt…endAt ......... range "outside-window"
 *     the job is not active ......... range "disabled"
 *     inside the pause .............. range "paused", by whoever paused
 *     disabled by failures .......... range "auto-disabled", but for one probe once the cool-down is over
 *     skipped by a person ........... range "skipped-once", by that person
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
 *
 * Catch-up runs do not start at once: each has a moment before which it does not (`notBefore`), a spacing after the
 * one before it of its job, whichever pass decided that, and as the pace over all jobs allows.
 *
 * A run limit ends the schedule as endAt does. A pass plans no more runs than are left of it; which of them count is
 * known where the concurrency policy decides, so the store ends the schedule in the transaction that reaches it.
 */
import { autoDisabledText, disabledBy, isDisabledNow, isOver } from "./auto_disable.ts";
import { barAt as reasonAt, openStretches } from "./bar.ts";
import { type AutoDisabled, hasReachedLimit, type Job } from "./job.ts";
import { ScheduleFault } from "./local_cron.ts";
import { nextDue } from "./schedule.ts";
import type { TypeDefaults } from "./terms.ts";
import type { RangeReason } from "./verdict.ts";

/** What becomes of one due time. */
export interface Slot {
  readonly occurrenceId: string;
  readonly dueAt: number;
  readonly origin: "schedule" | "catch-up";
  /** A catch-up run does not start before this moment, epoch milliseconds. */
  readonly notBefore?: number;
}

/** Due times decided without an occurrence. */
export interface RangePart {
  readonly from: number;
  readonly to: number;
  readonly count: number;
  readonly reason: RangeReason;
  readonly by: string;
  /** What the person behind it said; absent when nobody is. */
  readonly note?: string;
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
  /** The skipped due time that was heeded: part of the compare-and-set. Null, or absent, when there was none. */
  readonly skippedDueAt?: number | null;
  /** `notBefore` of the newest catch-up run; absent when there is none in here. */
  readonly lastCatchUpAt?: number;
  /** The job was disabled by failures, or had been: absent when it was not. */
  readonly whileDisabled?: {
    /** The state that was gone by: it must still be so when the decision is written. */
    readonly seen: AutoDisabled;
    /** The slot that probes whether the job works again, or null. */
    readonly probeId: string | null;
  };
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
  /** Milliseconds between catch-up runs of one job, unless the job has a spacing of its own. */
  readonly catchUpSpacingMs: number;
  /** The first free moment at or after the given one for a catch-up run of any job. Called once for each. */
  readonly pace: (earliest: number) => number;
}

/** A decision, or why there is none. */
export type PlanAnswer =
  | { readonly ok: true; readonly decision: Decision }
  /** Nothing has come yet, or nothing ever will. */
  | { readonly ok: false; readonly reason: "not-due" }
  /** The schedule cannot be computed. The job stands still, and says so; no other job is touched. */
  | { readonly ok: false; readonly reason: "schedule-fault"; readonly message: string };

/** True when a decision went by the state that its job is in, of being disabled by failures. */
export function isSeen(state: AutoDisabled | null, { whileDisabled }: Decision): boolean {
  return autoDisabledText(state) === autoDisabledText(whileDisabled?.seen ?? null);
}

/** True for the slot that probes. */
export function isProbe({ whileDisabled }: Decision, occurrenceId: string): boolean {
  return whileDisabled?.probeId === occurrenceId;
}

/** The state once the decision is written: `probeId` is the probe that has come to be by it, or null. */
export function stateAfter(
  { whileDisabled, nextDueAt }: Decision,
  probeId: string | null,
): AutoDisabled | null {
  if (whileDisabled === undefined) return null;
  const { seen } = whileDisabled;
  if (probeId !== null) return { ...seen, probeId };
  return isOver(seen, nextDueAt) ? null : seen;
}

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

/** The first due time after a moment that lies inside the window, or null. Throws ScheduleFault. */
export function nextInWindow({ schedule, startAt, endAt }: Timing, after: number): number | null {
  const at = nextDue(schedule, startAt === null ? after : Math.max(after, startAt - 1));
  return at === null || (endAt !== null && at >= endAt) ? null : at;
}

function decide(
  job: Job,
  time: { readonly nextDueAt: number; readonly now: number },
  options: PlanOptions,
): Decision {
  const { now } = time;
  const ended = { jobId: job.id, jobVersion: job.version, expectedDueAt: time.nextDueAt, nextDueAt: null };
  const skippedDueAt = job.skippedDueTime?.dueAt ?? null;
  const heeded = skippedDueAt === null ? {} : { skippedDueAt };
  if (hasReachedLimit(job)) return { ...ended, slots: [], ranges: [], defaults: options.defaults, ...heeded };
  const dues: number[] = [];
  let undecided: number | null = time.nextDueAt;
  while (undecided !== null && undecided <= now && dues.length < options.maxDueTimes) {
    dues.push(undecided);
    undecided = nextDue(job.schedule, undecided);
  }
  const isCutOff = undecided !== null && undecided <= now;
  const nextDueAt = isCutOff ? undecided : nextInWindow(job, now);

  const bars = dues.map((due) => barAt(job, due, options.instanceId));
  const youngFrom = now - thresholdOf(job, options.misfireThresholdMs);
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
  const { autoDisabled } = job;
  if (isDisabledNow(autoDisabled)) {
    const probe = bars.lastIndexOf(null);
    for (let index = 0; index < probe; index++) bars[index] ??= barOf(autoDisabled);
  }

  const whole = withinRunLimit(job, dues, bars);
  const slots: Slot[] = [];
  const ranges: RangePart[] = [];
  const spacing = new Spacing(job, now, options);
  for (const [index, dueAt] of dues.slice(0, whole).entries()) {
    const bar = bars[index] ?? null;
    if (bar === null) {
      const occurrenceId = options.newId();
      slots.push(
        dueAt >= youngFrom
          ? { occurrenceId, dueAt, origin: "schedule" }
          : { occurrenceId, dueAt, origin: "catch-up", notBefore: spacing.next() },
      );
      continue;
    }
    const last = ranges.at(-1);
    const isNext = last !== undefined && last.to === dues[index - 1];
    if (isNext && last.reason === bar.reason && last.by === bar.by) {
      ranges[ranges.length - 1] = { ...last, to: dueAt, count: last.count + 1 };
    } else ranges.push({ from: dueAt, to: dueAt, count: 1, ...bar });
  }
  return {
    ...ended,
    nextDueAt: dues[whole] ?? nextDueAt,
    slots,
    ranges,
    defaults: options.defaults,
    ...heeded,
    ...(autoDisabled === null ? {} : {
      whileDisabled: {
        seen: autoDisabled,
        probeId: isDisabledNow(autoDisabled) ? slots.at(-1)?.occurrenceId ?? null : null,
      },
    }),
    ...(spacing.last === null ? {} : { lastCatchUpAt: spacing.last }),
  };
}

function barOf(state: AutoDisabled): Barred {
  return { reason: "auto-disabled", by: disabledBy(state) };
}

/** How many of the due times are decided: up to the last run that the limit leaves. */
function withinRunLimit(job: Job, dues: readonly number[], bars: readonly (Barred | null)[]): number {
  if (job.runLimit === null) return dues.length;
  let left = job.runLimit - job.runCount;
  const last = dues.findIndex((_, index) => bars[index] === null && --left === 0);
  return last === -1 ? dues.length : last + 1;
}

/** The moments before which the catch-up runs of one job do not start. */
class Spacing {
  last: number | null = null;
  #earliest: number;
  readonly #everyMs: number;

  constructor(
    job: Job,
    now: number,
    private readonly options: Pick<PlanOptions, "catchUpSpacingMs" | "pace">,
  ) {
    const { catchUpSpacingSeconds, lastCatchUpAt } = job;
    this.#everyMs = catchUpSpacingSeconds === null ? options.catchUpSpacingMs : catchUpSpacingSeconds * 1000;
    this.#earliest = lastCatchUpAt === null ? now : Math.max(now, lastCatchUpAt + this.#everyMs);
  }

  next(): number {
    this.last = this.options.pace(this.#earliest);
    this.#earliest = this.last + this.#everyMs;
    return this.last;
  }
}

interface Barred {
  readonly reason: RangeReason;
  readonly by: string;
  readonly note?: string;
}

/** What bars a due time whatever its age, and who is behind it; null when nothing does. */
function barAt(job: Job, due: number, instanceId: string): Barred | null {
  const reason = reasonAt(job, due);
  const { autoDisabled, pause, skippedDueTime } = job;
  if (reason === "auto-disabled" && autoDisabled !== null) return barOf(autoDisabled);
  if (reason === "paused" && pause !== null) return { reason, by: pause.by, note: pause.reason };
  if (reason === "skipped-once" && skippedDueTime !== null) {
    return { reason, by: skippedDueTime.by, note: skippedDueTime.reason };
  }
  return reason === null ? null : { reason, by: instanceId };
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

/**
 * The catch-up runs that are left to the passes after this one, once a pass holds some: how many, and their last due
 * time. All that is missed behind such a pass runs, for it is the newest that do.
 */
export function catchUpsBehind(
  job: Job,
  { nextDueAt, slots }: Pick<Decision, "nextDueAt" | "slots">,
  now: number,
  misfireThresholdMs: number,
): { readonly count: number; readonly last: number | null } {
  const holdsSome = slots.some(({ origin }) => origin === "catch-up");
  // FireOnce is one run; of what a job that is disabled by its failures missed, one probes.
  if (
    !holdsSome || nextDueAt === null || job.misfirePolicy !== "FireAll" || isDisabledNow(job.autoDisabled)
  ) {
    return { count: 0, last: null };
  }
  const runsLeft = job.runLimit === null ? Infinity : job.runLimit - job.runCount - slots.length;
  const most = Math.min(job.misfireLimit, MAX_MISFIRE_LIMIT, Math.max(0, runsLeft));
  return walkOpen(job, nextDueAt - 1, now - thresholdOf(job, misfireThresholdMs) - 1, most);
}

/** Younger due times than this are no misfires, milliseconds. */
function thresholdOf({ misfireThresholdSeconds }: Job, usual: number): number {
  return misfireThresholdSeconds === null ? usual : misfireThresholdSeconds * 1000;
}

/** Due times that nothing bars, after a moment and up to another; counting stops at `most`. */
function countOpen(job: Job, after: number, upTo: number, most: number): number {
  return walkOpen(job, after, upTo, most).count;
}

function walkOpen(
  job: Job,
  after: number,
  upTo: number,
  most: number,
): { readonly count: number; readonly last: number | null } {
  let count = 0;
  let last: number | null = null;
  for (const [from, to] of openStretches(job, after + 1, upTo)) {
    let at = from <= to ? nextDue(job.schedule, from - 1) : null;
    while (at !== null && at <= to && count < most) {
      count += 1;
      last = at;
      at = nextDue(job.schedule, at);
    }
  }
  return { count, last };
}
