/** Back-off: base × 2^(failures − 1) seconds, with full jitter over its upper half, capped. The server decides. */

export interface RetryPolicy {
  /** First back-off in seconds. */
  readonly baseRetryDelaySeconds: number;
  /** Longest back-off in seconds. */
  readonly maxRetryDelaySeconds: number;
}

/** One hour: a job that fails for a day is tried about thirty times, not every few seconds. */
export const MAX_RETRY_DELAY_SECONDS = 3600;

/**
 * Milliseconds to wait after the `failures`-th failed attempt (1 is the first).
 * `jitter` is a number in [0, 1); the wait lies between half of the step and the whole step, so that
 * attempts which failed together do not come back together and none comes back at once.
 */
export function backoffMs(policy: RetryPolicy, failures: number, jitter: number): number {
  const step = policy.baseRetryDelaySeconds * 2 ** Math.min(failures - 1, 40);
  const capped = Math.min(step, policy.maxRetryDelaySeconds) * 1000;
  return Math.round(capped / 2 + (capped / 2) * jitter);
}
