/**
 * A job: the definition that due times and triggers make occurrences of.
 * A job row carries its own next due time, so that a schedule never depends on the run before it.
 */
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
  /** JSON text, at most 256 KiB. */
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
  /** Due times before this are outside the schedule (epoch milliseconds). */
  readonly startAt: number | null;
  /** Due times at or after this are outside the schedule (epoch milliseconds). */
  readonly endAt: number | null;
  /** The first due time that is not decided yet (epoch milliseconds), null when there is none. */
  readonly nextDueAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}
