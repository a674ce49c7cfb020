/**
 * What follows from the end of an attempt.
 *
 *   completed            → Completed
 *   failed               → Queued after a back-off when it is to be tried again (`retry.ts`), else Failed; Cancelled when
 *                          that was asked
 *   timedOut             → TimedOut, for good: a run that was too slow once will be too slow again
 *   cancelled            → Cancelled
 *   handedBack           → Queued at once, uncounted; Cancelled when that was asked
 *   lost (by the reaper) → Queued at once, uncounted; Failed as `suspect` the second time, the fifth while its worker is
 *                          there; Cancelled when that was asked
 *
 * Three ways to end without an outcome of its own are kept apart. *interrupted* (handedBack): its worker stopped in
 * order, cut it off with another run or for its lease, or had no lane for it in time. *lost*: its worker is gone, or
 * no report of it came; it runs again. *suspect*: lost twice with the same payload, so that it is likelier that the payload
 * takes workers down than that chance does; nobody runs it again by itself. A loss whose worker is there shows nothing of
 * the kind, and makes a suspect only when it goes on and on.
 */
import type { Outcome, Report } from "./message.ts";
import type { CancelRequest, OccurrenceStatus } from "./occurrence.ts";
import { type FailureRules, nextTry } from "./retry.ts";

/** An occurrence that was lost this often takes its workers down, as it seems: it is not run again. */
export const LOST_AT_MOST = 2;
/**
 * The same where the worker is there: it was not taken down, and what has not come is its report. So often, with usual
 * leases (15 s), is longer than a broker takes to notice that one of its nodes stands still (60 s).
 */
export const LOST_WITH_WORKER_AT_MOST = 5;

const REASON_AT_MOST = 200;

/** What it depends on, of the occurrence. */
export interface EndedAttempt {
  /** Counted attempts, this one included. */
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly baseRetryDelaySeconds: number;
  readonly rules: FailureRules;
  /** Start of the first attempt, epoch milliseconds. */
  readonly firstStartedAt: number;
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
    /** The result is in the store already. */
    readonly resultIsKept: boolean;
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
      return ends("Completed", null, {
        result: outcome.result,
        resultIsKept: outcome.resultIsKept === true,
      });
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
  const next = nextTry(one, { ...outcome, errorName: outcome.error.name }, now, jitter);
  const reason = `${what}; ${next.why}`;
  if (!next.again) return ends("Failed", reason, { error });
  return { kind: "again", readyAt: next.readyAt, counts: true, outcome: "failed", reason, error };
}

/** An attempt that nobody runs any more, as the reaper found. */
export interface Loss {
  readonly instanceId: string;
  /** The worker is there and does not run it: its report is on its way, or it never heard that it may run it. */
  readonly isWorkerThere: boolean;
  /** How often that happened before. */
  readonly lostBefore: number;
}

export function afterLoss(
  one: { readonly cancel: CancelRequest | null },
  { instanceId, isWorkerThere, lostBefore }: Loss,
): Aftermath & { readonly what: string } {
  const what = isWorkerThere
    ? `The worker instance ${instanceId} does not run this any more, and no report of it has come`
    : `The worker instance ${instanceId} went silent while it ran this`;
  const times = lostBefore + 1;
  if (one.cancel !== null) return { ...ends("Cancelled", cancelReason(one.cancel)), what };
  if (times >= (isWorkerThere ? LOST_WITH_WORKER_AT_MOST : LOST_AT_MOST)) {
    const why = isWorkerThere ? "its reports seem to get lost" : "its payload seems to take workers down";
    const reason =
      `suspect: ${what}, and it was lost before with the same payload (${times} times in all). ` +
      `It is kept back and not run again: ${why}`;
    return { ...ends("Failed", reason), what };
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

/** Whether an occurrence was kept back because it was lost too often. */
export function isSuspect(
  one: { readonly status: OccurrenceStatus; readonly reason: string | null },
): boolean {
  return one.status === "Failed" && one.reason !== null && one.reason.startsWith("suspect");
}

/** Why an occurrence is Cancelled that somebody asked to cancel. */
export function cancelReason(request: CancelRequest): string {
  return `Cancelled by ${request.by}: ${request.reason}`;
}

function ends(
  status: OccurrenceStatus,
  reason: string | null,
  rest: { readonly error?: string; readonly result?: string | null; readonly resultIsKept?: boolean } = {},
): Extract<Aftermath, { kind: "ends" }> {
  const { error = null, result = null, resultIsKept = false } = rest;
  return { kind: "ends", status, reason, error, result, resultIsKept };
}

function firstLine(text: string): string {
  const line = text.split("\n", 1)[0] ?? "";
  return line.length > REASON_AT_MOST ? line.slice(0, REASON_AT_MOST) + "…" : line;
}
