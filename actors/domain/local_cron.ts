/**
 * The local times that a cron expression means. It speaks of local times and knows no zone: croner is asked without
 * one, so that no clock change can disturb it, and `zoned_cron.ts` decides at which moments they come.
 */
import { Cron } from "croner";

/** croner failed on a stored schedule. Caught where a decision is made, so that it stops one job and no other. */
export class ScheduleFault extends Error {
  override readonly name = "ScheduleFault";
}

/** The local times that match an expression, as if there were no zones: milliseconds of a clock that never jumps. */
export interface LocalCron {
  /**
   * Second, minute and hour are all named (no `*`, no step): the pattern states local times. Else it is an interval,
   * which goes by real time. The gap and fold rules are for stated times only.
   */
  readonly isFixedTime: boolean;
  /** The first match strictly after; null when there is none before the year 3000. Throws ScheduleFault. */
  next(after: number): number | null;
  /** The last match strictly before; null when there is none. Throws ScheduleFault. */
  previous(before: number): number | null;
}

/** croner keeps about 80 KB an expression (a table of years), so only so many are kept. */
const CACHE_SIZE = 256;
const cache = new Map<string, LocalCron>();

/** The local times of a resolved expression; the least recently used ones are forgotten. Throws ScheduleFault. */
export function localCron(resolved: string): LocalCron {
  const known = cache.get(resolved);
  if (known !== undefined) {
    cache.delete(resolved);
    cache.set(resolved, known);
    return known;
  }
  const made = makeLocalCron(resolved);
  cache.set(resolved, made);
  const [oldest] = cache.keys();
  if (cache.size > CACHE_SIZE && oldest !== undefined) cache.delete(oldest);
  return made;
}

function makeLocalCron(resolved: string): LocalCron {
  const wrapped = <T>(ask: () => T): T => {
    try {
      return ask();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new ScheduleFault(`Cannot compute "${resolved}": ${message}`, { cause: error });
    }
  };
  // An offset of zero, not a zone: croner then counts on a clock that never jumps.
  const cron = wrapped(() => new Cron(resolved, { mode: "5-or-6-parts", utcOffset: 0 }));
  const timeFields = resolved.split(" ").slice(0, -3);
  return {
    isFixedTime: timeFields.every((text) => !text.includes("*") && !text.includes("/")),
    next: (after) => wrapped(() => cron.nextRun(new Date(after))?.getTime() ?? null),
    previous: (before) => wrapped(() => cron.previousRuns(1, new Date(before))[0]?.getTime() ?? null),
  };
}
