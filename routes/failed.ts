/** Failed occurrences (dead letters): found, resolved, replayed one by one or many at once. */
import { z } from "zod";
import { MAX_BULK_ITEMS } from "../actors/domain/bulk_action.ts";
import { type FailedOccurrence, RESOLUTION_ACTIONS } from "../actors/domain/failed_occurrence.ts";
import type { Json } from "../actors/domain/job_type.ts";
import type { BulkSelection } from "../actors/ports/bulk_actions.ts";
import type { FailedDetail, ReplayAnswer, ResolveAnswer } from "../actors/ports/failed_occurrences.ts";
import { announceUnsent } from "../actors/announce.ts";
import { publishCommitted } from "../actors/publish.ts";
import {
  bulkActionView,
  bulkFields,
  countProblem,
  createBulk,
  distinct,
  oneSelection,
  previewView,
} from "./bulk_view.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { filterBody, filterOfQuery, filterQuery } from "./failed_filter.ts";
import { type ApiProblem, invalidBody, notFound, problem } from "./errors.ts";
import {
  failedDetailView,
  failedView,
  groupView,
  viewFailed,
  viewFailedDetail,
  viewGroup,
} from "./failed_view.ts";
import { choiceField, fromBeforeTo, iso, momentView, reasonField } from "./fields.ts";
import { sha256 } from "./guard.ts";
import { listView, page, pageQuery, withoutUndefined } from "./lists.ts";
import type { Payloads } from "./payload.ts";
import { readKey } from "./triggers.ts";

const TAG = "failed-occurrences";
const MAX_NOTE = 2000;

const KEY_HEADER = {
  "Idempotency-Key":
    "Makes the request safe to repeat for 24 hours: the same key gives the first answer again",
};

const resolveBody = z.strictObject({
  action: choiceField(RESOLUTION_ACTIONS).describe("What was done about it"),
  note: z.string().trim().min(1).max(MAX_NOTE).describe("What was found, for whoever meets it again"),
});

const resolveManyBody = z.strictObject({
  ids: bulkFields.ids,
  filter: filterBody.optional(),
  expectedCount: bulkFields.expectedCount,
  ...resolveBody.shape,
}).check(oneSelection);

const resolvedManyView = z.strictObject({
  count: z.int().describe("How many were resolved; those that were before stay as they are"),
}).meta({ id: "ManyResolved" });

const replayBody = z.strictObject({
  jobData: z.unknown().optional().describe("Takes the place of the payload that failed"),
  reason: reasonField.optional(),
  force: z.boolean().optional().describe(
    "Run although the policy is Skip and another run is on, or a replay of it is",
  ),
});

const replayManyBody = z.strictObject({
  ...bulkFields,
  filter: filterBody.optional(),
  canary: z.boolean().optional().describe(
    "One, then ten, then the rest, each when those before have ended; stops when the same error returns. " +
      "true when absent",
  ),
  force: z.boolean().optional().describe("Run although the policy is Skip and another run is on"),
}).check(oneSelection);

const replayedView = z.strictObject({
  occurrenceId: z.uuid(),
  failedOccurrenceId: z.uuid(),
  jobId: z.uuid(),
  scheduledFor: momentView,
  replayed: z.boolean().describe("True when the idempotency key was known: nothing new was started"),
}).meta({ id: "Replay" });

/** The endpoints of failed occurrences. */
export function failedEndpoints(deps: ApiDeps, payloads: Payloads): readonly Endpoint[] {
  const { store, clock, events, log, jobTypes, random } = deps;

  const list = endpoint({
    method: "GET",
    path: "/api/v1/failed-occurrences",
    tag: TAG,
    summary: "List failed occurrences, newest failure first",
    query: z.strictObject({ ...pageQuery, ...filterQuery }).check(fromBeforeTo),
    answers: { 200: { description: "A page of failed occurrences", schema: listView(failedView) } },
    problems: ["request_invalid", "cursor_invalid"],
    async handle({ query: { limit, cursor, ...given } }) {
      const filter = filterOfQuery(given);
      const request = {
        storeId: store.storeId,
        list: "failed-occurrences",
        filter: { ...filter },
        limit,
        cursor,
      };
      const read = (count: number, after: string | null) => store.failed.list(filter, count, after);
      return { status: 200, body: await page(request, read, viewFailed) };
    },
  });

  const groups = endpoint({
    method: "GET",
    path: "/api/v1/failed-occurrences/groups",
    tag: TAG,
    summary: "Count failed occurrences by the fingerprint of their error, the largest group first",
    query: z.strictObject({ ...pageQuery, ...filterQuery }).check(fromBeforeTo),
    answers: { 200: { description: "A page of groups", schema: listView(groupView) } },
    problems: ["request_invalid", "cursor_invalid"],
    async handle({ query: { limit, cursor, ...given } }) {
      const filter = filterOfQuery(given);
      const request = { storeId: store.storeId, list: "failed-groups", filter: { ...filter }, limit, cursor };
      const read = (count: number, after: string | null) => store.failed.groups(filter, count, after);
      return { status: 200, body: await page(request, read, viewGroup) };
    },
  });

  const replayMany = endpoint({
    method: "POST",
    path: "/api/v1/failed-occurrences/replay",
    tag: TAG,
    summary: "Replay a selection of failed occurrences, or all that match a filter",
    description:
      "With dryRun nothing is done: it answers an exact count and the oldest of them. Otherwise a bulk " +
      "action is made over exactly those that match now; its progress is at /api/v1/bulk-actions/{id}.",
    body: replayManyBody,
    headers: KEY_HEADER,
    answers: {
      200: { description: "The dry run", schema: previewView(failedView).meta({ id: "ReplayPreview" }) },
      202: { description: "The bulk action, which the leader goes on with", schema: bulkActionView },
    },
    problems: [
      "json_invalid",
      "state_conflict",
      "idempotency_mismatch",
      "idempotency_key_invalid",
      "validation_failed",
    ],
    async handle(call) {
      const { body } = call;
      const selection = selectionOf(body);
      if (body.dryRun !== true) {
        return await createBulk(deps, { ...call, body: { ...body, canary: body.canary ?? true } }, selection);
      }
      const { count, sample } = await store.bulk.preview(selection);
      const found = await Promise.all(sample.map((id) => store.failed.get(id)));
      return {
        status: 200,
        body: {
          count,
          most: MAX_BULK_ITEMS,
          sample: found.flatMap((one) => one === null ? [] : viewFailed(one.failed)),
        },
      };
    },
  });

  const resolveMany = endpoint({
    method: "POST",
    path: "/api/v1/failed-occurrences/resolve",
    tag: TAG,
    summary: "Resolve a selection of failed occurrences, or all that match a filter",
    description:
      "All that nobody has resolved, at once. A dry run of replay counts the same filter. Live listeners hear of none of them.",
    body: resolveManyBody,
    answers: { 200: { description: "They are resolved", schema: resolvedManyView } },
    problems: ["json_invalid", "state_conflict", "validation_failed"],
    async handle({ body: { ids, filter, expectedCount = null, action, note }, by }) {
      const { resolved: _, ...given } = filter ?? {};
      const open = { ...withoutUndefined(given), isResolved: false };
      const selection = ids === undefined ? { filter: open } : { ids: distinct(ids) };
      const resolution = { action, note, by, at: clock.now(), occurrenceId: null };
      const answer = await store.failed.resolveMany(selection, resolution, expectedCount);
      if (!answer.ok) throw countProblem(answer, expectedCount);
      log.info("Failed occurrences resolved", { count: answer.count, action, by });
      return { status: 200, body: { count: answer.count } };
    },
  });

  const read = endpoint({
    method: "GET",
    path: "/api/v1/failed-occurrences/{id}",
    tag: TAG,
    summary: "Read a failed occurrence with its payload, last output, resolution and replays",
    answers: { 200: { description: "The failed occurrence", schema: failedDetailView } },
    problems: ["id_invalid", "not_found"],
    handle: async ({ id }) => ({ status: 200, body: viewFailedDetail(await detailOf(id)) }),
  });

  const resolve = endpoint({
    method: "POST",
    path: "/api/v1/failed-occurrences/{id}/resolve",
    tag: TAG,
    summary: "Resolve a failed occurrence",
    description: "The same action and note again is fine; another one is refused until it is reopened.",
    body: resolveBody,
    answers: { 200: { description: "It is resolved, now or before", schema: failedView } },
    problems: ["json_invalid", "id_invalid", "not_found", "state_conflict", "validation_failed"],
    async handle({ id, body, by }) {
      const at = clock.now();
      const answer = await store.failed.resolve(id, { ...body, by, at, occurrenceId: null });
      return { status: 200, body: viewFailed(settled(id, answer, by)) };
    },
  });

  const reopen = endpoint({
    method: "POST",
    path: "/api/v1/failed-occurrences/{id}/reopen",
    tag: TAG,
    summary: "Take the resolution of a failed occurrence back",
    body: z.strictObject({}),
    isBodyOptional: true,
    answers: { 200: { description: "It is open, now or before", schema: failedView } },
    problems: ["json_invalid", "id_invalid", "not_found", "validation_failed"],
    handle: async ({ id, by }) => ({
      status: 200,
      body: viewFailed(settled(id, await store.failed.reopen(id), by)),
    }),
  });

  const replay = endpoint({
    method: "POST",
    path: "/api/v1/failed-occurrences/{id}/replay",
    tag: TAG,
    summary: "Run a failed occurrence again, as a new one",
    description:
      "With the payload that failed, or another one. What failed stays as it is; when the replay " +
      "completes, it is resolved.",
    body: replayBody,
    isBodyOptional: true,
    headers: KEY_HEADER,
    answers: { 202: { description: "The run is recorded and waits for a worker", schema: replayedView } },
    problems: [
      "json_invalid",
      "id_invalid",
      "not_found",
      "state_conflict",
      "already_running",
      "idempotency_mismatch",
      "idempotency_key_invalid",
      "validation_failed",
    ],
    async handle({ id, body, bodyText, by, context }) {
      const key = readKey(context.req.header("idempotency-key"));
      const { failed } = await detailOf(id);
      await jobTypes.refresh();
      const at = clock.now();
      const answer = await store.failed.replay({
        id,
        occurrenceId: random.uuid(),
        at,
        jobData: payloadOf(failed, body.jobData),
        force: body.force ?? false,
        reason: body.reason ?? null,
        by,
        idempotency: key === null
          ? null
          : { key, requestHash: await sha256(`${context.req.path}\n${bodyText}`) },
        defaultsOf: (jobType) => jobTypes.defaults(jobType),
      });
      if (!answer.ok) throw replayRefusal(answer, id);
      const { occurrenceId, jobId, jobType, messages, replayed } = answer;
      if (!replayed) {
        log.info("Failed occurrence replayed", { failedOccurrenceId: id, occurrenceId, by });
        // publishCommitted tells of one that can run; otherwise it waits for the run before it.
        if (messages.length === 0) {
          announceUnsent(deps, [{
            occurrenceId,
            jobId,
            jobType,
            status: "Queued",
            attempt: 0,
            scheduledFor: at,
            reason: null,
          }]);
        }
        // Committed is accepted: recovery publishes what this does not.
        void publishCommitted(deps, messages);
      }
      return {
        status: 202,
        body: { occurrenceId, failedOccurrenceId: id, jobId, scheduledFor: iso(at), replayed },
        headers: { location: `/api/v1/occurrences/${occurrenceId}` },
      };
    },
  });

  async function detailOf(id: string): Promise<FailedDetail> {
    const detail = await store.failed.get(id);
    if (detail === null) throw notFound("failed occurrence", id);
    return detail;
  }

  /** What became of resolving or reopening; tells listeners. */
  function settled(id: string, answer: ResolveAnswer, user: string): FailedOccurrence {
    if (!answer.ok && answer.reason === "not-found") throw notFound("failed occurrence", id);
    if (!answer.ok) {
      const { action, by, at } = answer.current;
      const detail = `It was resolved as ${action} by ${by} at ${
        iso(at)
      }. Reopen it first to resolve it otherwise.`;
      throw problem("state_conflict", detail, {
        members: { resolution: { ...answer.current, at: iso(at) } },
      });
    }
    const { failed, isNew } = answer;
    if (isNew) {
      log.info("Failed occurrence changed", {
        failedOccurrenceId: id,
        action: failed.resolution?.action ?? "reopened",
        by: user,
      });
      events.publish([{
        type: "failedOccurrenceChanged",
        failedOccurrenceId: id,
        jobId: failed.jobId,
        jobType: failed.jobType,
        isResolved: failed.resolution !== null,
        at: clock.now(),
      }]);
    }
    return failed;
  }

  function payloadOf(failed: FailedOccurrence, jobData: unknown): string | null {
    if (jobData === undefined) return null;
    const checked = payloads.check(jobData as Json, jobTypes.offer(failed.jobType), ["jobData"]);
    if (!checked.ok) throw invalidBody(checked.errors);
    return checked.text;
  }

  return [list, groups, replayMany, resolveMany, read, resolve, reopen, replay];
}

function selectionOf({ ids, filter }: z.output<typeof replayManyBody>): BulkSelection {
  if (ids !== undefined) return { kind: "replay", ids: distinct(ids) };
  const { resolved = false, ...rest } = filter ?? {};
  return { kind: "replay", filter: withoutUndefined({ ...rest, isResolved: resolved }) };
}

function replayRefusal(answer: Extract<ReplayAnswer, { ok: false }>, id: string): ApiProblem {
  switch (answer.reason) {
    case "not-found":
      return notFound("failed occurrence", id);
    case "disabled":
      return problem("state_conflict", "The job is not active. Set isActive to true to run it.", {
        members: { state: "inactive" },
      });
    case "idempotency-mismatch":
      return problem("idempotency_mismatch", "This key came with another request before. Take a new one.");
    case "queue-full": {
      const { occurrenceId } = answer;
      const detail =
        `Too many runs wait for occurrence ${occurrenceId} already (policy Queue). Try again later.`;
      return problem("state_conflict", detail, { members: { occurrenceId } });
    }
    case "overlap":
    case "replay-on": {
      const { occurrenceId, reason } = answer;
      const why = reason === "overlap"
        ? "is queued or running, and the job's policy is Skip"
        : "replays it already and has not ended";
      const detail = `Occurrence ${occurrenceId} ${why}. Wait for it, cancel it, or send force: true.`;
      return problem("already_running", detail, { members: { occurrenceId } });
    }
  }
}
