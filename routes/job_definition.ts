/** The definition of a job as it comes in, and the checks that need more than its form. */
import { z } from "zod";
import { parseInstant } from "../actors/domain/instant.ts";
import { CONCURRENCY_POLICIES, type Job, MISFIRE_POLICIES } from "../actors/domain/job.ts";
import type { Json } from "../actors/domain/job_type.ts";
import { firstDue, MAX_MISFIRE_LIMIT } from "../actors/domain/plan.ts";
import type { Problem } from "../actors/domain/problem.ts";
import { RETRY_ACTIONS } from "../actors/domain/retry.ts";
import { FOLD_POLICIES, GAP_POLICIES, parseSchedule } from "../actors/domain/schedule.ts";
import type { FieldError } from "./errors.ts";
import { choiceField, instantField, lineField } from "./fields.ts";
import type { KnownTypes } from "./known_types.ts";
import type { Payloads } from "./payload.ts";
import { pointerOf } from "./validation.ts";

const TYPE_NAME = /^[A-Za-z_$][\w$]*$/;
/** It becomes a part of queue names and routing keys. */
const POOL_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;
const DEFAULT_MISFIRE_LIMIT = 100;

/** Null is the same as absent, so that what was read can be written back. */
function optional<T extends z.ZodType>(schema: T) {
  return schema.nullable().optional();
}

function seconds(minimum: number, maximum: number, what: string) {
  return optional(z.int().min(minimum).max(maximum).describe(what));
}

const retryRule = z.strictObject({
  error: z.string().min(1).max(100).describe("Class name of the error; * stands for any characters").meta({
    examples: ["HttpError", "*TimeoutError"],
  }),
  action: choiceField(RETRY_ACTIONS),
  maxRetries: optional(z.int().min(0).max(100)),
  baseRetryDelaySeconds: seconds(0, 3600, "The first back-off for these errors; the job's when absent"),
});

const autoDisable = z.strictObject({
  isEnabled: optional(z.boolean()),
  failures: optional(z.int().min(1).max(1000).describe("Consecutive failures that disable the job")),
  windowMinutes: optional(z.int().min(1).max(43_200).describe("What they lie within")),
  cooldownMinutes: optional(
    z.int().min(0).max(43_200).describe(
      "Then one run probes whether it works again; 0: only a person enables it",
    ),
  ),
});

const retention = z.strictObject({
  completedDays: optional(
    z.int().min(1).max(36_500).describe("Days that completed and skipped runs are kept"),
  ),
  failedDays: optional(
    z.int().min(1).max(36_500).describe("Days that failed, timed out and cancelled runs are kept"),
  ),
  keepLast: optional(z.int().min(0).max(100_000).describe("The newest so many are kept whatever their age")),
});

/** When a job is due, as it comes in; what it says is checked by `parseSchedule`. */
export const scheduleFields = {
  cronExpression: optional(
    z.string().max(1000).describe("Five or six fields (seconds first); H for a time of the job's own"),
  ).meta({ examples: ["*/5 * * * * *", "0 30 2 * * 1-5"] }),
  executeAt: optional(z.string().describe("Runs once: ISO 8601 with offset")).meta({ format: "date-time" }),
  triggerOnly: optional(z.boolean().describe("Runs only when it is triggered")),
  timeZone: optional(z.string().max(100).describe("IANA name; UTC when absent")).meta({
    examples: ["Europe/Berlin"],
  }),
  gapPolicy: optional(z.string().describe("A local time that a clock change leaves out")).meta({
    enum: [...GAP_POLICIES, null],
  }),
  foldPolicy: optional(z.string().describe("A local time that a clock change brings twice")).meta({
    enum: [...FOLD_POLICIES, null],
  }),
};

/** What a job is created from, and replaced by. */
export const jobDefinition = z.strictObject({
  displayName: lineField(255),
  description: optional(z.string().max(2000)),
  tags: optional(
    z.array(lineField(64)).max(50).check((context) => {
      const repeated = context.value.find((tag, index) => context.value.indexOf(tag) !== index);
      if (repeated === undefined) return;
      const message = `must not name a tag twice (${repeated}).`;
      context.issues.push({ code: "custom", input: context.value, message, params: { code: "duplicate" } });
    }),
  ),
  jobType: z.string().min(1).max(200).regex(TYPE_NAME).describe("Class name of the job").meta({
    examples: ["SampleJob"],
  }),
  workerId: optional(z.string().max(64).regex(POOL_NAME).describe("Pins the job to this pool of workers")),
  jobData: z.unknown().optional().describe(
    "The payload, a JSON value as the type's schema wants it; {} when absent",
  ),
  ...scheduleFields,
  isActive: optional(z.boolean()),
  concurrentExecutionPolicy: optional(choiceField(CONCURRENCY_POLICIES)),
  misfirePolicy: optional(choiceField(MISFIRE_POLICIES)),
  misfireLimit: optional(
    z.int().min(1).max(MAX_MISFIRE_LIMIT).describe("FireAll: how many of the newest missed due times run"),
  ),
  misfireThresholdSeconds: seconds(
    1,
    86_400,
    "A due time older than this counts as missed; the server's when absent",
  ),
  executionTimeoutSeconds: seconds(1, 2_592_000, "Run time of an attempt; the type's when absent"),
  maxRetries: optional(
    z.int().min(0).max(100).describe("Retries after the first attempt; the type's when absent"),
  ),
  baseRetryDelaySeconds: seconds(0, 3600, "The first back-off, doubled each time; the type's when absent"),
  maxRetryDelaySeconds: seconds(1, 604_800, "The longest back-off; the type's when absent"),
  retryBudgetSeconds: seconds(
    1,
    2_592_000,
    "Time from the start of the first attempt after which no further one begins; the type's when absent",
  ),
  retryRules: optional(
    z.array(retryRule).max(20).describe(
      "What is made of a failed attempt, by the class of its error; the first that fits counts",
    ),
  ),
  autoDisable: optional(autoDisable.describe("When a job that keeps failing is disabled")),
  catchUpSpacingSeconds: seconds(
    0,
    3600,
    "Time between runs that catch up on missed due times; the server's when absent",
  ),
  runLimit: optional(
    z.int().min(1).max(1_000_000_000).describe("How many due times run before the schedule ends"),
  ),
  retention: optional(retention.describe("How long history is kept")),
  startAt: optional(instantField.describe("Due times before this are left out")),
  endAt: optional(instantField.describe("Due times at or after this are left out")),
});

/** A definition whose form is right. */
export type JobDefinition = z.output<typeof jobDefinition>;

/** The part of a job that its definition decides. */
export type DefinedJob = Omit<
  Job,
  | "version"
  | "pause"
  | "runCount"
  | "skippedDueTime"
  | "lastCatchUpAt"
  | "autoDisabled"
  | "createdAt"
  | "updatedAt"
>;

export interface DefinitionContext {
  readonly id: string;
  readonly now: number;
  /** The job as it is, when it is to be replaced. */
  readonly previous: Job | null;
  /** A moment in the past is due at once. */
  readonly allowPast: boolean;
  readonly types: KnownTypes;
  readonly payloads: Payloads;
}

export type DefinitionAnswer =
  | { readonly ok: true; readonly job: DefinedJob }
  | { readonly ok: false; readonly errors: readonly FieldError[] };

/** Makes a job of a definition, or names everything that is wrong with it. */
export function defineJob(definition: JobDefinition, context: DefinitionContext): DefinitionAnswer {
  const { id, now, previous } = context;
  const errors: FieldError[] = [...context.types.errorsOf(definition.jobType)];
  const payload = context.payloads.check(
    (definition.jobData ?? {}) as Json,
    context.types.offer(definition.jobType),
    ["jobData"],
  );
  if (!payload.ok) errors.push(...payload.errors);

  // Saving a job again must not fail because its moment has come meanwhile.
  const isUnmoved = previous?.schedule.kind === "once" &&
    momentOf(definition.executeAt) === previous.schedule.executeAt;
  const parsed = parseSchedule(definition, { jobId: id, now, allowPast: context.allowPast || isUnmoved });
  if (!parsed.ok) errors.push(...parsed.problems.map(atItsField));

  const startAt = definition.startAt ?? null;
  const endAt = definition.endAt ?? null;
  if (startAt !== null && endAt !== null && endAt <= startAt) {
    errors.push(
      atItsField({ field: "endAt", code: "out_of_range", message: "endAt must be later than startAt." }),
    );
  }
  if (errors.length > 0 || !parsed.ok || !payload.ok) return { ok: false, errors };

  const { schedule } = parsed;
  const nextDueAt = firstDue({ schedule, startAt, endAt }, now, previous);
  // A window that was there before may have passed: the job is kept, it only comes no more.
  if (schedule.kind === "cron" && nextDueAt === null && endAt !== null && endAt !== previous?.endAt) {
    const message = "No due time of this schedule lies before endAt.";
    return { ok: false, errors: [atItsField({ field: "endAt", code: "cron_never", message })] };
  }
  return {
    ok: true,
    job: {
      id,
      displayName: definition.displayName,
      description: definition.description ?? "",
      tags: definition.tags ?? [],
      jobType: definition.jobType,
      workerId: definition.workerId ?? null,
      jobData: payload.text,
      schedule,
      isActive: definition.isActive ?? true,
      concurrentExecutionPolicy: definition.concurrentExecutionPolicy ?? "Skip",
      misfirePolicy: definition.misfirePolicy ?? "FireOnce",
      misfireLimit: definition.misfireLimit ?? DEFAULT_MISFIRE_LIMIT,
      misfireThresholdSeconds: definition.misfireThresholdSeconds ?? null,
      executionTimeoutSeconds: definition.executionTimeoutSeconds ?? null,
      maxRetries: definition.maxRetries ?? null,
      baseRetryDelaySeconds: definition.baseRetryDelaySeconds ?? null,
      maxRetryDelaySeconds: definition.maxRetryDelaySeconds ?? null,
      retryBudgetSeconds: definition.retryBudgetSeconds ?? null,
      retryRules: definition.retryRules?.map((rule) => ({
        error: rule.error,
        action: rule.action,
        maxRetries: rule.maxRetries ?? null,
        baseRetryDelaySeconds: rule.baseRetryDelaySeconds ?? null,
      })) ?? null,
      autoDisable: allOrNull(definition.autoDisable, [
        "isEnabled",
        "failures",
        "windowMinutes",
        "cooldownMinutes",
      ]),
      catchUpSpacingSeconds: definition.catchUpSpacingSeconds ?? null,
      runLimit: definition.runLimit ?? null,
      retention: allOrNull(definition.retention, ["completedDays", "failedDays", "keepLast"]),
      startAt,
      endAt,
      nextDueAt,
    },
  };
}

/** An object with each of these fields, null where nothing was given; null when there is no object. */
function allOrNull<T extends object, K extends keyof T & string>(
  given: T | null | undefined,
  names: readonly K[],
): { readonly [N in K]: Exclude<T[N], undefined> | null } | null {
  if (given === null || given === undefined) return null;
  return Object.fromEntries(names.map((name) => [name, given[name] ?? null])) as {
    readonly [N in K]: Exclude<T[N], undefined> | null;
  };
}

function momentOf(text: string | null | undefined): number | null {
  const answer = parseInstant(text ?? "");
  return answer.ok ? answer.at : null;
}

/** A problem of the domain, with the place of its field in the body. */
export function atItsField(problem: Problem): FieldError {
  return { ...problem, pointer: pointerOf(problem.field.split(".")) };
}
