/** When: the coming due times of a job or of a schedule that is not saved yet, and why one did or did not run. */
import { z } from "zod";
import type { Timing } from "../actors/domain/plan.ts";
import { explainDueTime } from "../actors/domain/explain.ts";
import { clockChanges, nextRuns } from "../actors/domain/next_runs.ts";
import { parseSchedule } from "../actors/domain/schedule.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { invalidBody } from "./errors.ts";
import { idField, instantField, iso, isoOrNull, momentView, queryInteger } from "./fields.ts";
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
    note: z.string().nullable().describe("What a clock change does to it"),
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

const explanationView = z.strictObject({
  jobId: z.uuid(),
  at: momentView,
  verdict: z.string().describe("A status, the reason of a range, or why there is neither"),
  sentence: z.string(),
  evidence: z.array(z.string()).describe("The ids behind it"),
  nearest: z.strictObject({ before: momentView.nullable(), after: momentView.nullable() }).nullable()
    .describe("When nothing is due then: the due times around it"),
}).meta({ id: "Explanation" });

/** The endpoints about due times. */
export function scheduleEndpoints(deps: ApiDeps): readonly Endpoint[] {
  const { store, clock, random } = deps;

  const ofJob = endpoint({
    method: "GET",
    path: "/api/v1/jobs/{id}/next-runs",
    tag: TAG,
    summary: "Show the next due times of a job",
    query: z.strictObject({ count: queryInteger(1, MAX_COUNT).optional() }),
    answers: { 200: { description: "Due times, soonest first", schema: nextRunsView } },
    problems: ["id_invalid", "not_found", "request_invalid"],
    async handle({ id, query }) {
      return { status: 200, body: preview(await jobOf(deps, id), clock.now(), query.count ?? DEFAULT_COUNT) };
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

  const explain = endpoint({
    method: "GET",
    path: "/api/v1/jobs/{id}/explain",
    tag: TAG,
    summary: "Say why a due time did or did not run",
    query: z.strictObject({ at: instantField.describe("The due time, ISO 8601 with offset") }),
    answers: { 200: { description: "The ledger's answer", schema: explanationView } },
    problems: ["id_invalid", "not_found", "request_invalid"],
    async handle({ id, query: { at } }) {
      const [job, occurrence, range] = await Promise.all([
        jobOf(deps, id),
        store.history.occurrenceAt(id, at),
        store.history.rangeAt(id, at),
      ]);
      const detail = occurrence?.status === "Skipped" ? await store.history.occurrence(occurrence.id) : null;
      const blockedBy = detail?.blockedBy ?? null;
      const answer = explainDueTime({ job, at, occurrence, blockedBy, range, now: clock.now() });
      const { verdict, sentence, evidence, nearest } = answer;
      const around = nearest === null
        ? null
        : { before: isoOrNull(nearest.before), after: isoOrNull(nearest.after) };
      return { status: 200, body: { jobId: id, at: iso(at), verdict, sentence, evidence, nearest: around } };
    },
  });

  return [ofJob, before, explain];
}

function preview(
  { schedule, startAt, endAt }: Timing,
  now: number,
  count: number,
): z.output<typeof nextRunsView> {
  const after = startAt === null ? now : Math.max(now, startAt - 1);
  const runs = nextRuns(schedule, after, count).filter(({ at }) => endAt === null || at < endAt);
  return {
    timeZone: schedule.kind === "cron" ? schedule.timeZone : null,
    resolvedCronExpression: schedule.kind === "cron" ? schedule.resolved : null,
    items: runs.map((run) => ({ ...run, at: iso(run.at) })),
    clockChanges: clockChanges(schedule, now).map((change) => ({ ...change, at: iso(change.at) })),
  };
}
