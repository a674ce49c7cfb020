/** What the watchdog compares, read past the ledger that it watches. Each call is bounded, however many jobs there are. */
import type { DecidedDueTimes, WatchedJob } from "../domain/expectation.ts";
import type { DueEntry } from "./due_index.ts";
import type { Page } from "./store.ts";

export interface Overdue {
  /** How many jobs, counted up to one more than `OVERDUE_COUNTED`. */
  readonly count: number;
  /** Those that are overdue longest. */
  readonly entries: readonly DueEntry[];
}

/** Further ones are not counted. */
export const OVERDUE_COUNTED = 10_000;

/** A stretch of time of one job, both ends included. Epoch milliseconds. */
export interface DueSpan {
  readonly jobId: string;
  readonly from: number;
  readonly to: number;
}

export interface Oversight {
  /** Jobs whose next due time lies at or before a moment. */
  overdue(before: number, limit: number): Promise<Overdue>;
  /** All jobs in pages, in the order in which they were made. */
  jobs(limit: number, after: string | null): Promise<Page<WatchedJob>>;
  /** What the ledger holds of each span, in their order; null for a job that is not there (any more). */
  decided(spans: readonly DueSpan[]): Promise<readonly (DecidedDueTimes | null)[]>;
}
