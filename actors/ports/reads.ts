/**
 * Where lists, dashboards and reports are read: from a copy of the store where one is near enough, else from the store
 * itself. What anybody decides on is never read here.
 */
import type { History, JobStore, LineStore } from "./store.ts";
import type { Workload } from "./workload.ts";

/** What may be read from a copy. All of one call comes from one copy. */
export interface Reader {
  readonly jobs: Pick<JobStore, "list">;
  readonly history: Pick<History, "occurrences" | "counts" | "ranges">;
  readonly lines: Pick<LineStore, "read">;
  readonly workload: Workload;
}

/** A point in the order of all that was ever written; opaque, comparable by the store only. */
export type Position = string;

/** How a position is written. */
export const POSITION = /^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/i;

export interface Reads {
  /**
   * Reads what is at least as new as `after`, and as all that `written` was told of here. `latest` is the store
   * itself; null is content with a copy that lags no more than is allowed.
   */
  reader(after: Position | "latest" | null): Reader;
  /**
   * A position after everything that has been committed by now, to be shown with the reads that follow; null where
   * there are no copies, or when it cannot be found out: then reads here go to the store itself for a while. Never
   * rejects.
   */
  written(): Promise<Position | null>;
  copies(): readonly CopyState[];
}

/** A copy of the store, as it was last looked at. */
export interface CopyState {
  /** `host:port/database`. */
  readonly name: string;
  /** Lists are read from it now. */
  readonly isUsed: boolean;
  /** What it has not got yet; null while nobody knows. */
  readonly lagBytes: number | null;
  /** For how long it has lacked something; 0 when it has everything, null while nobody knows. */
  readonly lagSeconds: number | null;
  /** Why it is not used, in words. */
  readonly problem: string | null;
}
