/**
 * How far a cancellation has come, and how an attempt that was told to end did end.
 *
 *   requested ──worker gave the signal──► signalled ──heeded──► ended          (Cancelled)
 *       │                                     └──not heeded──► killed          (Cancelled; thread ended, or host killed)
 *       ├──it was queued, handed back, or its worker is gone──► ended          (Cancelled)
 *       └──it had ended otherwise by then──► too-late                          (what it is stays)
 */
import type { Report, SignalNotice } from "./message.ts";
import { type Ending, isFinal, type KillRung, type Occurrence } from "./occurrence.ts";

export const CANCEL_STATES = ["requested", "signalled", "ended", "killed", "too-late"] as const;
export type CancelState = (typeof CANCEL_STATES)[number];

/** A cancel request and what has come of it. */
export interface Cancellation {
  readonly by: string;
  readonly reason: string;
  readonly requestedAt: number;
  readonly state: CancelState;
  /** When the worker gave the abort signal, as it said; null when it did not, or has not said so. */
  readonly signalledAt: number | null;
  /** The worker's instance that gave it. */
  readonly instanceId: string | null;
  readonly rung: KillRung | null;
  readonly endedAt: number | null;
  /** The same for people. */
  readonly sentence: string;
}

/** What has come of the cancel request of an occurrence; null when nobody asked. */
export function cancellationOf(
  one: Pick<Occurrence, "status" | "cancel" | "ending" | "endedAt" | "token">,
): Cancellation | null {
  const { cancel, endedAt } = one;
  if (cancel === null) return null;
  const { by, reason, requestedAt } = cancel;
  const ending = one.ending?.cause === "cancelled" ? one.ending : null;
  const state = stateOf(one.status, ending);
  return {
    by,
    reason,
    requestedAt,
    state,
    signalledAt: ending?.signalledAt ?? null,
    instanceId: ending?.instanceId ?? null,
    rung: ending?.rung ?? null,
    endedAt,
    sentence: sentenceOf(state, one, ending),
  };
}

/** What is kept of the notice that the abort signal was given. */
export function noticed({ cause, at, instanceId }: SignalNotice): Ending {
  return { cause, signalledAt: at, instanceId, rung: null };
}

/** What is kept of how an attempt ended that was told to; what its notice said stays where its report is silent. */
export function endingOf(
  report: Pick<Report, "outcome" | "instanceId" | "signalledAt">,
  before: Ending | null,
): Ending | null {
  const { outcome, instanceId } = report;
  if (outcome.kind !== "cancelled" && outcome.kind !== "timedOut") return before;
  const signalledAt = report.signalledAt ?? before?.signalledAt ?? null;
  return { cause: outcome.kind, signalledAt, instanceId, rung: outcome.rung };
}

function stateOf(status: Occurrence["status"], ending: Ending | null): CancelState {
  if (!isFinal(status)) return ending === null ? "requested" : "signalled";
  if (status !== "Cancelled") return "too-late";
  return ending?.rung === "terminated" || ending?.rung === "killed" ? "killed" : "ended";
}

const RUNG_SENTENCES: Readonly<Record<KillRung, string>> = {
  signal: "It heeded the abort signal.",
  terminated: "It did not heed the abort signal within its grace: its thread was ended.",
  killed: "It did not heed the abort signal within its grace: its executor host was killed.",
};

function sentenceOf(
  state: CancelState,
  { status, token }: Pick<Occurrence, "status" | "token">,
  ending: Ending | null,
): string {
  switch (state) {
    case "requested":
      return "Asked for; no worker has said yet that it gave the abort signal.";
    case "signalled":
      return `The worker instance ${ending?.instanceId} gave the abort signal; it has not ended yet.`;
    case "ended":
    case "killed":
      if (ending !== null && ending.rung !== null) return RUNG_SENTENCES[ending.rung];
      return token === 0
        ? "It had not started, and ended at once."
        : "It was ended without a word of its worker: it was not running, handed back, or its worker is gone.";
    case "too-late":
      return `It ended as ${status} before the abort signal took effect; that stays.`;
  }
}
