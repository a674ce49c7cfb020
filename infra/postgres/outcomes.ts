/**
 * What the tracker writes: how attempts ended, what follows from it (`actors/domain/aftermath.ts`), and cancellations.
 *
 * A report whose token is not the newest of a running attempt changes nothing and is kept as evidence.
 *
 * Two ways. Completed runs of jobs that allow others beside them are most of the work, depend on nothing but their
 * token and are ended by one statement, many calls at a time (`Completions`). All other reports lock jobs, then
 * occurrences, and are decided one by one and written together. A call of both kinds is two transactions: should the
 * second fail, the call is rejected and made again, and what was ended is known as such.
 */
import { afterLoss, type Aftermath, afterReport, cancelReason } from "../../actors/domain/aftermath.ts";
import type { JobMessage, Report } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  isFinal,
  type OccurrenceStatus,
  statusNumber,
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
import type { Completions } from "./completions.ts";
import type { Database, Session } from "./database.ts";
import { byDay, isStorableTime, onDay } from "./day.ts";
import { PUBLISHED_WITHIN_MS, releaseNext } from "./job_holds.ts";
import { type JobMessages, messageOf } from "./job_messages.ts";
import { isUuid, numbers, time, uuids } from "./literal.ts";
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
  const { endedAt, durationMs } = report;
  const attempt = { ...one.terms, attempt: one.attempt, cancel: one.cancel };
  const after = afterReport(attempt, report, effects.now, () => effects.nextJitter());
  if (after.kind === "ends") effects.finish(one, after, { endedAt, durationMs });
  else effects.requeue(one, after, { endedAt, durationMs, lost: one.lost });
}

function applyLost(one: Standing, instanceId: string, effects: Effects): void {
  const end = { endedAt: effects.now, durationMs: null };
  const after = afterLoss(one, instanceId, one.lost);
  if (after.kind === "ends") {
    const past = { ...end, outcome: "lost", error: null, counts: false, reason: after.what } as const;
    effects.changes.keepAttempt(one, past);
    effects.finish(one, after, end);
  } else effects.requeue(one, after, { ...end, lost: one.lost + 1 });
}

interface AttemptEnd {
  readonly endedAt: number;
  readonly durationMs: number | null;
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

  finish(one: Standing, after: Extract<Aftermath, { kind: "ends" }>, end: AttemptEnd): void {
    const { status, reason, error, result } = after;
    this.changes.finish(one, status, { ...end, reason, error, result });
    this.ended(one, status, reason);
  }

  /** The attempt moves to the past ones, and the occurrence is queued again. */
  requeue(
    one: Standing,
    after: Extract<Aftermath, { kind: "again" }>,
    { lost, ...end }: AttemptEnd & { readonly lost: number },
  ): void {
    const { readyAt, counts, outcome, reason, error } = after;
    this.changes.requeue(one, { ...end, outcome, error, reason, counts }, {
      readyAt: readyAt ?? this.now,
      nextActionAt: readyAt ?? this.now + PUBLISHED_WITHIN_MS,
      lost,
    });
    const attempt = counts ? one.attempt : one.attempt - 1;
    if (readyAt === null) this.#again.push({ one, attempt });
    else this.#nextRetryAt = Math.min(this.#nextRetryAt ?? readyAt, readyAt);
    this.#change(one, "Queued", attempt, reason);
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
