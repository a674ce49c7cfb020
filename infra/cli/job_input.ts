/** The definition of a job as `jobs create` and `jobs update` take it: a file, flags, or a file with flags over it. */
import type { JsonObject } from "./api_client.ts";
import { CommandFailure, EXIT } from "./exit_code.ts";
import type { Given, Option } from "./option.ts";
import type { VerbCall } from "./verb.ts";

/** What `jobs create` and `jobs update` take. */
export const JOB_OPTIONS: readonly Option[] = [
  { name: "file", kind: "text", value: "FILE", about: "The definition as JSON; - reads standard input" },
  { name: "name", kind: "text", value: "TEXT", about: "displayName" },
  { name: "type", kind: "text", value: "JOBTYPE", about: "jobType, e.g. SampleJob" },
  { name: "cron", kind: "text", value: "FIELDS", about: "cronExpression: 5 or 6 fields (seconds first)" },
  { name: "at", kind: "text", value: "MOMENT", about: "executeAt, e.g. 2026-12-24T18:00:00+01:00" },
  { name: "trigger-only", kind: "flag", about: "No schedule: runs only when triggered" },
  { name: "time-zone", kind: "text", value: "ZONE", about: "timeZone, e.g. Europe/Berlin" },
  { name: "data", kind: "text", value: "JSON", about: "jobData" },
  { name: "description", kind: "text", value: "TEXT", about: "description" },
  { name: "tag", kind: "list", value: "TAG", about: "tags; may be repeated" },
  { name: "worker-id", kind: "text", value: "POOL", about: "workerId: pins the job to a pool" },
  {
    name: "policy",
    kind: "text",
    value: "POLICY",
    choices: ["Skip", "Queue", "Allow"],
    about: "concurrentExecutionPolicy: Skip, Queue or Allow",
  },
  { name: "timeout", kind: "number", value: "SECONDS", about: "executionTimeoutSeconds" },
  { name: "max-retries", kind: "number", value: "N", about: "maxRetries" },
  {
    name: "retry-delay",
    kind: "number",
    value: "SECONDS",
    about: "baseRetryDelaySeconds: the first back-off",
  },
  {
    name: "max-retry-delay",
    kind: "number",
    value: "SECONDS",
    about: "maxRetryDelaySeconds: the longest back-off",
  },
  {
    name: "retry-budget",
    kind: "number",
    value: "SECONDS",
    about: "retryBudgetSeconds: no retry later than this after the first start",
  },
  {
    name: "retry-on",
    kind: "list",
    value: "ERROR",
    about: "retryRules: retry errors of this class (* fits any text); may be repeated, see --fail-on",
  },
  {
    name: "fail-on",
    kind: "list",
    value: "ERROR",
    about: "retryRules: never retry this class; stands before --retry-on. Rules with limits: --file",
  },
  {
    name: "misfire",
    kind: "text",
    value: "POLICY",
    choices: ["FireOnce", "Skip", "FireAll"],
    about: "misfirePolicy, of missed due times: FireOnce, Skip or FireAll",
  },
  { name: "misfire-limit", kind: "number", value: "N", about: "misfireLimit: how many FireAll runs" },
  {
    name: "run-limit",
    kind: "number",
    value: "N",
    about: "runLimit: the schedule ends after N due times that ran",
  },
  { name: "start-at", kind: "text", value: "MOMENT", about: "startAt: no due time before" },
  { name: "end-at", kind: "text", value: "MOMENT", about: "endAt: no due time at or after" },
  {
    name: "auto-disable",
    kind: "text",
    value: "WORD",
    choices: ["on", "off"],
    about: "autoDisable.isEnabled, when it keeps failing: on or off",
  },
  {
    name: "auto-disable-after",
    kind: "number",
    value: "N",
    about: "autoDisable.failures: so many in a row disable it",
  },
  {
    name: "keep-completed",
    kind: "number",
    value: "DAYS",
    about: "retention.completedDays: Completed and Skipped runs",
  },
  { name: "keep-failed", kind: "number", value: "DAYS", about: "retention.failedDays: all others" },
  { name: "keep-last", kind: "number", value: "N", about: "retention.keepLast: the newest, however old" },
  { name: "allow-unknown-type", kind: "flag", about: "Accept a job type that no worker offers yet" },
];

/** Field of the definition ← option that gives it as text. */
const TEXT_FIELDS = {
  displayName: "name",
  jobType: "type",
  cronExpression: "cron",
  executeAt: "at",
  timeZone: "time-zone",
  description: "description",
  workerId: "worker-id",
  concurrentExecutionPolicy: "policy",
  misfirePolicy: "misfire",
  startAt: "start-at",
  endAt: "end-at",
} as const;

/** Field of the definition ← option that gives it as a number. */
const NUMBER_FIELDS = {
  executionTimeoutSeconds: "timeout",
  maxRetries: "max-retries",
  baseRetryDelaySeconds: "retry-delay",
  maxRetryDelaySeconds: "max-retry-delay",
  retryBudgetSeconds: "retry-budget",
  misfireLimit: "misfire-limit",
  runLimit: "run-limit",
} as const;

/** Fields that are objects of their own: flags change what they name in them, the rest stays. */
const PARTIAL_FIELDS = ["autoDisable", "retention"];

const SCHEDULE_FIELDS = ["cronExpression", "executeAt", "triggerOnly"];

/** What a definition consists of; the rest of a job as it is read belongs to the server. */
const DEFINITION_FIELDS = [
  "displayName",
  "description",
  "tags",
  "jobType",
  "workerId",
  "jobData",
  "cronExpression",
  "executeAt",
  "triggerOnly",
  "timeZone",
  "gapPolicy",
  "foldPolicy",
  "isActive",
  "concurrentExecutionPolicy",
  "misfirePolicy",
  "misfireLimit",
  "misfireThresholdSeconds",
  "executionTimeoutSeconds",
  "maxRetries",
  "baseRetryDelaySeconds",
  "maxRetryDelaySeconds",
  "retryBudgetSeconds",
  "retryRules",
  "autoDisable",
  "catchUpSpacingSeconds",
  "runLimit",
  "retention",
  "startAt",
  "endAt",
];

/**
 * JSON text of the definition that was given, or null when nothing was. A file alone is sent letter for letter, so
 * that the server's complaints name its lines. `--data` and the file are checked to be JSON. Throws CommandFailure.
 */
export async function readDefinition(call: VerbCall): Promise<string | null> {
  const fields = fieldsOf(call.given);
  const path = call.given.text("file");
  const hasFields = Object.keys(fields).length > 0;
  if (path === null) return hasFields ? JSON.stringify(fields) : null;
  const text = await call.readText(path);
  const file = parseJson(text, path === "-" ? "Standard input" : path);
  if (typeof file !== "object" || file === null || Array.isArray(file)) {
    throw new CommandFailure(
      EXIT.data,
      `${path} holds no JSON object`,
      "A job is { … }: see `milvaion help jobs create`.",
    );
  }
  return hasFields ? JSON.stringify(withFields(file as JsonObject, fields)) : text;
}

/** The definition of a job as it was read, with what the flags change. */
export function changedDefinition(job: JsonObject, given: Given): string {
  const definition: Record<string, unknown> = {};
  for (const name of DEFINITION_FIELDS) {
    const value = job[name];
    if (value !== null && value !== undefined) definition[name] = value;
  }
  return JSON.stringify(withFields(definition, fieldsOf(given)));
}

/** Parses text that a user gave. Throws CommandFailure. */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (error) {
    throw new CommandFailure(EXIT.data, `${what} is not JSON: ${(error as Error).message}`);
  }
}

function fieldsOf(given: Given): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [field, option] of Object.entries(TEXT_FIELDS)) {
    if (given.has(option)) fields[field] = given.text(option);
  }
  if (given.flag("trigger-only")) fields["triggerOnly"] = true;
  if (given.has("tag")) fields["tags"] = given.list("tag");
  for (const [field, option] of Object.entries(NUMBER_FIELDS)) {
    if (given.has(option)) fields[field] = given.number(option);
  }
  const rules = [
    ...given.list("fail-on").map((error) => ({ error, action: "fail" })),
    ...given.list("retry-on").map((error) => ({ error, action: "retry" })),
  ];
  if (rules.length > 0) fields["retryRules"] = rules;
  const autoDisable = {
    ...(given.has("auto-disable") ? { isEnabled: given.text("auto-disable") === "on" } : {}),
    ...numbers(given, { failures: "auto-disable-after" }),
  };
  if (Object.keys(autoDisable).length > 0) fields["autoDisable"] = autoDisable;
  const retention = numbers(given, {
    completedDays: "keep-completed",
    failedDays: "keep-failed",
    keepLast: "keep-last",
  });
  if (Object.keys(retention).length > 0) fields["retention"] = retention;
  const data = given.text("data");
  if (data !== null) fields["jobData"] = parseJson(data, "--data");
  return fields;
}

function numbers(given: Given, options: Readonly<Record<string, string>>): Record<string, number | null> {
  const had = Object.entries(options).filter(([, option]) => given.has(option));
  return Object.fromEntries(had.map(([field, option]) => [field, given.number(option)]));
}

/** A new schedule takes the place of the one that was there. */
function withFields(definition: JsonObject, fields: JsonObject): JsonObject {
  const changesSchedule = SCHEDULE_FIELDS.some((name) => Object.hasOwn(fields, name));
  const kept = Object.entries(definition).filter(([name]) =>
    !changesSchedule || !SCHEDULE_FIELDS.includes(name)
  );
  const parts = PARTIAL_FIELDS.filter((name) => isObject(definition[name]) && isObject(fields[name]));
  const whole = parts.map((name) => [name, { ...definition[name] as object, ...fields[name] as object }]);
  return { ...Object.fromEntries(kept), ...fields, ...Object.fromEntries(whole) };
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}
