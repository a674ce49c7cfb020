/**
 * Live events: news for whoever listens, on any instance. At most once, never the truth: who misses one reads the
 * store. They also wake actors that would otherwise find a change at their next slow poll.
 */
import type { OccurrenceStatus } from "../domain/occurrence.ts";

export type LiveEvent =
  | { readonly type: "jobChanged"; readonly jobId: string; readonly at: number }
  | {
    readonly type: "occurrenceChanged";
    readonly occurrenceId: string;
    readonly jobId: string;
    readonly jobType: string;
    readonly status: OccurrenceStatus;
    readonly attempt: number;
    readonly scheduledFor: number;
    readonly at: number;
    readonly reason: string | null;
  }
  | {
    readonly type: "occurrenceProgress";
    readonly occurrenceId: string;
    readonly done: number;
    readonly total: number;
    readonly at: number;
  }
  | {
    readonly type: "occurrenceLogged";
    readonly occurrenceId: string;
    readonly lines: readonly { readonly at: number; readonly level: string; readonly message: string }[];
  }
  | {
    readonly type: "cancelRequested";
    readonly occurrenceId: string;
    readonly token: number;
    readonly reason: string;
    readonly at: number;
  }
  /** An occurrence backs off until `readyAt`: whoever leads looks at it then. */
  | { readonly type: "retryScheduled"; readonly readyAt: number }
  | {
    readonly type: "leaderChanged";
    readonly holder: string | null;
    readonly epoch: number;
    readonly at: number;
  }
  | { readonly type: "workersChanged"; readonly at: number };

export type LiveEventType = LiveEvent["type"];

export interface Events {
  /** Sends to every subscriber of every instance. Never throws for a listener's fault. */
  publish(events: readonly LiveEvent[]): void;
  /** Only events of these types reach the listener. The result ends the subscription; ending it twice is fine. */
  subscribe(types: readonly LiveEventType[], listener: (events: readonly LiveEvent[]) => void): () => void;
  /** False while nobody on any instance listens to the type, so that a busy writer need not build its events. */
  wants(type: LiveEventType): boolean;
}
