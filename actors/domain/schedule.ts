/**
 * When a job is due: by a cron expression in a zone, once, or by triggers alone. Pure: moments come in and go out as
 * epoch milliseconds.
 */
import { parseCron } from "./cron.ts";
import { parseInstant } from "./instant.ts";
import { localCron, ScheduleFault } from "./local_cron.ts";
import { type Problem, shown } from "./problem.ts";
import { DEFAULT_TIME_ZONE, parseTimeZone } from "./zone.ts";
import { nextZoned, previousZoned } from "./zoned_cron.ts";

/** What becomes of a stated local time that a clock change leaves out. */
export const GAP_POLICIES = ["RunAtNextValid", "Skip"] as const;
/** One of `GAP_POLICIES`. */
export type GapPolicy = (typeof GAP_POLICIES)[number];

/** What becomes of a stated local time that a clock change brings twice. */
export const FOLD_POLICIES = ["First", "Both"] as const;
/** One of `FOLD_POLICIES`. */
export type FoldPolicy = (typeof FOLD_POLICIES)[number];

/** Due by a cron expression, in the local time of a zone. */
export interface CronSchedule {
  readonly kind: "cron";
  /** As the user wrote it (may contain H). */
  readonly expression: string;
  /** What is computed with: six fields, H resolved from the job id. */
  readonly resolved: string;
  /** IANA zone, e.g. `Europe/Berlin`. */
  readonly timeZone: string;
  readonly gap: GapPolicy;
  readonly fold: FoldPolicy;
}

/** When a job is due. */
export type Schedule =
  | CronSchedule
  | { readonly kind: "once"; readonly executeAt: number }
  | { readonly kind: "triggerOnly" };

// ---------------------------------------------------------------------------------------------------- reading

/** The fields of a job that say when it is due, as they come in. Null is the same as absent. */
export interface ScheduleInput {
  readonly cronExpression?: string | null | undefined;
  /** ISO 8601 with offset. */
  readonly executeAt?: string | null | undefined;
  readonly triggerOnly?: boolean | null | undefined;
  /** IANA name; `UTC` when absent. */
  readonly timeZone?: string | null | undefined;
  readonly gapPolicy?: string | null | undefined;
  readonly foldPolicy?: string | null | undefined;
}

/** What reading a schedule depends on besides its text. */
export interface ScheduleContext {
  /** Decides what `H` stands for. */
  readonly jobId: string;
  /** Epoch milliseconds: what is past, and whether the expression fires at all from here on. */
  readonly now: number;
  /** An `executeAt` in the past is due at once instead of refused. */
  readonly allowPast?: boolean;
}

/** A schedule, or everything that is wrong with what was given. */
export type ScheduleAnswer =
  | { readonly ok: true; readonly schedule: Schedule }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Reads and checks the schedule of a job; a refusal names every problem at once. */
export function parseSchedule(input: ScheduleInput, context: ScheduleContext): ScheduleAnswer {
  const problems: Problem[] = exclusiveProblems(input);
  const zone = parseTimeZone(input.timeZone ?? DEFAULT_TIME_ZONE);
  if (!zone.ok) problems.push(zone.problem);
  const timeZone = zone.ok ? zone.zone : DEFAULT_TIME_ZONE;
  const gap = oneOf("gapPolicy", GAP_POLICIES, input.gapPolicy, problems);
  const fold = oneOf("foldPolicy", FOLD_POLICIES, input.foldPolicy, problems);

  let schedule: Schedule = { kind: "triggerOnly" };
  if (isGiven(input.cronExpression)) {
    schedule = cronSchedule({ expression: input.cronExpression, timeZone, gap, fold }, context, problems);
  }
  if (isGiven(input.executeAt)) schedule = onceSchedule(input.executeAt, context, problems);
  return problems.length > 0 ? { ok: false, problems } : { ok: true, schedule };
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}

function exclusiveProblems(input: ScheduleInput): Problem[] {
  const given = [
    ...(isGiven(input.cronExpression) ? ["cronExpression"] : []),
    ...(isGiven(input.executeAt) ? ["executeAt"] : []),
    ...(input.triggerOnly === true ? ["triggerOnly"] : []),
  ];
  const allowed = ["cronExpression", "executeAt", "triggerOnly: true"];
  if (given.length === 0) {
    const message = "Say when the job is due: cronExpression, executeAt, or triggerOnly: true.";
    return [{ field: "cronExpression", code: "schedule_required", message, allowed }];
  }
  if (given.length === 1) return [];
  const message = `A job has one schedule; this one has ${given.join(" and ")}. Leave one.`;
  return [{
    field: given.at(-1) ?? "",
    code: "schedule_exclusive",
    message,
    given: given.join(", "),
    allowed,
  }];
}

/** The first of the choices is the default. */
function oneOf<T extends string>(
  field: string,
  choices: readonly [T, ...T[]],
  given: string | null | undefined,
  problems: Problem[],
): T {
  if (!isGiven(given)) return choices[0];
  const found = choices.find((choice) => choice === given);
  if (found !== undefined) return found;
  const message = `${field} is ${choices.join(" or ")}.`;
  problems.push({ field, code: "choice_unknown", message, given: shown(given), allowed: choices });
  return choices[0];
}

function cronSchedule(
  parts: Omit<CronSchedule, "kind" | "resolved">,
  context: ScheduleContext,
  problems: Problem[],
): CronSchedule {
  const cron = parseCron(parts.expression, context.jobId);
  if (!cron.ok) {
    problems.push(...cron.problems);
    return { kind: "cron", resolved: "", ...parts };
  }
  const schedule: CronSchedule = { kind: "cron", resolved: cron.resolved, ...parts };
  const fault = neverDue(schedule, context.now);
  if (fault !== null) {
    problems.push({ field: "cronExpression", ...fault, given: shown(parts.expression) });
  }
  return schedule;
}

function neverDue(schedule: CronSchedule, now: number): Pick<Problem, "code" | "message"> | null {
  try {
    if (nextDue(schedule, now) !== null) return null;
    const message =
      "This expression is well formed but never comes: no day is like that (30 February, 31 April).";
    return { code: "cron_never", message };
  } catch (error) {
    if (!(error instanceof ScheduleFault)) throw error;
    return { code: "cron_invalid", message: error.message };
  }
}

function onceSchedule(executeAt: string, context: ScheduleContext, problems: Problem[]): Schedule {
  const instant = parseInstant(executeAt);
  const given = shown(executeAt);
  if (!instant.ok) {
    problems.push({ field: "executeAt", code: instant.code, message: instant.message, given });
    return { kind: "triggerOnly" };
  }
  if (instant.at < context.now && context.allowPast !== true) {
    const message = `This moment has passed; it is ${new Date(context.now).toISOString()} now. ` +
      "Take a later one, or allow the past to run it now.";
    problems.push({ field: "executeAt", code: "in_past", message, given });
  }
  return { kind: "once", executeAt: instant.at };
}

// ------------------------------------------------------------------------------------------------- due times

/** The first due time strictly after a moment, or null when there is none. Throws ScheduleFault. */
export function nextDue(schedule: Schedule, after: number): number | null {
  switch (schedule.kind) {
    case "cron":
      return nextZoned(localCron(schedule.resolved), schedule, after);
    case "once":
      return schedule.executeAt > after ? schedule.executeAt : null;
    case "triggerOnly":
      return null;
  }
}

/** The last due time at or before a moment, or null when there is none. Throws ScheduleFault. */
export function latestDue(schedule: Schedule, atOrBefore: number): number | null {
  switch (schedule.kind) {
    case "cron":
      return previousZoned(localCron(schedule.resolved), schedule, atOrBefore);
    case "once":
      return schedule.executeAt <= atOrBefore ? schedule.executeAt : null;
    case "triggerOnly":
      return null;
  }
}

/** The due times within two moments, both included, earliest first, at most `limit`. Throws ScheduleFault. */
export function dueTimes(
  schedule: Schedule,
  fromInclusive: number,
  toInclusive: number,
  limit: number,
): readonly number[] {
  const found: number[] = [];
  let at = nextDue(schedule, fromInclusive - 1);
  while (at !== null && at <= toInclusive && found.length < limit) {
    found.push(at);
    at = nextDue(schedule, at);
  }
  return found;
}

/** Whether the schedule has this very due time. Throws ScheduleFault. */
export function isDue(schedule: Schedule, at: number): boolean {
  return nextDue(schedule, at - 1) === at;
}
