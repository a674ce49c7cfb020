/**
 * An occurrence: one due time (or trigger) of a job, and what became of it.
 *
 *   Queued ──claim──► Running ──► Completed | Failed | Cancelled | TimedOut
 *     ▲  │              │ ▲ │
 *     │  └► Cancelled   │ │ └────► Queued      (retry, or handed back uncounted)
 *     │     Failed      │ └────── Unknown      (its worker is silent; heard again with the newest token)
 *     └─────────────────┴───────► Unknown ──► Queued | Failed | Cancelled
 *
 * Unknown is a number of the guide's that no store writes: a run whose worker is silent stays Running until it is taken
 * for lost, and its explanation says so (`silent_run.ts`).
 *
 * Completed, Failed, Cancelled, TimedOut and Skipped are final. Only the tracker writes outcomes, only a claim
 * writes Running, and the store's UPDATE itself refuses every edge that is not listed here.
 */

/** The position is the number on the wire. */
export const OCCURRENCE_STATUSES = [
  "Queued",
  "Running",
  "Completed",
  "Failed",
  "Cancelled",
  "TimedOut",
  "Unknown",
  "Skipped",
] as const;
export type OccurrenceStatus = (typeof OCCURRENCE_STATUSES)[number];

const EDGES: Readonly<Record<OccurrenceStatus, readonly OccurrenceStatus[]>> = {
  Queued: ["Running", "Cancelled", "Failed"],
  Running: ["Completed", "Failed", "Cancelled", "TimedOut", "Queued", "Unknown"],
  Completed: [],
  Failed: [],
  Cancelled: [],
  TimedOut: [],
  Unknown: ["Running", "Queued", "Failed", "Cancelled"],
  Skipped: [],
};

/** True when an occurrence may go from one status to the other. */
export function mayBecome(from: OccurrenceStatus, to: OccurrenceStatus): boolean {
  return EDGES[from].includes(to);
}

/** The statuses from which `to` may be entered: the guard of the store's UPDATE. */
export function statusesBefore(to: OccurrenceStatus): readonly OccurrenceStatus[] {
  return OCCURRENCE_STATUSES.filter((from) => mayBecome(from, to));
}

/** True for a status that no report can change any more. */
export function isFinal(status: OccurrenceStatus): boolean {
  return EDGES[status].length === 0;
}

/** The number of a status on the wire and in the store. */
export function statusNumber(status: OccurrenceStatus): number {
  return OCCURRENCE_STATUSES.indexOf(status);
}

/** The status with this number. Throws on a number that no status has: a store that holds one is broken. */
export function statusOf(number: number): OccurrenceStatus {
  const status = OCCURRENCE_STATUSES[number];
  if (status === undefined) throw new RangeError(`No occurrence status has the number ${number}`);
  return status;
}

/** Where an occurrence comes from. */
export const ORIGINS = ["schedule", "catch-up", "trigger", "replay"] as const;
export type Origin = (typeof ORIGINS)[number];

/** Origins of what somebody asked for: of these there may be many in a millisecond, of due times only one. */
export const ASKED_FOR: readonly Origin[] = ["trigger", "replay"];

/** What went wrong in an attempt, as the job threw it. */
export interface ErrorReport {
  /** Class name of the error, e.g. `TypeError`. */
  readonly name: string;
  readonly message: string;
  readonly stack: string | null;
  /**
   * What led to it, the nearest first, at most 5: the chain of `cause`, and what an `AggregateError` gathers. `stack`: its
   * frames; left out where there are none.
   */
  readonly causes: readonly { readonly name: string; readonly message: string; readonly stack?: string }[];
}

export interface Occurrence {
  /** UUIDv7. */
  readonly id: string;
  readonly jobId: string;
  readonly jobVersion: number;
  readonly jobType: string;
  /** The pool the job was pinned to when this was created, or null. */
  readonly pool: string | null;
  readonly origin: Origin;
  readonly status: OccurrenceStatus;
  /** The due time; for a trigger the moment it was asked for. Epoch milliseconds, as all times here. */
  readonly scheduledFor: number;
  readonly createdAt: number;
  /** Start of the newest attempt. */
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  /** Run time of the newest attempt in milliseconds. */
  readonly durationMs: number | null;
  /** `Worker.WorkerId` of the newest attempt's worker. */
  readonly workerId: string | null;
  readonly instanceId: string | null;
  /** Counted attempts, the running one included. */
  readonly attempt: number;
  /** Fencing token: grows by one at each claim and never goes back. */
  readonly token: number;
  readonly maxAttempts: number;
  readonly baseRetryDelaySeconds: number;
  readonly executionTimeoutSeconds: number | null;
  /** Not before this moment may it be claimed (back-off); null while it waits for the run before it. */
  readonly readyAt: number | null;
  /** JSON text of what `run` returned. */
  readonly result: string | null;
  readonly error: ErrorReport | null;
  /** One sentence: why it is in this status, with the ids behind it. */
  readonly reason: string | null;
  readonly jobData: string;
  readonly cancel: CancelRequest | null;
  /** How the newest attempt was made to end; null when it was not told to, or has not said so. */
  readonly ending: Ending | null;
}

/** How far the kill ladder had to be climbed: it heeded the signal, its thread was ended, or its host was killed. */
export const KILL_RUNGS = ["signal", "terminated", "killed"] as const;
export type KillRung = (typeof KILL_RUNGS)[number];

/** An attempt that its worker told to end, because somebody asked or because of its time limit. */
export interface Ending {
  readonly cause: "cancelled" | "timedOut";
  /** When the worker gave the abort signal, in its word. */
  readonly signalledAt: number | null;
  readonly instanceId: string;
  /** Null while it has not ended. */
  readonly rung: KillRung | null;
}

export interface CancelRequest {
  readonly by: string;
  readonly reason: string;
  readonly requestedAt: number;
}

/**
 * How an attempt ended. `handedBack`: its worker stopped in order, cut it off with another run or for its lease, or had
 * no lane for it in time. `lost`: its worker was gone, or no report came. Both do not count. `failed` by an attempt that
 * is tried again, too.
 */
export const ATTEMPT_OUTCOMES = [
  "completed",
  "failed",
  "cancelled",
  "timedOut",
  "handedBack",
  "lost",
] as const;
export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number];

/** The outcome in a stored text. Throws on a text that none has: a store that holds one is broken. */
export function attemptOutcomeOf(text: unknown): AttemptOutcome {
  const outcome = ATTEMPT_OUTCOMES.find((one) => one === text);
  if (outcome === undefined) throw new RangeError(`No attempt has the outcome ${text}`);
  return outcome;
}

/** One try, keyed by (occurrence, token). */
export interface Attempt {
  readonly token: number;
  /** The number among counted attempts that this try had, or null when it does not count. */
  readonly number: number | null;
  readonly workerId: string;
  readonly instanceId: string;
  readonly claimedAt: number;
  readonly endedAt: number | null;
  readonly durationMs: number | null;
  /** How it ended; null while it runs. */
  readonly outcome: AttemptOutcome | null;
  readonly error: ErrorReport | null;
  /** Share of the work that is done, as the job reported it last. */
  readonly progress: { readonly done: number; readonly total: number } | null;
}

/** One step of an occurrence through its states. */
export interface StateChange {
  readonly at: number;
  readonly from: OccurrenceStatus | null;
  readonly to: OccurrenceStatus;
  readonly token: number;
  readonly reason: string | null;
}
