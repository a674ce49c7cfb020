/** A claim that was granted, and the attempt that it allows. */
import type { ClaimAnswer } from "./domain/message.ts";
import type { JobTypeOffer } from "./domain/job_type.ts";
import { KEPT_FOR_KILLING } from "./heartbeat.ts";
import type { GrantedAttempt } from "./job.ts";
import type { Delivery } from "./ports/queue.ts";

export interface Grant {
  readonly delivery: Delivery;
  readonly answer: Extract<ClaimAnswer, { ok: true }>;
  /** Monotonic moment at which the claim was asked for. */
  readonly leaseFrom: number;
}

/** What was granted; the rest is settled, for there is nothing to run. */
export function grantsOf(
  deliveries: readonly Delivery[],
  answers: readonly ClaimAnswer[],
  leaseFrom: number,
): readonly Grant[] {
  return deliveries.flatMap((delivery, index) => {
    const answer = answers[index];
    if (answer?.ok === true) return [{ delivery, answer, leaseFrom }];
    delivery.ack();
    return [];
  });
}

/** How it is run: after what, and who hears of it. */
export type GrantUse = Pick<GrantedAttempt, "unwanted" | "after" | "onRunning" | "onLaneFree">;

export function attemptOf(
  { delivery, answer, leaseFrom }: Grant,
  { offer, leaseMs }: { readonly offer: JobTypeOffer; readonly leaseMs: number },
  use: GrantUse,
): GrantedAttempt {
  const { message } = delivery;
  const limit = message.executionTimeoutSeconds ?? offer.executionTimeoutSeconds;
  return {
    ...use,
    delivery,
    token: answer.token,
    attempt: answer.attempt,
    jobData: answer.jobData ?? message.jobData,
    leaseFrom,
    startBefore: leaseFrom + leaseMs * (1 - KEPT_FOR_KILLING),
    timeoutMs: limit === null ? null : limit * 1000,
  };
}
