/**
 * The ledger: each due time of each job is in exactly one of two places, a row of occurrences or inside one
 * verdict range. "Why did it not run?" is therefore a query, and a schedule cannot stop silently.
 */

/** Why due times inside a range made no occurrence. */
export const RANGE_REASONS = [
  "paused",
  "disabled",
  "missed",
  "outside-window",
  "skipped-once",
  "auto-disabled",
] as const;
export type RangeReason = (typeof RANGE_REASONS)[number];

/** Due times of one job version that were decided alike, extended in place. */
export interface VerdictRange {
  readonly jobId: string;
  readonly jobVersion: number;
  /** The first due time inside, epoch milliseconds. */
  readonly from: number;
  /** The last due time inside, epoch milliseconds. */
  readonly to: number;
  /** How many due times are inside. */
  readonly count: number;
  readonly reason: RangeReason;
  /** Who is behind it: the person who paused or skipped, or the instance that found them missed. */
  readonly by: string;
  /** What that person said, or null. */
  readonly note: string | null;
  /** When the range was last extended. */
  readonly decidedAt: number;
}
