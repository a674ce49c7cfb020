/**
 * Rows of `occurrences` and `attempts`, as the ledger, the tracker and claims change them inside their transactions.
 * Each method is one edge of the state machine; who may take it is decided by the caller, and the table's trigger
 * refuses what is no edge.
 */
import { admit, MAX_WAITING } from "../../actors/domain/concurrency.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  type OccurrenceStatus,
  type Origin,
  ORIGINS,
  statusNumber,
} from "../../actors/domain/occurrence.ts";
import type { Recoverable, SilentAttempt } from "../../actors/ports/store.ts";
import type { Counters } from "./counters.ts";
import type { Database, Row, Statement } from "./database.ts";
import type { Participant } from "./group_commit.ts";
import type { JobStanding } from "./job_rows.ts";
import type { Terms, TermsBook } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const RUNNING = statusNumber("Running");
const SKIPPED = statusNumber("Skipped");

/*
 * Updates are OR FAIL: the table's trigger and OR ABORT together would make SQLite keep a copy of every page that a
 * statement touches, 4 µs each, to undo a single statement. A call that fails is undone with its transaction.
 */

/** Who commits also publishes; recovery looks after this long whether that happened, milliseconds. */
export const PUBLISHED_WITHIN_MS = 10_000;

/** Where an occurrence stands, as much as its next step depends on. */
export interface Standing {
  readonly seq: number;
  readonly id: string;
  readonly status: number;
  readonly token: number;
  readonly attempt: number;
  readonly lost: number;
  readonly terms: Terms;
  readonly scheduledFor: number;
  readonly readyAt: number | null;
  readonly leaseUntil: number | null;
  readonly cancel: CancelRequest | null;
}

export interface NewOccurrence {
  readonly id: string;
  readonly job: JobStanding;
  readonly terms: Terms;
  readonly origin: Origin;
  readonly scheduledFor: number;
  readonly createdAt: number;
  /** Null takes the job's. */
  readonly jobData: string | null;
  readonly reason: string | null;
  readonly isForced: boolean;
}

/** What became of a new occurrence. `duplicate`: its due time was decided before. */
export type Added =
  | { readonly kind: "run"; readonly message: JobMessage }
  | { readonly kind: "wait" | "skip" | "duplicate" };

/** How an attempt ended without ending its occurrence, or why its row keeps a word of its own. */
export interface PastAttempt {
  readonly endedAt: number;
  readonly durationMs: number | null;
  readonly outcome: "failed" | "handedBack" | "lost";
  /** JSON text. */
  readonly error: string | null;
  readonly reason: string;
  readonly counts: boolean;
}

const MESSAGE_COLUMNS = "seq, id, scheduled_for, terms, token, attempt, job_data";

export class OccurrenceRows implements Participant {
  #lastSeq: number;
  readonly #maxSeq: Statement;
  readonly #find: Statement;
  readonly #silent: Statement;
  readonly #insert: Statement;
  readonly #holder: Statement;
  readonly #activeCount: Statement;
  readonly #holdFromNow: Statement;
  readonly #claim: Statement;
  readonly #renew: Statement;
  readonly #finish: Statement;
  readonly #endQueued: Statement;
  readonly #requeue: Statement;
  readonly #keepAttempt: Statement;
  readonly #requestCancel: Statement;
  readonly #progress: Statement;
  readonly #firstWaiting: Statement;
  readonly #ready: Statement;
  readonly #messageBySeq: Statement;
  readonly #toLookAt: Statement;
  readonly #nextLook: Statement;
  readonly #postpone: Statement;
  readonly #wantPublishing: Statement;
  readonly #wantPublishingOfType: Statement;

  constructor(
    database: Database,
    private readonly terms: TermsBook,
    private readonly counters: Counters,
  ) {
    const prepare = (sql: string) => database.prepare(sql);
    this.#maxSeq = prepare("SELECT coalesce(max(seq), 0) FROM occurrences");
    this.#lastSeq = this.#readLastSeq();
    this.#find = prepare(
      `SELECT seq, status, token, attempt, lost, terms, scheduled_for, ready_at, lease_until, cancel
         FROM occurrences WHERE id = ?`,
    );
    this.#silent = prepare(
      `SELECT id, scheduled_for, terms, token, instance, lease_until FROM occurrences
        WHERE status = ${RUNNING} AND lease_until < ? ORDER BY lease_until LIMIT ?`,
    );
    this.#insert = prepare(
      `INSERT INTO occurrences (seq, id, job, terms, origin, twin, holds_job, status, scheduled_for, created_at, ended_at,
         ready_at, next_action_at, blocked_by, created_reason, reason, job_data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (job, scheduled_for, twin) DO NOTHING`,
    );
    this.#holder = prepare(
      `SELECT seq, id FROM occurrences WHERE job = ? AND holds_job = 1 AND ended_at IS NULL
        AND NOT (status = ${QUEUED} AND ready_at IS NULL) ORDER BY scheduled_for, seq LIMIT 1`,
    );
    this.#activeCount = prepare(
      `SELECT count(*) FROM
         (SELECT 1 FROM occurrences WHERE job = ? AND holds_job = 1 AND ended_at IS NULL LIMIT ${
        MAX_WAITING + 1
      })`,
    );
    this.#holdFromNow = prepare(
      `UPDATE OR FAIL occurrences INDEXED BY occurrences_of_job SET holds_job = 1 WHERE job = ? AND ended_at IS NULL`,
    );
    this.#claim = prepare(
      `UPDATE OR FAIL occurrences SET status = ${RUNNING}, token = ?, attempt = ?, next_action_at = NULL, started_at = ?,
         lease_until = ?, instance = ?, duration_ms = NULL, reason = NULL, error = NULL, progress_done = NULL,
         progress_total = NULL WHERE seq = ?`,
    );
    this.#renew = prepare(
      `UPDATE OR FAIL occurrences SET lease_until = ? WHERE id = ? AND token = ? AND status = ${RUNNING} RETURNING cancel`,
    );
    this.#finish = prepare(
      `UPDATE OR FAIL occurrences SET status = ?, ended_at = ?, duration_ms = ?, lease_until = NULL, reason = ?, error = ?,
         result = ? WHERE seq = ?`,
    );
    this.#endQueued = prepare(
      "UPDATE OR FAIL occurrences SET status = ?, ended_at = ?, next_action_at = NULL, reason = ?, cancel = ? WHERE seq = ?",
    );
    this.#requeue = prepare(
      `UPDATE OR FAIL occurrences SET status = ${QUEUED}, attempt = ?, lost = ?, ready_at = ?, next_action_at = ?, looks = 0,
         duration_ms = ?, lease_until = NULL, reason = ?, error = ? WHERE seq = ?`,
    );
    this.#keepAttempt = prepare(
      `INSERT INTO attempts (occurrence, token, number, instance, claimed_at, ended_at, duration_ms, outcome, error,
         reason, progress_done, progress_total)
       SELECT seq, token, ?, instance, started_at, ?, ?, ?, ?, ?, progress_done, progress_total
         FROM occurrences WHERE seq = ?`,
    );
    this.#requestCancel = prepare("UPDATE OR FAIL occurrences SET cancel = ? WHERE seq = ?");
    this.#progress = prepare(
      `UPDATE OR FAIL occurrences SET progress_done = ?, progress_total = ?
        WHERE id = ? AND token = ? AND status = ${RUNNING}`,
    );
    this.#firstWaiting = prepare(
      `SELECT ${MESSAGE_COLUMNS} FROM occurrences WHERE job = ? AND holds_job = 1 AND ended_at IS NULL
        AND status = ${QUEUED} AND ready_at IS NULL ORDER BY scheduled_for, seq LIMIT 1`,
    );
    this.#messageBySeq = prepare(`SELECT ${MESSAGE_COLUMNS} FROM occurrences WHERE seq = ?`);
    this.#ready = prepare(
      "UPDATE OR FAIL occurrences SET ready_at = ?, next_action_at = ?, looks = 0, reason = NULL WHERE seq = ?",
    );
    this.#toLookAt = prepare(
      `SELECT ${MESSAGE_COLUMNS}, ready_at, looks FROM occurrences WHERE status = ${QUEUED}
        AND next_action_at IS NOT NULL AND next_action_at <= ? ORDER BY next_action_at, seq LIMIT ?`,
    );
    this.#nextLook = prepare(
      `SELECT min(next_action_at) FROM occurrences WHERE status = ${QUEUED} AND next_action_at IS NOT NULL`,
    );
    this.#postpone = prepare(
      `UPDATE OR FAIL occurrences SET next_action_at = ?, looks = looks + 1
        WHERE id = ? AND status = ${QUEUED} AND next_action_at IS NOT NULL`,
    );
    const want = (more: string) =>
      `UPDATE OR FAIL occurrences SET next_action_at = ?1, looks = 0 WHERE seq IN (SELECT seq FROM occurrences
         WHERE status = ${QUEUED} AND next_action_at > ?1 AND ready_at <= ?1 ${more} LIMIT ?2)`;
    this.#wantPublishing = prepare(want(""));
    this.#wantPublishingOfType = prepare(want("AND terms IN (SELECT seq FROM terms WHERE job_type = ?3)"));
  }

  // ------------------------------------------------------------------------------------------------- reading

  find(id: string): Standing | null {
    const row = this.#find.row(id);
    if (row === undefined) return null;
    const [seq, status, token, attempt, lost, terms, scheduledFor, readyAt, leaseUntil, cancel] = row;
    return {
      seq: Number(seq),
      id,
      status: Number(status),
      token: Number(token),
      attempt: Number(attempt),
      lost: Number(lost),
      terms: this.terms.get(Number(terms)),
      scheduledFor: Number(scheduledFor),
      readyAt: asNumber(readyAt),
      leaseUntil: asNumber(leaseUntil),
      cancel: readCancel(cancel ?? null),
    };
  }

  /** Running attempts whose lease ended before, the longest ago first. */
  silent(before: number, limit: number): readonly SilentAttempt[] {
    return this.#silent.rows(Math.min(before, Number.MAX_SAFE_INTEGER), limit).map((row) => ({
      occurrenceId: String(row[0]),
      scheduledFor: Number(row[1]),
      jobId: this.terms.get(Number(row[2])).jobId,
      token: Number(row[3]),
      instanceId: this.terms.instance(Number(row[4])).instanceId,
      leaseUntil: Number(row[5]),
    }));
  }

  /** What tells workers of it, as it is now. */
  message(one: Standing): JobMessage {
    const row = this.#messageBySeq.row(one.seq);
    if (row === undefined) throw new Error(`Cannot read occurrence ${one.id}: no such row`);
    return this.#messageOf(row);
  }

  recoverable(now: number, limit: number): readonly Recoverable[] {
    return this.#toLookAt.rows(now, limit).map((row) => ({
      message: this.#messageOf(row),
      readyAt: Number(row[7]),
      looks: Number(row[8]),
    }));
  }

  nextLook(): number | null {
    const at = this.#nextLook.row()?.[0];
    return typeof at === "number" ? at : null;
  }

  // ------------------------------------------------------------------------------------------------ creation

  /** Inserts an occurrence and decides by its job's policy whether it runs, waits or is skipped. */
  add(one: NewOccurrence): Added {
    const { job, terms, scheduledFor, createdAt } = one;
    const admission = this.#admit(job, one.isForced);
    const isReady = admission.kind === "run";
    const isSkipped = admission.kind === "skip" || admission.kind === "full";
    const seq = ++this.#lastSeq;
    const values = [
      seq,
      one.id,
      job.seq,
      terms.seq,
      ORIGINS.indexOf(one.origin),
      one.origin === "trigger" ? seq : 0,
      job.definition.concurrentExecutionPolicy === "Allow" ? 0 : 1,
      isSkipped ? SKIPPED : QUEUED,
      scheduledFor,
      createdAt,
      isSkipped ? createdAt : null,
      isReady ? createdAt : null,
      isReady ? createdAt + PUBLISHED_WITHIN_MS : null,
      admission.blockedBy,
      one.reason,
      admission.reason,
      one.jobData,
    ] as const;
    // A trigger has no twin, so only due times pay for the count of changed rows.
    if (one.origin === "trigger") this.#insert.execute(...values);
    else if (this.#insert.change(...values) === 0) return { kind: "duplicate" };
    this.counters.add(isSkipped ? `status.${SKIPPED}` : `status.${QUEUED}`, 1);
    if (isSkipped) return { kind: "skip" };
    if (!isReady) return { kind: "wait" };
    return {
      kind: "run",
      message: this.#toMessage({ id: one.id, scheduledFor, terms, token: 0, attempt: 0 }, one.jobData),
    };
  }

  /** The job's policy lets no run beside another from now on: what is active counts, whatever it was before. */
  holdFromNow(job: number): void {
    this.#holdFromNow.execute(job);
  }

  /** Id of the occurrence that holds the job, or null. */
  holder(job: JobStanding): string | null {
    const row = this.#holder.row(job.seq);
    return row === undefined ? null : String(row[1]);
  }

  // --------------------------------------------------------------------------------------------------- edges

  /** Queued → Running. */
  claim(
    one: Standing,
    by: { readonly instance: number; readonly at: number; readonly leaseUntil: number },
  ): { readonly token: number; readonly attempt: number } {
    const token = one.token + 1;
    const attempt = one.attempt + 1;
    this.#claim.execute(token, attempt, by.at, by.leaseUntil, by.instance, one.seq);
    this.#moved(QUEUED, RUNNING);
    return { token, attempt };
  }

  /** Running stays Running. Undefined when the token is not the newest of a running attempt. */
  renew(
    id: string,
    token: number,
    leaseUntil: number,
  ): { readonly cancel: CancelRequest | null } | undefined {
    const row = this.#renew.row(leaseUntil, id, token);
    return row === undefined ? undefined : { cancel: readCancel(row[0] ?? null) };
  }

  /** Running → Completed, Failed, Cancelled or TimedOut. */
  finish(one: Standing, to: OccurrenceStatus, end: {
    readonly endedAt: number;
    readonly durationMs: number | null;
    readonly reason: string | null;
    readonly error: string | null;
    readonly result: string | null;
  }): void {
    const status = statusNumber(to);
    this.#finish.execute(status, end.endedAt, end.durationMs, end.reason, end.error, end.result, one.seq);
    this.#moved(one.status, status);
  }

  /** Queued → Cancelled. */
  cancelQueued(one: Standing, request: CancelRequest, reason: string): void {
    const status = statusNumber("Cancelled");
    this.#endQueued.execute(status, request.requestedAt, reason, JSON.stringify(request), one.seq);
    this.#moved(QUEUED, status);
  }

  /** Running → Queued. The attempt moves to the past ones. */
  requeue(one: Standing, past: PastAttempt, next: {
    readonly readyAt: number;
    readonly nextActionAt: number;
    readonly lost: number;
  }): void {
    this.keepAttempt(one, past);
    const attempt = past.counts ? one.attempt : one.attempt - 1;
    this.#requeue.execute(
      attempt,
      next.lost,
      next.readyAt,
      next.nextActionAt,
      past.durationMs,
      past.reason,
      past.error,
      one.seq,
    );
    this.#moved(one.status, QUEUED);
  }

  /** Writes the newest attempt into the past ones, when its end says more than the occurrence's. */
  keepAttempt(one: Standing, past: PastAttempt): void {
    this.#keepAttempt.execute(
      past.counts ? one.attempt : null,
      past.endedAt,
      past.durationMs,
      past.outcome,
      past.error,
      past.reason,
      one.seq,
    );
  }

  requestCancel(one: Standing, request: CancelRequest): void {
    this.#requestCancel.execute(JSON.stringify(request), one.seq);
  }

  progress(id: string, token: number, done: number, total: number): void {
    this.#progress.execute(done, total, id, token);
  }

  /** Policy Queue: when nothing holds the job, the oldest waiting one may run. Gives its message, or null. */
  releaseNext(job: number, now: number): JobMessage | null {
    const row = this.#firstWaiting.row(job);
    if (row === undefined || this.#holder.row(job) !== undefined) return null;
    this.#ready.execute(now, now + PUBLISHED_WITHIN_MS, Number(row[0]));
    return this.#messageOf(row);
  }

  postpone(id: string, until: number): void {
    this.#postpone.execute(until, id);
  }

  /** Gives how many rows it changed; fewer than `limit` when it is done. */
  wantPublishing(jobType: string | null, now: number, limit: number): number {
    return jobType === null
      ? this.#wantPublishing.change(now, limit)
      : this.#wantPublishingOfType.change(now, limit, jobType);
  }

  beforeCommit(): void {}

  rolledBack(): void {
    this.#lastSeq = this.#readLastSeq();
  }

  // ------------------------------------------------------------------------------------------------- private

  #readLastSeq(): number {
    return Number(this.#maxSeq.row()?.[0]);
  }

  #moved(from: number, to: number): void {
    this.counters.add(`status.${from}`, -1);
    this.counters.add(`status.${to}`, 1);
  }

  #admit(job: JobStanding, isForced: boolean): {
    readonly kind: "run" | "wait" | "skip" | "full";
    readonly blockedBy: number | null;
    readonly reason: string | null;
  } {
    const policy = job.definition.concurrentExecutionPolicy;
    const row = policy === "Allow" ? undefined : this.#holder.row(job.seq);
    if (row === undefined) return { kind: "run", blockedBy: null, reason: null };
    const count = policy === "Queue" ? Number(this.#activeCount.row(job.seq)?.[0]) : 1;
    const admission = admit(policy, { count, holder: String(row[1]) }, isForced);
    const blockedBy = Number(row[0]);
    switch (admission.kind) {
      case "run":
        return { kind: "run", blockedBy: null, reason: null };
      case "wait":
        return { kind: "wait", blockedBy, reason: `Waits for occurrence ${admission.behind} (policy Queue)` };
      case "skip":
        return {
          kind: "skip",
          blockedBy,
          reason: `Skipped: occurrence ${admission.because} was queued or running (policy Skip)`,
        };
      case "full":
        return {
          kind: "full",
          blockedBy,
          reason:
            `Skipped: ${admission.waiting} occurrences already wait for ${admission.because} (policy Queue)`,
        };
    }
  }

  #messageOf(row: Row): JobMessage {
    const [, id, scheduledFor, terms, token, attempt, jobData] = row;
    return this.#toMessage({
      id: String(id),
      scheduledFor: Number(scheduledFor),
      terms: this.terms.get(Number(terms)),
      token: Number(token),
      attempt: Number(attempt),
    }, jobData === null || jobData === undefined ? null : String(jobData));
  }

  #toMessage(
    one: Pick<Standing, "id" | "scheduledFor" | "terms" | "token" | "attempt">,
    ownData: string | null,
  ): JobMessage {
    const { terms } = one;
    return {
      occurrenceId: one.id,
      scheduledFor: one.scheduledFor,
      jobId: terms.jobId,
      jobType: terms.jobType,
      pool: terms.pool,
      token: one.token,
      attempt: one.attempt,
      maxAttempts: terms.maxAttempts,
      jobData: ownData ?? this.terms.payload(terms),
      executionTimeoutSeconds: terms.executionTimeoutSeconds,
    };
  }
}

/** A nullable number of a row. */
export function asNumber(value: Row[number] | undefined): number | null {
  return typeof value === "number" ? value : null;
}

/** A stored cancel request, or null. */
export function readCancel(value: Row[number]): CancelRequest | null {
  return typeof value === "string" ? JSON.parse(value) as CancelRequest : null;
}
