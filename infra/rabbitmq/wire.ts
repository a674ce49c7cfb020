/**
 * Messages as they travel: versioned JSON, checked field by field when they arrive. The README of this folder
 * describes each for whoever writes a worker in another language.
 *
 * The checks are written by hand: a job message is decoded in some 3 µs, and thousands come each second.
 */
import { Buffer } from "node:buffer";
import type { JobMessage, LogLine, Report, SignalNotice } from "../../actors/domain/message.ts";
import { byteLength, isLongerThan, LINE_LEVELS } from "../../actors/domain/message.ts";
import type { ProgressReport } from "../../actors/ports/queue.ts";

export const VERSION = 1;
/**
 * Of a job message without job data. Its own version, so that a worker which does not know of it parks the message
 * with that reason instead of running the job on nothing.
 */
export const BY_REFERENCE = 2;
/** Larger messages are parked unread. */
export const LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024;

export type Fields = Readonly<Record<string, unknown>>;

/** What a message says, or why it cannot be read. */
export type Decoded<T> = { readonly ok: true; readonly value: T } | {
  readonly ok: false;
  readonly reason: string;
};

/** Thrown inside a decoder; `decode` makes it an answer. */
export class Malformed extends Error {}

/** The JSON object of a message of a known version. */
export function decode<T>(
  content: Buffer,
  read: (fields: Fields) => T,
  versions: readonly unknown[] = [VERSION],
): Decoded<T> {
  if (content.length > LARGEST_MESSAGE_BYTES) {
    return { ok: false, reason: `too large: ${content.length} bytes, at most ${LARGEST_MESSAGE_BYTES}` };
  }
  try {
    const fields = JSON.parse(content.toString("utf8"));
    if (!isFields(fields)) throw new Malformed("not a JSON object");
    if (!versions.includes(fields.v)) throw new Malformed(`version ${JSON.stringify(fields.v)} is not known`);
    return { ok: true, value: read(fields) };
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, reason: error.message };
    return { ok: false, reason: "not JSON: " + (error as Error).message };
  }
}

export function encode(fields: Fields): Buffer {
  return Buffer.from(JSON.stringify({ v: VERSION, ...fields }));
}

// --------------------------------------------------------------------------------------------------- job message

/** Job data of more bytes than `inlineBytes` stays behind: see `BY_REFERENCE`. */
export function encodeJob(message: JobMessage, inlineBytes: number): Buffer {
  const { jobData } = message;
  if (jobData === null) return Buffer.from(JSON.stringify({ v: BY_REFERENCE, ...message }));
  if (!isLongerThan(jobData, inlineBytes)) return Buffer.from(JSON.stringify({ v: VERSION, ...message }));
  const without = { ...message, jobData: null, jobDataBytes: byteLength(jobData) };
  return Buffer.from(JSON.stringify({ v: BY_REFERENCE, ...without }));
}

export function decodeJob(content: Buffer): Decoded<JobMessage> {
  return decode(content, readJob, JOB_VERSIONS);
}

const JOB_VERSIONS = [VERSION, BY_REFERENCE];

function readJob(fields: Fields): JobMessage {
  return {
    occurrenceId: id(fields, "occurrenceId"),
    scheduledFor: number(fields, "scheduledFor"),
    jobId: id(fields, "jobId"),
    jobType: id(fields, "jobType"),
    pool: fields.pool === null ? null : id(fields, "pool"),
    token: count(fields, "token"),
    attempt: count(fields, "attempt"),
    maxAttempts: count(fields, "maxAttempts"),
    ...(fields.v === BY_REFERENCE
      ? { jobData: null, jobDataBytes: count(fields, "jobDataBytes") }
      : { jobData: text(fields, "jobData") }),
    executionTimeoutSeconds: nullableNumber(fields, "executionTimeoutSeconds"),
  };
}

// ------------------------------------------------------------------------------------- reports, lines, progress

export function readReports(fields: Fields): readonly Report[] {
  return list(fields, "reports").map((one) => {
    const outcome = object(one, "outcome");
    checkOutcome(outcome);
    return {
      occurrenceId: id(one, "occurrenceId"),
      scheduledFor: number(one, "scheduledFor"),
      jobId: id(one, "jobId"),
      token: count(one, "token"),
      workerId: id(one, "workerId"),
      instanceId: id(one, "instanceId"),
      startedAt: number(one, "startedAt"),
      endedAt: number(one, "endedAt"),
      durationMs: number(one, "durationMs"),
      outcome: outcome as unknown as Report["outcome"],
      ...(one.signalledAt === undefined ? {} : { signalledAt: number(one, "signalledAt") }),
    };
  });
}

const CAUSES = ["error", "invalid-data", "out-of-memory", "exited", "unhandled", "crashed"];
const RUNGS = ["signal", "terminated", "killed"];
const SIGNAL_CAUSES = ["cancelled", "timedOut"];
const HANDED_BACK = ["stopping", "sibling-killed", "lease-lost", "no-lane"];

function checkOutcome(outcome: Fields): void {
  switch (outcome.kind) {
    case "completed":
      if (outcome.result !== null) text(outcome, "result");
      if (outcome.resultIsKept !== undefined && outcome.resultIsKept !== true) {
        throw new Malformed("resultIsKept is there and not true");
      }
      return;
    case "failed": {
      const error = object(outcome, "error");
      text(error, "name");
      text(error, "message");
      if (error.stack !== null) text(error, "stack");
      for (const cause of list(error, "causes")) {
        text(cause, "name");
        text(cause, "message");
        if (cause.stack !== undefined) text(cause, "stack");
      }
      boolean(outcome, "permanent");
      nullableNumber(outcome, "retryAfterMs");
      oneOf(outcome, "cause", CAUSES);
      return;
    }
    case "timedOut":
      number(outcome, "limitMs");
      oneOf(outcome, "rung", RUNGS);
      return;
    case "cancelled":
      oneOf(outcome, "rung", RUNGS);
      return;
    case "handedBack":
      oneOf(outcome, "why", HANDED_BACK);
      return;
    default:
      throw new Malformed(`outcome.kind ${JSON.stringify(outcome.kind)} is not known`);
  }
}

export function readLines(fields: Fields): readonly LogLine[] {
  return list(fields, "lines").map((one) => {
    oneOf(one, "level", LINE_LEVELS);
    return {
      occurrenceId: id(one, "occurrenceId"),
      scheduledFor: number(one, "scheduledFor"),
      token: count(one, "token"),
      sequence: count(one, "sequence"),
      at: number(one, "at"),
      level: one.level as LogLine["level"],
      message: text(one, "message"),
      fields: one.fields === null ? null : text(one, "fields"),
    };
  });
}

/** What travels unconfirmed: progress, and that abort signals were given. */
export interface Hints {
  readonly progress: readonly ProgressReport[];
  readonly signals: readonly SignalNotice[];
}

export function readHints(fields: Fields): Hints {
  return { progress: readProgress(fields), signals: fields.signals === undefined ? [] : readSignals(fields) };
}

function readSignals(fields: Fields): readonly SignalNotice[] {
  return list(fields, "signals").map((one) => {
    oneOf(one, "cause", SIGNAL_CAUSES);
    return {
      occurrenceId: id(one, "occurrenceId"),
      scheduledFor: number(one, "scheduledFor"),
      token: count(one, "token"),
      instanceId: id(one, "instanceId"),
      cause: one.cause as SignalNotice["cause"],
      at: number(one, "at"),
    };
  });
}

function readProgress(fields: Fields): readonly ProgressReport[] {
  return list(fields, "progress").map((one) => ({
    occurrenceId: id(one, "occurrenceId"),
    scheduledFor: number(one, "scheduledFor"),
    token: count(one, "token"),
    done: number(one, "done"),
    total: number(one, "total"),
    at: number(one, "at"),
  }));
}

// ------------------------------------------------------------------------------------------------------- fields

/** Longest id, name or key, characters. */
const LONGEST_ID = 255;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function id(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === "string" && value !== "" && value.length <= LONGEST_ID) return value;
  throw new Malformed(`${name} is not a text of 1 to ${LONGEST_ID} characters`);
}

export function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === "string") return value;
  throw new Malformed(`${name} is not a text`);
}

export function number(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value === "number") return value;
  throw new Malformed(`${name} is not a number`);
}

/** A whole number, 0 or more. */
export function count(fields: Fields, name: string): number {
  const value = fields[name];
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new Malformed(`${name} is not a whole number of 0 or more`);
}

export function list(fields: Fields, name: string): readonly Fields[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw new Malformed(`${name} is not a list`);
  for (const one of value) {
    if (!isFields(one)) throw new Malformed(`${name} holds something that is no object`);
  }
  return value;
}

export function object(fields: Fields, name: string): Fields {
  const value = fields[name];
  if (isFields(value)) return value;
  throw new Malformed(`${name} is not an object`);
}

function nullableNumber(fields: Fields, name: string): number | null {
  return fields[name] === null ? null : number(fields, name);
}

function boolean(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value === "boolean") return value;
  throw new Malformed(`${name} is neither true nor false`);
}

function oneOf(fields: Fields, name: string, values: readonly string[]): void {
  if (values.includes(fields[name] as string)) return;
  throw new Malformed(`${name} is none of ${values.join(", ")}`);
}
