/**
 * A job: the definition that due times and triggers make occurrences of.
 * A job row carries its own next due time, so that a schedule never depends on the run before it.
 */
import type { RetryRule } from "./retry.ts";
import type { Schedule } from "./schedule.ts";

/** What happens to a due time (or trigger) while another run of the same job is on. The guide's numbers. */
export const CONCURRENCY_POLICIES = ["Skip", "Queue", "Allow"] as const;
export type ConcurrencyPolicy = (typeof CONCURRENCY_POLICIES)[number];

/** What happens to due times that are older than the threshold when they are decided. */
export const MISFIRE_POLICIES = ["FireOnce", "Skip", "FireAll"] as const;
export type MisfirePolicy = (typeof MISFIRE_POLICIES)[number];

/** A pause is kept beside the definition, so that saving the definition cannot undo it. */
export interface Pause {
  readonly reason: string;
  readonly by: string;
  /** Epoch milliseconds. */
  readonly since: number;
  /** Epoch milliseconds at which the pause ends by itself, or null for "until resumed". */
  readonly until: number | null;
}

/** One due time that is to be left out, kept beside the definition like a pause. */
export interface SkippedDueTime {
  /** Epoch milliseconds. */
  readonly dueAt: number;
  readonly reason: string;
  readonly by: string;
  readonly since: number;
}

/** Set while a job is disabled because it kept failing. */
export interface AutoDisabled {
  /** Epoch milliseconds. Due times from here on do not run. */
  readonly since: number;
  /** Epoch milliseconds at which it was enabled again, or null. */
  readonly until: number | null;
  /** Consecutive failures that led to it. */
  readonly failures: number;
  /** The last of them. */
  readonly occurrenceId: string;
  readonly reason: string;
  /** From when on a single due time may run as a probe; null: only a person enables it. */
  readonly probeAt: number | null;
  /** The probe that is on, or null. */
  readonly probeId: string | null;
  /** The cool-down that leads to `probeAt`, seconds; null: only a person enables it. */
  readonly cooldownSeconds: number | null;
}

/** What a job says itself about being disabled by failures; null takes the server's. */
export interface AutoDisableSettings {
  readonly isEnabled: boolean | null;
  readonly failures: number | null;
  readonly windowMinutes: number | null;
  /** 0: only a person enables it again. */
  readonly cooldownMinutes: number | null;
}

/** How long the history of a job is kept; null takes the server's. */
export interface RetentionSettings {
  /** Days that Completed and Skipped occurrences are kept. */
  readonly completedDays: number | null;
  /** Days that Failed, TimedOut and Cancelled ones are kept. */
  readonly failedDays: number | null;
  /** The newest so many are kept however old they are. */
  readonly keepLast: number | null;
}

export interface Job {
  /** UUIDv7. */
  readonly id: string;
  /** Grows by one with each saved change of the definition; the ETag of the job. */
  readonly version: number;
  readonly displayName: string;
  readonly description: string;
  readonly tags: readonly string[];
  /** Class name of the job, e.g. `SendEmailJob`. */
  readonly jobType: string;
  /** The pool this job is pinned to, or null for any pool that offers the type. */
  readonly workerId: string | null;
  /** JSON text. */
  readonly jobData: string;
  readonly schedule: Schedule;
  readonly isActive: boolean;
  readonly pause: Pause | null;
  readonly concurrentExecutionPolicy: ConcurrencyPolicy;
  readonly misfirePolicy: MisfirePolicy;
  /** FireAll: how many of the newest missed due times run. Default 100. */
  readonly misfireLimit: number;
  /** Seconds after which an undecided due time counts as missed; null takes the server's. */
  readonly misfireThresholdSeconds: number | null;
  /** Seconds of run time after which an attempt is timed out; null takes the job type's. */
  readonly executionTimeoutSeconds: number | null;
  /** Retries after the first attempt; null takes the job type's. */
  readonly maxRetries: number | null;
  /** First back-off in seconds; null takes the job type's. */
  readonly baseRetryDelaySeconds: number | null;
  /** Longest back-off in seconds; null takes the job type's. */
  readonly maxRetryDelaySeconds: number | null;
  /** Seconds from the start of the first attempt after which no further one is made ready; null takes the type's. */
  readonly retryBudgetSeconds: number | null;
  /** Which errors are retried, and how; null takes the job type's. */
  readonly retryRules: readonly RetryRule[] | null;
  /** Null takes the server's. */
  readonly autoDisable: AutoDisableSettings | null;
  /** Seconds between the runs that catch up on missed due times; null takes the server's. */
  readonly catchUpSpacingSeconds: number | null;
  /** How many due times run before the schedule ends; null is no limit. */
  readonly runLimit: number | null;
  readonly retention: RetentionSettings | null;
  /** Due times before this are outside the schedule (epoch milliseconds). */
  readonly startAt: number | null;
  /** Due times at or after this are outside the schedule (epoch milliseconds). */
  readonly endAt: number | null;
  /** The first due time that is not decided yet (epoch milliseconds), null when there is none. */
  readonly nextDueAt: number | null;
  /** Due times that have run, or were queued to; kept by the store. */
  readonly runCount: number;
  readonly skippedDueTime: SkippedDueTime | null;
  /** Not before this moment does the newest catch-up run start (epoch milliseconds); kept by the store. */
  readonly lastCatchUpAt: number | null;
  readonly autoDisabled: AutoDisabled | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** What a job has where its definition says nothing; what was stored before a field existed reads like this. */
export const JOB_DEFAULTS = {
  description: "",
  tags: [],
  workerId: null,
  isActive: true,
  pause: null,
  concurrentExecutionPolicy: "Skip",
  misfirePolicy: "FireOnce",
  misfireLimit: 100,
  misfireThresholdSeconds: null,
  executionTimeoutSeconds: null,
  maxRetries: null,
  baseRetryDelaySeconds: null,
  maxRetryDelaySeconds: null,
  retryBudgetSeconds: null,
  retryRules: null,
  autoDisable: null,
  catchUpSpacingSeconds: null,
  runLimit: null,
  retention: null,
  startAt: null,
  endAt: null,
  runCount: 0,
  skippedDueTime: null,
  lastCatchUpAt: null,
  autoDisabled: null,
} as const satisfies Partial<Job>;

/** What stores keep of a job beside its definition, each where it changes by itself. */
export type KeptBesideDefinition = Pick<
  Job,
  | "version"
  | "jobData"
  | "nextDueAt"
  | "pause"
  | "runCount"
  | "skippedDueTime"
  | "lastCatchUpAt"
  | "autoDisabled"
>;

/** What a definition is, as it is stored. */
export type Definition = Omit<Job, keyof KeptBesideDefinition>;

/** A definition as JSON text; equal definitions give the same text. */
export function definitionText(job: Job): string {
  const {
    version: _version,
    jobData: _data,
    nextDueAt: _next,
    pause: _pause,
    runCount: _runs,
    skippedDueTime: _skipped,
    lastCatchUpAt: _lastCatchUp,
    autoDisabled: _disabled,
    ...definition
  } = job;
  return JSON.stringify(definition satisfies Definition);
}

/** The definition in a stored text, whatever fields it had when it was written. */
export function readDefinition(text: string): Definition {
  return { ...JOB_DEFAULTS, ...JSON.parse(text) };
}

/** The pause that a job is in at a moment, or null. One that has ended is kept while due times of it are undecided. */
export function pauseAt({ pause }: Pick<Job, "pause">, now: number): Pause | null {
  return pause === null || (pause.until !== null && pause.until <= now) ? null : pause;
}

/** True when as many due times have run as may: the schedule has ended. */
export function hasReachedLimit({ runLimit, runCount }: Pick<Job, "runLimit" | "runCount">): boolean {
  return runLimit !== null && runCount >= runLimit;
}
