/** What the leader writes. Each write checks inside its transaction that its epoch is the newest and not ended. */
import type { Job } from "../../actors/domain/job.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Decision, RangePart, Slot } from "../../actors/domain/plan.ts";
import type {
  DecideAnswer,
  EpochRow,
  Ledger,
  Postponed,
  RecordAnswer,
  Recoverable,
  SilentAttempt,
} from "../../actors/ports/store.ts";
import type { Epochs } from "./epochs.ts";
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
      let skipped = 0;
      for (const decision of decisions) {
        const job = this.parts.jobs.standing(decision.jobId);
        if (job?.version !== decision.jobVersion || job.nextDueAt !== decision.expectedDueAt) {
          conflicts.push(decision.jobId);
          continue;
        }
        skipped += this.#apply(decision, job, now, messages);
      }
      return { ok: true, messages, skipped, conflicts };
    });
  }

  recoverable(now: number, limit: number): Promise<readonly Recoverable[]> {
    return this.parts.group.read(() => this.parts.recovery.recoverable(now, limit));
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
    let total = 0;
    while (true) {
      const changed = await this.parts.group.write(() =>
        this.#isCurrent(epoch) ? this.parts.recovery.wantPublishing(jobType, now, WANT_CHUNK) : 0
      );
      total += changed;
      if (changed < WANT_CHUNK) return total;
      await nextTurn();
    }
  }

  silentAttempts(before: number, limit: number): Promise<readonly SilentAttempt[]> {
    return this.parts.group.read(() => this.parts.recovery.silent(before, limit));
  }

  reap(
    epoch: number,
    lost: readonly SilentAttempt[],
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
  #apply(decision: Decision, job: JobStanding, now: number, messages: JobMessage[]): number {
    let skipped = 0;
    let openRange = job.openRange;
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
        });
        if (added.kind === "run") messages.push(added.message);
        if (added.kind === "skip") skipped += 1;
        openRange = null;
      } else {
        openRange = this.parts.ranges.extend(job, openRange, part, now);
      }
    }
    this.parts.jobs.advance(job.seq, { nextDueAt: decision.nextDueAt, decidedUntil: now, openRange });
    return skipped;
  }
}

function inOrder(decision: Decision): readonly (Slot | RangePart)[] {
  if (decision.ranges.length === 0) return decision.slots;
  const at = (part: Slot | RangePart) => "dueAt" in part ? part.dueAt : part.from;
  return [...decision.slots, ...decision.ranges].sort((left, right) => at(left) - at(right));
}
