/**
 * The next due times as people read them, and what the coming clock changes do to them: shown before a schedule is
 * saved, so that the night in March is no surprise.
 */
import { localCron } from "./local_cron.ts";
import { type CronSchedule, nextDue, type Schedule } from "./schedule.ts";
import { DEFAULT_TIME_ZONE, localTime, offsetText, periodAt, type ZonePeriod } from "./zone.ts";

/** One coming due time, as people read it. */
export interface NextRun {
  /** Epoch milliseconds. */
  readonly at: number;
  /** In the schedule's zone, e.g. `2026-03-29T03:00:00`. */
  readonly localTime: string;
  /** e.g. `+02:00`. */
  readonly offset: string;
  /** What a clock change does to this run, or to one between it and the run before; null when nothing. */
  readonly note: string | null;
}

/** A moment at which a zone's clocks are put forward or back. */
export interface ClockChange {
  /** The moment of the change, epoch milliseconds. */
  readonly at: number;
  /** gap: local times are left out. fold: local times come twice. */
  readonly kind: "gap" | "fold";
  /** What the clocks would show without the change, e.g. `2026-03-29T02:00:00`. */
  readonly localBefore: string;
  /** What they show with it, e.g. `2026-03-29T03:00:00`. */
  readonly localAfter: string;
  readonly offsetBefore: string;
  readonly offsetAfter: string;
  /** What becomes of this schedule then, in a sentence. */
  readonly effect: string;
}

const CHANGES_SHOWN = 2;
/** Stated times in one change that are named. */
const STATED_NAMED = 3;
const CHANGES_WITHIN_MS = 2 * 366 * 86_400_000;

/** The next `count` due times strictly after a moment. Throws ScheduleFault. */
export function nextRuns(schedule: Schedule, after: number, count: number): readonly NextRun[] {
  const runs: NextRun[] = [];
  const zone = schedule.kind === "cron" ? schedule.timeZone : DEFAULT_TIME_ZONE;
  let before = after;
  let at = nextDue(schedule, after);
  while (at !== null && runs.length < count) {
    const note = schedule.kind === "cron" ? gapNote(schedule, before, at) ?? foldNote(schedule, at) : null;
    runs.push({ at, localTime: localTime(zone, at), offset: offsetText(zone, at), note });
    before = at;
    at = nextDue(schedule, at);
  }
  return runs;
}

/** The next two clock changes of the schedule's zone within two years; none for zones without. */
export function clockChanges(schedule: Schedule, after: number): readonly ClockChange[] {
  if (schedule.kind !== "cron") return [];
  const changes: ClockChange[] = [];
  let at = periodAt(schedule.timeZone, after).end;
  while (changes.length < CHANGES_SHOWN && at - after <= CHANGES_WITHIN_MS) {
    const period = periodAt(schedule.timeZone, at);
    changes.push({
      at,
      kind: period.offset > period.offsetBefore ? "gap" : "fold",
      localBefore: new Date(at + period.offsetBefore).toISOString().slice(0, 19),
      localAfter: localTime(schedule.timeZone, at),
      offsetBefore: offsetText(schedule.timeZone, at - 1),
      offsetAfter: offsetText(schedule.timeZone, at),
      effect: effectOf(schedule, period),
    });
    at = period.end;
  }
  return changes;
}

function effectOf(schedule: CronSchedule, period: ZonePeriod): string {
  if (!localCron(schedule.resolved).isFixedTime) return "The interval goes on in real time.";
  const stated = allStatedWithin(schedule, period);
  if (stated.length === 0) return "No run is stated for this time.";
  const [clock, isOne] = [clocksText(stated), stated.length === 1];
  if (period.offset < period.offsetBefore) {
    const come = isOne ? "comes twice: it runs" : "come twice: each runs";
    return `${clock} ${come} at ${schedule.fold === "First" ? "the first" : "both"}.`;
  }
  const missing = isOne ? `${clock} does not exist` : `${clock} do not exist`;
  if (schedule.gap === "Skip") return `${missing}: ${isOne ? "it does" : "they do"} not run on this day.`;
  const at = clockText(period.start + period.offset);
  return isOne ? `${missing}: it runs at ${at}.` : `${missing}: one run at ${at} stands for them.`;
}

/** A run that was put off to the end of a gap, or left out between two runs. */
function gapNote(schedule: CronSchedule, before: number, at: number): string | null {
  if (!localCron(schedule.resolved).isFixedTime) return null;
  for (
    let period = periodAt(schedule.timeZone, at);
    period.start > before;
    period = periodAt(schedule.timeZone, period.start - 1)
  ) {
    const stated = period.offset > period.offsetBefore ? statedWithin(schedule, period) : null;
    if (stated === null || (schedule.gap === "RunAtNextValid" && period.start !== at)) continue;
    const what = `${clockText(stated)} does not exist on ${new Date(stated).toISOString().slice(0, 10)}`;
    return schedule.gap === "Skip" ? `${what}: no run` : `${what}: runs at ${clockText(at + period.offset)}`;
  }
  return null;
}

/** A run whose local time comes twice. */
function foldNote(schedule: CronSchedule, at: number): string | null {
  const period = periodAt(schedule.timeZone, at);
  const clock = clockText(at + period.offset);
  if (at < period.start + period.offsetBefore - period.offset) return `the second ${clock} of this day`;
  if (period.end === Infinity) return null;
  const following = periodAt(schedule.timeZone, period.end);
  if (at < period.end - (period.offset - following.offset) || following.offset >= period.offset) return null;
  const isOnly = localCron(schedule.resolved).isFixedTime && schedule.fold === "First";
  return `the first ${clock} of this day${isOnly ? "; the second does not run" : ""}`;
}

/** The first local time the schedule states within what the change before a stretch left out or repeats, or null. */
function statedWithin(schedule: CronSchedule, period: ZonePeriod): number | null {
  const from = period.start + Math.min(period.offsetBefore, period.offset);
  const to = period.start + Math.max(period.offsetBefore, period.offset);
  const local = localCron(schedule.resolved).next(from - 1);
  return local !== null && local < to ? local : null;
}

/** All of them, counted up to one more than are named. */
function allStatedWithin(schedule: CronSchedule, period: ZonePeriod): readonly number[] {
  const to = period.start + Math.max(period.offsetBefore, period.offset);
  const stated: number[] = [];
  let local = statedWithin(schedule, period);
  while (local !== null && local < to && stated.length <= STATED_NAMED) {
    stated.push(local);
    local = localCron(schedule.resolved).next(local);
  }
  return stated;
}

/** `02:15, 02:30 and 02:45`; the first few and the rest in a word when there are more. */
function clocksText(stated: readonly number[]): string {
  const named = stated.slice(0, STATED_NAMED).map(clockText);
  if (stated.length > STATED_NAMED) return `${named.join(", ")} and further times`;
  const last = named.pop() ?? "";
  return named.length === 0 ? last : `${named.join(", ")} and ${last}`;
}

/** `02:30`, or `02:30:15` when there are seconds. */
function clockText(local: number): string {
  const text = new Date(local).toISOString().slice(11, 19);
  return text.endsWith(":00") ? text.slice(0, 5) : text;
}
