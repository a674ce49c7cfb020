/** Messages and reports of a sample job, as queues carry them. */
import type { JobMessage, Report } from "../../actors/domain/message.ts";

export function messageWith(change: Partial<JobMessage> = {}): JobMessage {
  return {
    occurrenceId: "01a00000-0000-7000-8000-000000000001",
    scheduledFor: 1_767_225_600_000,
    jobId: "01a00000-0000-7000-8000-999999999999",
    jobType: "SampleJob",
    pool: null,
    token: 0,
    attempt: 0,
    maxAttempts: 3,
    jobData: "{}",
    executionTimeoutSeconds: null,
    ...change,
  };
}

/** The message of this number: each is of an occurrence of its own, due a millisecond after the one before it. */
export function message(index: number): JobMessage {
  const { scheduledFor } = messageWith();
  return messageWith({
    occurrenceId: `01a00000-0000-7000-8000-${String(index).padStart(12, "0")}`,
    scheduledFor: scheduledFor + index,
  });
}

/** A completed attempt. */

export function report(token: number): Report {
  return {
    occurrenceId: "01a00000-0000-7000-8000-000000000001",
    scheduledFor: 0,
    jobId: "01a00000-0000-7000-8000-000000000002",
    token,
    workerId: "pool",
    instanceId: "worker-1",
    startedAt: 1,
    endedAt: 2,
    durationMs: 1,
    outcome: { kind: "completed", result: null },
  };
}
