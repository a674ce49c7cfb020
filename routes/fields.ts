/** The kinds of values that more than one endpoint reads, and how they are written in answers. */
import { z } from "zod";
import { parseInstant } from "../actors/domain/instant.ts";
import type { Json } from "../actors/domain/job_type.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const NIL_UUID = "00000000-0000-0000-0000-000000000000";

/** An id in lower case, or null when it is none. Upper case is fine; braces, other forms and the nil UUID are not. */
export function parseId(text: string): string | null {
  const id = text.toLowerCase();
  return UUID.test(id) && id !== NIL_UUID ? id : null;
}

/** Reports a fault of our own with its code; the message goes on after the field's name. */
export function refuse(
  context: z.core.ParsePayload,
  code: string,
  message: string,
  allowed?: readonly string[],
): typeof z.NEVER {
  context.issues.push({ code: "custom", input: context.value, message, params: { code, allowed } });
  return z.NEVER;
}

/** What was given, as a refusal shows it: enough to be found again. */
export function givenText(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value !== "string") return String(value);
  return JSON.stringify(value.length > GIVEN_SHOWN ? `${value.slice(0, GIVEN_SHOWN)}…` : value);
}

const GIVEN_SHOWN = 40;

/** The id of something, in a query or a body. */
export const idField = z.string().transform((text, context) =>
  parseId(text) ?? refuse(context, "id_invalid", "is not a UUID.")
).meta({ format: "uuid" });

/** A moment: ISO 8601 with offset; epoch milliseconds when read. */
export const instantField = z.string().transform((text, context) => {
  const answer = parseInstant(text);
  return answer.ok ? answer.at : refuse(context, answer.code, `is no moment. ${answer.message}`);
}).meta({ format: "date-time", examples: ["2026-12-24T18:00:00+01:00"] });

/** Refuses a span that ends before it begins: nothing can match it. */
export function fromBeforeTo(context: z.core.ParsePayload): void {
  const { from, to } = context.value as { readonly from?: unknown; readonly to?: unknown };
  if (context.issues.length > 0 || typeof from !== "number" || typeof to !== "number" || from <= to) return;
  context.issues.push({
    code: "custom",
    input: context.value,
    path: ["from"],
    message: `is later than to (${iso(from)}, ${iso(to)}): nothing lies between them. Take the other order.`,
    params: { code: "range_reversed" },
  });
}

/** One of some names, given by name or by number (its place among them). */
export function choiceField<const T extends readonly [string, ...string[]]>(names: T) {
  return z.unknown().transform((value, context): T[number] => {
    const name = typeof value === "number" ? names[value] : names.find((one) => one === value);
    if (name !== undefined) return name;
    const allowed = names.map((one, index) => `${one} (${index})`);
    return refuse(
      context,
      "choice_unknown",
      `is ${givenText(value)} and must be one of ${allowed.join(", ")}.`,
      allowed,
    );
  }).meta({ enum: [...names, ...names.keys()] });
}

/** One line of text: not empty, no spaces around it, no control characters. */
export function lineField(maxLength: number) {
  return z.string().min(1).max(maxLength).check((context) => {
    const text = context.value;
    if (text.trim() !== text) refuse(context, "untrimmed", "must not begin or end with spaces.");
    // deno-lint-ignore no-control-regex -- these are the characters that a line must not have
    if (/[\u0000-\u001f\u007f]/.test(text)) {
      refuse(context, "character_forbidden", "must not hold control characters.");
    }
  });
}

/** Why someone does something: text of several lines at most. */
export const reasonField = z.string().trim().min(1).max(500).describe("Why, in a sentence; kept and shown");

/** An integer in a query. */
export function queryInteger(minimum: number, maximum: number) {
  return z.string().transform((text, context) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : NaN;
    if (Number.isNaN(value)) return refuse(context, "type", `is ${givenText(text)} and must be an integer.`);
    if (value >= minimum && value <= maximum) return value;
    return refuse(context, "out_of_range", `is ${text} and must lie between ${minimum} and ${maximum}.`, [
      `${minimum}…${maximum}`,
    ]);
  }).meta({ type: "integer", minimum, maximum });
}

/** A number in a query, with a decimal point or without. */
export function queryNumber(minimum: number, maximum: number) {
  return z.string().transform((text, context) => {
    const value = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
    if (Number.isNaN(value)) {
      return refuse(context, "type", `is ${givenText(text)} and must be a number, such as 2 or 0.5.`);
    }
    if (value >= minimum && value <= maximum) return value;
    return refuse(context, "out_of_range", `is ${text} and must lie between ${minimum} and ${maximum}.`, [
      `${minimum}…${maximum}`,
    ]);
  }).meta({ type: "number", minimum, maximum });
}

/** `true` or `false` in a query. */
export const queryBoolean = z.string().transform((text, context) => {
  if (text === "true" || text === "false") return text === "true";
  return refuse(context, "type", "must be true or false.", ["true", "false"]);
}).meta({ type: "boolean" });

/** A moment in an answer: ISO 8601 in UTC with milliseconds. */
export const momentView = z.string().meta({ format: "date-time", examples: ["2026-11-24T10:00:05.000Z"] });

/** Any JSON value in an answer. */
export const jsonView = z.unknown().describe("Any JSON value");

/** Epoch milliseconds as they stand in answers. */
export function iso(at: number): string {
  return new Date(at).toISOString();
}

/** The same for a moment that may not be there. */
export function isoOrNull(at: number | null): string | null {
  return at === null ? null : iso(at);
}

/** Stored JSON text as a value; null stays null. */
export function jsonOrNull(text: string | null): Json {
  return text === null ? null : JSON.parse(text);
}
