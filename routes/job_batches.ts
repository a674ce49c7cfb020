/** Many jobs in one request: all of them, or none and everything that is wrong with any of them. */
import { z } from "zod";
import type { Job } from "../actors/domain/job.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { type FieldError, invalidBody } from "./errors.ts";
import { defineJob, type JobDefinition, jobDefinition } from "./job_definition.ts";
import { indexJobs, newJob, saveQuery } from "./jobs.ts";
import { type KnownTypes, knownTypes } from "./known_types.ts";
import type { Payloads } from "./payload.ts";

/** What one request may create. */
export const MAX_JOBS = 1000;
/** Values in the body: a definition has some dozens. */
const MAX_BODY_ITEMS = 100_000;

const createMany = z.strictObject({ jobs: z.array(jobDefinition).min(1).max(MAX_JOBS) });

const createdView = z.strictObject({
  ids: z.array(z.uuid()).describe("Of the jobs, in the order of the request"),
}).meta({ id: "CreatedJobs" });

/** The endpoint that creates many jobs at once. */
export function jobBatchEndpoints(deps: ApiDeps, payloads: Payloads): readonly Endpoint[] {
  const { store, clock, random, log } = deps;

  const create = endpoint({
    method: "POST",
    path: "/api/v1/jobs/create-many",
    tag: "jobs",
    summary: `Create up to ${MAX_JOBS} jobs`,
    description: "All or none.",
    query: saveQuery,
    body: createMany,
    maxBodyItems: MAX_BODY_ITEMS,
    answers: { 201: { description: "The jobs are saved", schema: createdView } },
    problems: ["json_invalid", "validation_failed"],
    async handle({ query, body, by }) {
      const typesOf = await typesOfAll(body.jobs, query.allowUnknownType === true);
      const now = clock.now();
      const jobs: Job[] = [];
      const errors: FieldError[] = [];
      for (const [index, definition] of body.jobs.entries()) {
        const answer = defineJob(definition, {
          id: random.uuid(),
          now,
          previous: null,
          allowPast: query.allowPast ?? false,
          types: typesOf(definition.jobType),
          payloads,
        });
        if (answer.ok) jobs.push(newJob(answer.job, now));
        else errors.push(...answer.errors.map((error) => within(index, error)));
      }
      if (errors.length > 0) throw invalidBody(errors);
      await store.jobs.insert(jobs);
      await indexJobs(deps, jobs);
      log.info("Jobs created", { count: jobs.length, by });
      return { status: 201, body: { ids: jobs.map((job) => job.id) } };
    },
  });

  /** Each type is asked about once. */
  async function typesOfAll(
    definitions: readonly JobDefinition[],
    acceptsUnknown: boolean,
  ): Promise<(jobType: string) => KnownTypes> {
    const known = new Map<string, KnownTypes>();
    for (const { jobType } of definitions) {
      if (known.has(jobType)) continue;
      known.set(jobType, await knownTypes(deps, jobType, acceptsUnknown ? jobType : null));
    }
    return (jobType) => known.get(jobType) as KnownTypes;
  }

  return [create];
}

/** A problem of one definition, at its place in the body, which its sentence names as well. */
function within(index: number, error: FieldError): FieldError {
  const at = `jobs.${index}`;
  const { field, pointer, message } = error;
  const separator = message.startsWith(`${field} `) ? "." : ": ";
  return {
    ...error,
    field: `${at}.${field}`,
    pointer: `/jobs/${index}${pointer}`,
    message: `${at}${separator}${message}`,
  };
}
