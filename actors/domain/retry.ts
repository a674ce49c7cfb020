/**
 * Whether a failed attempt is tried again, and when. The server decides, in this order:
 *
 *   the job threw PermanentJobError, or its payload does not fit ... never
 *   the first rule that fits the error's class ..................... `fail`: never; `retry`: with its own limits
 *   counted attempts ............................................... never, once they are used up
 *   the wait ....................................................... what the job asked for (`retryAfter`), else
 *                                                                    base × 2^(failures − 1), capped, full jitter
 *   the budget ..................................................... never, when the wait would end after it
 */
import type { Outcome } from "./message.ts";
import { matchesWildcard } from "./wildcard.ts";

export interface RetryPolicy {
  /** First back-off in seconds. */
  readonly baseRetryDelaySeconds: number;
  /** Longest back-off in seconds. */
  readonly maxRetryDelaySeconds: number;
}

/** One hour: a job that fails for a day is tried about thirty times, not every few seconds. */
export const MAX_RETRY_DELAY_SECONDS = 3600;

/** What a rule makes of a failed attempt. */
export const RETRY_ACTIONS = ["retry", "fail"] as const;
/** One of `RETRY_ACTIONS`. */
export type RetryAction = (typeof RETRY_ACTIONS)[number];

/** Decides about attempts that failed with errors of one class. The first rule that fits counts. */
export interface RetryRule {
  /** Class name of the error, e.g. `HttpError`; `*` stands for any characters. */
  readonly error: string;
  /** retry: as often as may be. fail: never again. */
  readonly action: RetryAction;
  /** Counted attempts after the first, for these errors; null takes the job's. */
  readonly maxRetries: number | null;
  /** First back-off in seconds, for these errors; null takes the job's. */
  readonly baseRetryDelaySeconds: number | null;
}

/** When a job that keeps failing is disabled. */
export interface AutoDisableRule {
  /** False in the server's rule only: the numbers are for jobs that ask for it themselves. */
  readonly isEnabled?: boolean;
  /** Consecutive final failures (Failed, TimedOut) that disable it. */
  readonly failures: number;
  /** Seconds that they lie within: an older failure starts the count anew. */
  readonly windowSeconds: number;
  /** Seconds until a single probe run may enable it again; null waits for a person. */
  readonly cooldownSeconds: number | null;
}

/** What follows from failures, agreed when an occurrence is created. */
export interface FailureRules {
  /** Longest back-off in seconds. */
  readonly maxRetryDelaySeconds: number;
  /** Seconds from the start of the first attempt after which no further one is made ready; null is no limit. */
  readonly retryBudgetSeconds: number | null;
  readonly retryRules: readonly RetryRule[];
  /** Null: it is never disabled by itself. */
  readonly autoDisable: AutoDisableRule | null;
}

/** The rules where neither job, type nor server says. */
export const DEFAULT_FAILURE_RULES: FailureRules = {
  maxRetryDelaySeconds: MAX_RETRY_DELAY_SECONDS,
  retryBudgetSeconds: null,
  retryRules: [],
  autoDisable: null,
};

/** No attempt comes back sooner than this, milliseconds, unless its whole step is shorter. */
export const RETRY_FLOOR_MS = 100;

/** The longest wait that a job may ask for, milliseconds: a week. Longer ones are cut to it. */
export const RETRY_AFTER_AT_MOST_MS = 7 * 86_400_000;

/**
 * Milliseconds to wait after the `failures`-th failed attempt (1 is the first). `jitter` is a number in [0, 1): the wait
 * is anything from the floor to the whole step, so that attempts which failed together do not come back together.
 */
export function backoffMs(policy: RetryPolicy, failures: number, jitter: number): number {
  const step = policy.baseRetryDelaySeconds * 2 ** Math.min(failures - 1, 40);
  const capped = Math.min(step, policy.maxRetryDelaySeconds) * 1000;
  const floor = Math.min(RETRY_FLOOR_MS, capped);
  return Math.round(floor + (capped - floor) * jitter);
}

/** The first rule that fits an error's class name, or null. Letters of either case are the same. */
export function ruleFor(rules: readonly RetryRule[], errorName: string): RetryRule | null {
  return rules.find((rule) => matchesWildcard(rule.error, errorName)) ?? null;
}

/** A failed attempt, as much as its retry depends on. */
export interface FailedTry {
  /** Counted attempts, this one included. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** First back-off in seconds. */
  readonly baseRetryDelaySeconds: number;
  readonly rules: FailureRules;
  /** Start of the first attempt, epoch milliseconds. */
  readonly firstStartedAt: number;
}

/** What follows. `why` ends a sentence that begins with what failed. */
export type NextTry =
  | { readonly again: true; readonly readyAt: number; readonly why: string }
  | { readonly again: false; readonly why: string };

/** Decides about a failed attempt. `jitter` gives a number in [0, 1), asked at most once. */
export function nextTry(
  one: FailedTry,
  failure: Pick<Extract<Outcome, { kind: "failed" }>, "permanent" | "retryAfterMs"> & {
    readonly errorName: string;
  },
  now: number,
  jitter: () => number,
): NextTry {
  const { rules } = one;
  if (failure.permanent) return { again: false, why: "it asked not to be tried again" };
  const rule = ruleFor(rules.retryRules, failure.errorName);
  const byRule = rule === null ? "" : ` by the rule for ${rule.error}`;
  if (rule?.action === "fail") return { again: false, why: `not to be tried again${byRule}` };
  const limit = (rule?.maxRetries ?? one.maxAttempts - 1) + 1;
  if (one.attempt >= limit) {
    return {
      again: false,
      why: limit === 1 ? `there are no retries${byRule}` : `no attempt is left${byRule}`,
    };
  }
  const asked = failure.retryAfterMs;
  const waitMs = asked === null
    ? backoffMs(
      {
        baseRetryDelaySeconds: rule?.baseRetryDelaySeconds ?? one.baseRetryDelaySeconds,
        maxRetryDelaySeconds: rules.maxRetryDelaySeconds,
      },
      one.attempt,
      jitter(),
    )
    : Math.min(Math.max(0, Math.round(asked)), RETRY_AFTER_AT_MOST_MS);
  const readyAt = now + waitMs;
  const when = `${new Date(readyAt).toISOString()}${asked === null ? byRule : ", as the job asked"}`;
  const budget = rules.retryBudgetSeconds;
  if (budget !== null && readyAt > one.firstStartedAt + budget * 1000) {
    return {
      again: false,
      why: `the next one would be due at ${when}, after the budget of ${budget} s from the first start ` +
        `(${new Date(one.firstStartedAt).toISOString()})`,
    };
  }
  return { again: true, readyAt, why: `the next one is due at ${when}` };
}
