/** A job as it stands in answers. */
import { z } from "zod";
import { tooFrequent } from "../actors/domain/frequency.ts";
import { CONCURRENCY_POLICIES, type Job, MISFIRE_POLICIES, pauseAt } from "../actors/domain/job.ts";
import { RETRY_ACTIONS } from "../actors/domain/retry.ts";
import { FOLD_POLICIES, GAP_POLICIES } from "../actors/domain/schedule.ts";
import type { ApiDeps } from "./deps.ts";
import { iso, isoOrNull, jsonView, momentView } from "./fields.ts";

const pauseView = z.strictObject({
  reason: z.string(),
  by: z.string(),
  since: momentView,
  until: momentView.nullable().describe("When it ends by itself; null: when somebody resumes the job"),
});

const autoDisabledView = z.strictObject({
  since: momentView,
  until: momentView.nullable().describe("When it was enabled again"),
  failures: z.int(),
  occurrenceId: z.uuid().describe("The last of the failures"),
  reason: z.string(),
  probeAt: momentView.nullable().describe("From then on one due time may run as a probe"),
  probeId: z.uuid().nullable().describe("The probe that is on"),
  cooldownSeconds: z.number().nullable().describe("The cool-down that leads to probeAt"),
});

/** A job in a list. */
export const jobView = z.strictObject({
  id: z.uuid(),
  version: z.int().describe(
    "Grows with each change of the definition; the ETag, to be sent back in If-Match",
  ),
  displayName: z.string(),
  description: z.string(),
  tags: z.array(z.string()),
  jobType: z.string(),
  workerId: z.string().nullable(),
  jobData: jsonView,
  cronExpression: z.string().nullable(),
  resolvedCronExpression: z.string().nullable().describe("What is computed with: six fields, H resolved"),
  executeAt: momentView.nullable(),
  triggerOnly: z.boolean(),
  timeZone: z.string().nullable(),
  gapPolicy: z.enum(GAP_POLICIES).nullable(),
  foldPolicy: z.enum(FOLD_POLICIES).nullable(),
  isActive: z.boolean(),
  pause: pauseView.nullable(),
  concurrentExecutionPolicy: z.enum(CONCURRENCY_POLICIES),
  misfirePolicy: z.enum(MISFIRE_POLICIES),
  misfireLimit: z.int(),
  misfireThresholdSeconds: z.int().nullable(),
  executionTimeoutSeconds: z.int().nullable(),
  maxRetries: z.int().nullable(),
  baseRetryDelaySeconds: z.int().nullable(),
  maxRetryDelaySeconds: z.int().nullable(),
  retryBudgetSeconds: z.int().nullable(),
  retryRules: z.array(z.strictObject({
    error: z.string(),
    action: z.enum(RETRY_ACTIONS),
    maxRetries: z.int().nullable(),
    baseRetryDelaySeconds: z.int().nullable(),
  })).nullable(),
  autoDisable: z.strictObject({
    isEnabled: z.boolean().nullable(),
    failures: z.int().nullable(),
    windowMinutes: z.int().nullable(),
    cooldownMinutes: z.int().nullable(),
  }).nullable(),
  catchUpSpacingSeconds: z.int().nullable(),
  runLimit: z.int().nullable(),
  retention: z.strictObject({
    completedDays: z.int().nullable(),
    failedDays: z.int().nullable(),
    keepLast: z.int().nullable(),
  }).nullable(),
  startAt: momentView.nullable(),
  endAt: momentView.nullable(),
  nextDueAt: momentView.nullable().describe("The first due time that is not decided yet"),
  runCount: z.int().describe("Due times that have run, or were queued to"),
  skippedDueTime: z.strictObject({
    dueAt: momentView,
    reason: z.string(),
    by: z.string(),
    since: momentView,
  }).nullable().describe("The one due time that is to be left out"),
  autoDisabled: autoDisabledView.nullable().describe("Set while the job is disabled because it kept failing"),
  createdAt: momentView,
  updatedAt: momentView,
}).meta({ id: "Job" });

const warningView = z.strictObject({ code: z.string(), message: z.string() });

/** A job alone: with what its owner should know. */
export const jobDetailView = jobView.extend({
  warnings: z.array(warningView).describe("What is allowed, and may not be meant"),
}).meta({ id: "JobDetail" });

export type JobView = z.output<typeof jobView>;
export type JobDetailView = z.output<typeof jobDetailView>;

/** Writes a job as it stands at a moment. */
export function viewJob(job: Job, now: number): JobView {
  const { schedule, skippedDueTime, autoDisabled } = job;
  const pause = pauseAt(job, now);
  const cron = schedule.kind === "cron" ? schedule : null;
  return {
    id: job.id,
    version: job.version,
    displayName: job.displayName,
    description: job.description,
    tags: [...job.tags],
    jobType: job.jobType,
    workerId: job.workerId,
    jobData: JSON.parse(job.jobData),
    cronExpression: cron?.expression ?? null,
    resolvedCronExpression: cron?.resolved ?? null,
    executeAt: schedule.kind === "once" ? iso(schedule.executeAt) : null,
    triggerOnly: schedule.kind === "triggerOnly",
    timeZone: cron?.timeZone ?? null,
    gapPolicy: cron?.gap ?? null,
    foldPolicy: cron?.fold ?? null,
    isActive: job.isActive,
    pause: pause === null ? null : { ...pause, since: iso(pause.since), until: isoOrNull(pause.until) },
    concurrentExecutionPolicy: job.concurrentExecutionPolicy,
    misfirePolicy: job.misfirePolicy,
    misfireLimit: job.misfireLimit,
    misfireThresholdSeconds: job.misfireThresholdSeconds,
    executionTimeoutSeconds: job.executionTimeoutSeconds,
    maxRetries: job.maxRetries,
    baseRetryDelaySeconds: job.baseRetryDelaySeconds,
    maxRetryDelaySeconds: job.maxRetryDelaySeconds,
    retryBudgetSeconds: job.retryBudgetSeconds,
    retryRules: job.retryRules === null ? null : job.retryRules.map((rule) => ({ ...rule })),
    autoDisable: job.autoDisable,
    catchUpSpacingSeconds: job.catchUpSpacingSeconds,
    runLimit: job.runLimit,
    retention: job.retention,
    startAt: isoOrNull(job.startAt),
    endAt: isoOrNull(job.endAt),
    nextDueAt: isoOrNull(job.nextDueAt),
    runCount: job.runCount,
    skippedDueTime: skippedDueTime === null
      ? null
      : { ...skippedDueTime, dueAt: iso(skippedDueTime.dueAt), since: iso(skippedDueTime.since) },
    autoDisabled: autoDisabled === null ? null : {
      ...autoDisabled,
      since: iso(autoDisabled.since),
      until: isoOrNull(autoDisabled.until),
      probeAt: isoOrNull(autoDisabled.probeAt),
    },
    createdAt: iso(job.createdAt),
    updatedAt: iso(job.updatedAt),
  };
}

/** Writes a job with its warnings. */
export async function viewJobDetail(
  deps: Pick<ApiDeps, "jobTypes" | "clock">,
  job: Job,
): Promise<JobDetailView> {
  return { ...viewJob(job, deps.clock.now()), warnings: await warningsOf(deps, job) };
}

async function warningsOf(
  { jobTypes, clock }: Pick<ApiDeps, "jobTypes" | "clock">,
  job: Job,
): Promise<JobDetailView["warnings"]> {
  const warnings: JobDetailView["warnings"] = [];
  const instances = await jobTypes.refresh();
  const offering = instances.filter(({ jobTypes }) => jobTypes.some(({ name }) => name === job.jobType));
  if (offering.length === 0) {
    const message = `No worker offers ${job.jobType} now; its runs wait until one does.`;
    warnings.push({ code: "no_worker_for_type", message });
  } else if (job.workerId !== null && !offering.some(({ workerId }) => workerId === job.workerId)) {
    const message =
      `No worker of the pool ${job.workerId} offers ${job.jobType} now; its runs wait until one does.`;
    warnings.push({ code: "no_worker_in_pool", message });
  }
  const frequent = tooFrequent({
    schedule: job.schedule,
    policy: job.concurrentExecutionPolicy,
    executionTimeoutSeconds: job.executionTimeoutSeconds ??
      jobTypes.defaults(job.jobType).executionTimeoutSeconds,
  }, clock.now());
  if (frequent !== null) warnings.push({ code: frequent.code, message: frequent.message });
  return warnings;
}
