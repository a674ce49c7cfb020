/** Removes history that has reached its age. */
import type { RetentionRules } from "../domain/retention.ts";

/** What one step removed. */
export interface Swept {
  /** Occurrences, with their attempts and lines. */
  readonly occurrences: number;
  /** Verdict ranges, failed-occurrence records, items of bulk actions, past epochs. */
  readonly records: number;
  /** Days that were dropped as a whole, e.g. `2026-08-01`. Where history is not cut into days there are none. */
  readonly days: readonly string[];
  /** False: there is more to look at, call again. */
  readonly isDone: boolean;
}

export interface Retention {
  /**
   * One bounded step of a sweep over everything, fenced by the leader's epoch; null: another instance leads. Steps
   * follow each other until `isDone`; a sweep that is broken off begins anew, and does nothing twice.
   */
  sweep(epoch: number, rules: RetentionRules, now: number): Promise<Swept | null>;
}
