/** What the leader writes. Each write checks inside its transaction that its epoch is the newest and not ended. */
import { hasReachedLimit, type Job } from "../../actors/domain/job.ts";
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
import type { Epochs } from "./epochs.ts";
import type { FailingJobs } from "./failing_jobs.ts";
import type { GroupCommit } from "./group_commit.ts";
import type { JobRows, JobStanding } from "./job_rows.ts";
import type { NewOccurrences } from "./new_occurrences.ts";
import type { EmbeddedOutcomes } from "./outcomes.ts";
import type { RangeRows } from "./range_rows.ts";
import type { RecoveryRows } from "./recovery_rows.ts";
import type { TermsBook } from "./terms.ts";
import { nextTurn } from "./walk.ts";

/** Rows changed in one transaction when everything wants publishing. */
const WANT_CHUNK = 2000;

export interface LedgerParts {
  readonly group: GroupCommit;
  readonly epochs: Epochs;
  readonly failing: FailingJobs;
  readonly jobs: JobRows;
  readonly occurrences: NewOccurrences;
  readonly recovery: RecoveryRows;
  readonly ranges: RangeRows;
  readonly terms: TermsBook;
  readonly outcomes: EmbeddedOutcomes;
}

export class EmbeddedLedger implements Ledger {
  constructor(private readonly parts: LedgerParts) {}

  raiseEpoch(holder: string, now: number, leaseUntil: number): Promise<EpochRow> {
    return this.parts.group.write(() => this.parts.epochs.raise(holder, now, leaseUntil));
  }

  raiseLapsedEpoch(holder: string, now: number, leaseUntil: number): Promise<EpochRow | null> {
    return this.parts.group.write(() => this.parts.epochs.raiseLapsed(holder, now, leaseUntil));
  }

  renewEpoch(epoch: number, _now: number, leaseUntil: number): Promise<boolean> {
    return this.parts.group.write(() => this.#isCurrent(epoch) && this.parts.epochs.renew(epoch, leaseUntil));
  }

  endEpoch(epoch: number, now: number): Promise<void> {
    return this.parts.group.write(() => this.parts.epochs.end(epoch, now));
  }

  epochs(limit: number): Promise<readonly EpochRow[]> {
    return this.parts.group.read(() => this.parts.epochs.newest(limit));
  }

  dueJobs(jobIds: readonly string[], now: number): Promise<readonly Job[]> {
    return this.parts.jobs.dueAmong(jobIds, now);
  }

  pollDueJobs(now: number, limit: number): Promise<readonly Job[]> {
    return this.parts.jobs.dueLongest(now, limit);
  }

  decide(epoch: number, decisions: readonly Decision[], now: number): Promise<DecideAnswer> {
    return this.parts.group.write((): DecideAnswer => {
      if (!this.#isCurrent(epoch)) {
        return { ok: false, reason: "stale-epoch", epoch: this.parts.epochs.current() };
      }
      const messages: JobMessage[] = [];
      const conflicts: string[] = [];
      const ended: string[] = [];
      const unsent: ChangedOccurrence[] = [];
      for (const decision of decisions) {
        const job = this.parts.jobs.standing(decision.jobId);
        const isAsPlanned = job?.version === decision.jobVersion &&
          job.nextDueAt === decision.expectedDueAt && job.skippedDueAt === (decision.skippedDueAt ?? null) &&
          isSeen(job.autoDisabled, decision);
        if (!isAsPlanned) {
          conflicts.push(decision.jobId);
          continue;
        }
        this.#apply(decision, job, now, { messages, unsent, ended });
      }
      return { ok: true, messages, unsent, conflicts, ended };
    });
  }

  plannedCatchUps(now: number, limit: number): Promise<readonly number[]> {
    return this.parts.group.read(() => this.parts.recovery.plannedCatchUps(now, limit));
  }

  recoverable(
    now: number,
    limit: number,
    passedOver: PassedOver | null = null,
  ): Promise<readonly Recoverable[]> {
    return this.parts.group.read(() => this.parts.recovery.recoverable(now, limit, passedOver));
  }

  nextActionAt(): Promise<number | null> {
    return this.parts.group.read(() => this.parts.recovery.nextLook());
  }

  postpone(
    epoch: number,
    items: readonly Postponed[],
  ): Promise<boolean> {
    return this.parts.group.write(() => {
      if (!this.#isCurrent(epoch)) return false;
      for (const item of items) this.parts.recovery.postpone(item);
      return true;
    });
  }

  async wantPublishing(epoch: number, jobType: string | null, now: number): Promise<number> {
    const { group, recovery } = this.parts;
    let total = 0;
    let after: number | null = 0;
    while (after !== null) {
      const from: number = after;
      const part = await group.write(() =>
        this.#isCurrent(epoch)
          ? recovery.wantPublishing(jobType, { now, after: from, limit: WANT_CHUNK })
          : { changed: 0, after: null }
      );
      total += part.changed;
      after = part.after;
      await nextTurn();
    }
    return total;
  }

  async clockWentBack(epoch: number, now: number, byMs: number): Promise<boolean> {
    const { group, recovery } = this.parts;
    let after: number | null = now;
    let isCurrent = await group.write(() => {
      if (!this.#isCurrent(epoch)) return false;
      recovery.shiftHolding(now, byMs);
      return true;
    });
    while (isCurrent && after !== null) {
      const from: number = after;
      isCurrent = await group.write(() => {
        if (!this.#isCurrent(epoch)) return false;
        after = recovery.shiftLooks({ now, byMs, after: from, limit: WANT_CHUNK });
        return true;
      });
      await nextTurn();
    }
    return isCurrent;
  }

  silentAttempts(before: number, limit: number): Promise<readonly SilentAttempt[]> {
    return this.parts.group.read(() => this.parts.recovery.silent(before, limit));
  }

  reap(
    epoch: number,
    lost: readonly LostAttempt[],
    now: number,
    jitter: number,
  ): Promise<RecordAnswer | null> {
    return this.parts.group.write(() =>
      this.#isCurrent(epoch) ? this.parts.outcomes.reap(lost, now, jitter) : null
    );
  }

  /** An older epoch's write is refused, and counted where people see it. */
  #isCurrent(epoch: number): boolean {
    if (this.parts.epochs.isCurrent(epoch)) return true;
    this.parts.epochs.countRefusedWrite(epoch);
    return false;
  }

  /** Slots and ranges in the order of their due times: a range is extended only when nothing lies between. */
  #apply(
    decision: Decision,
    job: JobStanding,
    now: number,
    into: {
      readonly messages: JobMessage[];
      readonly unsent: ChangedOccurrence[];
      readonly ended: string[];
    },
  ): void {
    let ran = 0;
    let openRange = job.openRange;
    let probeId: string | null = null;
    for (const part of inOrder(decision)) {
      if ("dueAt" in part) {
        const terms = this.parts.terms.of(job, decision.defaults);
        const added = this.parts.occurrences.add({
          id: part.occurrenceId,
          job,
          terms,
          origin: part.origin,
          scheduledFor: part.dueAt,
          createdAt: now,
          jobData: null,
          reason: null,
          isForced: false,
          notBefore: part.notBefore ?? null,
        });
        if (added.kind === "run") into.messages.push(added.message);
        else if (added.kind !== "duplicate") into.unsent.push(added.changed);
        if (added.kind !== "skip" && added.kind !== "duplicate") ran += 1;
        if ((added.kind === "run" || added.kind === "wait") && isProbe(decision, part.occurrenceId)) {
          probeId = part.occurrenceId;
        }
        openRange = null;
      } else {
        openRange = this.parts.ranges.extend(job, openRange, part, now);
      }
    }
    const { runLimit } = job.definition;
    const hasEnded = hasReachedLimit({ runLimit, runCount: job.runCount + ran });
    if (hasEnded) into.ended.push(decision.jobId);
    const nextDueAt = hasEnded ? null : decision.nextDueAt;
    if (decision.whileDisabled !== undefined) {
      this.parts.failing.keep(job.seq, stateAfter(decision, probeId), nextDueAt);
    }
    this.parts.jobs.advance(job.seq, {
      nextDueAt,
      decidedUntil: now,
      openRange,
      ran,
      dropsSkip: job.skippedDueAt !== null && (nextDueAt === null || nextDueAt > job.skippedDueAt),
      lastCatchUpAt: decision.lastCatchUpAt ?? null,
    });
  }
}

function inOrder(decision: Decision): readonly (Slot | RangePart)[] {
  if (decision.ranges.length === 0) return decision.slots;
  const at = (part: Slot | RangePart) => "dueAt" in part ? part.dueAt : part.from;
  return [...decision.slots, ...decision.ranges].sort((left, right) => at(left) - at(right));
}
