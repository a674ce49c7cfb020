/**
 * What the tracker writes: how attempts ended, what follows from it (`actors/domain/aftermath.ts`), and cancellations.
 *
 * A report whose token is not the newest of a running attempt changes nothing and is kept as evidence.
 */
import { afterLoss, type Aftermath, afterReport, cancelReason } from "../../actors/domain/aftermath.ts";
import type { Report } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  isFinal,
  type OccurrenceStatus,
  statusOf,
} from "../../actors/domain/occurrence.ts";
import type { ProgressReport } from "../../actors/ports/queue.ts";
import type {
  CancelAnswer,
  ChangedOccurrence,
  Outcomes,
  RecordAnswer,
  SilentAttempt,
  TriggerAnswer,
  TriggerRequest,
} from "../../actors/ports/store.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Database, Statement } from "./database.ts";
import type { GroupCommit } from "./group_commit.ts";
import { type JobHold, PUBLISHED_WITHIN_MS } from "./job_hold.ts";
import type { OccurrenceRows, Standing } from "./occurrence_rows.ts";
import type { Triggers } from "./triggers.ts";

const GOLDEN_RATIO = 0.618033988749895;

export class EmbeddedOutcomes implements Outcomes {
  readonly #keepLate: Statement;
  readonly #isKnownEnd: Statement;

  constructor(
    database: Database,
    private readonly group: GroupCommit,
    private readonly rows: OccurrenceRows,
    private readonly hold: JobHold,
    private readonly triggers: Triggers,
  ) {
    this.#keepLate = database.prepare(
      `INSERT INTO late_reports (occurrence_id, token, ended_at, recorded_at, report) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING`,
    );
    this.#isKnownEnd = database.prepare(
      `SELECT 1 FROM occurrences WHERE seq = ?1 AND token = ?2 AND ended_at = ?3
       UNION ALL SELECT 1 FROM attempts WHERE occurrence = ?1 AND token = ?2 AND ended_at = ?3`,
    );
  }

  record(reports: readonly Report[], now: number, jitter: number): Promise<RecordAnswer> {
    return this.group.write(() => {
      const effects = new Effects({ rows: this.rows, hold: this.hold }, now, jitter);
      for (const report of reports) {
        const one = this.rows.find(report.occurrenceId);
        if (one !== null && statusOf(one.status) === "Running" && one.token === report.token) {
          this.#apply(one, report, effects);
        } else {
          this.#keepEvidence(one, report, now);
          effects.stale += 1;
        }
      }
      return effects.answer();
    });
  }

  recordProgress(progress: readonly ProgressReport[]): Promise<void> {
    return this.group.write(() => {
      for (const { occurrenceId, token, done, total } of progress) {
        this.rows.progress(occurrenceId, token, done, total);
      }
    });
  }

  trigger(request: TriggerRequest): Promise<TriggerAnswer> {
    return this.group.write(() => this.triggers.trigger(request));
  }

  /** In process nothing is published twice: the queue knows what it holds. */
  notePublished(): void {}

  cancel(occurrenceId: string, request: CancelRequest): Promise<CancelAnswer> {
    return this.group.write((): CancelAnswer => {
      const one = this.rows.find(occurrenceId);
      if (one === null) return { ok: false, reason: "not-found" };
      const status = statusOf(one.status);
      if (status === "Cancelled") return { ok: true, state: "already-cancelled" };
      if (isFinal(status)) return { ok: false, reason: "final", status };
      if (status !== "Queued") {
        if (one.cancel === null) this.rows.requestCancel(one, request);
        return { ok: true, state: "requested", token: one.token };
      }
      const effects = new Effects({ rows: this.rows, hold: this.hold }, request.requestedAt, 0);
      const reason = cancelReason(request);
      this.rows.cancelQueued(one, request, reason);
      effects.ended(one, "Cancelled", reason);
      return { ok: true, state: "cancelled", record: effects.answer() };
    });
  }

  /** The reaper's part, inside the ledger's transaction: attempts whose worker is gone. */
  reap(lost: readonly SilentAttempt[], now: number, jitter: number): RecordAnswer {
    const effects = new Effects({ rows: this.rows, hold: this.hold }, now, jitter);
    for (const seen of lost) {
      const one = this.rows.find(seen.occurrenceId);
      const isUnchanged = one !== null && statusOf(one.status) === "Running" && one.token === seen.token &&
        one.leaseUntil === seen.leaseUntil;
      if (isUnchanged) this.#applyLost(one, seen.instanceId, effects);
      else effects.stale += 1;
    }
    return effects.answer();
  }

  #apply(one: Standing, report: Report, effects: Effects): void {
    const { endedAt, durationMs } = report;
    const attempt = { ...one.terms, attempt: one.attempt, cancel: one.cancel };
    const after = afterReport(attempt, report, effects.now, () => effects.nextJitter());
    if (after.kind === "ends") effects.finish(one, after, { endedAt, durationMs });
    else effects.requeue(one, after, { endedAt, durationMs, lost: one.lost });
  }

  #applyLost(one: Standing, instanceId: string, effects: Effects): void {
    const end = { endedAt: effects.now, durationMs: null };
    const after = afterLoss(one, instanceId, one.lost);
    if (after.kind === "ends") {
      const past = { ...end, outcome: "lost", error: null, counts: false, reason: after.what } as const;
      this.rows.keepAttempt(one, past);
      effects.finish(one, after, end);
    } else effects.requeue(one, after, { ...end, lost: one.lost + 1 });
  }

  /** A repetition of what was applied already is no evidence of anything. */
  #keepEvidence(one: Standing | null, report: Report, now: number): void {
    const { occurrenceId, token, endedAt } = report;
    if (one !== null && this.#isKnownEnd.row(one.seq, token, endedAt) !== undefined) return;
    this.#keepLate.execute(occurrenceId, token, endedAt, now, JSON.stringify(report));
  }
}

interface AttemptEnd {
  readonly endedAt: number;
  readonly durationMs: number | null;
}

/** Gathers what a transaction brought about. */
class Effects {
  stale = 0;
  readonly #released: JobMessage[] = [];
  readonly #changed: ChangedOccurrence[] = [];
  readonly #freed = new Set<number>();
  #nextRetryAt: number | null = null;

  constructor(
    private readonly parts: { readonly rows: OccurrenceRows; readonly hold: JobHold },
    readonly now: number,
    private jitter: number,
  ) {}

  /** A number in [0, 1), another one for each retry of the batch. */
  nextJitter(): number {
    this.jitter = (this.jitter + GOLDEN_RATIO) % 1;
    return this.jitter;
  }

  ended(one: Standing, to: OccurrenceStatus, reason: string | null): void {
    this.#freed.add(one.terms.job);
    this.#change(one, to, one.attempt, reason);
  }

  finish(one: Standing, after: Extract<Aftermath, { kind: "ends" }>, end: AttemptEnd): void {
    const { status, reason, error, result } = after;
    this.parts.rows.finish(one, status, { ...end, reason, error, result });
    this.ended(one, status, reason);
  }

  /** The attempt moves to the past ones, and the occurrence is queued again. */
  requeue(
    one: Standing,
    after: Extract<Aftermath, { kind: "again" }>,
    { lost, ...end }: AttemptEnd & { readonly lost: number },
  ): void {
    const { readyAt, counts, outcome, reason, error } = after;
    this.parts.rows.requeue(one, { ...end, outcome, error, reason, counts }, {
      readyAt: readyAt ?? this.now,
      nextActionAt: readyAt ?? this.now + PUBLISHED_WITHIN_MS,
      lost,
    });
    if (readyAt === null) this.#released.push(this.parts.rows.message(one));
    else this.#nextRetryAt = Math.min(this.#nextRetryAt ?? readyAt, readyAt);
    this.#change(one, "Queued", counts ? one.attempt : one.attempt - 1, reason);
  }

  answer(): RecordAnswer {
    for (const job of this.#freed) {
      const message = this.parts.hold.releaseNext(job, this.now);
      if (message !== null) this.#released.push(message);
    }
    return {
      released: this.#released,
      nextRetryAt: this.#nextRetryAt,
      changed: this.#changed,
      stale: this.stale,
    };
  }

  #change(one: Standing, status: OccurrenceStatus, attempt: number, reason: string | null): void {
    const { jobId, jobType } = one.terms;
    const { id: occurrenceId, scheduledFor } = one;
    this.#changed.push({ occurrenceId, jobId, jobType, status, attempt, scheduledFor, reason });
  }
}
