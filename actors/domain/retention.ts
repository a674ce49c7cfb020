/**
 * How long history is kept. By whole days of the due time (UTC): an occurrence goes when its day ended so many days
 * ago, never while it is not final, and never while it is among the newest so many of its job.
 *
 * Completed and skipped occurrences have one age, failed, timed out and cancelled ones another. A job may say its own.
 */
import type { RetentionSettings } from "./job.ts";
import { isFinal, type OccurrenceStatus } from "./occurrence.ts";

const DAY_MS = 86_400_000;

/** The ages at which history goes. */
export interface RetentionRule {
  /** Days that Completed and Skipped occurrences are kept. */
  readonly completedDays: number;
  /** Days that Failed, TimedOut and Cancelled ones are kept. */
  readonly failedDays: number;
  /** The newest so many of a job are kept however old they are. */
  readonly keepLast: number;
}

/** The server's rule, which jobs may override, and what no job says. */
export interface RetentionRules extends RetentionRule {
  /** Days that log lines are kept; they go with their occurrence at the latest. */
  readonly lineDays: number;
  /** Days that a failed-occurrence record waits to be resolved; a resolved one goes `failedDays` after that. */
  readonly unresolvedDays: number;
}

/** The rule of a job: what it says itself, else the server's. */
export function ruleOf(own: RetentionSettings | null, rules: RetentionRule): RetentionRule {
  return {
    completedDays: own?.completedDays ?? rules.completedDays,
    failedDays: own?.failedDays ?? rules.failedDays,
    keepLast: own?.keepLast ?? rules.keepLast,
  };
}

/** What was due before this moment has reached its age: the end of the last day that ended `days` days ago. */
export function agedBefore(now: number, days: number): number {
  return Math.floor(now / DAY_MS) * DAY_MS - days * DAY_MS;
}

/** Whether an occurrence's day has reached the age at which its status goes. */
export function isAged(
  one: { readonly status: OccurrenceStatus; readonly scheduledFor: number },
  rule: RetentionRule,
  now: number,
): boolean {
  if (!isFinal(one.status)) return false;
  const isGood = one.status === "Completed" || one.status === "Skipped";
  return one.scheduledFor < agedBefore(now, isGood ? rule.completedDays : rule.failedDays);
}

/** The ages at which the first and the last occurrence of a day may go, by all these rules. */
export function agesOf(
  rules: Iterable<RetentionRule>,
): { readonly shortestDays: number; readonly longestDays: number } {
  let shortestDays = Infinity;
  let longestDays = 0;
  for (const { completedDays, failedDays } of rules) {
    shortestDays = Math.min(shortestDays, completedDays, failedDays);
    longestDays = Math.max(longestDays, completedDays, failedDays);
  }
  return { shortestDays, longestDays };
}
