/** Occurrences: what became of each due time and trigger. */
import { z } from "zod";
import { announceRecord } from "../actors/announce.ts";
import { LINE_LEVELS, type LogLine } from "../actors/domain/message.ts";
import {
  type Attempt,
  OCCURRENCE_STATUSES,
  type OccurrenceStatus,
  ORIGINS,
} from "../actors/domain/occurrence.ts";
import type { OccurrenceDetail, OccurrenceSummary } from "../actors/ports/store.ts";
import { publishCommitted } from "../actors/publish.ts";
import { API_USER, type ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { notFound, problem } from "./errors.ts";
import {
  idField,
  instantField,
  iso,
  isoOrNull,
  jsonOrNull,
  jsonView,
  momentView,
  reasonField,
  refuse,
} from "./fields.ts";
import { listView, page, pageQuery, withoutUndefined } from "./lists.ts";

const TAG = "occurrences";

const errorView = z.strictObject({
  name: z.string(),
  message: z.string(),
  stack: z.string().nullable(),
  causes: z.array(z.strictObject({ name: z.string(), message: z.string() })),
});

const occurrenceView = z.strictObject({
  id: z.uuid(),
  jobId: z.uuid(),
  jobVersion: z.int(),
  jobType: z.string(),
  pool: z.string().nullable(),
  origin: z.enum(ORIGINS),
  status: z.enum(OCCURRENCE_STATUSES),
  scheduledFor: momentView.describe("The due time; for a trigger when it was asked for"),
  createdAt: momentView,
  readyAt: momentView.nullable().describe(
    "Not before it may it start; null while it waits for the run before it",
  ),
  startedAt: momentView.nullable(),
  endedAt: momentView.nullable(),
  durationMs: z.number().nullable(),
  workerId: z.string().nullable(),
  instanceId: z.string().nullable(),
  attempt: z.int(),
  maxAttempts: z.int(),
  token: z.int().describe("The fencing token: grows with each claim"),
  result: jsonView,
  error: errorView.nullable(),
  reason: z.string().nullable(),
  cancel: z.strictObject({ by: z.string(), reason: z.string(), requestedAt: momentView }).nullable(),
}).meta({ id: "Occurrence" });

const attemptView = z.strictObject({
  token: z.int(),
  number: z.int().nullable().describe("Null when it was handed back and does not count"),
  workerId: z.string(),
  instanceId: z.string(),
  claimedAt: momentView,
  endedAt: momentView.nullable(),
  durationMs: z.number().nullable(),
  outcome: z.string().nullable(),
  error: errorView.nullable(),
  progress: z.strictObject({ done: z.number(), total: z.number() }).nullable(),
});

const changeView = z.strictObject({
  at: momentView,
  from: z.enum(OCCURRENCE_STATUSES).nullable(),
  to: z.enum(OCCURRENCE_STATUSES),
  token: z.int(),
  reason: z.string().nullable(),
});

const detailView = occurrenceView.extend({
  jobData: jsonView,
  attempts: z.array(attemptView),
  stateChanges: z.array(changeView),
  blockedBy: z.string().nullable().describe("The occurrence that was in its way"),
}).meta({ id: "OccurrenceDetail" });

const lineView = z.strictObject({
  at: momentView,
  level: z.enum(LINE_LEVELS),
  message: z.string(),
  fields: jsonView,
  token: z.int(),
  sequence: z.int(),
}).meta({ id: "LogLine" });

const cancelView = z.strictObject({
  occurrenceId: z.uuid(),
  state: z.enum(["cancelled", "requested"]).describe("requested: it is running and has been asked to stop"),
}).meta({ id: "Cancelled" });

/** One or several statuses, by name or number: `Failed`, `3`, `Failed,TimedOut`. */
const statusQuery = z.string().transform((text, context): readonly OccurrenceStatus[] => {
  const given = text.split(",");
  if (given.length > OCCURRENCE_STATUSES.length) {
    return refuse(context, "filter_too_complex", `takes at most ${OCCURRENCE_STATUSES.length} statuses.`);
  }
  const statuses: OccurrenceStatus[] = [];
  for (const one of given) {
    const name = /^\d$/.test(one)
      ? OCCURRENCE_STATUSES[Number(one)]
      : OCCURRENCE_STATUSES.find((name) => name === one);
    if (name !== undefined) statuses.push(name);
    else {return refuse(
        context,
        "choice_unknown",
        `must be of ${OCCURRENCE_STATUSES.join(", ")}.`,
        OCCURRENCE_STATUSES,
      );}
  }
  return statuses;
}).describe("One or several, separated by commas, by name or number");

const listQuery = z.strictObject({
  ...pageQuery,
  jobId: idField.optional(),
  jobType: z.string().max(200).optional(),
  status: statusQuery.optional(),
  from: instantField.optional().describe("Due at or after"),
  to: instantField.optional().describe("Due before"),
});

/** The endpoints of occurrences. */
export function occurrenceEndpoints(deps: ApiDeps): readonly Endpoint[] {
  const { store, clock, events, log } = deps;

  const list = endpoint({
    method: "GET",
    path: "/api/v1/occurrences",
    tag: TAG,
    summary: "List occurrences, newest due time first",
    query: listQuery,
    answers: { 200: { description: "A page of occurrences", schema: listView(occurrenceView) } },
    problems: ["request_invalid", "cursor_invalid"],
    async handle({ query: { limit, cursor, status: statuses, ...given } }) {
      const filter = withoutUndefined({ ...given, statuses });
      const request = { storeId: store.storeId, list: "occurrences", filter, limit, cursor };
      const read = (count: number, after: string | null) => store.history.occurrences(filter, count, after);
      return { status: 200, body: await page(request, read, viewOccurrence) };
    },
  });

  const read = endpoint({
    method: "GET",
    path: "/api/v1/occurrences/{id}",
    tag: TAG,
    summary: "Read an occurrence with its attempts and state changes",
    answers: { 200: { description: "The occurrence", schema: detailView } },
    problems: ["id_invalid", "not_found"],
    handle: async ({ id }) => ({ status: 200, body: viewDetail(await detailOf(id)) }),
  });

  const logs = endpoint({
    method: "GET",
    path: "/api/v1/occurrences/{id}/logs",
    tag: TAG,
    summary: "Read the log lines of an occurrence, oldest first",
    query: z.strictObject(pageQuery),
    answers: { 200: { description: "A page of log lines", schema: listView(lineView) } },
    problems: ["id_invalid", "not_found", "request_invalid", "cursor_invalid"],
    async handle({ id, query: { limit, cursor } }) {
      const request = { storeId: store.storeId, list: "logs", filter: { id }, limit, cursor };
      const answer = await page(request, (count, after) => store.lines.read(id, count, after), viewLine);
      if (answer.items.length === 0) await detailOf(id);
      return { status: 200, body: answer };
    },
  });

  const cancel = endpoint({
    method: "POST",
    path: "/api/v1/occurrences/{id}/cancel",
    tag: TAG,
    summary: "Cancel an occurrence",
    description:
      "A queued one ends at once (200). A running one is asked to stop (202): it gets its abort signal, " +
      "then its grace, and is ended if it does not heed them.",
    body: z.strictObject({ reason: reasonField.optional() }),
    isBodyOptional: true,
    answers: {
      200: { description: "It is cancelled, now or before", schema: cancelView },
      202: { description: "It was asked to stop", schema: cancelView },
    },
    problems: ["json_invalid", "id_invalid", "not_found", "state_conflict", "validation_failed"],
    async handle({ id, body }) {
      const at = clock.now();
      const reason = body.reason ?? "no reason given";
      const answer = await store.outcomes.cancel(id, { by: API_USER, reason, requestedAt: at });
      if (!answer.ok && answer.reason === "not-found") throw notFound("occurrence", id);
      if (!answer.ok) {
        const detail = `The occurrence has ended as ${answer.status}; that stays.`;
        throw problem("state_conflict", detail, { members: { state: answer.status } });
      }
      log.info("Cancel asked for", { occurrenceId: id, state: answer.state, by: API_USER });
      if (answer.state === "requested") {
        events.publish([{ type: "cancelRequested", occurrenceId: id, token: answer.token, reason, at }]);
        return { status: 202, body: { occurrenceId: id, state: "requested" } };
      }
      if (answer.state === "cancelled") {
        announceRecord(deps, answer.record);
        void publishCommitted(deps, answer.record.released);
      }
      return { status: 200, body: { occurrenceId: id, state: "cancelled" } };
    },
  });

  async function detailOf(id: string): Promise<OccurrenceDetail> {
    const detail = await store.history.occurrence(id);
    if (detail === null) throw notFound("occurrence", id);
    return detail;
  }

  return [list, read, logs, cancel];
}

function viewOccurrence(occurrence: OccurrenceSummary): z.output<typeof occurrenceView> {
  const { cancel, error } = occurrence;
  return {
    id: occurrence.id,
    jobId: occurrence.jobId,
    jobVersion: occurrence.jobVersion,
    jobType: occurrence.jobType,
    pool: occurrence.pool,
    origin: occurrence.origin,
    status: occurrence.status,
    scheduledFor: iso(occurrence.scheduledFor),
    createdAt: iso(occurrence.createdAt),
    readyAt: isoOrNull(occurrence.readyAt),
    startedAt: isoOrNull(occurrence.startedAt),
    endedAt: isoOrNull(occurrence.endedAt),
    durationMs: occurrence.durationMs,
    workerId: occurrence.workerId,
    instanceId: occurrence.instanceId,
    attempt: occurrence.attempt,
    maxAttempts: occurrence.maxAttempts,
    token: occurrence.token,
    result: jsonOrNull(occurrence.result),
    error: viewError(error),
    reason: occurrence.reason,
    cancel: cancel === null
      ? null
      : { by: cancel.by, reason: cancel.reason, requestedAt: iso(cancel.requestedAt) },
  };
}

function viewDetail(
  { occurrence, attempts, changes, blockedBy }: OccurrenceDetail,
): z.output<typeof detailView> {
  return {
    ...viewOccurrence(occurrence),
    jobData: JSON.parse(occurrence.jobData),
    attempts: attempts.map(viewAttempt),
    stateChanges: changes.map(({ at, from, to, token, reason }) => ({
      at: iso(at),
      from,
      to,
      token,
      reason,
    })),
    blockedBy,
  };
}

function viewAttempt(attempt: Attempt): z.output<typeof attemptView> {
  return {
    ...attempt,
    claimedAt: iso(attempt.claimedAt),
    endedAt: isoOrNull(attempt.endedAt),
    error: viewError(attempt.error),
  };
}

function viewError(error: Attempt["error"]): z.output<typeof errorView> | null {
  return error === null ? null : { ...error, causes: [...error.causes] };
}

function viewLine({ at, level, message, fields, token, sequence }: LogLine): z.output<typeof lineView> {
  return { at: iso(at), level, message, fields: jsonOrNull(fields), token, sequence };
}
