/** The inspection stream: everything that happens to actors, for logs, metrics, pages and tests. */
import type { ActorEnd } from "./actor.ts";

/** What happened, without when and to whom. */
export type InspectNews =
  | { readonly type: "spawned"; readonly kind: string }
  /** Its first run begins. */
  | { readonly type: "started" }
  /** The `restarts`-th run after the first begins, with fresh state. */
  | { readonly type: "restarted"; readonly restarts: number }
  | { readonly type: "received"; readonly message: unknown }
  /** Told, and the mailbox was full. */
  | { readonly type: "refused"; readonly message: unknown }
  /** Told, and it took the place of a waiting message of its key. */
  | { readonly type: "merged"; readonly message: unknown }
  | { readonly type: "timerFired"; readonly key: string }
  | { readonly type: "stopAsked" }
  | { readonly type: "crashed"; readonly error: unknown }
  | { readonly type: "backingOff"; readonly delayMs: number }
  /** Its restart budget is spent: its parent crashes with this error. */
  | { readonly type: "escalated"; readonly error: Error }
  /** It ended for good. */
  | { readonly type: "stopped"; readonly end: ActorEnd }
  /** Its `stopped` function threw. */
  | { readonly type: "lastWordThrew"; readonly error: unknown }
  /**
   * Nobody will receive this. stopped: told to an actor that had ended, or it waited when the actor ended. late:
   * injected or brought by `run` for a run of the actor that is over (a run's outcome is given as it is).
   */
  | { readonly type: "deadLetter"; readonly message: unknown; readonly why: "stopped" | "late" };

/** One thing that happened to one actor. */
export type InspectEvent = InspectNews & {
  /** Monotonic milliseconds. */
  readonly at: number;
  /** The actor's id. */
  readonly id: number;
  readonly path: string;
};
