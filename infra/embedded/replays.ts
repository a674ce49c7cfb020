/** Replays: new occurrences with the payload of failed ones, linked to them, under their job's policy. */
import { admit } from "../../actors/domain/concurrency.ts";
import type { ReplayRefusal } from "../../actors/ports/failed_occurrences.ts";
import type { Replay, Replayed } from "../replay.ts";
import type { FailedRows } from "./failed_rows.ts";
import type { JobHold } from "./job_hold.ts";
import type { JobRows, JobStanding } from "./job_rows.ts";
import type { NewOccurrences } from "./new_occurrences.ts";
import type { TermsBook } from "./terms.ts";

export class Replays {
  constructor(
    private readonly parts: {
      readonly failed: FailedRows;
      readonly jobs: JobRows;
      readonly hold: JobHold;
      readonly occurrences: NewOccurrences;
      readonly terms: TermsBook;
    },
  ) {}

  /** Inside a transaction. */
  begin(replay: Replay): Replayed {
    const { failed, jobs, occurrences, terms } = this.parts;
    const row = failed.replayed(replay.id);
    const job = row === null ? null : jobs.standing(row.jobId);
    if (row === null || job === null) return { ok: false, reason: "not-found" };
    if (!job.definition.isActive) return { ok: false, reason: "disabled" };
    const refusal = this.#refusal(replay, job);
    if (refusal !== null) return { ok: false, ...refusal };
    const { jobType } = job.definition;
    const added = occurrences.add({
      id: replay.occurrenceId,
      job,
      terms: terms.of(job, replay.defaultsOf(jobType)),
      origin: "replay",
      scheduledFor: replay.at,
      createdAt: replay.at,
      jobData: replay.jobData ?? row.jobData,
      reason: replayReason(replay),
      isForced: replay.force,
      notBefore: null,
    });
    failed.addReplay({
      occurrenceId: replay.occurrenceId,
      failedId: replay.id,
      job: job.seq,
      scheduledFor: replay.at,
      actionId: replay.actionId,
    });
    return { ok: true, jobId: row.jobId, jobType, message: added.kind === "run" ? added.message : null };
  }

  #refusal(replay: Replay, job: JobStanding): ReplayRefusal | null {
    const on = this.parts.failed.replayOn(replay.id);
    if (on !== null && !replay.force) return { reason: "replay-on", occurrenceId: on };
    const policy = job.definition.concurrentExecutionPolicy;
    const holder = policy === "Allow" ? null : this.parts.hold.holder(job.seq);
    if (holder === null) return null;
    const count = policy === "Queue" ? this.parts.hold.count(job.seq) : 1;
    const admission = admit(policy, { count, holder: holder.id }, replay.force);
    if (admission.kind === "skip") return { reason: "overlap", occurrenceId: holder.id };
    return admission.kind === "full" ? { reason: "queue-full", occurrenceId: holder.id } : null;
  }
}

/** Why the new occurrence is there. */
export function replayReason({ id, by, reason }: Pick<Replay, "id" | "by" | "reason">): string {
  return `Replay of ${id} by ${by}` + (reason === null ? "" : `: ${reason}`);
}
