/**
 * Whether a new occurrence may run while others of the same job are under way. The same answers serve due times and
 * triggers, always under the job's row lock.
 *
 *   Skip   a due time becomes a Skipped occurrence that names what was in its way; a trigger is refused
 *   Queue  strictly one at a time, in order: it waits until the one before it has ended for good
 *   Allow  side by side
 *
 * A run that waits for its retry still holds the job.
 */
import type { ConcurrencyPolicy } from "./job.ts";

/** How many occurrences of one job may wait behind the one that holds it (policy Queue). */
export const MAX_WAITING = 1000;

/** The occurrences of a job that are Queued, Running or Unknown. */
export interface ActiveOccurrences {
  /** How many there are, waiting ones included. */
  readonly count: number;
  /** The one that holds the job: the first in order, or null when there is none. */
  readonly holder: string | null;
}

/** Whether, and when, a new occurrence may run. */
export type Admission =
  | { readonly kind: "run" }
  /** Stored as Queued with `readyAt` null; released when the run before it has ended. */
  | { readonly kind: "wait"; readonly behind: string }
  /** Not run. A due time is stored as Skipped, a trigger refused. */
  | { readonly kind: "skip"; readonly because: string }
  /** Not run: too many wait already. Stored and refused like `skip`. */
  | { readonly kind: "full"; readonly because: string; readonly waiting: number };

/** `isForced` (a trigger that insists) overrides Skip; under Queue it waits its turn like any other. */
export function admit(policy: ConcurrencyPolicy, active: ActiveOccurrences, isForced = false): Admission {
  const { count, holder } = active;
  if (holder === null || count === 0) return { kind: "run" };
  switch (policy) {
    case "Allow":
      return { kind: "run" };
    case "Skip":
      return isForced ? { kind: "run" } : { kind: "skip", because: holder };
    case "Queue":
      return count > MAX_WAITING
        ? { kind: "full", because: holder, waiting: count - 1 }
        : { kind: "wait", behind: holder };
  }
}
