/**
 * What travels between scheduler and worker. A job message is a hint: the right to run is a claim. A report is a
 * worker's word; the status is the store's.
 */
import type { CancelRequest, Ending, ErrorReport, KillRung } from "./occurrence.ts";

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
  /** JSON text; null when it is too large to travel with the message: the claim brings it. */
  readonly jobData: string | null;
  /** With `jobData` null, its bytes of UTF-8. */
  readonly jobDataBytes?: number;
  /** Seconds; null takes the job type's. */
  readonly executionTimeoutSeconds: number | null;
}

/** How an attempt ended, in the worker's word. */
export type Outcome =
  | {
    readonly kind: "completed";
    /** JSON text, null when `run` returned nothing. */
    readonly result: string | null;
    /**
     * It was too large to travel: the worker has written it to the store under its token, and `result` is a word
     * about that (see `keptResult`), for those who do not know of this.
     */
    readonly resultIsKept?: true;
  }
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
  | { readonly kind: "handedBack"; readonly why: "stopping" | "sibling-killed" | "lease-lost" | "no-lane" };

/** What stands for a result that was written to the store. JSON text. */
export function keptResult(bytes: number): string {
  return JSON.stringify({ kept: "in the store", bytes });
}

/** True when a text has more bytes of UTF-8 than this. Short texts are not counted. */
export function isLongerThan(text: string, bytes: number): boolean {
  // A UTF-16 code unit is at most three bytes, and at least one.
  return text.length * 3 > bytes && (text.length > bytes || byteLength(text) > bytes);
}

/** Bytes of UTF-8. */
export function byteLength(text: string): number {
  return new TextEncoder().encode(text).byteLength;
}

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
  /** When the abort signal was given because of a cancellation or the time limit; absent when it was not. */
  readonly signalledAt?: number;
}

/** worker → tracker: an attempt was given its abort signal. A hint, which its report repeats. */
export interface SignalNotice {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  readonly token: number;
  readonly instanceId: string;
  readonly cause: Ending["cause"];
  readonly at: number;
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
    /** The job data, when the request said that the message came without. */
    readonly jobData?: string;
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
