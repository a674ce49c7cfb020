/** Decisions over the due times of a job, as the leader makes them at noon. */
import { assert } from "@std/assert";
import { type Job, JOB_DEFAULTS } from "../../actors/domain/job.ts";
import { type Decision, MAX_DUE_TIMES, planDecision, type PlanOptions } from "../../actors/domain/plan.ts";
import { DEFAULT_FAILURE_RULES } from "../../actors/domain/retry.ts";
import type { Schedule } from "../../actors/domain/schedule.ts";

export const NOW = Date.UTC(2026, 0, 1, 12);
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;

export function every(seconds: number): Schedule {
  const expression = seconds < 60 ? `*/${seconds} * * * * *` : `0 */${seconds / 60} * * * *`;
  return {
    kind: "cron",
    expression,
    resolved: expression,
    timeZone: "UTC",
    gap: "RunAtNextValid",
    fold: "First",
  };
}

export function jobWith(change: Partial<Job>): Job {
  return {
    ...JOB_DEFAULTS,
    id: "job",
    version: 3,
    displayName: "Job",
    jobType: "SampleJob",
    jobData: "{}",
    schedule: every(60),
    nextDueAt: NOW,
    createdAt: 0,
    updatedAt: 0,
    ...change,
  };
}

export function optionsWith(change: Partial<PlanOptions> = {}): PlanOptions {
  let ids = 0;
  return {
    misfireThresholdMs: MINUTE,
    maxDueTimes: MAX_DUE_TIMES,
    instanceId: "leader",
    defaults: {
      maxRetries: 3,
      baseRetryDelaySeconds: 5,
      executionTimeoutSeconds: null,
      rules: DEFAULT_FAILURE_RULES,
    },
    newId: () => `${ids++}`,
    catchUpSpacingMs: SECOND,
    pace: (earliest) => earliest,
    ...change,
  };
}

/** Decides once; occurrence ids count up from 0. */
export function decide(job: Job, now: number, maxDueTimes = MAX_DUE_TIMES): Decision {
  const answer = planDecision(job, now, optionsWith({ maxDueTimes }));
  assert(answer.ok);
  return answer.decision;
}
