/**
 * What travels between scheduler and worker. A job message is a hint: the right to run is a claim. A report is a
 * worker's word; the status is the store's.
 */
import type { CancelRequest, ErrorReport } from "./occurrence.ts";

/** scheduler → worker: there is something to run. */
export interface JobMessage {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  readonly jobId: string;
  readonly jobType: string;
  /** Pool the job is pinned to, or null. */
  readonly pool: string | null;
  /** The occurrence's token when this was sent; a claim must find it unchanged. */
  readonly token: number;
  /** Counted attempts so far. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** JSON text. */
  readonly jobData: string;
  /** Seconds; null takes the job type's. */
  readonly executionTimeoutSeconds: number | null;
}

/** How an attempt ended, in the worker's word. */
export type Outcome =
  /** `result` is JSON text, null when `run` returned nothing. */
  | { readonly kind: "completed"; readonly result: string | null }
  | {
    readonly kind: "failed";
    readonly error: ErrorReport;
    /** The job threw PermanentJobError: no retry. */
    readonly permanent: boolean;
    /** The job asked to be tried again after this long, milliseconds. */
    readonly retryAfterMs: number | null;
    /** `error` thrown by the job; the others name what took the attempt down. */
    readonly cause: "error" | "invalid-data" | "out-of-memory" | "exited" | "unhandled" | "crashed";
  }
  | { readonly kind: "timedOut"; readonly rung: KillRung; readonly limitMs: number }
  | { readonly kind: "cancelled"; readonly rung: KillRung }
  /** Not the job's doing: the attempt does not count and runs again. */
  | { readonly kind: "handedBack"; readonly why: "stopping" | "sibling-killed" | "lease-lost" };

/** How far the ladder had to be climbed: it heeded the signal, its thread was ended, or its host was killed. */
export type KillRung = "signal" | "terminated" | "killed";

/** worker → tracker: one attempt has ended. */
export interface Report {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  readonly jobId: string;
  readonly token: number;
  readonly workerId: string;
  readonly instanceId: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly durationMs: number;
  readonly outcome: Outcome;
}

export const LINE_LEVELS = ["info", "warn", "error"] as const;
export type LineLevel = (typeof LINE_LEVELS)[number];

/** One log line of an attempt. Unique by (occurrence, token, sequence). */
export interface LogLine {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  readonly token: number;
  /** 0, 1, 2 … within the attempt, given where the line is made. */
  readonly sequence: number;
  readonly at: number;
  readonly level: LineLevel;
  readonly message: string;
  /** JSON text of further fields, or null. */
  readonly fields: string | null;
}

/** What `attempts.claim` answers for one message. */
export type ClaimAnswer =
  | {
    readonly ok: true;
    /** The token of this attempt: the message's plus one. */
    readonly token: number;
    readonly attempt: number;
  }
  | {
    readonly ok: false;
    /** stale-token: claimed, retried or ended since. not-ready: backing off or waiting for the run before it. */
    readonly reason: "stale-token" | "final" | "not-ready" | "cancelled" | "gone";
  };

/** What `attempts.renew` answers for one running attempt. */
export type RenewAnswer =
  | { readonly ok: true; readonly cancel: CancelRequest | null }
  | { readonly ok: false };
