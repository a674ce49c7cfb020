/**
 * What follows from the end of an attempt.
 *
 *   completed            → Completed
 *   failed               → Queued after a back-off while tries are left, else Failed; Cancelled when that was asked
 *   timedOut             → TimedOut, for good: a run that was too slow once will be too slow again
 *   cancelled            → Cancelled
 *   handedBack           → Queued at once, uncounted; Cancelled when that was asked
 *   lost (by the reaper) → Queued at once, uncounted; Failed as `suspect` the third time; Cancelled when that was asked
 */
import type { Outcome, Report } from "./message.ts";
import type { CancelRequest, OccurrenceStatus } from "./occurrence.ts";
import { backoffMs, MAX_RETRY_DELAY_SECONDS } from "./retry.ts";

/** An attempt that was lost this often takes its workers down, as it seems: it is not run again. */
export const LOST_AT_MOST = 3;

const REASON_AT_MOST = 200;

/** What it depends on, of the occurrence. */
export interface EndedAttempt {
  /** Counted attempts, this one included. */
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly baseRetryDelaySeconds: number;
  readonly cancel: CancelRequest | null;
}

export type Aftermath =
  /** The occurrence has ended. `error` and `result` are JSON texts. */
  | {
    readonly kind: "ends";
    readonly status: OccurrenceStatus;
    readonly reason: string | null;
    readonly error: string | null;
    readonly result: string | null;
  }
  /** It is queued again: not before `readyAt`, or at once when that is null. */
  | {
    readonly kind: "again";
    readonly readyAt: number | null;
    /** False when the attempt does not count. */
    readonly counts: boolean;
    readonly outcome: "failed" | "handedBack" | "lost";
    readonly reason: string;
    readonly error: string | null;
  };

/** After a report of the newest attempt. `jitter` gives a number in [0, 1), asked at most once. */
export function afterReport(
  one: EndedAttempt,
  report: Pick<Report, "outcome" | "workerId">,
  now: number,
  jitter: () => number,
): Aftermath {
  const { outcome, workerId } = report;
  switch (outcome.kind) {
    case "completed":
      return ends("Completed", null, { result: outcome.result });
    case "timedOut":
      return ends("TimedOut", `Ran longer than its limit of ${outcome.limitMs / 1000} s (${outcome.rung})`);
    case "cancelled":
      return ends(
        "Cancelled",
        one.cancel === null ? `Cancelled by its worker ${workerId}` : cancelReason(one.cancel),
      );
    case "handedBack":
      if (one.cancel !== null) return ends("Cancelled", cancelReason(one.cancel));
      return {
        kind: "again",
        readyAt: null,
        counts: false,
        outcome: "handedBack",
        reason: `Handed back by ${workerId} (${outcome.why}); it does not count as an attempt`,
        error: null,
      };
    case "failed":
      return afterFailure(one, outcome, now, jitter);
    default:
      return outcome satisfies never;
  }
}

function afterFailure(
  one: EndedAttempt,
  outcome: Extract<Outcome, { kind: "failed" }>,
  now: number,
  jitter: () => number,
): Aftermath {
  const error = JSON.stringify(outcome.error);
  const what = `Attempt ${one.attempt} of ${one.maxAttempts} failed (${outcome.error.name}: ` +
    `${firstLine(outcome.error.message)})`;
  if (one.cancel !== null) return ends("Cancelled", cancelReason(one.cancel), { error });
  if (outcome.permanent) return ends("Failed", `${what}; it asked not to be tried again`, { error });
  if (one.attempt >= one.maxAttempts) return ends("Failed", what, { error });
  const policy = {
    baseRetryDelaySeconds: one.baseRetryDelaySeconds,
    maxRetryDelaySeconds: MAX_RETRY_DELAY_SECONDS,
  };
  const readyAt = now + (outcome.retryAfterMs ?? backoffMs(policy, one.attempt, jitter()));
  const reason = `${what}; the next one is due at ${new Date(readyAt).toISOString()}`;
  return { kind: "again", readyAt, counts: true, outcome: "failed", reason, error };
}

/** After the reaper found that nobody runs the attempt any more. `lostBefore`: how often that happened before. */
export function afterLoss(
  one: { readonly cancel: CancelRequest | null },
  instanceId: string,
  lostBefore: number,
): Aftermath & { readonly what: string } {
  const what = `The worker instance ${instanceId} went silent while it ran this`;
  const times = lostBefore + 1;
  if (one.cancel !== null) return { ...ends("Cancelled", cancelReason(one.cancel)), what };
  if (times >= LOST_AT_MOST) {
    return { ...ends("Failed", `suspect: ${what}, for the ${times}rd time`), what };
  }
  return {
    kind: "again",
    readyAt: null,
    counts: false,
    outcome: "lost",
    reason: `${what}; it runs again and does not count as an attempt`,
    error: null,
    what,
  };
}

/** Why an occurrence is Cancelled that somebody asked to cancel. */
export function cancelReason(request: CancelRequest): string {
  return `Cancelled by ${request.by}: ${request.reason}`;
}

function ends(
  status: OccurrenceStatus,
  reason: string | null,
  rest: { readonly error?: string; readonly result?: string | null } = {},
): Extract<Aftermath, { kind: "ends" }> {
  return { kind: "ends", status, reason, error: rest.error ?? null, result: rest.result ?? null };
}

function firstLine(text: string): string {
  const line = text.split("\n", 1)[0] ?? "";
  return line.length > REASON_AT_MOST ? line.slice(0, REASON_AT_MOST) + "…" : line;
}
