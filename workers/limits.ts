/**
 * How much of what job code says is kept. Cut where it is made, so that a job that logs 100 MB costs its own thread
 * and nothing else. Text is made safe for every store on the way: no NUL, no half surrogate pairs.
 */
import type { ErrorReport } from "../actors/domain/occurrence.ts";
import { RETRY_AFTER_AT_MOST_MS } from "../actors/domain/retry.ts";
import { RetryLater } from "./handler.ts";

/** Bytes of UTF-8; of results unless the configuration says otherwise. */
export const RESULT_LIMIT = 64 * 1024;
export const LINE_LIMIT = 8 * 1024;
export const ERROR_LIMIT = 16 * 1024;
const CAUSES_AT_MOST = 5;
/** Of the message of a cause, and of its stack. */
const CAUSE_LIMIT = (ERROR_LIMIT * 11) / 256;

/** Lines of one attempt: so many at once, then so many a second. */
export const LINE_BURST = 2000;
export const LINES_PER_SECOND = 500;

/** `Sun, 06 Nov 1994 08:49:37 GMT`, and the older `Sunday, 06-Nov-94 08:49:37 GMT`. */
const HTTP_DATE = /^\s*[A-Z][a-z]+, .+ GMT\s*$/;

const encoder = new TextEncoder();

/** Text of at most about `limit` bytes: what is cut off is named, with the original size. */
export function clampText(text: string, limit: number): string {
  if (text.length * 3 <= limit) return storable(text);
  const bytes = byteLength(text);
  if (bytes <= limit) return storable(text);
  const { read } = encoder.encodeInto(text, new Uint8Array(limit));
  return `${storable(text.slice(0, read))} … [cut: ${bytes} bytes in all]`;
}

/**
 * JSON text of what `run` returned, or null for nothing. Over `limit` bytes it becomes a marker with the original size
 * and the beginning, so that the column still holds JSON. Throws when JSON cannot say it (a cycle, a BigInt).
 */
export function resultText(
  value: unknown,
  limit = RESULT_LIMIT,
  onCut: (bytes: number) => void = () => {},
): string | null {
  if (value === undefined) return null;
  const text = JSON.stringify(value);
  if (text === undefined) return null;
  return clampJson(unstorable(text) ? JSON.stringify(value, storableValue) : text, limit, onCut);
}

/** JSON text of a line's fields. What JSON cannot say is written as text: a log line never fails its job. */
export function fieldsText(fields: unknown): string | null {
  if (fields === undefined || fields === null) return null;
  const path: unknown[] = [];
  try {
    const text = JSON.stringify(fields, function (this: unknown, _key, value: unknown) {
      // `this` is the holder: whatever is on the path below it has been left.
      while (path.length > 0 && path.at(-1) !== this) path.pop();
      if (typeof value === "bigint" || typeof value === "symbol" || typeof value === "function") {
        return String(value);
      }
      if (value instanceof Error) return `${value.name}: ${value.message}`;
      if (typeof value === "object" && value !== null) {
        if (path.includes(value)) return "[circular]";
        path.push(value);
      }
      return storableValue("", value);
    });
    return text === undefined ? null : clampJson(text, LINE_LIMIT);
  } catch (error) {
    return JSON.stringify({ unreadable: String(error).slice(0, 200) });
  }
}

/** What was thrown, within 16 KiB. Reads it with care: getters of a thrown value may throw themselves. */
export function errorReport(thrown: unknown): ErrorReport {
  const causes: unknown[] = directCauses(thrown);
  // The nearest first: all errors of an AggregateError before what caused the first of them.
  for (let index = 0; index < causes.length && causes.length < CAUSES_AT_MOST; index += 1) {
    causes.push(...directCauses(causes[index]));
  }
  const stack = property(thrown, "stack");
  return {
    name: nameOf(thrown),
    message: clampText(messageOf(thrown), ERROR_LIMIT / 4),
    stack: typeof stack === "string" ? clampText(stack, ERROR_LIMIT / 4) : null,
    causes: causes.slice(0, CAUSES_AT_MOST).map(causeReport),
  };
}

/** What an error names as its causes: `cause`, and what an `AggregateError` gathers. */
function directCauses(thrown: unknown): unknown[] {
  const errors = property(thrown, "errors");
  const gathered = thrown instanceof AggregateError && Array.isArray(errors)
    ? errors.slice(0, CAUSES_AT_MOST)
    : [];
  return [property(thrown, "cause"), ...gathered].filter((cause) => cause !== undefined && cause !== null);
}

function causeReport(cause: unknown): ErrorReport["causes"][number] {
  const stack = property(cause, "stack");
  const frames = typeof stack === "string" ? /^ +at [^]*/m.exec(stack)?.[0] : undefined;
  return {
    name: nameOf(cause),
    message: clampText(messageOf(cause), CAUSE_LIMIT),
    // Name and message stand beside it.
    ...(frames === undefined ? {} : { stack: clampText(frames, CAUSE_LIMIT) }),
  };
}

/**
 * How long a thrown error asks to wait, milliseconds: `RetryLater.afterSeconds`, or a property `retryAfter` of any error,
 * a number of seconds, a `Date`, or the text of a `Retry-After` header. Null when it asks for nothing that can be
 * understood, or for ever: then the back-off counts.
 */
export function retryAfterMs(thrown: unknown, now: number): number | null {
  const asked = thrown instanceof RetryLater ? thrown.afterSeconds : property(thrown, "retryAfter");
  const ms = waitMs(asked, now);
  return Number.isFinite(ms) ? Math.round(Math.min(Math.max(0, ms), RETRY_AFTER_AT_MOST_MS)) : null;
}

/** NaN for what is no wait. */
function waitMs(asked: unknown, now: number): number {
  if (asked instanceof Date) return asked.getTime() - now;
  if (typeof asked === "number") return asked * 1000;
  if (typeof asked !== "string") return NaN;
  if (/^\s*\d+(\.\d+)?\s*$/.test(asked)) return Number(asked) * 1000;
  return HTTP_DATE.test(asked) ? Date.parse(asked) - now : NaN;
}

/** JSON text within `limit` bytes, else a JSON object that says what was cut. */
function clampJson(text: string, limit: number, onCut: (bytes: number) => void = () => {}): string {
  if (text.length * 3 <= limit) return text;
  const bytes = byteLength(text);
  if (bytes <= limit) return text;
  onCut(bytes);
  return JSON.stringify({ truncated: true, bytes, beginning: text.slice(0, 1024).toWellFormed() });
}

function byteLength(text: string): number {
  return encoder.encode(text).byteLength;
}

function storable(text: string): string {
  return text.replaceAll("\0", "\uFFFD").toWellFormed();
}

/** JSON text that PostgreSQL's jsonb refuses: an escaped NUL or half of a surrogate pair. */
function unstorable(json: string): boolean {
  return json.includes("\\u0000") || json.includes("\\ud");
}

function storableValue(_key: string, value: unknown): unknown {
  if (typeof value === "string") return storable(value);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  if (!Object.keys(value).some((key) => key !== storable(key))) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [storable(key), inner]));
}

/** The class of an error that was given no name of its own counts: few classes set one, and retry rules go by it. */
function nameOf(thrown: unknown): string {
  let name = property(thrown, "name");
  if (name === "Error") {
    const given = property(property(thrown, "constructor"), "name");
    if (typeof given === "string" && given !== "") name = given;
  }
  return clampText(typeof name === "string" && name !== "" ? name : "Error", 200);
}

function messageOf(thrown: unknown): string {
  const message = property(thrown, "message");
  if (typeof message === "string") return message;
  try {
    return typeof thrown === "object" ? JSON.stringify(thrown) ?? String(thrown) : String(thrown);
  } catch {
    return "a value that cannot be shown was thrown";
  }
}

function property(thrown: unknown, name: PropertyKey): unknown {
  if ((typeof thrown !== "object" && typeof thrown !== "function") || thrown === null) return undefined;
  try {
    return Reflect.get(thrown, name);
  } catch {
    return undefined;
  }
}
