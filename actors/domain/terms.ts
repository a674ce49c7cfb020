/**
 * What an occurrence starts on: how often it is tried, how long, and what follows from failures. Agreed when it is
 * created, so that a change of the job or of a worker's limits concerns later occurrences only.
 */
import { agreeAutoDisable } from "./auto_disable.ts";
import type { Job } from "./job.ts";
import { DEFAULT_FAILURE_RULES, type FailureRules } from "./retry.ts";

/** What the job type gives where the job says nothing. */
export interface TypeDefaults {
  readonly maxRetries: number;
  readonly baseRetryDelaySeconds: number;
  /** Seconds, or null for no limit. */
  readonly executionTimeoutSeconds: number | null;
  readonly rules: FailureRules;
}

/** The terms of an occurrence. */
export interface AgreedTerms {
  readonly maxAttempts: number;
  readonly baseRetryDelaySeconds: number;
  /** Seconds, or null for no limit. */
  readonly executionTimeoutSeconds: number | null;
  readonly rules: FailureRules;
}

/** The parts of a job that its occurrences' terms come from. */
export type TermsOfJob = Pick<
  Job,
  | "maxRetries"
  | "baseRetryDelaySeconds"
  | "executionTimeoutSeconds"
  | "maxRetryDelaySeconds"
  | "retryBudgetSeconds"
  | "retryRules"
  | "autoDisable"
>;

/** The terms on which an occurrence of this job starts now: what it says itself, else its type. */
export function agreeTerms(job: TermsOfJob, defaults: TypeDefaults): AgreedTerms {
  return {
    maxAttempts: (job.maxRetries ?? defaults.maxRetries) + 1,
    baseRetryDelaySeconds: job.baseRetryDelaySeconds ?? defaults.baseRetryDelaySeconds,
    executionTimeoutSeconds: job.executionTimeoutSeconds ?? defaults.executionTimeoutSeconds,
    rules: agreeRules(job, defaults.rules),
  };
}

/** The same object for all jobs that say nothing: it is asked for at each trigger. */
function agreeRules(job: TermsOfJob, rules: FailureRules): FailureRules {
  const { maxRetryDelaySeconds, retryBudgetSeconds, retryRules, autoDisable } = job;
  if (
    maxRetryDelaySeconds === null && retryBudgetSeconds === null && retryRules === null &&
    autoDisable === null
  ) {
    return plainRules(rules);
  }
  return {
    maxRetryDelaySeconds: maxRetryDelaySeconds ?? rules.maxRetryDelaySeconds,
    retryBudgetSeconds: retryBudgetSeconds ?? rules.retryBudgetSeconds,
    retryRules: retryRules ?? rules.retryRules,
    autoDisable: agreeAutoDisable(autoDisable, rules.autoDisable),
  };
}

const PLAIN = new WeakMap<FailureRules, FailureRules>();

function plainRules(rules: FailureRules): FailureRules {
  const known = PLAIN.get(rules);
  if (known !== undefined) return known;
  const plain = { ...rules, autoDisable: agreeAutoDisable(null, rules.autoDisable) };
  PLAIN.set(rules, plain);
  return plain;
}

const TEXTS = new WeakMap<FailureRules, string>();

/** Rules as they are stored: the same rules give the same text. What is the default is left out. */
export function rulesText(rules: FailureRules): string {
  const known = TEXTS.get(rules);
  if (known !== undefined) return known;
  const { maxRetryDelaySeconds, retryBudgetSeconds, retryRules, autoDisable } = rules;
  const said = Object.entries({ maxRetryDelaySeconds, retryBudgetSeconds, retryRules, autoDisable })
    .filter(([name, value]) =>
      JSON.stringify(value) !== JSON.stringify(DEFAULT_FAILURE_RULES[name as keyof FailureRules])
    );
  const text = JSON.stringify(Object.fromEntries(said));
  TEXTS.set(rules, text);
  return text;
}

/** The rules in a stored text. */
export function rulesOf(text: string): FailureRules {
  return text === "{}" ? DEFAULT_FAILURE_RULES : { ...DEFAULT_FAILURE_RULES, ...JSON.parse(text) };
}
