/**
 * From local times to moments: what becomes of a cron pattern where the clocks change.
 *
 *                 stated local times (`30 2 * * *`)                interval (`0 * * * *`)
 *   gap           RunAtNextValid: once, at the first moment        the local times do not exist; the next
 *   (02:00→03:00) after the gap. Skip: not at all.                 one comes after the same real interval
 *   fold          First: at the first of the two.                  at both: each real interval
 *   (03:00→02:00) Both: at both.
 *
 * Several stated times in one gap make one due time, and one that falls on a time stated anyway is that one.
 * A gap may be as long as a day (Apia, 30 December 2011) or reach midnight (Nuuk, each spring at 23:00): the rule is
 * the same. croner's own zone mode drops the time in both cases, and cannot express Skip or Both; see README.
 */
import type { LocalCron } from "./local_cron.ts";
import { periodAt, type ZonePeriod } from "./zone.ts";

/** How a pattern meets the clock changes of its zone. */
export interface ZoneRules {
  readonly timeZone: string;
  readonly gap: "RunAtNextValid" | "Skip";
  readonly fold: "First" | "Both";
}

/** The first due time strictly after a moment, or null. Throws ScheduleFault. */
export function nextZoned(cron: LocalCron, rules: ZoneRules, after: number): number | null {
  let period = periodAt(rules.timeZone, after);
  let passed = Math.max(after + period.offset, firstLocal(cron, rules, period) - 1);
  let local = cron.next(passed);
  while (local !== null) {
    const at = local - period.offset;
    if (at < period.end) return at;

    const following = periodAt(rules.timeZone, period.end);
    if (runsAfterGap(cron, rules, following) && local < following.start + following.offset) {
      return following.start;
    }
    const passedThen = firstLocal(cron, rules, following) - 1;
    // Asking again is dear, and only of use when the clock went back, or forward past what was found.
    if (passedThen < passed || local <= passedThen) local = cron.next(passedThen);
    passed = passedThen;
    period = following;
  }
  return null;
}

/** The last due time at or before a moment, or null. Throws ScheduleFault. */
export function previousZoned(cron: LocalCron, rules: ZoneRules, atOrBefore: number): number | null {
  let period = periodAt(rules.timeZone, atOrBefore);
  let limit = atOrBefore + period.offset + 1;
  let local = cron.previous(limit);
  while (local !== null) {
    if (local >= firstLocal(cron, rules, period)) return local - period.offset;
    if (runsAfterGap(cron, rules, period) && local >= period.start + period.offsetBefore) return period.start;

    const preceding = periodAt(rules.timeZone, period.start - 1);
    const limitThen = period.start + preceding.offset;
    if (limitThen > limit || local >= limitThen) local = cron.previous(limitThen);
    limit = limitThen;
    period = preceding;
  }
  return null;
}

/** The first local time of a stretch that can be due in it: under First, what a fold repeats is not. */
function firstLocal(cron: LocalCron, rules: ZoneRules, period: ZonePeriod): number {
  const isFirstOnly = cron.isFixedTime && rules.fold === "First";
  return period.start + (isFirstOnly ? Math.max(period.offset, period.offsetBefore) : period.offset);
}

/** Whether a local time that the change before this stretch left out is due at its start. */
function runsAfterGap(cron: LocalCron, rules: ZoneRules, period: ZonePeriod): boolean {
  return cron.isFixedTime && rules.gap === "RunAtNextValid" && period.offset > period.offsetBefore;
}
