/**
 * Failed occurrences, the dead letters: one for each occurrence that ended as Failed or TimedOut, written with that
 * end and standing on its own, for the occurrence's row may be gone before somebody looks. Its id is the
 * occurrence's, which fails for good at most once.
 *
 *   unresolved ──► resolved   by a person, or by a replay: completed → Replayed; failed as well → Superseded, for the
 *        ▲            │       replay's own failed occurrence stands for it from then on
 *        └─ reopened ─┘
 *
 * So of a chain of replays that all failed exactly one is unresolved.
 */
import { isSuspect } from "./aftermath.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { LogLine } from "./message.ts";
import type { ErrorReport, OccurrenceStatus } from "./occurrence.ts";

/** Why it failed: its last attempt failed, or took too long; or it was lost so often that it is suspect. */
export const FAILURE_KINDS = ["failed", "timed-out", "suspect"] as const;
/** One of `FAILURE_KINDS`. */
export type FailureKind = (typeof FAILURE_KINDS)[number];

/** What people say that they did. */
export const RESOLUTION_ACTIONS = [
  "Fixed",
  "DataCorrected",
  "HandledManually",
  "Replayed",
  "Ignored",
  "Other",
] as const;

/** What was done about it; `Superseded` is the program's own. */
export type ResolutionAction = (typeof RESOLUTION_ACTIONS)[number] | "Superseded";

/** Lines of output kept of a suspect, and characters of each. */
export const LAST_LINES = 20;
const LINE_AT_MOST = 500;

/** Why nobody has to look at it any more. */
export interface Resolution {
  readonly action: ResolutionAction;
  readonly note: string;
  /** Who, or `replay` for what a replay brought about. */
  readonly by: string;
  readonly at: number;
  /** The replay that brought it about, or null. */
  readonly occurrenceId: string | null;
}

/** A line of output, as much as is kept with a failed occurrence. */
export type OutputLine = Pick<LogLine, "token" | "at" | "level" | "message">;

/** A failed occurrence as it is stored, without its payload. */
export interface FailedOccurrence {
  /** The occurrence's. */
  readonly id: string;
  readonly jobId: string;
  readonly jobVersion: number;
  readonly jobType: string;
  readonly kind: FailureKind;
  /** The due time. */
  readonly scheduledFor: number;
  readonly failedAt: number;
  /** Counted attempts. */
  readonly attempts: number;
  readonly fingerprint: string;
  /** What the last attempt threw; null for what took too long or was lost. */
  readonly error: ErrorReport | null;
  /** One sentence. */
  readonly reason: string | null;
  readonly resolution: Resolution | null;
}

/** The kind of failure that this end is, or null when it is none. */
export function failureKindOf(status: OccurrenceStatus, reason: string | null): FailureKind | null {
  if (status === "TimedOut") return "timed-out";
  if (status !== "Failed") return null;
  return isSuspect({ status, reason }) ? "suspect" : "failed";
}

/** The fingerprint of a failure. Without an error of the job's, those of one kind and job type are alike. */
export function fingerprintOfFailure(
  kind: FailureKind,
  jobType: string,
  error: ErrorReport | null,
): string {
  return fingerprintOf(error ?? { name: `(${kind})`, message: jobType, stack: null });
}

/** What a person reads as the error: name and message, of the job's error or of what ended it. */
export function errorOf(failed: Pick<FailedOccurrence, "kind" | "error" | "reason">): {
  readonly name: string;
  readonly message: string;
} {
  if (failed.error !== null) return failed.error;
  return { name: failed.kind === "timed-out" ? "TimedOut" : "Suspect", message: failed.reason ?? "" };
}

/** The last lines, as they are stored with a suspect: JSON text; null without any. */
export function outputText(lines: readonly OutputLine[]): string | null {
  if (lines.length === 0) return null;
  return JSON.stringify(
    lines.slice(-LAST_LINES).map(({ token, at, level, message }) => ({
      token,
      at,
      level,
      message: message.length > LINE_AT_MOST ? message.slice(0, LINE_AT_MOST) + "…" : message,
    })),
  );
}

/** How the end of a replay resolves what it replayed, or null when it does not. */
export function resolvedByReplay(
  occurrenceId: string,
  status: OccurrenceStatus,
  at: number,
): Resolution | null {
  switch (status) {
    case "Completed":
      return {
        action: "Replayed",
        note: `Its replay ${occurrenceId} completed`,
        by: "replay",
        at,
        occurrenceId,
      };
    case "Failed":
    case "TimedOut":
      return {
        action: "Superseded",
        note: `Its replay ${occurrenceId} ended as ${status} and stands for it now`,
        by: "replay",
        at,
        occurrenceId,
      };
    default:
      return null;
  }
}
