/** What the leader writes. Each write holds the epoch inside its transaction; an older one is refused and counted. */
import { type AutoDisabled, hasReachedLimit, type Job } from "../../actors/domain/job.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import {
  type Decision,
  isProbe,
  isSeen,
  type RangePart,
  type Slot,
  stateAfter,
} from "../../actors/domain/plan.ts";
import type {
  ChangedOccurrence,
  DecideAnswer,
  EpochRow,
  Ledger,
  LostAttempt,
  PassedOver,
  Postponed,
  RecordAnswer,
  Recoverable,
  SilentAttempt,
} from "../../actors/ports/store.ts";
import type { Database, Session } from "./database.ts";
import { type Epochs, readFence } from "./epochs.ts";
import { Restart } from "./fault.ts";
import { keepStates } from "./failing_jobs.ts";
import { readHolds } from "./job_holds.ts";
import { type JobMessages, MESSAGE_COLUMNS, messageOf } from "./job_messages.ts";
import { advanceJobs, type JobRows, type JobStanding, type JobStep, lockJobs } from "./job_rows.ts";
import { uuids } from "./literal.ts";
import { Admissions, changedBy, insertOccurrences, type Planned } from "./new_occurrences.ts";
import type { PostgresOutcomes } from "./outcomes.ts";
import type { Partitions } from "./partitions.ts";
import { RangeChanges } from "./range_rows.ts";
import { postpone, type RecoveryRows, shiftHolding, shiftLooks, wantPublishing } from "./recovery_rows.ts";
import { keyOf, type TermsBook, type TermsDraft } from "./terms.ts";

/** Rows changed in one transaction when everything wants publishing. */
const WANT_CHUNK = 2000;

export interface LedgerParts {
  readonly database: Database;
  readonly epochs: Epochs;
  readonly jobs: JobRows;
  readonly messages: JobMessages;
  readonly outcomes: PostgresOutcomes;
  readonly partitions: Partitions;
  readonly recovery: RecoveryRows;
  readonly terms: TermsBook;
}

type Fenced<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly newest: number };

/** A decision whose job is locked and stands where the decision was made from. */
interface Standing {
  readonly decision: Decision;
  readonly job: JobStanding;
}

export class PostgresLedger implements Ledger {
  constructor(private readonly parts: LedgerParts) {}

  raiseEpoch(holder: string, now: number, leaseUntil: number): Promise<EpochRow> {
    return this.parts.epochs.raise(holder, now, leaseUntil);
  }

  raiseLapsedEpoch(holder: string, now: number, leaseUntil: number): Promise<EpochRow | null> {
    return this.parts.epochs.raiseLapsed(holder, now, leaseUntil);
  }

  renewEpoch(epoch: number, _now: number, leaseUntil: number): Promise<boolean> {
    return this.parts.epochs.renew(epoch, leaseUntil);
  }

  endEpoch(epoch: number, now: number): Promise<void> {
    return this.parts.epochs.end(epoch, now);
  }

  epochs(limit: number): Promise<readonly EpochRow[]> {
    return this.parts.epochs.newest(limit);
  }

  dueJobs(jobIds: readonly string[], now: number): Promise<readonly Job[]> {
    return this.parts.jobs.dueAmong(jobIds, now);
  }

  pollDueJobs(now: number, limit: number): Promise<readonly Job[]> {
    return this.parts.jobs.dueLongest(now, limit);
  }

  async decide(epoch: number, decisions: readonly Decision[], now: number): Promise<DecideAnswer> {
    const { partitions, terms } = this.parts;
    await partitions.ready(decisions.flatMap((decision) => decision.slots.map((slot) => slot.dueAt)));
    const pass = { looksForTwins: false };
    const answer = await this.#fenced(
      "decide due times",
      epoch,
      (session, isRetry) => this.#decide(session, decisions, { now, isRetry, pass }),
    );
    if (!answer.ok) return { ok: false, reason: "stale-epoch", epoch: answer.newest };
    terms.keep(answer.value.draft);
    return answer.value.answer;
  }

  plannedCatchUps(now: number, limit: number): Promise<readonly number[]> {
    return this.parts.recovery.plannedCatchUps(now, limit);
  }

  recoverable(
    now: number,
    limit: number,
    passedOver: PassedOver | null = null,
  ): Promise<readonly Recoverable[]> {
    return this.parts.recovery.recoverable(now, limit, passedOver);
  }

  nextActionAt(): Promise<number | null> {
    return this.parts.recovery.nextLook();
  }

  async postpone(epoch: number, items: readonly Postponed[]): Promise<boolean> {
    return (await this.#fenced("put off publishing", epoch, (session) => postpone(session, items))).ok;
  }

  async wantPublishing(epoch: number, jobType: string | null, now: number): Promise<number> {
    let total = 0;
    let after: number | null = 0;
    while (after !== null) {
      const from: number = after;
      const answer = await this.#fenced(
        "have everything published",
        epoch,
        (session) => wantPublishing(session, jobType, { now, after: from, limit: WANT_CHUNK }),
      );
      total += answer.ok ? answer.value.changed : 0;
      after = answer.ok ? answer.value.after : null;
    }
    return total;
  }

  async clockWentBack(epoch: number, now: number, byMs: number): Promise<boolean> {
    const action = "move waits with the clock";
    const holding = await this.#fenced(action, epoch, (session) => shiftHolding(session, now, byMs));
    let after: number | null = now;
    let isCurrent = holding.ok;
    while (isCurrent && after !== null) {
      const from: number = after;
      const answer = await this.#fenced(
        action,
        epoch,
        (session) => shiftLooks(session, { now, byMs, after: from, limit: WANT_CHUNK }),
      );
      isCurrent = answer.ok;
      after = answer.ok ? answer.value : null;
    }
    return isCurrent;
  }

  silentAttempts(before: number, limit: number): Promise<readonly SilentAttempt[]> {
    return this.parts.recovery.silent(before, limit);
  }

  async reap(
    epoch: number,
    lost: readonly LostAttempt[],
    now: number,
    jitter: number,
  ): Promise<RecordAnswer | null> {
    const answer = await this.#fenced(
      "end lost attempts",
      epoch,
      (session) => this.parts.outcomes.reap(session, lost, now, jitter),
    );
    return answer.ok ? answer.value : null;
  }

  /** Runs `work` in a transaction that holds the epoch. */
  async #fenced<T>(
    action: string,
    epoch: number,
    work: (session: Session, isRetry: boolean) => Promise<T>,
  ): Promise<Fenced<T>> {
    const answer = await this.parts.database.transaction(
      action,
      async (session, isRetry): Promise<Fenced<T>> => {
        const { isCurrent, newest } = await readFence(session, epoch);
        return isCurrent ? { ok: true, value: await work(session, isRetry) } : { ok: false, newest };
      },
    );
    if (!answer.ok) await this.parts.epochs.countRefusedWrite(epoch);
    return answer;
  }

  async #decide(
    session: Session,
    decisions: readonly Decision[],
    { now, isRetry, pass }: {
      readonly now: number;
      readonly isRetry: boolean;
      readonly pass: { looksForTwins: boolean };
    },
  ): Promise<{ readonly answer: DecideAnswer; readonly draft: TermsDraft }> {
    const { terms } = this.parts;
    const jobs = await lockJobs(session, decisions.map((decision) => decision.jobId), "own");
    const { standing, conflicts } = sortOut(decisions, jobs);
    const before = isRetry ? await this.#decidedBefore(session, conflicts) : null;
    const deciding = pass.looksForTwins ? await withoutTwins(session, standing) : standing;

    const held = deciding.filter(({ job }) => job.definition.concurrentExecutionPolicy !== "Allow");
    const admissions = new Admissions(await readHolds(session, held.map(({ job }) => job.seq)));
    const ranges = new RangeChanges();
    const ranging = deciding.filter(({ decision }) => decision.ranges.length > 0);
    await ranges.readOpen(session, ranging.map(({ job }) => job));
    const draft = await terms.of(
      session,
      deciding.filter(({ decision }) => decision.slots.length > 0)
        .map(({ job, decision }) => ({ job, defaults: decision.defaults })),
    );

    const planned: Planned[] = [];
    const openRanges = deciding.map((one) => plan(one, { now, admissions, ranges, draft, planned }));
    const inserted = await insertOccurrences(session, planned);
    if (
      inserted.size < planned.length && !pass.looksForTwins &&
      held.some(({ decision }) => decision.slots.length > 1)
    ) {
      // A due time was there already, and those after it may have been judged by it.
      pass.looksForTwins = true;
      throw new Restart("a due time was decided before");
    }
    await ranges.write(session, now);
    const ran = countRuns(planned, inserted);
    const steps = deciding.map((one, index) =>
      stepOf(one, { ran: ran.get(one.job.seq) ?? 0, openRange: openRanges[index] ?? null })
    );
    await advanceJobs(session, steps, now);
    await keepStates(session, statesAfter(deciding, planned, inserted));

    const payloads = await terms.payloads(session, draft.found.values());
    const messages: JobMessage[] = [];
    const unsent: ChangedOccurrence[] = [];
    for (const each of planned) {
      const { one, verdict } = each;
      if (!inserted.has(one.id)) continue;
      if (verdict.kind === "run" && (one.notBefore ?? now) <= now) {
        const jobData = payloads.get(one.terms.payload) ?? "{}";
        messages.push(messageOf({ ...one, token: 0, attempt: 0, jobData }));
      } else unsent.push(changedBy(each));
    }
    return {
      draft,
      answer: {
        ok: true,
        messages: before === null ? messages : [...messages, ...before.messages],
        unsent,
        conflicts: conflicts.filter((one) => before?.done.has(one) !== true).map((one) => one.jobId),
        ended: deciding.filter((_, index) => steps[index]?.hasEnded).map(({ job }) => job.id),
      },
    };
  }

  /** Of decisions that conflict on a second try, those that the first one committed after all. */
  async #decidedBefore(
    session: Session,
    conflicts: readonly Decision[],
  ): Promise<{ readonly done: ReadonlySet<Decision>; readonly messages: readonly JobMessage[] }> {
    const ids = conflicts.flatMap((one) => one.slots.map((slot) => slot.occurrenceId));
    const rows = ids.length === 0 ? [] : await session.rows(
      `SELECT ${MESSAGE_COLUMNS}, o.status = 0 AND o.ready_at IS NOT NULL FROM occurrences o
        WHERE o.id = ANY($1::uuid[])`,
      [uuids(ids)],
    );
    const there = new Set(rows.map((row) => String(row[1])));
    return {
      done: new Set(conflicts.filter((one) => one.slots.some((slot) => there.has(slot.occurrenceId)))),
      messages: await this.parts.messages.of(session, rows.filter((row) => row[7] === true)),
    };
  }
}

/** What becomes of jobs that are disabled by failures, or were: one of their due times may have become the probe. */
function statesAfter(
  deciding: readonly Standing[],
  planned: readonly Planned[],
  inserted: ReadonlySet<string>,
): (readonly [job: number, state: AutoDisabled | null])[] {
  return deciding.filter(({ decision }) => decision.whileDisabled !== undefined).map(({ decision, job }) => {
    const probe = planned.find(({ one, verdict }) =>
      isProbe(decision, one.id) && verdict.kind !== "skip" && inserted.has(one.id)
    );
    return [job.seq, stateAfter(decision, probe?.one.id ?? null)];
  });
}

/**
 * Compare-and-set on (nextDueAt, version, skipped due time, autoDisabled). Of two decisions over one job only the first
 * can stand.
 */
function sortOut(
  decisions: readonly Decision[],
  jobs: ReadonlyMap<string, JobStanding>,
): { readonly standing: readonly Standing[]; readonly conflicts: readonly Decision[] } {
  const standing: Standing[] = [];
  const conflicts: Decision[] = [];
  const seen = new Set<string>();
  for (const decision of decisions) {
    const job = jobs.get(decision.jobId);
    const stands = job !== undefined && job.version === decision.jobVersion &&
      job.nextDueAt === decision.expectedDueAt && job.skippedDueAt === (decision.skippedDueAt ?? null) &&
      isSeen(job.autoDisabled, decision) &&
      !seen.has(decision.jobId);
    if (stands) standing.push({ decision, job });
    else conflicts.push(decision);
    seen.add(decision.jobId);
  }
  return { standing, conflicts };
}

/** How many due times of each job run by this transaction; what was skipped or decided before does not. */
function countRuns(planned: readonly Planned[], inserted: ReadonlySet<string>): ReadonlyMap<number, number> {
  const ran = new Map<number, number>();
  for (const { one, verdict } of planned) {
    if (verdict.kind === "skip" || !inserted.has(one.id)) continue;
    ran.set(one.job.seq, (ran.get(one.job.seq) ?? 0) + 1);
  }
  return ran;
}

/** Where a job goes on. Its schedule ends with the run that reaches the limit. */
function stepOf(
  { decision, job }: Standing,
  { ran, openRange }: { readonly ran: number; readonly openRange: number | null },
): JobStep & { readonly hasEnded: boolean } {
  const { runLimit } = job.definition;
  const hasEnded = hasReachedLimit({ runLimit, runCount: job.runCount + ran });
  const nextDueAt = hasEnded ? null : decision.nextDueAt;
  return {
    seq: job.seq,
    nextDueAt,
    openRange,
    ran,
    dropsSkip: job.skippedDueAt !== null && (nextDueAt === null || nextDueAt > job.skippedDueAt),
    lastCatchUpAt: decision.lastCatchUpAt ?? null,
    hasEnded,
  };
}

/** Leaves out due times that have an occurrence already: the job was set back. */
async function withoutTwins(session: Session, standing: readonly Standing[]): Promise<readonly Standing[]> {
  const kept: Standing[] = [];
  for (const { decision, job } of standing) {
    const slots: Slot[] = [];
    for (const slot of decision.slots) {
      const [twin] = await session.rows(
        `SELECT 1 FROM occurrences WHERE job = $1::bigint AND twin = 0
           AND scheduled_for = to_timestamp($2::float8 / 1000)`,
        [job.seq, slot.dueAt],
      );
      if (twin === undefined) slots.push(slot);
    }
    kept.push({ job, decision: { ...decision, slots } });
  }
  return kept;
}

/**
 * Plans the slots and ranges of one decision in the order of their due times: a range is extended only when nothing
 * lies between. Gives the start of the range that is open after it.
 */
function plan(
  { decision, job }: Standing,
  into: {
    readonly now: number;
    readonly admissions: Admissions;
    readonly ranges: RangeChanges;
    readonly draft: TermsDraft;
    readonly planned: Planned[];
  },
): number | null {
  let openRange = job.openRange;
  for (const part of inOrder(decision)) {
    if (!("dueAt" in part)) {
      openRange = into.ranges.extend(job, part);
      continue;
    }
    const terms = into.draft.found.get(keyOf({ job, defaults: decision.defaults }));
    if (terms === undefined) throw new Error(`no terms for job ${job.id}`);
    into.planned.push({
      verdict: into.admissions.admit(job, {
        id: part.occurrenceId,
        origin: part.origin,
        isForced: false,
      }),
      one: {
        id: part.occurrenceId,
        job,
        terms,
        origin: part.origin,
        scheduledFor: part.dueAt,
        createdAt: into.now,
        jobData: null,
        reason: null,
        isForced: false,
        notBefore: part.notBefore ?? null,
      },
    });
    into.ranges.close(job);
    openRange = null;
  }
  return openRange;
}

function inOrder(decision: Decision): readonly (Slot | RangePart)[] {
  if (decision.ranges.length === 0) return decision.slots;
  const at = (part: Slot | RangePart) => "dueAt" in part ? part.dueAt : part.from;
  return [...decision.slots, ...decision.ranges].sort((left, right) => at(left) - at(right));
}
