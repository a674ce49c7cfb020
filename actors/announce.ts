/** Live events for what a transaction changed. Built only while somebody listens. */
import type { AutoDisableChange } from "./domain/auto_disable.ts";
import type { BulkAction } from "./domain/bulk_action.ts";
import { failureKindOf } from "./domain/failed_occurrence.ts";
import type { JobMessage } from "./domain/message.ts";
import type { OccurrenceStatus } from "./domain/occurrence.ts";
import type { Clock } from "./ports/clock.ts";
import type { Events, LiveEvent } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { ChangedOccurrence, RecordAnswer } from "./ports/store.ts";

/**
 * Tells listeners what became of occurrences and their jobs, and of the failed occurrences among them, and whoever leads
 * when the next retry is due. Counts what failed for good.
 */
export function announceRecord(
  deps: { readonly events: Events; readonly clock: Clock; readonly log: Log; readonly meter: Meter },
  record: Pick<RecordAnswer, "changed" | "nextRetryAt" | "autoDisable">,
): void {
  announceAutoDisable(deps, record.autoDisable ?? []);
  const events: LiveEvent[] = [];
  if (record.nextRetryAt !== null) events.push({ type: "retryScheduled", readyAt: record.nextRetryAt });
  if (deps.events.wants("occurrenceChanged")) {
    const at = deps.clock.now();
    for (const changed of record.changed) events.push({ type: "occurrenceChanged", ...changed, at });
  }
  for (const changed of record.changed) {
    const kind = failureKindOf(changed.status, changed.reason);
    if (kind === null) continue;
    deps.meter.count("failed_occurrences_total", 1, { kind });
    if (deps.events.wants("failedOccurrenceChanged")) {
      const { occurrenceId: failedOccurrenceId, jobId, jobType } = changed;
      const at = deps.clock.now();
      events.push({
        type: "failedOccurrenceChanged",
        failedOccurrenceId,
        jobId,
        jobType,
        isResolved: false,
        at,
      });
    }
  }
  if (events.length > 0) deps.events.publish(events);
}

/** Tells listeners, and the leader among them, how a bulk action stands. */
export function announceBulk(
  deps: { readonly events: Events; readonly clock: Clock },
  { id: actionId, kind, state, total, counts }: BulkAction,
): void {
  deps.events.publish([{
    type: "bulkActionChanged",
    actionId,
    kind,
    state,
    total,
    ...counts,
    at: deps.clock.now(),
  }]);
}

/** Tells people and listeners of jobs that were disabled by their failures, or enabled again. */
function announceAutoDisable(
  deps: { readonly events: Events; readonly clock: Clock; readonly log: Log; readonly meter: Meter },
  changes: readonly AutoDisableChange[],
): void {
  if (changes.length === 0) return;
  const at = deps.clock.now();
  for (const { jobId, kind, state } of changes) {
    const { failures, occurrenceId, reason } = state;
    const probeAt = state.probeAt === null ? null : new Date(state.probeAt).toISOString();
    if (kind === "enabled") deps.log.info("A job is enabled again: its probe completed", { jobId });
    else {deps.log.warn(
        kind === "disabled"
          ? "A job is disabled because it keeps failing"
          : "The probe of a disabled job failed",
        { jobId, failures, occurrenceId, reason, probeAt },
      );}
    deps.meter.count("jobs_auto_disabled_total", 1, { change: kind });
  }
  deps.events.publish(changes.flatMap(({ jobId, kind: change, state }): LiveEvent[] => {
    const { failures, occurrenceId, reason, probeAt } = state;
    return [
      { type: "jobAutoDisabled", jobId, change, failures, occurrenceId, reason, probeAt, at },
      { type: "jobChanged", jobId, at },
    ];
  }));
}

/** Tells listeners that what these messages stand for is queued, or has begun to run. */
export function announceMessages(
  deps: { readonly events: Events; readonly clock: Clock },
  messages: readonly Pick<JobMessage, "occurrenceId" | "jobId" | "jobType" | "scheduledFor" | "attempt">[],
  status: OccurrenceStatus,
): void {
  if (messages.length === 0 || !deps.events.wants("occurrenceChanged")) return;
  const at = deps.clock.now();
  deps.events.publish(messages.map(({ occurrenceId, jobId, jobType, scheduledFor, attempt }) => ({
    type: "occurrenceChanged",
    occurrenceId,
    jobId,
    jobType,
    scheduledFor,
    attempt,
    status,
    reason: null,
    at,
  })));
}

/** Tells listeners of new occurrences that have no message yet, or never: they wait, or are Skipped. */
export function announceUnsent(
  deps: { readonly events: Events; readonly clock: Clock },
  unsent: readonly ChangedOccurrence[],
): void {
  if (unsent.length === 0 || !deps.events.wants("occurrenceChanged")) return;
  const at = deps.clock.now();
  deps.events.publish(unsent.map((one) => ({ type: "occurrenceChanged", ...one, at })));
}
