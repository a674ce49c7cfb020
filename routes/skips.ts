/** Leaving out one due time of a job: kept beside its definition, so that saving the definition cannot undo it. */
import { z } from "zod";
import { type Job, pauseAt, type SkippedDueTime } from "../actors/domain/job.ts";
import { nextInWindow } from "../actors/domain/plan.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { notFound, problem } from "./errors.ts";
import { iso, isoOrNull, momentView, reasonField } from "./fields.ts";
import { announceJob, jobOf } from "./jobs.ts";

/** The dispatcher may decide a due time between reading and saving; then it is another one that is next. */
const SAVE_TRIES = 5;
const TAG = "jobs";

const skipView = z.strictObject({
  jobId: z.uuid(),
  dueAt: momentView.describe("The due time that is left out"),
  reason: z.string(),
  by: z.string(),
  since: momentView,
  isNew: z.boolean().describe("False when it was to be left out already: nothing has changed"),
  thenDueAt: momentView.nullable().describe("The due time after it"),
}).meta({ id: "SkippedDueTime" });

const unskipView = z.strictObject({
  jobId: z.uuid(),
  dueAt: momentView.nullable().describe("The due time that runs after all; null when none was left out"),
}).meta({ id: "UnskippedDueTime" });

/** The endpoints about due times that are left out. */
export function skipEndpoints(deps: ApiDeps): readonly Endpoint[] {
  const { store, clock, log } = deps;

  const skip = endpoint({
    method: "POST",
    path: "/api/v1/jobs/{id}/skip-next",
    tag: TAG,
    summary: "Leave out the next due time of a job",
    description:
      "Once more while it has not come changes nothing: it is the same due time. Triggers still run.",
    body: z.strictObject({ reason: reasonField.optional() }),
    isBodyOptional: true,
    answers: { 200: { description: "What is left out", schema: skipView } },
    problems: ["json_invalid", "id_invalid", "not_found", "validation_failed", "state_conflict"],
    async handle({ id, body, by }) {
      const since = clock.now();
      const reason = body.reason ?? "no reason given";
      const { before, saved } = await change(id, (job) => {
        const dueAt = nextToSkip(job, since);
        checkWouldRun(job, dueAt);
        return dueAt === job.skippedDueTime?.dueAt ? job.skippedDueTime : { dueAt, reason, by, since };
      });
      const skipped = saved.skippedDueTime;
      if (skipped === null) throw new Error(`job ${id} was saved without its skipped due time`);
      const isNew = before?.dueAt !== skipped.dueAt;
      if (isNew) {
        log.info("The next due time of a job is left out", {
          jobId: id,
          ...skipped,
          dueAt: iso(skipped.dueAt),
        });
      }
      return {
        status: 200,
        body: {
          jobId: id,
          ...skipped,
          dueAt: iso(skipped.dueAt),
          since: iso(skipped.since),
          isNew,
          thenDueAt: isoOrNull(nextInWindow(saved, skipped.dueAt)),
        },
      };
    },
  });

  const unskip = endpoint({
    method: "DELETE",
    path: "/api/v1/jobs/{id}/skip-next",
    tag: TAG,
    summary: "Let the due time run that was to be left out",
    description: "A job that leaves out none stays as it is.",
    answers: { 200: { description: "What runs after all", schema: unskipView } },
    problems: ["id_invalid", "not_found", "state_conflict"],
    async handle({ id, by }) {
      const { before } = await change(id, () => null);
      if (before !== null) {
        log.info("The next due time of a job runs after all", {
          jobId: id,
          dueAt: iso(before.dueAt),
          by,
        });
      }
      return { status: 200, body: { jobId: id, dueAt: isoOrNull(before?.dueAt ?? null) } };
    },
  });

  /** Changes what a job leaves out, by how it stands. Throws ApiProblem. */
  async function change(
    id: string,
    toSkip: (job: Job) => SkippedDueTime | null,
  ): Promise<{ readonly before: SkippedDueTime | null; readonly saved: Job }> {
    for (let tries = 1;; tries++) {
      const job = await jobOf(deps, id);
      const skipped = toSkip(job);
      if (skipped === job.skippedDueTime) return { before: skipped, saved: job };
      const answer = await store.jobs.skipDueTime(job, skipped);
      if (answer.ok) {
        await announceJob(deps, answer.job);
        return { before: job.skippedDueTime, saved: answer.job };
      }
      if (answer.reason === "not-found") throw notFound("job", id);
      if (tries === SAVE_TRIES) {
        throw problem(
          "state_conflict",
          "The due times of the job come faster than they can be left out. Pause it.",
        );
      }
    }
  }

  return [skip, unskip];
}

/** Refuses to leave out a due time that would not run anyway. Throws ApiProblem. */
function checkWouldRun(job: Job, dueAt: number): void {
  const at = iso(dueAt);
  if (!job.isActive) {
    throw problem("state_conflict", `The job is not active: its due time ${at} would not run anyway.`, {
      members: { state: "inactive", dueAt: at },
    });
  }
  const pause = pauseAt(job, dueAt);
  if (pause === null) return;
  const end = pause.until === null ? "until it is resumed" : `until ${iso(pause.until)}`;
  throw problem("state_conflict", `The job is paused ${end}: its due time ${at} would not run anyway.`, {
    members: { state: "paused", dueAt: at },
  });
}

/** The due time that is next for a person; one that is left out and not decided yet stays it. Throws ApiProblem. */
function nextToSkip(job: Job, now: number): number {
  const { nextDueAt, skippedDueTime } = job;
  if (skippedDueTime !== null && nextDueAt !== null && nextDueAt <= skippedDueTime.dueAt) {
    return skippedDueTime.dueAt;
  }
  const next = nextDueAt === null || nextDueAt > now ? nextDueAt : nextInWindow(job, now);
  if (next !== null) return next;
  throw problem("state_conflict", "The job has no due time to come: there is nothing to leave out.");
}
