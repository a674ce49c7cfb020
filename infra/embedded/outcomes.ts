/**
 * What the tracker writes: how attempts ended, what follows from it, and cancellations.
 *
 *   completed            → Completed
 *   failed               → Queued after a back-off while tries are left, else Failed; Cancelled when that was asked
 *   timedOut             → TimedOut, for good: a run that was too slow once will be too slow again
 *   cancelled            → Cancelled
 *   handedBack           → Queued at once, uncounted; Cancelled when that was asked
 *   lost (by the reaper) → Queued at once, uncounted; Failed as `suspect` the third time
 *
 * A report whose token is not the newest of a running attempt changes nothing and is kept as evidence.
 */
import type { Report } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  isFinal,
  type OccurrenceStatus,
  statusOf,
} from "../../actors/domain/occurrence.ts";
import { backoffMs, MAX_RETRY_DELAY_SECONDS } from "../../actors/domain/retry.ts";
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

/** An attempt that was lost this often takes its workers down, as it seems: it is not run again. */
export const LOST_AT_MOST = 3;

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
    const { outcome, endedAt, durationMs } = report;
    const finish = (
      to: OccurrenceStatus,
      reason: string | null,
      rest?: { error?: string; result?: string | null },
    ) => {
      this.rows.finish(one, to, {
        endedAt,
        durationMs,
        reason,
        error: rest?.error ?? null,
        result: rest?.result ?? null,
      });
      effects.ended(one, to, reason);
    };
    switch (outcome.kind) {
      case "completed":
        return finish("Completed", null, { result: outcome.result });
      case "timedOut":
        return finish(
          "TimedOut",
          `Ran longer than its limit of ${outcome.limitMs / 1000} s (${outcome.rung})`,
        );
      case "cancelled":
        return finish(
          "Cancelled",
          one.cancel === null ? `Cancelled by its worker ${report.workerId}` : cancelReason(one.cancel),
        );
      case "handedBack": {
        if (one.cancel !== null) return finish("Cancelled", cancelReason(one.cancel));
        const reason = `Handed back by ${report.workerId} (${outcome.why}); it does not count as an attempt`;
        this.rows.requeue(
          one,
          { endedAt, durationMs, outcome: "handedBack", error: null, reason, counts: false },
          { readyAt: effects.now, nextActionAt: effects.now + PUBLISHED_WITHIN_MS, lost: one.lost },
        );
        effects.requeuedAtOnce(one, one.attempt - 1, reason);
        return;
      }
      case "failed": {
        const error = JSON.stringify(outcome.error);
        const what = `Attempt ${one.attempt} of ${one.terms.maxAttempts} failed (${outcome.error.name}: ` +
          `${firstLine(outcome.error.message)})`;
        if (one.cancel !== null) return finish("Cancelled", cancelReason(one.cancel), { error });
        if (outcome.permanent) return finish("Failed", `${what}; it asked not to be tried again`, { error });
        if (one.attempt >= one.terms.maxAttempts) return finish("Failed", what, { error });
        const readyAt = effects.now + (outcome.retryAfterMs ?? backoffMs(
          {
            baseRetryDelaySeconds: one.terms.baseRetryDelaySeconds,
            maxRetryDelaySeconds: MAX_RETRY_DELAY_SECONDS,
          },
          one.attempt,
          effects.nextJitter(),
        ));
        const reason = `${what}; the next one is due at ${new Date(readyAt).toISOString()}`;
        this.rows.requeue(
          one,
          { endedAt, durationMs, outcome: "failed", error, reason, counts: true },
          { readyAt, nextActionAt: readyAt, lost: one.lost },
        );
        effects.requeuedLater(one, readyAt, reason);
        return;
      }
      default:
        return outcome satisfies never;
    }
  }

  #applyLost(one: Standing, instanceId: string, effects: Effects): void {
    const { now } = effects;
    const times = one.lost + 1;
    const past = { endedAt: now, durationMs: null, outcome: "lost", error: null, counts: false } as const;
    const what = `The worker instance ${instanceId} went silent while it ran this`;
    const end = { endedAt: now, durationMs: null, error: null, result: null };
    if (one.cancel !== null) {
      const reason = cancelReason(one.cancel);
      this.rows.keepAttempt(one, { ...past, reason: what });
      this.rows.finish(one, "Cancelled", { ...end, reason });
      effects.ended(one, "Cancelled", reason);
    } else if (times >= LOST_AT_MOST) {
      const reason = `suspect: ${what}, for the ${times}rd time`;
      this.rows.keepAttempt(one, { ...past, reason: what });
      this.rows.finish(one, "Failed", { ...end, reason });
      effects.ended(one, "Failed", reason);
    } else {
      const reason = `${what}; it runs again and does not count as an attempt`;
      this.rows.requeue(one, { ...past, reason }, {
        readyAt: now,
        nextActionAt: now + PUBLISHED_WITHIN_MS,
        lost: times,
      });
      effects.requeuedAtOnce(one, one.attempt - 1, reason);
    }
  }

  /** A repetition of what was applied already is no evidence of anything. */
  #keepEvidence(one: Standing | null, report: Report, now: number): void {
    const { occurrenceId, token, endedAt } = report;
    if (one !== null && this.#isKnownEnd.row(one.seq, token, endedAt) !== undefined) return;
    this.#keepLate.execute(occurrenceId, token, endedAt, now, JSON.stringify(report));
  }
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

  requeuedAtOnce(one: Standing, attempt: number, reason: string): void {
    this.#released.push(this.parts.rows.message(one));
    this.#change(one, "Queued", attempt, reason);
  }

  requeuedLater(one: Standing, readyAt: number, reason: string): void {
    this.#nextRetryAt = Math.min(this.#nextRetryAt ?? readyAt, readyAt);
    this.#change(one, "Queued", one.attempt, reason);
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

function cancelReason(request: CancelRequest): string {
  return `Cancelled by ${request.by}: ${request.reason}`;
}

function firstLine(text: string): string {
  const line = text.split("\n", 1)[0] ?? "";
  return line.length > 200 ? line.slice(0, 200) + "…" : line;
}
