/** The steps of an occurrence through its states. Creation, attempts and end tell all of them: none is stored. */
import {
  type Attempt,
  type AttemptOutcome,
  isFinal,
  type Occurrence,
  type OccurrenceStatus,
  type StateChange,
} from "./occurrence.ts";

/** An attempt before the newest, or the newest when its end says more than the occurrence's. */
export interface PastAttempt {
  readonly attempt: Attempt;
  readonly endedAt: number;
  readonly reason: string | null;
}

const OUTCOMES: Readonly<Partial<Record<OccurrenceStatus, AttemptOutcome>>> = {
  Completed: "completed",
  Failed: "failed",
  Cancelled: "cancelled",
  TimedOut: "timedOut",
};

/** All attempts, oldest first. The newest is told by the occurrence itself. */
export function attemptsOf(
  one: Occurrence,
  past: readonly PastAttempt[],
  progress: Attempt["progress"],
): readonly Attempt[] {
  const newest = newestAttempt(one, progress);
  const isPast = newest === null || past.some(({ attempt }) => attempt.token === newest.token);
  return [...past.map(({ attempt }) => attempt), ...(isPast ? [] : [newest])];
}

function newestAttempt(one: Occurrence, progress: Attempt["progress"]): Attempt | null {
  if (one.startedAt === null || one.workerId === null || one.instanceId === null) return null;
  return {
    token: one.token,
    number: one.attempt,
    workerId: one.workerId,
    instanceId: one.instanceId,
    claimedAt: one.startedAt,
    endedAt: one.endedAt,
    durationMs: one.durationMs,
    outcome: OUTCOMES[one.status] ?? null,
    error: one.error,
    progress,
  };
}

/** Every change of state, in order. `createdReason`: why it was created. */
export function changesOf(
  one: Occurrence,
  past: readonly PastAttempt[],
  createdReason: string | null,
): readonly StateChange[] {
  const isSkipped = one.status === "Skipped";
  const changes: StateChange[] = [{
    at: one.createdAt,
    from: null,
    to: isSkipped ? "Skipped" : "Queued",
    token: 0,
    reason: isSkipped ? one.reason : createdReason,
  }];
  if (isSkipped) return changes;
  const isOver = isFinal(one.status);
  let status: OccurrenceStatus = "Queued";
  const step = (at: number, to: OccurrenceStatus, token: number, reason: string | null) => {
    changes.push({ at, from: status, to, token, reason });
    status = to;
  };
  for (const { attempt, endedAt, reason } of past) {
    step(attempt.claimedAt, "Running", attempt.token, null);
    const endedAll = isOver && attempt.token === one.token && one.endedAt === endedAt;
    if (!endedAll) step(endedAt, "Queued", attempt.token, reason);
  }
  const newestIsPast = past.at(-1)?.attempt.token === one.token;
  if (one.token > 0 && !newestIsPast && one.startedAt !== null) {
    step(one.startedAt, "Running", one.token, null);
  }
  if (isOver) step(one.endedAt ?? one.createdAt, one.status, one.token, one.reason);
  return changes;
}
