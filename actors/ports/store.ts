/**
 * The truth: jobs, occurrences, attempts, verdict ranges, the leader's epoch. One call, one promise, one
 * transaction; an adapter may group what waits into one. Four small ports rather than one large:
 * `JobStore` (definitions), `Ledger` (what the leader writes, fenced by its epoch), `Outcomes` (what the tracker
 * writes, fenced by tokens) and `History` (what people read). Log lines have a store of their own.
 */
import type { Job, Pause } from "../domain/job.ts";
import type {
  Attempt,
  CancelRequest,
  Occurrence,
  OccurrenceStatus,
  StateChange,
} from "../domain/occurrence.ts";
import type { JobMessage, LogLine, Report } from "../domain/message.ts";
import type { Decision, TypeDefaults } from "../domain/plan.ts";
import type { VerdictRange } from "../domain/verdict.ts";
import type { DueEntry } from "./due_index.ts";
import type { ProgressReport } from "./queue.ts";

export type { Decision, TypeDefaults };

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
   * Replaces the definition when its version is still `expectedVersion`; the new one carries version + 1 and the
   * pause as it is stored. `nextDueAt` is the first due time of the new version after `updatedAt`, but a due time
   * that has come undecided by then stays the next one, so that no change loses a due time; the answer tells.
   * Refused with version-conflict also when due times after `updatedAt` were decided in between.
   */
  update(job: Job, expectedVersion: number): Promise<SaveAnswer>;
  /** Pause (or resume with null) without touching the version. */
  setPause(jobId: string, pause: Pause | null): Promise<SaveAnswer>;
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
  /** Overrides Skip. */
  readonly force: boolean;
  readonly reason: string | null;
  readonly by: string;
  /** `Idempotency-Key`, with a hash of the request it came with. Kept for 24 hours. */
  readonly idempotency: { readonly key: string; readonly requestHash: string } | null;
  readonly defaults: TypeDefaults;
}

export type TriggerAnswer =
  | {
    readonly ok: true;
    readonly occurrenceIds: readonly string[];
    /** To be published by the caller, now that they are committed. */
    readonly messages: readonly JobMessage[];
    /** True when the key was seen before: these are the first answer's ids, nothing was created. */
    readonly replayed: boolean;
  }
  | { readonly ok: false; readonly reason: "not-found" | "disabled" | "idempotency-mismatch" }
  /** Policy Skip and this one is queued or running. */
  | { readonly ok: false; readonly reason: "overlap"; readonly occurrenceId: string };

// --------------------------------------------------------------------------------------------------- ledger

export type DecideAnswer =
  /** `next` are the due index entries after it, `messages` what is to be published. */
  | {
    readonly ok: true;
    readonly messages: readonly JobMessage[];
    readonly skipped: number;
    readonly conflicts: readonly string[];
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
   * Each decision inserts and advances in one transaction: compare-and-set on (nextDueAt, version), then the
   * occurrences (Skip and Queue decided here, under the job's row), then the ranges. A decision whose
   * compare-and-set fails is left out and named in `conflicts`.
   */
  decide(epoch: number, decisions: readonly Decision[], now: number): Promise<DecideAnswer>;
  /** See `Recoverable`. */
  recoverable(now: number, limit: number): Promise<readonly Recoverable[]>;
  /** When the next occurrence wants a look (back-off over, or publishing to be checked), or null. */
  nextActionAt(): Promise<number | null>;
  /** Moves on when recovery looks at these again; `reason` says what they wait for, null changes nothing. */
  postpone(epoch: number, items: readonly Postponed[]): Promise<boolean>;
  /** A type's queue was lost (or all of them, null): every claimable row wants publishing now. */
  wantPublishing(epoch: number, jobType: string | null, now: number): Promise<number>;
  /** Running attempts whose stored lease ends before `before`, first those that end first; the reaper watches them. */
  silentAttempts(before: number, limit: number): Promise<readonly SilentAttempt[]>;
  /**
   * Ends lost attempts whose lease is still the one seen. Losses do not count as attempts, for they were not the
   * job's doing: the first two run again at once, the third makes the occurrence Failed
   * with a reason that begins `suspect`. Cancelled when that was asked for. Null: another instance leads.
   */
  reap(
    epoch: number,
    lost: readonly SilentAttempt[],
    now: number,
    jitter: number,
  ): Promise<RecordAnswer | null>;
}

/** A Queued occurrence whose `nextActionAt` has come: publish it, or look again later. */
export interface Recoverable {
  readonly message: JobMessage;
  readonly readyAt: number;
  /** How often recovery has put it off since it was last made ready. */
  readonly looks: number;
}

export interface Postponed {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  /** Epoch milliseconds. */
  readonly until: number;
  readonly reason?: string | null;
}

export interface SilentAttempt {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  readonly jobId: string;
  readonly token: number;
  readonly instanceId: string;
  /** Epoch milliseconds. A renewed lease is another value: the reaper trusts change, not timestamps. */
  readonly leaseUntil: number;
}

// ------------------------------------------------------------------------------------------------- outcomes

/** What the tracker's transaction brought about. */
export interface RecordAnswer {
  /** What may run now and is to be published by the caller: successors (policy Queue), handed back and lost ones. */
  readonly released: readonly JobMessage[];
  /** The earliest `readyAt` among retries, or null. */
  readonly nextRetryAt: number | null;
  /** The occurrences as they are now, for live events; in the order of the reports that were applied. */
  readonly changed: readonly ChangedOccurrence[];
  /** Reports of a stale token or on a final status: kept as evidence, not applied. */
  readonly stale: number;
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
  /**
   * All items or none. Under Skip, with no run on, the first item runs and the others are stored as Skipped
   * because of it; under Queue those beyond the bound are.
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
}

export interface StatusCounts {
  readonly jobs: number;
  readonly activeJobs: number;
  readonly byStatus: Readonly<Record<OccurrenceStatus, number>>;
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
  /** Ranges of a job, newest first. */
  ranges(jobId: string, limit: number): Promise<readonly VerdictRange[]>;
  counts(): Promise<StatusCounts>;
}

/** Log lines: append-only, a store of their own. The same line again (occurrence, token, sequence) is ignored. */
export interface LineStore {
  append(lines: readonly LogLine[]): Promise<void>;
  /** In the order of (token, sequence). */
  read(occurrenceId: string, limit: number, after: string | null): Promise<Page<LogLine>>;
}

/** All of it, as `adapters.ts` opens it. */
export interface Store {
  readonly jobs: JobStore;
  readonly ledger: Ledger;
  readonly outcomes: Outcomes;
  readonly history: History;
  readonly lines: LineStore;
  /** Marks whose data this is: Redis keys and messages of another store are ignored. */
  readonly storeId: string;
  /** Throws when the store cannot be read and written; within `deadlineMs`. */
  check(deadlineMs: number): Promise<void>;
  close(): Promise<void>;
}
