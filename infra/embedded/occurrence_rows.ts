/**
 * Rows of `occurrences` and `attempts`, as the ledger, the tracker and claims change them inside their transactions.
 * Each method is one edge of the state machine; who may take it is decided by the caller, and the table's trigger
 * refuses what is no edge.
 */
import { noticed } from "../../actors/domain/cancellation.ts";
import type { JobMessage, SignalNotice } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  type Ending,
  type OccurrenceStatus,
  ORIGINS,
  statusNumber,
} from "../../actors/domain/occurrence.ts";
import type { Counters } from "./counters.ts";
import type { Database, Row, Statement } from "./database.ts";
import { type JobMessages, MESSAGE_COLUMNS } from "./job_messages.ts";
import type { Terms, TermsBook } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const RUNNING = statusNumber("Running");
const REPLAY = ORIGINS.indexOf("replay");

/*
 * Updates are OR FAIL: the table's trigger and OR ABORT together would make SQLite keep a copy of every page that a
 * statement touches, 4 µs each, to undo a single statement. A call that fails is undone with its transaction.
 */

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
  readonly nextActionAt: number | null;
  readonly leaseUntil: number | null;
  readonly startedAt: number | null;
  /** Start of the first attempt; null while there has been one at most. */
  readonly firstStartedAt: number | null;
  readonly cancel: CancelRequest | null;
  /** It replays a failed occurrence. */
  readonly isReplay: boolean;
  readonly ending: Ending | null;
}

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

export class OccurrenceRows {
  readonly #find: Statement;
  readonly #claim: Statement;
  readonly #renew: Statement;
  readonly #finish: Statement;
  readonly #endQueued: Statement;
  readonly #requeue: Statement;
  readonly #keepAttempt: Statement;
  readonly #requestCancel: Statement;
  readonly #progress: Statement;
  readonly #signalled: Statement;
  readonly #messageBySeq: Statement;

  constructor(
    database: Database,
    private readonly messages: JobMessages,
    private readonly terms: TermsBook,
    private readonly counters: Counters,
  ) {
    const prepare = (sql: string) => database.prepare(sql);
    this.#find = prepare(
      `SELECT seq, status, token, attempt, lost, terms, scheduled_for, ready_at, lease_until, cancel, started_at,
         first_started_at, origin, ending, next_action_at FROM occurrences WHERE id = ?`,
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
         result = ?, ending = ? WHERE seq = ?`,
    );
    this.#endQueued = prepare(
      "UPDATE OR FAIL occurrences SET status = ?, ended_at = ?, next_action_at = NULL, reason = ?, cancel = ? WHERE seq = ?",
    );
    this.#requeue = prepare(
      `UPDATE OR FAIL occurrences SET status = ${QUEUED}, attempt = ?, lost = ?, ready_at = ?, next_action_at = ?, looks = 0,
         duration_ms = ?, lease_until = NULL, reason = ?, error = ?, ending = NULL,
         first_started_at = CASE WHEN ? THEN coalesce(first_started_at, started_at) ELSE first_started_at END
        WHERE seq = ?`,
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
    this.#signalled = prepare(
      `UPDATE OR FAIL occurrences SET ending = ? WHERE id = ? AND token = ? AND status = ${RUNNING}`,
    );
    this.#messageBySeq = prepare(`SELECT ${MESSAGE_COLUMNS} FROM occurrences WHERE seq = ?`);
  }

  // ------------------------------------------------------------------------------------------------- reading

  find(id: string): Standing | null {
    const row = this.#find.row(id);
    if (row === undefined) return null;
    const [seq, status, token, attempt, lost, terms, scheduledFor, readyAt, leaseUntil, cancel] = row;
    const [startedAt, firstStartedAt, origin, ending, nextActionAt] = row.slice(10);
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
      nextActionAt: asNumber(nextActionAt ?? null),
      leaseUntil: asNumber(leaseUntil),
      startedAt: asNumber(startedAt),
      firstStartedAt: asNumber(firstStartedAt),
      cancel: readCancel(cancel ?? null),
      isReplay: origin === REPLAY,
      ending: readEnding(ending ?? null),
    };
  }

  /** What tells workers of it, as it is now. */
  message(one: Standing): JobMessage {
    const row = this.#messageBySeq.row(one.seq);
    if (row === undefined) throw new Error(`Cannot read occurrence ${one.id}: no such row`);
    return this.messages.of(row);
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
    readonly ending: Ending | null;
  }): void {
    const status = statusNumber(to);
    const ending = end.ending === null ? null : JSON.stringify(end.ending);
    const { endedAt, durationMs, reason, error, result } = end;
    this.#finish.execute(status, endedAt, durationMs, reason, error, result, ending, one.seq);
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
      Number(past.counts),
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

  signalled(signal: SignalNotice): void {
    this.#signalled.execute(JSON.stringify(noticed(signal)), signal.occurrenceId, signal.token);
  }

  progress(id: string, token: number, done: number, total: number): void {
    this.#progress.execute(done, total, id, token);
  }

  // ------------------------------------------------------------------------------------------------- private

  #moved(from: number, to: number): void {
    this.counters.add(`status.${from}`, -1);
    this.counters.add(`status.${to}`, 1);
  }
}

/** A nullable number of a row. */
export function asNumber(value: Row[number] | undefined): number | null {
  return typeof value === "number" ? value : null;
}

/** How an attempt was made to end, as it is stored, or null. */
export function readEnding(value: Row[number]): Ending | null {
  return typeof value === "string" ? JSON.parse(value) as Ending : null;
}

/** A stored cancel request, or null. */
export function readCancel(value: Row[number]): CancelRequest | null {
  return typeof value === "string" ? JSON.parse(value) as CancelRequest : null;
}
