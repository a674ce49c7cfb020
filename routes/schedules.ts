/** When: the coming due times of a job, or of a schedule that is not saved yet. */
import { z } from "zod";
import type { Job } from "../actors/domain/job.ts";
import type { Timing } from "../actors/domain/plan.ts";
import { clockChanges, type NextRun, nextRuns } from "../actors/domain/next_runs.ts";
import { parseSchedule } from "../actors/domain/schedule.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { invalidBody } from "./errors.ts";
import { idField, instantField, iso, momentView, queryInteger } from "./fields.ts";
import { atItsField, scheduleFields } from "./job_definition.ts";
import { jobOf } from "./jobs.ts";

const DEFAULT_COUNT = 10;
const MAX_COUNT = 100;
const TAG = "schedules";

const nextRunsView = z.strictObject({
  timeZone: z.string().nullable(),
  resolvedCronExpression: z.string().nullable(),
  items: z.array(z.strictObject({
    at: momentView,
    localTime: z.string().describe("In the schedule's zone"),
    offset: z.string(),
    note: z.string().nullable().describe("What a clock change does to it, or that it is left out"),
  })),
  clockChanges: z.array(z.strictObject({
    at: momentView,
    kind: z.enum(["gap", "fold"]),
    localBefore: z.string(),
    localAfter: z.string(),
    offsetBefore: z.string(),
    offsetAfter: z.string(),
    effect: z.string(),
  })).describe("The next two clock changes of the zone, and what becomes of the schedule then"),
}).meta({ id: "NextRuns" });

/** The endpoints about due times. */
export function scheduleEndpoints(deps: ApiDeps): readonly Endpoint[] {
  const { clock, random } = deps;

  const ofJob = endpoint({
    method: "GET",
    path: "/api/v1/jobs/{id}/next-runs",
    tag: TAG,
    summary: "Show the next due times of a job",
    query: z.strictObject({ count: queryInteger(1, MAX_COUNT).optional() }),
    answers: { 200: { description: "Due times, soonest first", schema: nextRunsView } },
    problems: ["id_invalid", "not_found", "request_invalid"],
    async handle({ id, query }) {
      const job = await jobOf(deps, id);
      return { status: 200, body: preview(job, clock.now(), query.count ?? DEFAULT_COUNT, job) };
    },
  });

  const before = endpoint({
    method: "POST",
    path: "/api/v1/schedules/next-runs",
    tag: TAG,
    summary: "Show the next due times of a schedule before it is saved",
    description: "H stands for the times of jobId, or of some job when there is none yet.",
    body: z.strictObject({
      ...scheduleFields,
      startAt: instantField.nullable().optional(),
      endAt: instantField.nullable().optional(),
      jobId: idField.nullable().optional(),
      count: z.int().min(1).max(MAX_COUNT).optional(),
    }),
    answers: { 200: { description: "Due times, soonest first", schema: nextRunsView } },
    problems: ["json_invalid", "validation_failed"],
    handle({ body }) {
      const now = clock.now();
      const parsed = parseSchedule(body, { jobId: body.jobId ?? random.uuid(), now });
      if (!parsed.ok) throw invalidBody(parsed.problems.map(atItsField));
      const timing = { schedule: parsed.schedule, startAt: body.startAt ?? null, endAt: body.endAt ?? null };
      return { status: 200, body: preview(timing, now, body.count ?? DEFAULT_COUNT) };
    },
  });

  return [ofJob, before];
}

/** The runs of a saved job: one may be left out, and a run limit ends them. */
function runsOf(job: Job, runs: readonly NextRun[]): readonly NextRun[] {
  const { skippedDueTime: skipped, runLimit } = job;
  let left = runLimit === null ? Infinity : runLimit - job.runCount;
  return runs.flatMap((run) => {
    if (left <= 0) return [];
    if (run.at === skipped?.dueAt) {
      return { ...run, note: `left out: skipped by ${skipped.by}, "${skipped.reason}"` };
    }
    left -= 1;
    return run;
  });
}

function preview(
  { schedule, startAt, endAt }: Timing,
  now: number,
  count: number,
  job: Job | null = null,
): z.output<typeof nextRunsView> {
  const after = startAt === null ? now : Math.max(now, startAt - 1);
  const inWindow = nextRuns(schedule, after, count).filter(({ at }) => endAt === null || at < endAt);
  const runs = job === null ? inWindow : runsOf(job, inWindow);
  return {
    timeZone: schedule.kind === "cron" ? schedule.timeZone : null,
    resolvedCronExpression: schedule.kind === "cron" ? schedule.resolved : null,
    items: runs.map((run) => ({ ...run, at: iso(run.at) })),
    clockChanges: clockChanges(schedule, now).map((change) => ({ ...change, at: iso(change.at) })),
  };
}
