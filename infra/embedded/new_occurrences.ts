/** New occurrences: whether each runs, waits or is skipped is decided by its job's policy, in the same transaction. */
import { admit, policyFor } from "../../actors/domain/concurrency.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import { ASKED_FOR, type Origin, ORIGINS, statusNumber } from "../../actors/domain/occurrence.ts";
import type { ChangedOccurrence } from "../../actors/ports/store.ts";
import type { Counters } from "./counters.ts";
import type { Database, Statement } from "./database.ts";
import type { Participant } from "./group_commit.ts";
import { type JobHold, PUBLISHED_WITHIN_MS } from "./job_hold.ts";
import type { JobMessages } from "./job_messages.ts";
import type { JobStanding } from "./job_rows.ts";
import type { Terms } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const SKIPPED = statusNumber("Skipped");

export interface NewOccurrence {
  readonly id: string;
  readonly job: JobStanding;
  readonly terms: Terms;
  readonly origin: Origin;
  readonly scheduledFor: number;
  readonly createdAt: number;
  /** Null takes the job's. */
  readonly jobData: string | null;
  readonly reason: string | null;
  readonly isForced: boolean;
  /** It does not start before this moment; null when it may at once. */
  readonly notBefore: number | null;
}

/** What became of a new occurrence. `duplicate`: its due time was decided before. */
export type Added =
  | { readonly kind: "run"; readonly message: JobMessage }
  | { readonly kind: "later" | "wait" | "skip"; readonly changed: ChangedOccurrence }
  | { readonly kind: "duplicate" };

export class NewOccurrences implements Participant {
  #lastSeq: number;
  readonly #maxSeq: Statement;
  readonly #insert: Statement;

  constructor(
    database: Database,
    private readonly hold: JobHold,
    private readonly messages: JobMessages,
    private readonly counters: Counters,
  ) {
    this.#maxSeq = database.prepare("SELECT coalesce(max(seq), 0) FROM occurrences");
    this.#lastSeq = this.#readLastSeq();
    this.#insert = database.prepare(
      `INSERT INTO occurrences (seq, id, job, terms, origin, twin, holds_job, status, scheduled_for, created_at, ended_at,
         ready_at, next_action_at, blocked_by, created_reason, reason, job_data, not_before)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (job, scheduled_for, twin) DO NOTHING`,
    );
  }

  /** Inserts an occurrence and decides by its job's policy whether it runs, waits or is skipped. */
  add(one: NewOccurrence): Added {
    const { job, terms, scheduledFor, createdAt } = one;
    const admission = this.#admit(one);
    const isReady = admission.kind === "run";
    const startsLater = one.notBefore !== null && one.notBefore > createdAt;
    const readyAt = startsLater ? one.notBefore : createdAt;
    const isSkipped = admission.kind === "skip" || admission.kind === "full";
    const isAskedFor = ASKED_FOR.includes(one.origin);
    const seq = ++this.#lastSeq;
    const values = [
      seq,
      one.id,
      job.seq,
      terms.seq,
      ORIGINS.indexOf(one.origin),
      isAskedFor ? seq : 0,
      job.definition.concurrentExecutionPolicy === "Allow" ? 0 : 1,
      isSkipped ? SKIPPED : QUEUED,
      scheduledFor,
      createdAt,
      isSkipped ? createdAt : null,
      isReady ? readyAt : null,
      isReady ? (startsLater ? readyAt : createdAt + PUBLISHED_WITHIN_MS) : null,
      admission.blockedBy,
      one.reason,
      admission.reason,
      one.jobData,
      one.notBefore,
    ] as const;
    // What was asked for has no twin, so only due times pay for the count of changed rows.
    if (isAskedFor) this.#insert.execute(...values);
    else if (this.#insert.change(...values) === 0) return { kind: "duplicate" };
    this.counters.add(isSkipped ? `status.${SKIPPED}` : `status.${QUEUED}`, 1);
    if (isSkipped || !isReady || startsLater) {
      return {
        kind: isSkipped ? "skip" : isReady ? "later" : "wait",
        changed: {
          occurrenceId: one.id,
          jobId: terms.jobId,
          jobType: terms.jobType,
          status: isSkipped ? "Skipped" : "Queued",
          attempt: 0,
          scheduledFor,
          reason: admission.reason,
        },
      };
    }
    return {
      kind: "run",
      message: this.messages.make({ ...one, token: 0, attempt: 0 }),
    };
  }

  beforeCommit(): void {}

  rolledBack(): void {
    this.#lastSeq = this.#readLastSeq();
  }

  #readLastSeq(): number {
    return Number(this.#maxSeq.row()?.[0]);
  }

  #admit({ job, origin, isForced }: NewOccurrence): {
    readonly kind: "run" | "wait" | "skip" | "full";
    readonly blockedBy: number | null;
    readonly reason: string | null;
  } {
    const policy = policyFor(job.definition.concurrentExecutionPolicy, origin);
    const holder = policy === "Allow" ? null : this.hold.holder(job.seq);
    if (holder === null) return { kind: "run", blockedBy: null, reason: null };
    const count = policy === "Queue" ? this.hold.count(job.seq) : 1;
    const admission = admit(policy, { count, holder: holder.id }, isForced);
    const blockedBy = holder.seq;
    switch (admission.kind) {
      case "run":
        return { kind: "run", blockedBy: null, reason: null };
      case "wait":
        return {
          kind: "wait",
          blockedBy,
          reason:
            `Waits for occurrence ${admission.behind} (policy ${job.definition.concurrentExecutionPolicy})`,
        };
      case "skip":
        return {
          kind: "skip",
          blockedBy,
          reason: `Skipped: occurrence ${admission.because} was queued or running (policy Skip)`,
        };
      case "full":
        return {
          kind: "full",
          blockedBy,
          reason:
            `Skipped: ${admission.waiting} occurrences already wait for ${admission.because} (policy Queue)`,
        };
    }
  }
}
