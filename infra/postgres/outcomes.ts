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
import { endingOf } from "../../actors/domain/cancellation.ts";
import type { JobMessage, Report, SignalNotice } from "../../actors/domain/message.ts";
import {
  type CancelRequest,
  type Ending,
  isFinal,
  type OccurrenceStatus,
  statusNumber,
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
import type { Completions } from "./completions.ts";
import type { Database, Session } from "./database.ts";
import { byDay, isStorableTime, onDay } from "./day.ts";
import { type FinalEnd, recordFinalEnds } from "./failed_rows.ts";
import { FailureChanges } from "./failing_jobs.ts";
import { PUBLISHED_WITHIN_MS, releaseNext } from "./job_holds.ts";
import { type JobMessages, messageOf } from "./job_messages.ts";
import { asTime, isUuid, numbers, time, uuids } from "./literal.ts";
import {
  findScheduledFor,
  keepEvidence,
  keepSignals,
  lockOccurrences,
  OccurrenceChanges,
  type OccurrenceKey,
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

  async recordSignals(signals: readonly SignalNotice[]): Promise<void> {
    const known = signals.filter((one) => isUuid(one.occurrenceId) && isStorableTime(one.scheduledFor))
      .toSorted((left, right) => left.occurrenceId < right.occurrenceId ? -1 : 1);
    for (const [day, some] of byDay(known, (one) => one.scheduledFor)) {
      await this.parts.database.call("keep abort signals", (session) => keepSignals(session, day, some));
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
        if (scheduledFor === null) return { ok: false, reason: "not-found" };
        const key = { occurrenceId: occurrenceId.toLowerCase(), scheduledFor };
        const { record, standing: [state] } = await this.cancelAll(session, [key], request);
        if (state === undefined) throw new Error(`no answer for occurrence ${occurrenceId}`);
        return state.ok && state.state === "cancelled" ? { ...state, record } : state;
      },
    );
  }

  /** Inside a transaction. What became of each, in their order, and what followed from all of it. */
  async cancelAll(session: Session, keys: readonly OccurrenceKey[], request: CancelRequest): Promise<{
    readonly standing: readonly CancelStanding[];
    readonly record: RecordAnswer;
  }> {
    const locked = await lockOccurrences(session, keys, this.parts.terms);
    const effects = new Effects(request.requestedAt, 0);
    const asked: Standing[] = [];
    const standing = keys.map(({ occurrenceId }): CancelStanding => {
      const one = locked.get(occurrenceId);
      if (one === undefined) return { ok: false, reason: "not-found" };
      const status = statusOf(one.status);
      if (status === "Cancelled") return { ok: true, state: "already-cancelled" };
      if (isFinal(status)) return { ok: false, reason: "final", status };
      if (status !== "Queued") {
        if (one.cancel === null) asked.push(one);
        return { ok: true, state: "requested", token: one.token };
      }
      const reason = cancelReason(request);
      effects.changes.cancelQueued(one, request, reason);
      effects.ended(one, "Cancelled", { reason, endedAt: request.requestedAt });
      return { ok: true, state: "cancelled" };
    });
    for (const one of asked) await requestCancel(session, one, request);
    return { standing, record: await effects.write(session, this.parts) };
  }

  /** The reaper's part, inside the ledger's transaction: attempts whose worker is gone. */
  async reap(
    session: Session,
    lost: readonly LostAttempt[],
    now: number,
    jitter: number,
  ): Promise<RecordAnswer> {
    const effects = new Effects(now, jitter);
    const keys = lost.map((one) => ({ ...one, mayFail: true }));
    const standing = await lockOccurrences(session, keys, this.parts.terms);
    const seenBefore = new Set<string>();
    for (const seen of lost) {
      const one = standing.get(seen.occurrenceId);
      const isUnchanged = one !== undefined && statusOf(one.status) === "Running" &&
        one.token === seen.token &&
        one.leaseUntil === seen.leaseUntil && !seenBefore.has(one.id);
      if (isUnchanged) {
        seenBefore.add(one.id);
        applyLost(one, seen, effects);
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
    const keys = reports.map((report) => ({ ...report, mayFail: mayFail(report) }));
    const standing = await lockOccurrences(session, keys, this.parts.terms);
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

function mayFail({ outcome }: Report): boolean {
  return outcome.kind === "failed" || outcome.kind === "timedOut";
}

function apply(one: Standing, report: Report, effects: Effects): void {
  const { endedAt, durationMs } = report;
  const firstStartedAt = one.firstStartedAt ?? one.startedAt ?? report.startedAt;
  const attempt = { ...one.terms, attempt: one.attempt, firstStartedAt, cancel: one.cancel };
  const after = afterReport(attempt, report, effects.now, () => effects.nextJitter());
  if (after.kind === "ends") {
    effects.finish(one, after, { endedAt, durationMs, ending: endingOf(report, one.ending) });
  } else effects.requeue(one, after, { endedAt, durationMs, lost: one.lost });
}

function applyLost(one: Standing, seen: LostAttempt, effects: Effects): void {
  const { instanceId, isWorkerThere = false } = seen;
  const end = { endedAt: effects.now, durationMs: null };
  const after = afterLoss(one, { instanceId, isWorkerThere, lostBefore: one.lost });
  if (after.kind === "ends") {
    const past = { ...end, outcome: "lost", error: null, counts: false, reason: after.what } as const;
    effects.changes.keepAttempt(one, past);
    effects.finish(one, after, { ...end, ending: one.ending });
  } else effects.requeue(one, after, { ...end, lost: one.lost + 1 });
}

/** What a cancellation came to; what followed from it is told apart. */
type CancelStanding =
  | Exclude<CancelAnswer, { readonly state: "cancelled" }>
  | { readonly ok: true; readonly state: "cancelled" };

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
  readonly #finished: { readonly one: Standing; readonly end: FinalEnd }[] = [];
  readonly #freed = new Set<number>();
  readonly #failures = new FailureChanges();
  #nextRetryAt: number | null = null;

  constructor(readonly now: number, private jitter: number) {}

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
    const run = { occurrenceId: one.id, status: to, scheduledFor: one.scheduledFor, endedAt, reason };
    this.#failures.ended(one, run, this.now);
    if (one.holdsJob) this.#freed.add(one.job);
    this.#change(one, to, one.attempt, reason);
  }

  finish(
    one: Standing,
    after: Extract<Aftermath, { kind: "ends" }>,
    end: AttemptEnd & { readonly ending: Ending | null },
  ): void {
    const { status, reason, error, result, resultIsKept } = after;
    this.changes.finish(one, status, { ...end, reason, error, result, resultIsKept });
    this.#finished.push({ one, end: { status, reason, error, endedAt: end.endedAt } });
    this.ended(one, status, { reason, endedAt: end.endedAt });
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
    await recordFinalEnds(session, this.#finished, { terms: parts.terms, now: this.now });
    await this.#failures.write(session);
    const payloads = await parts.terms.payloads(session, this.#again.map(({ one }) => one.terms));
    const again = this.#again.map(({ one, attempt }) =>
      messageOf({ ...one, attempt, jobData: one.jobData ?? payloads.get(one.terms.payload) ?? "{}" })
    );
    const next = await releaseNext(session, [...this.#freed], this.now);
    const later = next.map((row) => asTime(row[7])).filter((readyAt) => readyAt > this.now);
    if (later.length > 0) this.#nextRetryAt = Math.min(this.#nextRetryAt ?? Infinity, ...later);
    const ready = next.filter((row) => asTime(row[7]) <= this.now);
    return {
      released: [...again, ...await parts.messages.of(session, ready)],
      nextRetryAt: this.#nextRetryAt,
      changed: this.#changed,
      stale: this.stale,
      ...(this.#failures.news.length === 0 ? {} : { autoDisable: this.#failures.news }),
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
