/**
 * The truth: jobs, occurrences, attempts, verdict ranges, the leader's epoch. One call, one promise, one
 * transaction; an adapter may group what waits into one. Four small ports rather than one large:
 * `JobStore` (definitions), `Ledger` (what the leader writes, fenced by its epoch), `Outcomes` (what the tracker
 * writes, fenced by tokens) and `History` (what people read). Log lines have a store of their own.
 */
import type { AutoDisableChange } from "../domain/auto_disable.ts";
import type { TriggerRefusal } from "../domain/concurrency.ts";
import type { Job, Pause, SkippedDueTime } from "../domain/job.ts";
import type {
  Attempt,
  CancelRequest,
  Occurrence,
  OccurrenceStatus,
  StateChange,
} from "../domain/occurrence.ts";
import type { JobMessage, LogLine, Report, SignalNotice } from "../domain/message.ts";
import type { Decision } from "../domain/plan.ts";
import type { TypeDefaults } from "../domain/terms.ts";
import type { VerdictRange } from "../domain/verdict.ts";
import type { Alerts } from "./alerts.ts";
import type { BulkActions } from "./bulk_actions.ts";
import type { DueEntry } from "./due_index.ts";
import type { Facts } from "./facts.ts";
import type { FailedOccurrences, ReplayLink } from "./failed_occurrences.ts";
import type { Oversight } from "./oversight.ts";
import type { ProgressReport } from "./queue.ts";
import type { Reads } from "./reads.ts";
import type { Retention } from "./retention.ts";

export type { Decision };

/** A page of a list, in the order of the key; `next` is the key to go on from, null at the end. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | null;
}

// ---------------------------------------------------------------------------------------------- definitions

export interface JobFilter {
  readonly search?: string;
  readonly jobType?: string;
  readonly tag?: string;
  readonly isActive?: boolean;
  readonly isPaused?: boolean;
  /** Disabled because it kept failing. */
  readonly isAutoDisabled?: boolean;
}

export type SaveAnswer =
  | { readonly ok: true; readonly job: Job }
  | { readonly ok: false; readonly reason: "not-found" }
  | { readonly ok: false; readonly reason: "version-conflict"; readonly current: Job };

export type RemoveAnswer =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: "not-found" }
  /** An occurrence of it is queued or running. */
  | { readonly ok: false; readonly reason: "in-use"; readonly occurrenceId: string };

export interface JobStore {
  insert(jobs: readonly Job[]): Promise<void>;
  get(jobId: string): Promise<Job | null>;
  /** Newest first. */
  list(filter: JobFilter, limit: number, after: string | null): Promise<Page<Job>>;
  /**
   * Replaces the definition when its version is still `expectedVersion`; what is kept beside it stays as it is stored
   * (`nextVersion`). `nextDueAt` is the first due time of the new version after `updatedAt`; the answer tells.
   * Refused with version-conflict also when due times after `updatedAt` were decided in between.
   */
  update(job: Job, expectedVersion: number): Promise<SaveAnswer>;
  /** Pauses without touching the version. See `pausedWith`. */
  setPause(jobId: string, pause: Pause): Promise<SaveAnswer>;
  /** Ends the pause at this moment. See `resumedAt`. */
  resume(jobId: string, at: number): Promise<SaveAnswer>;
  /**
   * Sets or takes back the due time that is to be left out, without touching the version. Refused with
   * version-conflict when version, next due time or skipped due time are not those of `seen` any more.
   */
  skipDueTime(seen: Job, skipped: SkippedDueTime | null): Promise<SaveAnswer>;
  /**
   * Enables a job again that was disabled because it kept failing; any other stays as it is. Due times before `now` that
   * nobody has decided do not run. Its failures are counted from nothing.
   */
  enable(jobId: string, now: number): Promise<SaveAnswer>;
  /** Removes the job with its history, unless a run of it is queued or running. */
  remove(jobId: string): Promise<RemoveAnswer>;
  /** All (job, due time) pairs in pages, to build the due index from. */
  dueEntries(limit: number, after: string | null): Promise<Page<DueEntry>>;
}

// ------------------------------------------------------------------------------------------------- triggers

export interface TriggerItem {
  readonly occurrenceId: string;
  /** JSON text; null takes the job's. */
  readonly jobData: string | null;
}

export interface TriggerRequest {
  readonly jobId: string;
  readonly at: number;
  readonly items: readonly TriggerItem[];
  /** Overrides Skip, and that a job which is disabled by failures runs once at a time. */
  readonly force: boolean;
  readonly reason: string | null;
  readonly by: string;
  /** `Idempotency-Key`, with a hash of the request it came with. Kept for 24 hours. */
  readonly idempotency: { readonly key: string; readonly requestHash: string } | null;
  /** What the job's type gives where the job says nothing. */
  readonly defaultsOf: (jobType: string) => TypeDefaults;
}

export type TriggerAnswer =
  | {
    readonly ok: true;
    readonly occurrenceIds: readonly string[];
    /** Of each id, as it is now; null when it is gone. */
    readonly statuses: readonly (OccurrenceStatus | null)[];
    /** To be published by the caller, now that they are committed. */
    readonly messages: readonly JobMessage[];
    /** The new ones without a message, for live events: they wait (Queued), or are Skipped. */
    readonly unsent: readonly ChangedOccurrence[];
    /** True when the key was seen before: these are the first answer's ids, nothing was created. */
    readonly replayed: boolean;
  }
  | { readonly ok: false; readonly reason: "not-found" | "disabled" | "idempotency-mismatch" }
  /** Disabled by failures: one run at a time probes it. `probeId` is the one that is on, or null. */
  | { readonly ok: false; readonly reason: "auto-disabled"; readonly probeId: string | null }
  /** Policy Skip and one is queued or running, or policy Queue without room for all items. Nothing was stored. */
  | ({ readonly ok: false } & TriggerRefusal);

// --------------------------------------------------------------------------------------------------- ledger

export type DecideAnswer =
  /** `next` are the due index entries after it, `messages` what is to be published. */
  | {
    readonly ok: true;
    readonly messages: readonly JobMessage[];
    /** The new ones without a message, for live events: they wait or start later (Queued), or are Skipped. */
    readonly unsent: readonly ChangedOccurrence[];
    readonly conflicts: readonly string[];
    /** Jobs that have reached their run limit: they are not due again. */
    readonly ended: readonly string[];
  }
  /** Another instance leads: step down. Nothing was written. */
  | { readonly ok: false; readonly reason: "stale-epoch"; readonly epoch: number };

export interface EpochRow {
  readonly epoch: number;
  readonly holder: string;
  readonly since: number;
  readonly leaseUntil: number;
  readonly endedAt: number | null;
  /** Writes of this epoch that were refused because a newer one had begun. */
  readonly refusedWrites: number;
}

export interface Ledger {
  /** Raises the epoch and becomes its holder. */
  raiseEpoch(holder: string, now: number, leaseUntil: number): Promise<EpochRow>;
  /**
   * Raises the epoch only when nobody's holds: there was none, the newest was ended in order, or its lease ended
   * before `now`. Null when it holds. For a candidate that cannot reach the lock's server.
   */
  raiseLapsedEpoch(holder: string, now: number, leaseUntil: number): Promise<EpochRow | null>;
  /** Moves the holder's lease on; false when a newer epoch exists. */
  renewEpoch(epoch: number, now: number, leaseUntil: number): Promise<boolean>;
  /** The holder ends its epoch in order. */
  endEpoch(epoch: number, now: number): Promise<void>;
  /** Newest first. */
  epochs(limit: number): Promise<readonly EpochRow[]>;
  /** The jobs with these ids that are due (`nextDueAt` ≤ now). */
  dueJobs(jobIds: readonly string[], now: number): Promise<readonly Job[]>;
  /** The slow poll: the jobs that are due longest, whatever the index says. */
  pollDueJobs(now: number, limit: number): Promise<readonly Job[]>;
  /**
   * Each decision inserts and advances in one transaction: compare-and-set on (nextDueAt, version, autoDisabled), then the
   * occurrences (Skip and Queue decided here, under the job's row), then the ranges. A decision whose
   * compare-and-set fails is left out and named in `conflicts`. Messages are those that may run now: a catch-up run
   * is Queued until its `notBefore`, as one that backs off.
   */
  decide(epoch: number, decisions: readonly Decision[], now: number): Promise<DecideAnswer>;
  /** The moments at which catch-up runs that are decided already will start, after `now`. */
  plannedCatchUps(now: number, limit: number): Promise<readonly number[]>;
  /** See `Recoverable`. The longest ago first. */
  recoverable(now: number, limit: number, passedOver?: PassedOver | null): Promise<readonly Recoverable[]>;
  /** When the next occurrence wants a look (back-off over, or publishing to be checked), or null. */
  nextActionAt(): Promise<number | null>;
  /** Moves on when recovery looks at these again; `reason` says what they wait for, null changes nothing. */
  postpone(epoch: number, items: readonly Postponed[]): Promise<boolean>;
  /**
   * A type's queue was lost (or all of them, null): every claimable row wants publishing now, whatever instances noted of
   * it before (`notePublished`). Gives how many that were, those left out that wanted it already.
   */
  wantPublishing(epoch: number, jobType: string | null, now: number): Promise<number>;
  /**
   * The wall clock was set back by `byMs` and says `now`: what was to be looked at after that moment, back-offs, spaced
   * runs and leases move with it, so that each wait lasts as long as it was meant to. Due times do not move. False:
   * another instance leads.
   */
  clockWentBack(epoch: number, now: number, byMs: number): Promise<boolean>;
  /** Running attempts whose stored lease ends before `before`, first those that end first; the reaper watches them. */
  silentAttempts(before: number, limit: number): Promise<readonly SilentAttempt[]>;
  /**
   * Ends lost attempts whose lease is still the one seen. Losses do not count as attempts, for they were not the
   * job's doing: the first runs again at once, the second (while its worker is there, the fifth) makes the occurrence
   * Failed with a reason that begins `suspect`. Cancelled when that was asked for. Null: another instance leads.
   */
  reap(
    epoch: number,
    lost: readonly LostAttempt[],
    now: number,
    jitter: number,
  ): Promise<RecordAnswer | null>;
}

/** One of a type's queues: that of any pool (null), or of one. */
export interface QueueName {
  readonly jobType: string;
  readonly pool: string | null;
}

/** Rows that are left out: those of some queues, and all that wanted their look before a moment (epoch milliseconds). */
export interface PassedOver {
  readonly queues: readonly QueueName[];
  readonly from: number;
}

/** A Queued occurrence whose `nextActionAt` has come: publish it, or look again later. */
export interface Recoverable {
  readonly message: JobMessage;
  readonly readyAt: number;
  /**
   * Nothing but its message is missing. What became ready once stays so, whatever the wall clock says later; what backs
   * off or is spaced out is not before its moment.
   */
  readonly isReady: boolean;
  /** How often it was put off since it was last made ready, or wanted publishing; 0: not published, as far as known. */
  readonly looks: number;
}

export interface Postponed {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  /** As it was when it was offered: one that has been claimed since is not put off. */
  readonly token: number;
  /** Epoch milliseconds. */
  readonly until: number;
  readonly reason?: string | null;
}

export interface SilentAttempt {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  readonly jobId: string;
  readonly jobType: string;
  /** As in its message. */
  readonly pool: string | null;
  /** When it became ready to run, epoch milliseconds. */
  readonly readyAt: number;
  readonly token: number;
  readonly instanceId: string;
  /** Epoch milliseconds. A renewed lease is another value: the reaper trusts change, not timestamps. */
  readonly leaseUntil: number;
}

export interface LostAttempt extends SilentAttempt {
  /** Its worker said late in the lease, or since, that it is there, and that it does not run it. Left out: false. */
  readonly isWorkerThere?: boolean;
}

// ------------------------------------------------------------------------------------------------- outcomes

/** What the tracker's transaction brought about. */
export interface RecordAnswer {
  /** What may run now and is to be published by the caller: successors (policy Queue), handed back and lost ones. */
  readonly released: readonly JobMessage[];
  /** The earliest `readyAt` among those that may run later (retries, spaced catch-up runs), or null. */
  readonly nextRetryAt: number | null;
  /** The occurrences as they are now, for live events; in the order of the reports that were applied. */
  readonly changed: readonly ChangedOccurrence[];
  /** Reports of a stale token or on a final status: kept as evidence, not applied. */
  readonly stale: number;
  /** Jobs that were disabled by their failures, or enabled again; absent when there are none. */
  readonly autoDisable?: readonly AutoDisableChange[];
}

export interface ChangedOccurrence {
  readonly occurrenceId: string;
  readonly jobId: string;
  readonly jobType: string;
  readonly status: OccurrenceStatus;
  readonly attempt: number;
  readonly scheduledFor: number;
  readonly reason: string | null;
}

export type CancelAnswer =
  /** Ended at once: it was queued. */
  | { readonly ok: true; readonly state: "cancelled"; readonly record: RecordAnswer }
  /** It is running: the request is stored, the worker of this token is to be told. */
  | { readonly ok: true; readonly state: "requested"; readonly token: number }
  | { readonly ok: true; readonly state: "already-cancelled" }
  | { readonly ok: false; readonly reason: "not-found" }
  | { readonly ok: false; readonly reason: "final"; readonly status: OccurrenceStatus };

export interface Outcomes {
  /**
   * Applies each report while its token is the newest and the status allows it; decides retries (`jitter` in
   * [0, 1) spreads them); releases the next Queue run. Idempotent: the same report again changes nothing. A timed
   * out attempt is final; one handed back, or failed, while its cancellation is asked for ends as Cancelled.
   */
  record(reports: readonly Report[], now: number, jitter: number): Promise<RecordAnswer>;
  recordProgress(progress: readonly ProgressReport[]): Promise<void>;
  /** Keeps for running attempts of these tokens that they were told to end. */
  recordSignals(signals: readonly SignalNotice[]): Promise<void>;
  /**
   * All items or none. Under Skip, with no run on, the first item runs and the others are stored as Skipped
   * because of it; under Queue all of them find room or the request is refused. A job that was disabled by failures takes one item while
   * no probe is on: that is the probe.
   */
  trigger(request: TriggerRequest): Promise<TriggerAnswer>;
  /**
   * A hint that the queue has taken these messages, so that recovery need not publish them again unless the queue is
   * lost. May be kept back for seconds, and forgotten by a crash: then they are published once more. Never throws.
   */
  notePublished(messages: readonly Pick<JobMessage, "occurrenceId" | "scheduledFor" | "token">[]): void;
  cancel(occurrenceId: string, request: CancelRequest): Promise<CancelAnswer>;
}

// -------------------------------------------------------------------------------------------------- history

export interface OccurrenceFilter {
  readonly jobId?: string;
  readonly jobType?: string;
  readonly statuses?: readonly OccurrenceStatus[];
  /** Due at or after, epoch milliseconds. */
  readonly from?: number;
  /** Due before. */
  readonly to?: number;
}

/** An occurrence in a list: without its payload. */
export type OccurrenceSummary = Omit<Occurrence, "jobData">;

export interface OccurrenceDetail {
  readonly occurrence: Occurrence;
  readonly attempts: readonly Attempt[];
  readonly changes: readonly StateChange[];
  /** Occurrences of the same job and due time order around it, for "what was in its way". */
  readonly blockedBy: string | null;
  /** The failed occurrence that it replays, or null. */
  readonly replayOf: string | null;
  /** Its replays, oldest first. */
  readonly replays: readonly ReplayLink[];
}

export interface StatusCounts {
  readonly jobs: number;
  readonly activeJobs: number;
  readonly byStatus: Readonly<Record<OccurrenceStatus, number>>;
}

/** Who holds a job whose policy lets no run beside another (Skip, Queue). */
export interface JobHolding {
  /** The run that holds it, or null. */
  readonly holder: string | null;
  /** How many are on or wait, that one included; counted up to one more than may wait. */
  readonly count: number;
}

export interface History {
  /** Newest due time first. */
  occurrences(
    filter: OccurrenceFilter,
    limit: number,
    after: string | null,
  ): Promise<Page<OccurrenceSummary>>;
  occurrence(occurrenceId: string): Promise<OccurrenceDetail | null>;
  /** The occurrence of exactly this due time (scheduled, not triggered), or null. */
  occurrenceAt(jobId: string, dueAt: number): Promise<OccurrenceSummary | null>;
  /** The range that a due time lies in, or null. */
  rangeAt(jobId: string, dueAt: number): Promise<VerdictRange | null>;
  /** Nobody for a job that is not there, or whose policy is Allow. */
  holding(jobId: string): Promise<JobHolding>;
  /** Ranges of a job, newest first. */
  ranges(jobId: string, limit: number): Promise<readonly VerdictRange[]>;
  counts(): Promise<StatusCounts>;
}

/** Log lines: append-only, a store of their own. The same line again (occurrence, token, sequence) is ignored. */
export interface LineStore {
  append(lines: readonly LogLine[]): Promise<void>;
  /** In the order of (token, sequence); of one attempt only when `token` is given. */
  read(
    occurrenceId: string,
    limit: number,
    after: string | null,
    token?: number | null,
  ): Promise<Page<LogLine>>;
  /** The last lines of an attempt, oldest first. */
  last(occurrenceId: string, token: number, limit: number): Promise<readonly LogLine[]>;
}

/** All of it, as `adapters.ts` opens it. */
export interface Store {
  readonly jobs: JobStore;
  readonly ledger: Ledger;
  readonly outcomes: Outcomes;
  readonly history: History;
  readonly lines: LineStore;
  readonly oversight: Oversight;
  readonly alerts: Alerts;
  /** What people look at, from a copy of the store where there is one. */
  readonly reads: Reads;
  readonly retention: Retention;
  readonly failed: FailedOccurrences;
  readonly bulk: BulkActions;
  readonly facts: Facts;
  /** Marks whose data this is: Redis keys and messages of another store are ignored. */
  readonly storeId: string;
  /** Throws when the store cannot be read and written; within `deadlineMs`. */
  check(deadlineMs: number): Promise<void>;
  close(): Promise<void>;
}
