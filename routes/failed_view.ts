/** Failed occurrences as they stand in answers. */
import { z } from "zod";
import {
  errorOf,
  type FailedOccurrence,
  FAILURE_KINDS,
  RESOLUTION_ACTIONS,
} from "../actors/domain/failed_occurrence.ts";
import { LINE_LEVELS } from "../actors/domain/message.ts";
import { OCCURRENCE_STATUSES } from "../actors/domain/occurrence.ts";
import type { FailedDetail, FailedGroup, ReplayLink } from "../actors/ports/failed_occurrences.ts";
import { iso, jsonView, momentView } from "./fields.ts";

/** The resolution of a failed occurrence. */
export const resolutionView = z.strictObject({
  action: z.enum([...RESOLUTION_ACTIONS, "Superseded"]).describe(
    "Superseded: its replay failed as well and stands for it",
  ),
  note: z.string(),
  by: z.string(),
  at: momentView,
  occurrenceId: z.uuid().nullable().describe("The replay that brought it about"),
}).meta({ id: "Resolution" });

/** A failed occurrence in a list. */
export const failedView = z.strictObject({
  id: z.uuid().describe("The occurrence's"),
  occurrenceId: z.uuid(),
  jobId: z.uuid(),
  jobVersion: z.int(),
  jobType: z.string(),
  kind: z.enum(FAILURE_KINDS).describe("suspect: its workers were lost with it, so it was not tried again"),
  scheduledFor: momentView.describe("The due time; for a trigger when it was asked for"),
  failedAt: momentView,
  attempts: z.int(),
  errorName: z.string(),
  errorMessage: z.string(),
  fingerprint: z.string().describe("Errors that differ in numbers, ids and quoted text only have the same"),
  reason: z.string().nullable(),
  resolution: resolutionView.nullable(),
}).meta({ id: "FailedOccurrence" });

/** A link to a replay. */
export const replayView = z.strictObject({
  occurrenceId: z.uuid(),
  at: momentView,
  status: z.enum(OCCURRENCE_STATUSES).nullable().describe("Null when retention has deleted it"),
  actionId: z.uuid().nullable().describe("The bulk action it belongs to"),
});

/** One failed occurrence with all that is kept of it. */
export const failedDetailView = failedView.extend({
  error: z.strictObject({
    name: z.string(),
    message: z.string(),
    stack: z.string().nullable(),
    causes: z.array(z.strictObject({ name: z.string(), message: z.string(), stack: z.string().optional() })),
  }).nullable(),
  jobData: jsonView,
  lastOutput: z.array(z.strictObject({
    token: z.int(),
    at: momentView,
    level: z.enum(LINE_LEVELS),
    message: z.string(),
  })).describe("What a suspect wrote last"),
  replayOf: z.uuid().nullable().describe("The failed occurrence that this one was a replay of"),
  replays: z.array(replayView).describe("Oldest first"),
}).meta({ id: "FailedOccurrenceDetail" });

/** Failed occurrences of one fingerprint. */
export const groupView = z.strictObject({
  fingerprint: z.string(),
  count: z.int(),
  jobs: z.int().describe("Different jobs among them"),
  firstAt: momentView,
  lastAt: momentView,
  sample: failedView.describe("The newest of them"),
}).meta({ id: "FailedGroup" });

/** Writes a failed occurrence. */
export function viewFailed(failed: FailedOccurrence): z.output<typeof failedView> {
  const { name, message } = errorOf(failed);
  const { resolution } = failed;
  return {
    id: failed.id,
    occurrenceId: failed.id,
    jobId: failed.jobId,
    jobVersion: failed.jobVersion,
    jobType: failed.jobType,
    kind: failed.kind,
    scheduledFor: iso(failed.scheduledFor),
    failedAt: iso(failed.failedAt),
    attempts: failed.attempts,
    errorName: name,
    errorMessage: message,
    fingerprint: failed.fingerprint,
    reason: failed.reason,
    resolution: resolution === null ? null : { ...resolution, at: iso(resolution.at) },
  };
}

/** Writes one with its details. */
export function viewFailedDetail(
  { failed, jobData, lastOutput, replayOf, replays }: FailedDetail,
): z.output<typeof failedDetailView> {
  const { error } = failed;
  return {
    ...viewFailed(failed),
    error: error === null ? null : { ...error, causes: [...error.causes] },
    jobData: JSON.parse(jobData),
    lastOutput: lastOutput.map((line) => ({ ...line, at: iso(line.at) })),
    replayOf,
    replays: replays.map(viewReplay),
  };
}

/** Writes a link to a replay. */
export function viewReplay(link: ReplayLink): z.output<typeof replayView> {
  return { ...link, at: iso(link.at) };
}

/** Writes a group. */
export function viewGroup(group: FailedGroup): z.output<typeof groupView> {
  return {
    ...group,
    firstAt: iso(group.firstAt),
    lastAt: iso(group.lastAt),
    sample: viewFailed(group.sample),
  };
}
