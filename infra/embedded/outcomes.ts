/**
 * What the tracker writes: how attempts ended, what follows from it (`actors/domain/aftermath.ts`), and cancellations.
 *
 * A report whose token is not the newest of a running attempt changes nothing and is kept as evidence.
 */
import { afterLoss, type Aftermath, afterReport, cancelReason } from "../../actors/domain/aftermath.ts";
import type { AutoDisableChange } from "../../actors/domain/auto_disable.ts";
import { endingOf } from "../../actors/domain/cancellation.ts";
import type { Report, SignalNotice } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  type Ending,
  isFinal,
  type OccurrenceStatus,
  statusOf,
} from "../../actors/domain/occurrence.ts";
import type { ProgressReport } from "../../actors/ports/queue.ts";
import type {
  CancelAnswer,
  ChangedOccurrence,
  LostAttempt,
  Outcomes,
  RecordAnswer,
  TriggerAnswer,
  TriggerRequest,
} from "../../actors/ports/store.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Database, Statement } from "./database.ts";
import type { FailingJobs } from "./failing_jobs.ts";
import type { GroupCommit } from "./group_commit.ts";
import type { FailedRows } from "./failed_rows.ts";
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
    readonly rows: OccurrenceRows,
    readonly hold: JobHold,
    private readonly triggers: Triggers,
    readonly failed: FailedRows,
    readonly failing: FailingJobs,
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
      const effects = new Effects(this, now, jitter);
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

  recordSignals(signals: readonly SignalNotice[]): Promise<void> {
    return this.group.write(() => {
      for (const signal of signals) this.rows.signalled(signal);
    });
  }

  trigger(request: TriggerRequest): Promise<TriggerAnswer> {
    return this.group.write(() => this.triggers.trigger(request));
  }

  /** In process nothing is published twice: the queue knows what it holds. */
  notePublished(): void {}

  cancel(occurrenceId: string, request: CancelRequest): Promise<CancelAnswer> {
    return this.group.write((): CancelAnswer => {
      const { record, standing: [state] } = this.cancelAll([occurrenceId], request);
      if (state === undefined) throw new Error(`Cannot cancel occurrence ${occurrenceId}: no answer`);
      return state.ok && state.state === "cancelled" ? { ...state, record } : state;
    });
  }

  /** Inside a transaction. What became of each, in their order, and what followed from all of it. */
  cancelAll(ids: readonly string[], request: CancelRequest): {
    readonly standing: readonly CancelStanding[];
    readonly record: RecordAnswer;
  } {
    const effects = new Effects(this, request.requestedAt, 0);
    const standing = ids.map((id): CancelStanding => {
      const one = this.rows.find(id);
      if (one === null) return { ok: false, reason: "not-found" };
      const status = statusOf(one.status);
      if (status === "Cancelled") return { ok: true, state: "already-cancelled" };
      if (isFinal(status)) return { ok: false, reason: "final", status };
      if (status !== "Queued") {
        if (one.cancel === null) this.rows.requestCancel(one, request);
        return { ok: true, state: "requested", token: one.token };
      }
      const reason = cancelReason(request);
      this.rows.cancelQueued(one, request, reason);
      effects.ended(one, "Cancelled", { reason, endedAt: request.requestedAt });
      return { ok: true, state: "cancelled" };
    });
    return { standing, record: effects.answer() };
  }

  /** The reaper's part, inside the ledger's transaction: attempts whose worker is gone. */
  reap(lost: readonly LostAttempt[], now: number, jitter: number): RecordAnswer {
    const effects = new Effects(this, now, jitter);
    for (const seen of lost) {
      const one = this.rows.find(seen.occurrenceId);
      const isUnchanged = one !== null && statusOf(one.status) === "Running" && one.token === seen.token &&
        one.leaseUntil === seen.leaseUntil;
      if (isUnchanged) this.#applyLost(one, seen, effects);
      else effects.stale += 1;
    }
    return effects.answer();
  }

  #apply(one: Standing, report: Report, effects: Effects): void {
    const { endedAt, durationMs } = report;
    const firstStartedAt = one.firstStartedAt ?? one.startedAt ?? report.startedAt;
    const attempt = { ...one.terms, attempt: one.attempt, firstStartedAt, cancel: one.cancel };
    const after = afterReport(attempt, report, effects.now, () => effects.nextJitter());
    if (after.kind === "ends") {
      effects.finish(one, after, { endedAt, durationMs, ending: endingOf(report, one.ending) });
    } else effects.requeue(one, after, { endedAt, durationMs, lost: one.lost });
  }

  #applyLost(one: Standing, seen: LostAttempt, effects: Effects): void {
    const { instanceId, isWorkerThere = false } = seen;
    const end = { endedAt: effects.now, durationMs: null };
    const after = afterLoss(one, { instanceId, isWorkerThere, lostBefore: one.lost });
    if (after.kind === "ends") {
      const past = { ...end, outcome: "lost", error: null, counts: false, reason: after.what } as const;
      this.rows.keepAttempt(one, past);
      effects.finish(one, after, { ...end, ending: one.ending });
    } else effects.requeue(one, after, { ...end, lost: one.lost + 1 });
  }

  /** A repetition of what was applied already is no evidence of anything. */
  #keepEvidence(one: Standing | null, report: Report, now: number): void {
    const { occurrenceId, token, endedAt } = report;
    if (one !== null && this.#isKnownEnd.row(one.seq, token, endedAt) !== undefined) return;
    this.#keepLate.execute(occurrenceId, token, endedAt, now, JSON.stringify(report));
  }
}

/** What a cancellation came to; what followed from it is told apart. */
type CancelStanding =
  | Exclude<CancelAnswer, { readonly state: "cancelled" }>
  | { readonly ok: true; readonly state: "cancelled" };

interface EffectsParts {
  readonly rows: OccurrenceRows;
  readonly hold: JobHold;
  readonly failed: FailedRows;
  readonly failing: FailingJobs;
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
  readonly #autoDisable: AutoDisableChange[] = [];
  #nextRetryAt: number | null = null;

  constructor(
    private readonly parts: EffectsParts,
    readonly now: number,
    private jitter: number,
  ) {}

  /** A number in [0, 1), another one for each retry of the batch. */
  nextJitter(): number {
    this.jitter = (this.jitter + GOLDEN_RATIO) % 1;
    return this.jitter;
  }

  ended(
    one: Standing,
    to: OccurrenceStatus,
    { reason, endedAt }: { readonly reason: string | null; readonly endedAt: number },
  ): void {
    this.#freed.add(one.terms.job);
    const run = { occurrenceId: one.id, status: to, scheduledFor: one.scheduledFor, endedAt, reason };
    const change = this.parts.failing.ended(one.terms, run, this.now);
    if (change !== null) this.#autoDisable.push(change);
    this.#change(one, to, one.attempt, reason);
  }

  finish(
    one: Standing,
    after: Extract<Aftermath, { kind: "ends" }>,
    end: AttemptEnd & { readonly ending: Ending | null },
  ): void {
    const { status, reason, error, result } = after;
    this.parts.rows.finish(one, status, { ...end, reason, error, result });
    this.parts.failed.ended(one, { status, reason, error, endedAt: end.endedAt }, this.now);
    this.ended(one, status, { reason, endedAt: end.endedAt });
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
      const next = this.parts.hold.releaseNext(job, this.now);
      if (next === null) continue;
      if (next.readyAt <= this.now) this.#released.push(next.message);
      else this.#nextRetryAt = Math.min(this.#nextRetryAt ?? next.readyAt, next.readyAt);
    }
    return {
      released: this.#released,
      nextRetryAt: this.#nextRetryAt,
      changed: this.#changed,
      stale: this.stale,
      ...(this.#autoDisable.length === 0 ? {} : { autoDisable: this.#autoDisable }),
    };
  }

  #change(one: Standing, status: OccurrenceStatus, attempt: number, reason: string | null): void {
    const { jobId, jobType } = one.terms;
    const { id: occurrenceId, scheduledFor } = one;
    this.#changed.push({ occurrenceId, jobId, jobType, status, attempt, scheduledFor, reason });
  }
}
