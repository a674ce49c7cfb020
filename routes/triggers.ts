/** Triggers: runs of a job that somebody asks for, one or many at once. */
import { z } from "zod";
import type { Json } from "../actors/domain/job_type.ts";
import { OCCURRENCE_STATUSES } from "../actors/domain/occurrence.ts";
import type { TriggerItem } from "../actors/ports/store.ts";
import { announceUnsent } from "../actors/announce.ts";
import { publishCommitted } from "../actors/publish.ts";
import type { ApiDeps } from "./deps.ts";
import { type Answer, type Call, type Endpoint, endpoint } from "./endpoint.ts";
import { type ApiProblem, type FieldError, invalidBody, notFound, problem } from "./errors.ts";
import { iso, momentView, reasonField } from "./fields.ts";
import { sha256 } from "./guard.ts";
import { jobOf } from "./jobs.ts";
import type { Payloads } from "./payload.ts";

/** How many runs one request may ask for. */
export const MAX_TRIGGERS = 1000;

/** A thousand payloads of some dozen keys each. */
const MAX_BODY_ITEMS = 50_000;

const TAG = "jobs";
const HEADERS = {
  "Idempotency-Key":
    "Makes the request safe to repeat for 24 hours: the same key gives the first answer again",
};
const PROBLEMS = [
  "json_invalid",
  "id_invalid",
  "not_found",
  "state_conflict",
  "already_running",
  "idempotency_mismatch",
  "idempotency_key_invalid",
  "validation_failed",
] as const;

const jobData = z.unknown().optional().describe("Takes the place of the job's payload in this run");
const options = {
  reason: reasonField.optional(),
  force: z.boolean().optional().describe(
    "Run although the policy is Skip and another run is on, or the job is disabled and its probe is",
  ),
};

const oneTrigger = z.strictObject({ jobData, ...options });
const manyTriggers = z.strictObject({
  items: z.array(z.strictObject({ jobData })).min(1).max(MAX_TRIGGERS),
  ...options,
});

const acceptedView = {
  jobId: z.uuid(),
  scheduledFor: momentView,
  replayed: z.boolean().describe("True when the idempotency key was known: nothing new was started"),
};
const statusView = z.enum(OCCURRENCE_STATUSES).nullable();
const triggeredView = z.strictObject({
  occurrenceId: z.uuid(),
  status: statusView.describe(
    "Queued; when replayed, as it is now, and null when the run was removed since",
  ),
  ...acceptedView,
}).meta({ id: "Triggered" });
const manyTriggeredView = z.strictObject({
  occurrenceIds: z.array(z.uuid()),
  statuses: z.array(statusView).describe(
    "Of each id. Queued, or Skipped: it will not run. When replayed, as they are now, and null for what was removed since",
  ),
  ...acceptedView,
}).meta({ id: "ManyTriggered" });

interface Wish {
  readonly items: readonly { readonly jobData?: unknown }[];
  readonly reason?: string | undefined;
  readonly force?: boolean | undefined;
  /** Where the items stand in the body. */
  readonly at: (index: number) => readonly (string | number)[];
}

/** The endpoints that start runs. */
export function triggerEndpoints(deps: ApiDeps, payloads: Payloads): readonly Endpoint[] {
  const one = endpoint({
    method: "POST",
    path: "/api/v1/jobs/{id}/trigger",
    tag: TAG,
    summary: "Run a job now",
    body: oneTrigger,
    isBodyOptional: true,
    headers: HEADERS,
    answers: { 202: { description: "The run is recorded and waits for a worker", schema: triggeredView } },
    problems: PROBLEMS,
    async handle(call) {
      const { jobData, ...options } = call.body;
      const wish = { ...options, items: [{ jobData }], at: () => ["jobData"] };
      const { occurrenceIds: [occurrenceId = ""], statuses: [status = null], ...accepted } = await trigger(
        call,
        wish,
      );
      const headers = { location: `/api/v1/occurrences/${occurrenceId}` };
      return { status: 202, body: { occurrenceId, status, ...accepted }, headers } satisfies Answer;
    },
  });

  const many = endpoint({
    method: "POST",
    path: "/api/v1/jobs/{id}/trigger-many",
    tag: TAG,
    summary: `Run a job up to ${MAX_TRIGGERS} times, each with a payload of its own`,
    description:
      "All are recorded or none, and the ids and statuses come in the order of the items. Under Allow all run side " +
      "by side, under Queue one after another; without room for all of them the request is refused. Under Skip it is " +
      "refused while a run is on; when none is, the first item runs and the others are Skipped, unless force is true.",
    body: manyTriggers,
    maxBodyItems: MAX_BODY_ITEMS,
    headers: HEADERS,
    answers: {
      202: {
        description: "The runs are recorded: statuses says which wait for workers",
        schema: manyTriggeredView,
      },
    },
    problems: PROBLEMS,
    async handle(call) {
      const wish = { ...call.body, at: (index: number) => ["items", index, "jobData"] };
      return { status: 202, body: await trigger(call, wish) };
    },
  });

  async function trigger(call: Call<unknown, unknown>, wish: Wish) {
    const { store, jobTypes, clock, log } = deps;
    const { id, by } = call;
    const key = readKey(call.context.req.header("idempotency-key"));
    await jobTypes.refresh();
    const items = await itemsOf(id, wish);
    const at = clock.now();
    const answer = await store.outcomes.trigger({
      jobId: id,
      at,
      items,
      force: wish.force ?? false,
      reason: wish.reason ?? null,
      by,
      idempotency: key === null
        ? null
        : { key, requestHash: await sha256(`${call.context.req.path}\n${call.bodyText}`) },
      defaultsOf: (jobType) => jobTypes.defaults(jobType),
    });
    if (!answer.ok) throw refusal(answer, id);
    const { occurrenceIds, statuses, messages, unsent, replayed } = answer;
    if (!replayed) {
      log.debug("Job triggered", { jobId: id, count: occurrenceIds.length, by });
      // publishCommitted tells of those that can run.
      announceUnsent(deps, unsent);
      // Committed is accepted: recovery publishes what this does not.
      void publishCommitted(deps, messages);
    }
    return { occurrenceIds, statuses, jobId: id, scheduledFor: iso(at), replayed };
  }

  /** Payloads are held against the schema of the job's type; without any, the job need not be known yet. */
  async function itemsOf(jobId: string, { items, at }: Wish): Promise<readonly TriggerItem[]> {
    const isPlain = items.every(({ jobData }) => jobData === undefined);
    const offer = isPlain ? null : deps.jobTypes.offer((await jobOf(deps, jobId)).jobType);
    const errors: FieldError[] = [];
    const checked = items.map(({ jobData }, index): TriggerItem => {
      const occurrenceId = deps.random.uuid();
      if (jobData === undefined) return { occurrenceId, jobData: null };
      const payload = payloads.check(jobData as Json, offer, at(index));
      if (!payload.ok) errors.push(...payload.errors);
      return { occurrenceId, jobData: payload.ok ? payload.text : null };
    });
    if (errors.length > 0) throw invalidBody(errors);
    return checked;
  }

  return [one, many];
}

/** The idempotency key of a request, or null. Throws ApiProblem. */
export function readKey(header: string | undefined): string | null {
  if (header === undefined) return null;
  if (/^[\x21-\x7e]{1,255}$/.test(header)) return header;
  throw problem(
    "idempotency_key_invalid",
    "Idempotency-Key has 1 to 255 visible ASCII characters, e.g. a UUID.",
  );
}

type Refused = Extract<Awaited<ReturnType<ApiDeps["store"]["outcomes"]["trigger"]>>, { ok: false }>;

function refusal(answer: Refused, jobId: string): ApiProblem {
  switch (answer.reason) {
    case "not-found":
      return notFound("job", jobId);
    case "disabled":
      return problem("state_conflict", "The job is not active. Set isActive to true to run it.", {
        members: { state: "inactive" },
      });
    case "idempotency-mismatch":
      return problem("idempotency_mismatch", "This key came with another request before. Take a new one.");
    case "auto-disabled": {
      const { probeId } = answer;
      const detail =
        "The job is disabled because it kept failing, and one run at a time probes whether it works " +
        `again${probeId === null ? ": trigger it once" : `: occurrence ${probeId} is on`}. ` +
        "Enable the job (POST …/enable), or send force: true.";
      return problem("state_conflict", detail, {
        members: { state: "auto-disabled", occurrenceId: probeId },
      });
    }
    case "overlap": {
      const { occurrenceId } = answer;
      const detail = `Occurrence ${occurrenceId} is queued or running, and the job's policy is Skip. ` +
        "Wait for it, cancel it, or send force: true.";
      return problem("already_running", detail, { members: { occurrenceId } });
    }
    case "queue-full": {
      const { occurrenceId, waiting, room } = answer;
      const front = occurrenceId === null ? "" : ` behind occurrence ${occurrenceId}`;
      const detail = `The queue is full: ${waiting} wait already${front} (policy Queue), and ` +
        (room <= 0 ? "no more may. " : `${room} more may. Nothing was recorded. `) +
        "Try again later, or cancel some of them.";
      return problem("state_conflict", detail, {
        members: { state: "queue-full", occurrenceId, waiting, room: Math.max(0, room) },
      });
    }
  }
}
