/**
 * The right to run. A claim is a compare-and-set on (occurrence, token) in the store; it *is* Queued → Running.
 * A duplicate or late message claims nothing and starts nothing.
 */
import type { ClaimAnswer, JobMessage, RenewAnswer } from "../domain/message.ts";
import type { RunningAttempt } from "./presence.ts";

export interface ClaimRequest {
  /** With `jobDataBytes`, a grant brings the job data. */
  readonly message: Pick<JobMessage, "occurrenceId" | "scheduledFor" | "token" | "jobDataBytes">;
  readonly workerId: string;
  readonly instanceId: string;
}

export interface Attempts {
  /** Answers come in the order of the requests. The lease starts when the call is made, not when it answers. */
  claim(requests: readonly ClaimRequest[], leaseMs: number): Promise<readonly ClaimAnswer[]>;
  /** Extends the leases; `ok: false` means the attempt is not this worker's any more and must be killed. */
  renew(attempts: readonly RunningAttempt[], leaseMs: number): Promise<readonly RenewAnswer[]>;
}

/** Results that are too large for a message. */
export interface Results {
  /**
   * Writes the result of an attempt that runs. False when the attempt is not this instance's, or its token is not the
   * newest. Doing it twice does it once. Seen with the attempt's report only.
   */
  keep(attempt: RunOf, result: string): Promise<boolean>;
}

/** An attempt and who runs it. */
export interface RunOf {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  readonly token: number;
  readonly workerId: string;
  readonly instanceId: string;
}
