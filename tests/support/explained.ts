/** A job, an occurrence and surroundings in which nothing stands in the way: tests of explanations change one thing. */
import { type Job, JOB_DEFAULTS } from "../../actors/domain/job.ts";
import type { Occurrence } from "../../actors/domain/occurrence.ts";
import type { Surroundings, WorkerStanding } from "../../actors/domain/surroundings.ts";

export const NOW = Date.UTC(2026, 5, 1, 12);
export const MINUTE = 60_000;
export const DAY = 1440 * MINUTE;

/** Due at each full hour, for a month. */
export function jobWith(change: Partial<Job> = {}): Job {
  return {
    ...JOB_DEFAULTS,
    id: "job-1",
    version: 1,
    displayName: "Hourly",
    jobType: "SampleJob",
    jobData: "{}",
    schedule: {
      kind: "cron",
      expression: "0 * * * *",
      resolved: "0 0 * * * *",
      timeZone: "UTC",
      gap: "RunAtNextValid",
      fold: "First",
    },
    nextDueAt: NOW + 60 * MINUTE,
    createdAt: NOW - 30 * DAY,
    updatedAt: NOW - 30 * DAY,
    ...change,
  };
}

/** Queued a second ago. */
export function occurrenceOf(change: Partial<Occurrence> = {}): Omit<Occurrence, "jobData"> {
  return {
    id: "occurrence-1",
    jobId: "job-1",
    jobVersion: 1,
    jobType: "SampleJob",
    pool: null,
    origin: "schedule",
    status: "Queued",
    scheduledFor: NOW - 1000,
    createdAt: NOW - 1000,
    startedAt: null,
    endedAt: null,
    durationMs: null,
    workerId: null,
    instanceId: null,
    attempt: 0,
    token: 0,
    maxAttempts: 4,
    baseRetryDelaySeconds: 5,
    executionTimeoutSeconds: null,
    readyAt: NOW - 1000,
    result: null,
    error: null,
    reason: null,
    cancel: null,
    ending: null,
    ...change,
  };
}

/** Four lanes, one of them busy. */
export function workerWith(
  change: Partial<WorkerStanding> & { readonly busy?: number } = {},
): WorkerStanding {
  const { busy = 1, ...rest } = change;
  return {
    workerId: "local",
    instanceId: "worker-1",
    isStopping: false,
    reportsHeldBack: 0,
    maxParallelJobs: 8,
    lastSeenAt: NOW - 1000,
    running: new Array(busy).fill({ occurrenceId: "another", token: 1 }),
    jobTypes: [{ name: "SampleJob", maxParallelJobs: 4, lanesBusy: busy }],
    ...rest,
  };
}

export function surroundingsWith(change: Partial<Surroundings> = {}): Surroundings {
  return {
    now: NOW,
    instanceId: "api-1",
    servers: [{ name: "RabbitMQ", isConnected: true }, { name: "Redis", isConnected: true }],
    canPublish: true,
    leader: { epoch: 7, holder: "api-2", since: NOW - DAY, leaseUntil: NOW + 10_000, endedAt: null },
    workers: [workerWith()],
    queues: [{ jobType: "SampleJob", pool: null, ready: 0, unacknowledged: 0, consumers: 1 }],
    lapsing: [],
    leaseMs: 15_000,
    toleranceMs: 10_000,
    ...change,
  };
}
