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
 *
 * Two ways. Completed runs of jobs that allow others beside them are most of the work, depend on nothing but their
 * token and are ended by one statement, many calls at a time (`Completions`). All other reports lock jobs, then
 * occurrences, and are decided one by one and written together. A call of both kinds is two transactions: should the
 * second fail, the call is rejected and made again, and what was ended is known as such.
 */
import type { JobMessage, Report } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  isFinal,
  type OccurrenceStatus,
  statusNumber,
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
import type { Completions } from "./completions.ts";
import type { Database, Session } from "./database.ts";
import { byDay, isStorableTime, onDay } from "./day.ts";
import { PUBLISHED_WITHIN_MS, releaseNext } from "./job_holds.ts";
import { type JobMessages, messageOf } from "./job_messages.ts";
import { isUuid, numbers, storable, time, uuids } from "./literal.ts";
import {
  findScheduledFor,
  keepEvidence,
  lockOccurrences,
  OccurrenceChanges,
  requestCancel,
  type Standing,
} from "./occurrence_rows.ts";
import type { Published } from "./published.ts";
import type { TermsBook } from "./terms.ts";
import type { Triggers } from "./triggers.ts";

/** An attempt that was lost this often takes its workers down, as it seems: it is not run again. */
export const LOST_AT_MOST = 3;

const GOLDEN_RATIO = 0.618033988749895;
const RUNNING = statusNumber("Running");

export interface OutcomesParts {
  readonly database: Database;
  readonly terms: TermsBook;
  readonly messages: JobMessages;
  readonly triggers: Triggers;
  readonly completions: Completions;
  readonly published: Published;
}

export class PostgresOutcomes implements Outcomes {
  constructor(private readonly parts: OutcomesParts) {}

  async record(reports: readonly Report[], now: number, jitter: number): Promise<RecordAnswer> {
    const ended = await this.parts.completions.end(reports);
    const left = reports.filter((_, index) => ended[index] === null);
    if (left.length === 0) {
      return { released: [], nextRetryAt: null, changed: ended.flatMap((one) => one ?? []), stale: 0 };
    }
    const answer = await this.parts.database.transaction(
      "record reports",
      (session) => this.#recordLeft(session, left, now, jitter),
    );
    return { ...answer, changed: inOrder(reports, ended, answer.changed) };
  }

  async recordProgress(progress: readonly ProgressReport[]): Promise<void> {
    const known = progress.filter((one) => isUuid(one.occurrenceId) && isStorableTime(one.scheduledFor))
      .toSorted((left, right) => left.occurrenceId < right.occurrenceId ? -1 : 1);
    for (const [day, some] of byDay(known, (one) => one.scheduledFor)) {
      await this.parts.database.call("record progress", (session) =>
        session.rows(
          // Worth no sync: the next progress says more.
          `UPDATE occurrences o SET progress_done = u.done, progress_total = u.total
             FROM unnest($1::uuid[], $2::float8[], $3::integer[], $4::float8[], $5::float8[])
               AS u (id, at, token, done, total), (SELECT set_config('synchronous_commit', 'off', true) AS lax) AS c
            WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
              AND o.token = u.token AND o.status = ${RUNNING} AND c.lax IS NOT NULL`,
          [
            uuids(some.map((one) => one.occurrenceId)),
            numbers(some.map((one) => one.scheduledFor)),
            numbers(some.map((one) => one.token)),
            numbers(some.map((one) => one.done)),
            numbers(some.map((one) => one.total)),
          ],
        ));
    }
  }

  trigger(request: TriggerRequest): Promise<TriggerAnswer> {
    return this.parts.triggers.trigger(request);
  }

  notePublished(
    messages: readonly Pick<JobMessage, "occurrenceId" | "scheduledFor" | "token">[],
  ): void {
    this.parts.published.note(messages);
  }

  async cancel(occurrenceId: string, request: CancelRequest): Promise<CancelAnswer> {
    if (!isUuid(occurrenceId)) return { ok: false, reason: "not-found" };
    return await this.parts.database.transaction(
      "cancel an occurrence",
      async (session): Promise<CancelAnswer> => {
        const scheduledFor = await findScheduledFor(session, occurrenceId);
        const locked = scheduledFor === null
          ? null
          : await lockOccurrences(session, [{ occurrenceId, scheduledFor }], this.parts.terms);
        const one = locked?.get(occurrenceId.toLowerCase());
        if (one === undefined) return { ok: false, reason: "not-found" };
        const status = statusOf(one.status);
        if (status === "Cancelled") return { ok: true, state: "already-cancelled" };
        if (isFinal(status)) return { ok: false, reason: "final", status };
        if (status !== "Queued") {
          if (one.cancel === null) await requestCancel(session, one, request);
          return { ok: true, state: "requested", token: one.token };
        }
        const effects = new Effects(request.requestedAt, 0);
        const reason = cancelReason(request);
        effects.changes.cancelQueued(one, request, reason);
        effects.ended(one, "Cancelled", reason);
        return { ok: true, state: "cancelled", record: await effects.write(session, this.parts) };
      },
    );
  }

  /** The reaper's part, inside the ledger's transaction: attempts whose worker is gone. */
  async reap(
    session: Session,
    lost: readonly SilentAttempt[],
    now: number,
    jitter: number,
  ): Promise<RecordAnswer> {
    const effects = new Effects(now, jitter);
    const standing = await lockOccurrences(session, lost, this.parts.terms);
    const seenBefore = new Set<string>();
    for (const seen of lost) {
      const one = standing.get(seen.occurrenceId);
      const isUnchanged = one !== undefined && statusOf(one.status) === "Running" &&
        one.token === seen.token &&
        one.leaseUntil === seen.leaseUntil && !seenBefore.has(one.id);
      if (isUnchanged) {
        seenBefore.add(one.id);
        applyLost(one, seen.instanceId, effects);
      } else effects.stale += 1;
    }
    return await effects.write(session, this.parts);
  }

  async #recordLeft(
    session: Session,
    reports: readonly Report[],
    now: number,
    jitter: number,
  ): Promise<RecordAnswer> {
    const effects = new Effects(now, jitter);
    const standing = await lockOccurrences(session, reports, this.parts.terms);
    const applied = new Map<string, Report>();
    const late: { readonly report: Report; readonly one: Standing | undefined }[] = [];
    for (const report of reports) {
      const one = standing.get(report.occurrenceId);
      const isNewest = one !== undefined && statusOf(one.status) === "Running" && one.token === report.token;
      const before = applied.get(report.occurrenceId);
      if (isNewest && before === undefined) {
        applied.set(report.occurrenceId, report);
        apply(one, report, effects);
        continue;
      }
      effects.stale += 1;
      const isRepetition = before?.token === report.token && before.endedAt === report.endedAt;
      if (!isRepetition) late.push({ report, one });
    }
    if (late.length > 0) await keepEvidence(session, late, now);
    return await effects.write(session, this.parts);
  }
}

function apply(one: Standing, report: Report, effects: Effects): void {
  const { outcome, endedAt, durationMs } = report;
  const finish = (
    to: OccurrenceStatus,
    reason: string | null,
    rest?: { error?: string; result?: string | null },
  ) => {
    effects.changes.finish(one, to, {
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
      return finish("TimedOut", `Ran longer than its limit of ${outcome.limitMs / 1000} s (${outcome.rung})`);
    case "cancelled":
      return finish(
        "Cancelled",
        one.cancel === null ? `Cancelled by its worker ${report.workerId}` : cancelReason(one.cancel),
      );
    case "handedBack": {
      if (one.cancel !== null) return finish("Cancelled", cancelReason(one.cancel));
      const reason = `Handed back by ${report.workerId} (${outcome.why}); it does not count as an attempt`;
      effects.changes.requeue(
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
      effects.changes.requeue(
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

function applyLost(one: Standing, instanceId: string, effects: Effects): void {
  const { now, changes } = effects;
  const times = one.lost + 1;
  const past = { endedAt: now, durationMs: null, outcome: "lost", error: null, counts: false } as const;
  const what = `The worker instance ${instanceId} went silent while it ran this`;
  const end = { endedAt: now, durationMs: null, error: null, result: null };
  if (one.cancel !== null) {
    const reason = cancelReason(one.cancel);
    changes.keepAttempt(one, { ...past, reason: what });
    changes.finish(one, "Cancelled", { ...end, reason });
    effects.ended(one, "Cancelled", reason);
  } else if (times >= LOST_AT_MOST) {
    const reason = `suspect: ${what}, for the ${times}rd time`;
    changes.keepAttempt(one, { ...past, reason: what });
    changes.finish(one, "Failed", { ...end, reason });
    effects.ended(one, "Failed", reason);
  } else {
    const reason = `${what}; it runs again and does not count as an attempt`;
    changes.requeue(one, { ...past, reason }, {
      readyAt: now,
      nextActionAt: now + PUBLISHED_WITHIN_MS,
      lost: times,
    });
    effects.requeuedAtOnce(one, one.attempt - 1, reason);
  }
}

/** Gathers what a transaction brings about. */
class Effects {
  stale = 0;
  readonly changes = new OccurrenceChanges();
  readonly #again: { readonly one: Standing; readonly attempt: number }[] = [];
  readonly #changed: ChangedOccurrence[] = [];
  readonly #freed = new Set<number>();
  #nextRetryAt: number | null = null;

  constructor(readonly now: number, private jitter: number) {}

  /** A number in [0, 1), another one for each retry of the batch. */
  nextJitter(): number {
    this.jitter = (this.jitter + GOLDEN_RATIO) % 1;
    return this.jitter;
  }

  ended(one: Standing, to: OccurrenceStatus, reason: string | null): void {
    if (one.holdsJob) this.#freed.add(one.job);
    this.#change(one, to, one.attempt, reason);
  }

  requeuedAtOnce(one: Standing, attempt: number, reason: string): void {
    this.#again.push({ one, attempt });
    this.#change(one, "Queued", attempt, reason);
  }

  requeuedLater(one: Standing, readyAt: number, reason: string): void {
    this.#nextRetryAt = Math.min(this.#nextRetryAt ?? readyAt, readyAt);
    this.#change(one, "Queued", one.attempt, reason);
  }

  /** Writes the changes and lets those run that waited for what has ended. */
  async write(session: Session, parts: OutcomesParts): Promise<RecordAnswer> {
    await this.changes.write(session);
    const payloads = await parts.terms.payloads(session, this.#again.map(({ one }) => one.terms));
    const again = this.#again.map(({ one, attempt }) =>
      messageOf({ ...one, attempt, jobData: one.jobData ?? payloads.get(one.terms.payload) ?? "{}" })
    );
    const next = await releaseNext(session, [...this.#freed], this.now);
    return {
      released: [...again, ...await parts.messages.of(session, next)],
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

/** What the two ways of recording changed, in the order of the reports. */
function inOrder(
  reports: readonly Report[],
  ended: readonly (ChangedOccurrence | null)[],
  changed: readonly ChangedOccurrence[],
): readonly ChangedOccurrence[] {
  const left = new Map(changed.map((one) => [one.occurrenceId, one]));
  return reports.flatMap((report, index) => {
    const done = ended[index];
    if (done !== null && done !== undefined) return done;
    const later = left.get(report.occurrenceId);
    left.delete(report.occurrenceId);
    return later ?? [];
  });
}

function cancelReason(request: CancelRequest): string {
  return `Cancelled by ${request.by}: ${request.reason}`;
}

function firstLine(text: string): string {
  const line = storable(text).split("\n", 1)[0] ?? "";
  return line.length > 200 ? line.slice(0, 200) + "…" : line;
}
