/** Occurrences: what became of each due time and trigger. */
import { z } from "zod";
import { announceRecord } from "../actors/announce.ts";
import { isSuspect } from "../actors/domain/aftermath.ts";
import { CANCEL_STATES, cancellationOf } from "../actors/domain/cancellation.ts";
import { LINE_LEVELS, type LogLine } from "../actors/domain/message.ts";
import {
  type Attempt,
  ATTEMPT_OUTCOMES,
  KILL_RUNGS,
  OCCURRENCE_STATUSES,
  type OccurrenceStatus,
  ORIGINS,
} from "../actors/domain/occurrence.ts";
import type { OccurrenceDetail, OccurrenceSummary } from "../actors/ports/store.ts";
import { publishCommitted } from "../actors/publish.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { notFound, problem } from "./errors.ts";
import { replayView, viewReplay } from "./failed_view.ts";
import {
  fromBeforeTo,
  idField,
  instantField,
  iso,
  isoOrNull,
  jsonOrNull,
  jsonView,
  momentView,
  queryInteger,
  reasonField,
  refuse,
} from "./fields.ts";
import { listView, page, pageQuery, withoutUndefined } from "./lists.ts";
import { POSITION_HEADERS } from "./read_after.ts";

const TAG = "occurrences";
/** Lines of the last output of a suspect. */
const LAST_LINES = 20;

const errorView = z.strictObject({
  name: z.string(),
  message: z.string(),
  stack: z.string().nullable(),
  causes: z.array(z.strictObject({ name: z.string(), message: z.string(), stack: z.string().optional() })),
});

const rungView = z.enum(KILL_RUNGS).nullable().describe(
  "signal: it heeded its abort signal; terminated: its thread was ended; killed: its host was",
);

const cancellationView = z.strictObject({
  by: z.string(),
  reason: z.string(),
  requestedAt: momentView,
  state: z.enum(CANCEL_STATES),
  signalledAt: momentView.nullable().describe("When its worker gave the abort signal"),
  instanceId: z.string().nullable().describe("The worker instance that gave it"),
  rung: rungView,
  endedAt: momentView.nullable(),
  sentence: z.string(),
}).meta({ id: "Cancellation" });

const endingView = z.strictObject({
  cause: z.enum(["cancelled", "timedOut"]),
  signalledAt: momentView.nullable(),
  instanceId: z.string(),
  rung: rungView,
}).describe("How the newest attempt was made to end, by a person or its time limit").meta({ id: "Ending" });

/** An occurrence in a list. */
export const occurrenceView = z.strictObject({
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
  cancel: cancellationView.nullable(),
  ending: endingView.nullable(),
}).meta({ id: "Occurrence" });

const attemptView = z.strictObject({
  token: z.int(),
  number: z.int().nullable().describe("Null when it does not count: it was handed back, or lost"),
  workerId: z.string(),
  instanceId: z.string(),
  claimedAt: momentView,
  endedAt: momentView.nullable(),
  durationMs: z.number().nullable(),
  outcome: z.enum(ATTEMPT_OUTCOMES).nullable().describe(
    "Null while it runs. handedBack: its worker stopped in order, cut it off with another run or for its lease, " +
      "or had no lane for it in time. lost: its worker was gone, or no report of it came",
  ),
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

const lineView = z.strictObject({
  at: momentView,
  level: z.enum(LINE_LEVELS),
  message: z.string(),
  fields: jsonView,
  token: z.int(),
  sequence: z.int(),
}).meta({ id: "LogLine" });

const lastOutputView = z.strictObject({
  token: z.int(),
  lines: z.array(lineView).describe(`The last lines it logged, at most ${LAST_LINES}`),
  progress: z.strictObject({ done: z.number(), total: z.number() }).nullable(),
});

const detailView = occurrenceView.extend({
  jobData: jsonView,
  attempts: z.array(attemptView),
  stateChanges: z.array(changeView),
  blockedBy: z.string().nullable().describe("The occurrence that was in its way"),
  replayOf: z.uuid().nullable().describe("The failed occurrence that it replays"),
  replays: z.array(replayView).describe("Its replays, oldest first"),
  lastOutput: lastOutputView.nullable().describe(
    "What the last attempt said before it was lost, of an occurrence that is kept back as suspect; else null",
  ),
}).meta({ id: "OccurrenceDetail" });

const cancelView = z.strictObject({
  occurrenceId: z.uuid(),
  state: z.enum(["cancelled", "requested"]).describe("requested: it is running and has been asked to stop"),
}).meta({ id: "Cancelled" });

type LastOutput = z.output<typeof lastOutputView>;

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
}).check(fromBeforeTo);

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
    headers: POSITION_HEADERS,
    problems: ["request_invalid", "cursor_invalid"],
    async handle({ query: { limit, cursor, status: statuses, ...given }, context }) {
      const filter = withoutUndefined({ ...given, statuses });
      const request = { storeId: store.storeId, list: "occurrences", filter, limit, cursor };
      const { history } = store.reads.reader(context.get("readAfter"));
      const read = (count: number, after: string | null) => history.occurrences(filter, count, after);
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
    async handle({ id }) {
      const detail = await detailOf(id);
      return { status: 200, body: viewDetail(detail, await lastOutputOf(detail)) };
    },
  });

  const logs = endpoint({
    method: "GET",
    path: "/api/v1/occurrences/{id}/logs",
    tag: TAG,
    summary: "Read the log lines of an occurrence, oldest first",
    query: z.strictObject({
      ...pageQuery,
      attempt: queryInteger(1, 2 ** 31 - 1).optional().describe(
        "Only of the attempt with this number",
      ),
      fencingToken: queryInteger(1, 2 ** 31 - 1).optional().describe(
        "Only of the attempt with this token: those that do not count have no number",
      ),
    }),
    answers: { 200: { description: "A page of log lines", schema: listView(lineView) } },
    headers: POSITION_HEADERS,
    problems: ["id_invalid", "not_found", "request_invalid", "cursor_invalid"],
    async handle({ id, query: { limit, cursor, attempt, fencingToken: token }, context }) {
      const filter = withoutUndefined({ id, attempt, token });
      const request = { storeId: store.storeId, list: "logs", filter, limit, cursor };
      const of = attempt === undefined ? token ?? null : await tokenOf(id, attempt, token);
      const { lines } = store.reads.reader(context.get("readAfter"));
      const read = (count: number, after: string | null) => lines.read(id, count, after, of);
      const answer = await page(request, read, viewLine);
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
    async handle({ id, body, by }) {
      const at = clock.now();
      const reason = body.reason ?? "no reason given";
      const answer = await store.outcomes.cancel(id, { by, reason, requestedAt: at });
      if (!answer.ok && answer.reason === "not-found") throw notFound("occurrence", id);
      if (!answer.ok) {
        const detail = `The occurrence has ended as ${answer.status}; that stays.`;
        throw problem("state_conflict", detail, { members: { state: answer.status } });
      }
      log.info("Cancel asked for", { occurrenceId: id, state: answer.state, by });
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

  /** The token of the attempt with this number; 0, which none has, when there is no such attempt. */
  async function tokenOf(id: string, number: number, wanted: number | undefined): Promise<number> {
    const { attempts } = await detailOf(id);
    const token = attempts.find((attempt) => attempt.number === number)?.token ?? 0;
    return wanted === undefined || wanted === token ? token : 0;
  }

  /** Read when it is asked for, since lines may come after their attempt was given up. */
  async function lastOutputOf({ occurrence, attempts }: OccurrenceDetail): Promise<LastOutput | null> {
    const last = attempts.at(-1);
    if (last === undefined || !isSuspect(occurrence)) return null;
    const lines = await store.lines.last(occurrence.id, last.token, LAST_LINES);
    return { token: last.token, lines: lines.map(viewLine), progress: last.progress };
  }

  return [list, read, logs, cancel];
}

/** Writes an occurrence. */
export function viewOccurrence(occurrence: OccurrenceSummary): z.output<typeof occurrenceView> {
  const { ending, error } = occurrence;
  const cancellation = cancellationOf(occurrence);
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
    cancel: cancellation === null ? null : {
      ...cancellation,
      requestedAt: iso(cancellation.requestedAt),
      signalledAt: isoOrNull(cancellation.signalledAt),
      endedAt: isoOrNull(cancellation.endedAt),
    },
    ending: ending === null ? null : { ...ending, signalledAt: isoOrNull(ending.signalledAt) },
  };
}

function viewDetail(
  { occurrence, attempts, changes, blockedBy, replayOf, replays }: OccurrenceDetail,
  lastOutput: LastOutput | null,
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
    replayOf,
    replays: replays.map(viewReplay),
    lastOutput,
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
