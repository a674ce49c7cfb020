/** Jobs: their definitions, and pauses, which are kept apart from them. */
import { z } from "zod";
import { isDisabledNow } from "../actors/domain/auto_disable.ts";
import type { Job } from "../actors/domain/job.ts";
import type { SaveAnswer } from "../actors/ports/store.ts";
import type { ApiDeps } from "./deps.ts";
import { type Answer, type Endpoint, endpoint } from "./endpoint.ts";
import { type ApiProblem, invalidBody, notFound, problem } from "./errors.ts";
import { instantField, iso, queryBoolean, reasonField } from "./fields.ts";
import {
  atItsField,
  type DefinedJob,
  defineJob,
  type JobDefinition,
  jobDefinition,
} from "./job_definition.ts";
import { jobDetailView, jobView, viewJob, viewJobDetail } from "./job_view.ts";
import { knownTypes } from "./known_types.ts";
import { listView, page, pageQuery, withoutUndefined } from "./lists.ts";
import type { Payloads } from "./payload.ts";
import { POSITION_HEADERS } from "./read_after.ts";

/** The dispatcher may decide a due time between reading and saving; then the next due time is computed again. */
const SAVE_TRIES = 5;

/** How a definition is taken. */
export const saveQuery = z.strictObject({
  allowUnknownType: queryBoolean.optional().describe("Accept a job type that no worker offers yet"),
  allowPast: queryBoolean.optional().describe("An executeAt in the past is due at once instead of refused"),
});

const listQuery = z.strictObject({
  ...pageQuery,
  search: z.string().max(200).optional().describe("A part of the display name, letter for letter"),
  jobType: z.string().max(200).optional(),
  tag: z.string().max(64).optional(),
  isActive: queryBoolean.optional(),
  isPaused: queryBoolean.optional(),
  isAutoDisabled: queryBoolean.optional().describe("Disabled because it kept failing"),
});

const JOB = { description: "The job; its version is in the header ETag", schema: jobDetailView };
const TAG = "jobs";

/** The endpoints of jobs. */
export function jobEndpoints(deps: ApiDeps, payloads: Payloads): readonly Endpoint[] {
  const { store, clock, random, log } = deps;

  async function defined(
    definition: JobDefinition,
    parts: { readonly id: string; readonly now: number; readonly previous: Job | null },
    query: z.output<typeof saveQuery>,
  ): Promise<DefinedJob> {
    const { jobType } = definition;
    const types = await knownTypes(
      deps,
      jobType,
      query.allowUnknownType === true ? jobType : parts.previous?.jobType ?? null,
    );
    const answer = defineJob(definition, { ...parts, types, payloads, allowPast: query.allowPast ?? false });
    if (!answer.ok) throw invalidBody(answer.errors);
    return answer.job;
  }

  async function answerWith(status: number, job: Job, headers: Record<string, string> = {}): Promise<Answer> {
    return { status, body: await viewJobDetail(deps, job), headers: { etag: etagOf(job), ...headers } };
  }

  async function conflict(current: Job): Promise<ApiProblem> {
    const detail =
      `The job is at version ${current.version} now. Read it again, apply your change, and send that version.`;
    return problem("version_conflict", detail, {
      members: { current: await viewJobDetail(deps, current) },
      headers: { etag: etagOf(current) },
    });
  }

  const create = endpoint({
    method: "POST",
    path: "/api/v1/jobs",
    tag: TAG,
    summary: "Create a job",
    query: saveQuery,
    body: jobDefinition,
    answers: { 201: JOB },
    problems: ["json_invalid", "validation_failed"],
    async handle({ query, body, by }) {
      const id = random.uuid();
      const now = clock.now();
      const job = newJob(await defined(body, { id, now, previous: null }, query), now);
      await store.jobs.insert([job]);
      await announceJob(deps, job);
      log.info("Job created", { jobId: id, jobType: job.jobType, by });
      return await answerWith(201, job, { location: `/api/v1/jobs/${id}` });
    },
  });

  const list = endpoint({
    method: "GET",
    path: "/api/v1/jobs",
    tag: TAG,
    summary: "List jobs, newest first",
    query: listQuery,
    answers: { 200: { description: "A page of jobs", schema: listView(jobView) } },
    headers: POSITION_HEADERS,
    problems: ["request_invalid", "cursor_invalid"],
    async handle({ query: { limit, cursor, ...given }, context }) {
      const filter = withoutUndefined(given);
      const request = { storeId: store.storeId, list: "jobs", filter, limit, cursor };
      const { jobs } = store.reads.reader(context.get("readAfter"));
      return {
        status: 200,
        body: await page(
          request,
          (count, after) => jobs.list(filter, count, after),
          (job) => viewJob(job, clock.now()),
        ),
      };
    },
  });

  const read = endpoint({
    method: "GET",
    path: "/api/v1/jobs/{id}",
    tag: TAG,
    summary: "Read a job",
    answers: { 200: JOB },
    problems: ["id_invalid", "not_found"],
    handle: async ({ id }) => await answerWith(200, await jobOf(deps, id)),
  });

  const replace = endpoint({
    method: "PUT",
    path: "/api/v1/jobs/{id}",
    tag: TAG,
    summary: "Replace the definition of a job",
    description:
      "The whole definition: what is left out takes its default. A pause is not part of it, nor is being disabled by failures.",
    query: saveQuery,
    body: jobDefinition,
    headers: { "If-Match": 'The version that is replaced, as in ETag: "3"' },
    answers: { 200: JOB },
    problems: [
      "json_invalid",
      "id_invalid",
      "not_found",
      "version_conflict",
      "if_match_invalid",
      "if_match_required",
      "validation_failed",
    ],
    async handle({ id, query, body, by, context }) {
      const expected = readIfMatch(context.req.header("if-match"));
      for (let attempt = 1;; attempt++) {
        // Before the job is read: what is decided after that is later than `now`, and the store refuses to go back.
        const now = clock.now();
        const previous = await jobOf(deps, id);
        const version = expected ?? previous.version;
        if (previous.version !== version) throw await conflict(previous);
        const { pause, runCount, skippedDueTime, lastCatchUpAt, autoDisabled, createdAt } = previous;
        const job: Job = {
          ...await defined(body, { id, now, previous }, query),
          version: version + 1,
          pause,
          runCount,
          skippedDueTime,
          lastCatchUpAt,
          autoDisabled,
          createdAt,
          updatedAt: now,
        };
        const answer = await store.jobs.update(job, version);
        if (!answer.ok && answer.reason === "version-conflict") {
          if (answer.current.version === version && attempt < SAVE_TRIES) continue;
          throw await conflict(answer.current);
        }
        const saved = savedJob(answer, id);
        await announceJob(deps, saved);
        log.info("Job changed", { jobId: id, version: saved.version, by });
        if (skippedDueTime !== null && saved.skippedDueTime === null) {
          log.info("The due time to be left out is none of the new schedule and is forgotten", {
            jobId: id,
            dueAt: iso(skippedDueTime.dueAt),
          });
        }
        return await answerWith(200, saved);
      }
    },
  });

  const remove = endpoint({
    method: "DELETE",
    path: "/api/v1/jobs/{id}",
    tag: TAG,
    summary: "Delete a job and its history",
    answers: { 204: { description: "It is gone" } },
    problems: ["id_invalid", "not_found", "job_in_use"],
    async handle({ id, by }) {
      const answer = await store.jobs.remove(id);
      if (!answer.ok && answer.reason === "in-use") {
        const { occurrenceId } = answer;
        const detail = `Occurrence ${occurrenceId} is queued or running. Cancel it or wait for its end.`;
        throw problem("job_in_use", detail, { members: { occurrenceId } });
      }
      if (!answer.ok) throw notFound("job", id);
      await unindexed(deps, id);
      log.info("Job deleted", { jobId: id, by });
      return { status: 204 };
    },
  });

  const pause = endpoint({
    method: "POST",
    path: "/api/v1/jobs/{id}/pause",
    tag: TAG,
    summary: "Pause a job",
    description: "Due times that come meanwhile are recorded as paused and do not run. Triggers still do.",
    body: z.strictObject({
      reason: reasonField.optional(),
      until: instantField.nullable().optional().describe("When the pause ends by itself"),
    }),
    isBodyOptional: true,
    answers: { 200: JOB },
    problems: ["json_invalid", "id_invalid", "not_found", "validation_failed"],
    async handle({ id, body, by }) {
      const since = clock.now();
      const until = body.until ?? null;
      if (until !== null && until <= since) {
        throw invalidBody([
          atItsField({ field: "until", code: "in_past", message: "until must be in the future." }),
        ]);
      }
      const reason = body.reason ?? "no reason given";
      return await changed("Job paused", {
        by,
        reason,
        answer: await store.jobs.setPause(id, { reason, by, since, until }),
        id,
      });
    },
  });

  const resume = endpoint({
    method: "POST",
    path: "/api/v1/jobs/{id}/resume",
    tag: TAG,
    summary: "End the pause of a job",
    description: "A job that is not paused stays as it is. The reason goes to the log.",
    body: z.strictObject({ reason: reasonField.optional() }),
    isBodyOptional: true,
    answers: { 200: JOB },
    problems: ["json_invalid", "id_invalid", "not_found", "validation_failed"],
    async handle({ id, body, by }) {
      const answer = await store.jobs.resume(id, clock.now());
      return await changed("Job resumed", { reason: body.reason, answer, id, by });
    },
  });

  const enable = endpoint({
    method: "POST",
    path: "/api/v1/jobs/{id}/enable",
    tag: TAG,
    summary: "Enable a job that was disabled because it kept failing",
    description:
      "Due times that came meanwhile do not run, decided or not, and its failures are counted from nothing. " +
      "A job that was not disabled so stays as it is. The reason goes to the log.",
    body: z.strictObject({ reason: reasonField.optional() }),
    isBodyOptional: true,
    answers: { 200: JOB },
    problems: ["json_invalid", "id_invalid", "not_found", "validation_failed"],
    async handle({ id, body, by }) {
      const { autoDisabled } = await jobOf(deps, id);
      const at = clock.now();
      const job = savedJob(await store.jobs.enable(id, at), id);
      if (!isDisabledNow(autoDisabled)) return await answerWith(200, job);
      await announceJob(deps, job);
      const { failures, occurrenceId } = autoDisabled;
      const reason = `Enabled by ${by}: ${body.reason ?? "no reason given"}`;
      deps.events.publish([
        {
          type: "jobAutoDisabled",
          jobId: id,
          change: "enabled",
          failures,
          occurrenceId,
          reason,
          probeAt: null,
          at,
        },
      ]);
      deps.meter.count("jobs_auto_disabled_total", 1, { change: "enabled" });
      log.info("Job enabled", { jobId: id, reason: body.reason, by });
      return await answerWith(200, job);
    },
  });

  async function changed(
    what: string,
    { id, answer, reason, by }: {
      readonly by: string;
      readonly id: string;
      readonly answer: SaveAnswer;
      readonly reason: string | undefined;
    },
  ): Promise<Answer> {
    const job = savedJob(answer, id);
    await announceJob(deps, job);
    log.info(what, { jobId: id, reason, by });
    return await answerWith(200, job);
  }

  return [list, create, read, replace, remove, pause, resume, enable];
}

/** A job that was not there before. */
export function newJob(defined: DefinedJob, now: number): Job {
  return {
    ...defined,
    version: 1,
    pause: null,
    runCount: 0,
    skippedDueTime: null,
    lastCatchUpAt: null,
    autoDisabled: null,
    createdAt: now,
    updatedAt: now,
  };
}

/** The job with this id. Throws ApiProblem (404). */
export async function jobOf(deps: Pick<ApiDeps, "store">, id: string): Promise<Job> {
  const job = await deps.store.jobs.get(id);
  if (job === null) throw notFound("job", id);
  return job;
}

export function savedJob(answer: SaveAnswer, id: string): Job {
  if (answer.ok) return answer.job;
  throw notFound("job", id);
}

function etagOf(job: Job): string {
  return `"${job.version}"`;
}

/** The expected version; null for `*`, any version. Throws ApiProblem when it is missing or none. */
function readIfMatch(header: string | undefined): number | null {
  if (header === undefined) {
    throw problem(
      "if_match_required",
      "Send the version you have read in the header If-Match, as it came in ETag.",
    );
  }
  if (header.trim() === "*") return null;
  const version = /^\s*"?(\d{1,15})"?\s*$/.exec(header)?.[1];
  if (version !== undefined) return Number(version);
  throw problem("if_match_invalid", 'If-Match is one version as it came in ETag, e.g. "3".');
}

/** Tells the dispatcher, after the commit. When it fails, the leader's slow poll finds the job. */
export async function announceJob(deps: ApiDeps, job: Job): Promise<void> {
  if (job.nextDueAt === null) return await unindexed(deps, job.id);
  await indexJobs(deps, [job]);
}

/** The same for jobs that are new. */
export async function indexJobs(deps: ApiDeps, jobs: readonly Job[]): Promise<void> {
  const entries = jobs.flatMap(({ id, nextDueAt }) =>
    nextDueAt === null ? [] : [{ jobId: id, dueAt: nextDueAt }]
  );
  await told(
    deps,
    jobs.map((job) => job.id),
    () => entries.length === 0 ? Promise.resolve() : deps.dueIndex.put(entries),
  );
}

async function unindexed(deps: ApiDeps, jobId: string): Promise<void> {
  await told(deps, [jobId], () => deps.dueIndex.remove([jobId]));
}

async function told(deps: ApiDeps, jobIds: readonly string[], index: () => Promise<void>): Promise<void> {
  try {
    await index();
  } catch (error) {
    deps.log.warn(`Cannot move jobs in the due index, the next poll will: ${error}`, {
      jobId: jobIds[0] ?? "",
      jobs: jobIds.length,
    });
  }
  const at = deps.clock.now();
  deps.events.publish(jobIds.map((jobId) => ({ type: "jobChanged", jobId, at })));
}
