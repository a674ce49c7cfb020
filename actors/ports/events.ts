/**
 * Live events: news for whoever listens, on any instance. At most once, never the truth: who misses one reads the
 * store. They also wake actors that would otherwise find a change at their next slow poll.
 */
import type { AlertKind, AlertSeverity } from "../domain/alert.ts";
import type { AutoDisableChange } from "../domain/auto_disable.ts";
import type { BulkKind, BulkState } from "../domain/bulk_action.ts";
import type { Evidence } from "../domain/explanation.ts";
import type { OccurrenceStatus } from "../domain/occurrence.ts";

export type LiveEvent =
  | { readonly type: "jobChanged"; readonly jobId: string; readonly at: number }
  /** A job was disabled because it kept failing, a probe of it failed, or it was enabled again. */
  | {
    readonly type: "jobAutoDisabled";
    readonly jobId: string;
    readonly change: AutoDisableChange["kind"];
    /** Failures in a row. */
    readonly failures: number;
    /** The last of them. */
    readonly occurrenceId: string;
    readonly reason: string;
    readonly probeAt: number | null;
    readonly at: number;
  }
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
  /** An occurrence may run from `readyAt` on (back-off, spaced catch-up): whoever leads looks at it then. */
  | { readonly type: "retryScheduled"; readonly readyAt: number }
  | {
    readonly type: "leaderChanged";
    readonly holder: string | null;
    readonly epoch: number;
    readonly at: number;
  }
  | { readonly type: "workersChanged"; readonly at: number }
  /** It failed for good, was resolved or reopened. */
  | {
    readonly type: "failedOccurrenceChanged";
    readonly failedOccurrenceId: string;
    readonly jobId: string;
    readonly jobType: string;
    readonly isResolved: boolean;
    readonly at: number;
  }
  /** One was made, steered, or went on. Whoever leads looks at it. */
  | {
    readonly type: "bulkActionChanged";
    readonly actionId: string;
    readonly kind: BulkKind;
    readonly state: BulkState;
    readonly total: number;
    readonly waiting: number;
    readonly on: number;
    readonly succeeded: number;
    readonly failed: number;
    readonly skipped: number;
    readonly at: number;
  }
  /** The watchdog found a difference, or found it gone. */
  | {
    readonly type: "alert";
    readonly id: string;
    readonly kind: AlertKind;
    readonly severity: AlertSeverity;
    readonly sentence: string;
    readonly evidence: readonly Evidence[];
    readonly isOpen: boolean;
    readonly at: number;
  };

export type LiveEventType = LiveEvent["type"];

export interface Events {
  /** Sends to every subscriber of every instance. Never throws for a listener's fault. */
  publish(events: readonly LiveEvent[]): void;
  /** Only events of these types reach the listener. The result ends the subscription; ending it twice is fine. */
  subscribe(types: readonly LiveEventType[], listener: (events: readonly LiveEvent[]) => void): () => void;
  /** False while nobody on any instance listens to the type, so that a busy writer need not build its events. */
  wants(type: LiveEventType): boolean;
}
