/**
 * What a parent does about a child that ended: pure, so that budgets and back-off can be proven without actors.
 *
 * Restarts are counted over a sliding window: for each child under one-for-one, for all children together under
 * all-for-one. The budget is for faults of the actor. An outage of a server is not one: an actor waits that out
 * with its own timers, and does not crash.
 */
import type { RestartRule } from "./actor.ts";

/** How an actor supervises its children. */
export interface Supervision {
  /** Who is started again when one child crashes: it alone, or all children with it. */
  readonly strategy: "one-for-one" | "all-for-one";
  /** Restarts allowed within the window; one more escalates: the parent crashes. 0 escalates at once. */
  readonly maxRestarts: number;
  /** Length of the window in milliseconds. */
  readonly withinMs: number;
  /** The wait doubles with each restart in the window, from about `firstMs` up to `maxMs`. */
  readonly backoff: { readonly firstMs: number; readonly maxMs: number };
}

/** One for one, 5 restarts a minute, 100 ms to 10 s apart. */
export const DEFAULT_SUPERVISION: Supervision = {
  strategy: "one-for-one",
  maxRestarts: 5,
  withinMs: 60_000,
  backoff: { firstMs: 100, maxMs: 10_000 },
};

/** What is known when a child has ended. */
export interface ChildEnded {
  readonly supervision: Supervision;
  readonly restart: RestartRule;
  readonly end: "stopped" | "crashed";
  /** When restarts were granted before, monotonic milliseconds, oldest first. */
  readonly restartedAt: readonly number[];
  /** Monotonic milliseconds. */
  readonly now: number;
  /** A number in [0, 1). */
  readonly jitter: number;
}

/** end: for good. restart: after `delayMs`, remembering `restartedAt`. escalate: the budget is spent. */
export type Directive =
  | { readonly kind: "end" }
  | { readonly kind: "restart"; readonly delayMs: number; readonly restartedAt: readonly number[] }
  | { readonly kind: "escalate"; readonly restarts: number };

/** Decides about one child that ended without having been asked to. */
export function decide(ended: ChildEnded): Directive {
  const { supervision, restart, now } = ended;
  if (restart === "never" || (restart === "on-crash" && ended.end === "stopped")) return { kind: "end" };
  const recent = ended.restartedAt.filter((at) => now - at < supervision.withinMs);
  if (recent.length >= supervision.maxRestarts) return { kind: "escalate", restarts: recent.length };
  return {
    kind: "restart",
    delayMs: backoffMs(supervision.backoff, recent.length, ended.jitter),
    restartedAt: [...recent, now],
  };
}

/** Between half of the step and the whole of it, so that what crashed together does not come back together. */
function backoffMs(backoff: Supervision["backoff"], before: number, jitter: number): number {
  const step = Math.min(backoff.firstMs * 2 ** Math.min(before, 40), backoff.maxMs);
  return Math.round(step / 2 + (step / 2) * jitter);
}
