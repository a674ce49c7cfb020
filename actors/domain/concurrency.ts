/**
 * Whether a new occurrence may run while others of the same job are under way. The same answers serve due times and
 * triggers, always under the job's row lock.
 *
 *   Skip   a due time becomes a Skipped occurrence that names what was in its way; a trigger is refused
 *   Queue  strictly one at a time, in order: it waits until the one before it has ended for good; when too many wait,
 *          a due time becomes a Skipped occurrence, and a trigger is refused with all its items
 *   Allow  side by side
 *
 * A run that waits for its retry still holds the job. Runs that catch up wait for one another under Skip as well:
 * FireAll asks for each of them.
 */
import type { ConcurrencyPolicy } from "./job.ts";
import type { Origin } from "./occurrence.ts";

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
  /** Not run: too many wait already. A due time is stored as Skipped, a trigger refused. */
  | { readonly kind: "full"; readonly because: string; readonly waiting: number };

/** Why a trigger is refused with all its items. */
export type TriggerRefusal =
  | { readonly reason: "overlap"; readonly occurrenceId: string }
  /** `occurrenceId` holds the job, `waiting` others wait for it, and `room` more may. */
  | {
    readonly reason: "queue-full";
    readonly occurrenceId: string | null;
    readonly waiting: number;
    readonly room: number;
  };

/**
 * Whether a trigger of `wanted` items is refused, or null. Under Queue all of them find room or none; under Skip one
 * run is what there is room for, and it is enough that the first of them gets it.
 */
export function triggerRefusal(
  policy: ConcurrencyPolicy,
  { count, holder }: ActiveOccurrences,
  { wanted, isForced }: { readonly wanted: number; readonly isForced: boolean },
): TriggerRefusal | null {
  switch (policy) {
    case "Allow":
      return null;
    case "Skip":
      return holder === null || isForced ? null : { reason: "overlap", occurrenceId: holder };
    case "Queue": {
      const waiting = Math.max(0, count - 1);
      return count + wanted <= MAX_WAITING + 1
        ? null
        : { reason: "queue-full", occurrenceId: holder, waiting, room: MAX_WAITING + 1 - count };
    }
  }
}

/** The policy by which an occurrence of this origin is admitted. */
export function policyFor(policy: ConcurrencyPolicy, origin: Origin): ConcurrencyPolicy {
  return policy === "Skip" && origin === "catch-up" ? "Queue" : policy;
}

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
