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
} as const;

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
  if (given.has("timeout")) fields["executionTimeoutSeconds"] = given.number("timeout");
  if (given.has("max-retries")) fields["maxRetries"] = given.number("max-retries");
  const data = given.text("data");
  if (data !== null) fields["jobData"] = parseJson(data, "--data");
  return fields;
}

/** A new schedule takes the place of the one that was there. */
function withFields(definition: JsonObject, fields: JsonObject): JsonObject {
  const changesSchedule = SCHEDULE_FIELDS.some((name) => Object.hasOwn(fields, name));
  const kept = Object.entries(definition).filter(([name]) =>
    !changesSchedule || !SCHEDULE_FIELDS.includes(name)
  );
  return { ...Object.fromEntries(kept), ...fields };
}
