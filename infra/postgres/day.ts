/**
 * Days, the unit of partitioning: midnight to midnight UTC of the due time.
 *
 * Statements name the day of the rows they touch as literals, so that their prepared plans hold one partition and
 * neither plan nor lock the others.
 */
const DAY_MS = 86_400_000;

/** The last moment that rows can have: the end of the year 9999. */
export const LATEST_MS = 253_402_300_799_999;

/** Days since 1970-01-01. */
export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS);
}

/** True for a moment that a row can have. What comes from outside may name any number. */
export function isStorableTime(ms: number): boolean {
  return Number.isFinite(ms) && ms >= 0 && ms <= LATEST_MS;
}

/** `2026-11-26`. */
export function dayText(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** The first moment of a day as PostgreSQL reads it. */
export function dayStart(day: number): string {
  return `'${dayText(day)} 00:00:00+00'`;
}

/** SQL that holds a statement to one day's partition. */
export function onDay(day: number, column: string): string {
  return `${column} >= ${dayStart(day)} AND ${column} < ${dayStart(day + 1)}`;
}

/** Items by the day of their due time, each in its order. */
export function byDay<T>(items: readonly T[], at: (item: T) => number): ReadonlyMap<number, readonly T[]> {
  const days = new Map<number, T[]>();
  for (const item of items) {
    const day = dayOf(at(item));
    const known = days.get(day);
    if (known === undefined) days.set(day, [item]);
    else known.push(item);
  }
  return days;
}
