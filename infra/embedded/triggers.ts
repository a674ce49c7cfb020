/** Triggers: occurrences that a person or program asked for, each request once by its idempotency key. */
import { probeEntry } from "../../actors/domain/auto_disable.ts";
import { type TriggerRefusal, triggerRefusal } from "../../actors/domain/concurrency.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import { type OccurrenceStatus, statusOf } from "../../actors/domain/occurrence.ts";
import type { ChangedOccurrence, TriggerAnswer, TriggerRequest } from "../../actors/ports/store.ts";
import type { Database, Statement } from "./database.ts";
import type { FailingJobs } from "./failing_jobs.ts";
import type { IdempotencyKeys } from "./idempotency_keys.ts";
import type { JobHold } from "./job_hold.ts";
import type { JobRows, JobStanding } from "./job_rows.ts";
import type { NewOccurrences } from "./new_occurrences.ts";
import type { TermsBook } from "./terms.ts";

export class Triggers {
  readonly #status: Statement;

  constructor(
    database: Database,
    private readonly keys: IdempotencyKeys,
    private readonly jobs: JobRows,
    private readonly hold: JobHold,
    private readonly occurrences: NewOccurrences,
    private readonly terms: TermsBook,
    private readonly failing: FailingJobs,
  ) {
    this.#status = database.prepare("SELECT status FROM occurrences WHERE id = ?");
  }

  /**
   * Inside a transaction. Under Skip the whole request is refused while a run is on; when none is, the first item
   * runs and the others are Skipped because of it, so that each id in the answer can be looked up. Under Queue there
   * is room for all of them, or the whole request is refused.
   */
  trigger(request: TriggerRequest): TriggerAnswer {
    const { jobId, at, items, force, idempotency } = request;
    const seen = this.keys.find(idempotency, at);
    if (seen === "mismatch") return { ok: false, reason: "idempotency-mismatch" };
    if (seen !== null) {
      const statuses = seen.map((id) => this.#statusOf(id));
      return { ok: true, occurrenceIds: seen, statuses, messages: [], unsent: [], replayed: true };
    }
    const job = this.jobs.standing(jobId);
    if (job === null) return { ok: false, reason: "not-found" };
    if (!job.definition.isActive) return { ok: false, reason: "disabled" };
    const refusal = this.#refusal(job, { wanted: items.length, isForced: force });
    if (refusal !== null) return { ok: false, ...refusal };
    const entry = probeEntry(job.autoDisabled, items.length, force);
    if (!entry.ok) return entry;
    let mayProbe = entry.mayProbe;
    const terms = this.terms.of(job, request.defaultsOf(job.definition.jobType));
    const reason = `Triggered by ${request.by}` + (request.reason === null ? "" : `: ${request.reason}`);
    const messages: JobMessage[] = [];
    const unsent: ChangedOccurrence[] = [];
    const statuses: OccurrenceStatus[] = [];
    for (const item of items) {
      const added = this.occurrences.add({
        id: item.occurrenceId,
        job,
        terms,
        origin: "trigger",
        scheduledFor: at,
        createdAt: at,
        jobData: item.jobData,
        reason,
        isForced: force,
        notBefore: null,
      });
      if (added.kind === "run") messages.push(added.message);
      else if (added.kind !== "duplicate") unsent.push(added.changed);
      statuses.push(added.kind === "skip" ? "Skipped" : "Queued");
      if (mayProbe && job.autoDisabled !== null && (added.kind === "run" || added.kind === "wait")) {
        mayProbe = false;
        this.failing.keep(job.seq, { ...job.autoDisabled, probeId: item.occurrenceId }, job.nextDueAt);
      }
    }
    const occurrenceIds = items.map((item) => item.occurrenceId);
    this.keys.keep(idempotency, at, occurrenceIds);
    return { ok: true, occurrenceIds, statuses, messages, unsent, replayed: false };
  }

  #refusal(
    { seq, definition: { concurrentExecutionPolicy: policy } }: JobStanding,
    asked: { readonly wanted: number; readonly isForced: boolean },
  ): TriggerRefusal | null {
    if (policy === "Allow") return null;
    const holder = this.hold.holder(seq)?.id ?? null;
    const count = policy === "Queue" ? this.hold.count(seq) : 1;
    return triggerRefusal(policy, { holder, count }, asked);
  }

  #statusOf(id: string): OccurrenceStatus | null {
    const row = this.#status.row(id);
    return row === undefined ? null : statusOf(Number(row[0]));
  }
}
