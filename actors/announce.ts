/** Live events for what a transaction changed. Built only while somebody listens. */
import type { JobMessage } from "./domain/message.ts";
import type { OccurrenceStatus } from "./domain/occurrence.ts";
import type { Clock } from "./ports/clock.ts";
import type { Events, LiveEvent } from "./ports/events.ts";
import type { RecordAnswer } from "./ports/store.ts";

/** Tells listeners what became of occurrences, and whoever leads when the next retry is due. */
export function announceRecord(
  deps: { readonly events: Events; readonly clock: Clock },
  record: Pick<RecordAnswer, "changed" | "nextRetryAt">,
): void {
  const events: LiveEvent[] = [];
  if (record.nextRetryAt !== null) events.push({ type: "retryScheduled", readyAt: record.nextRetryAt });
  if (deps.events.wants("occurrenceChanged")) {
    const at = deps.clock.now();
    for (const changed of record.changed) events.push({ type: "occurrenceChanged", ...changed, at });
  }
  if (events.length > 0) deps.events.publish(events);
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
