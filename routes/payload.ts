/** Payloads against the JSON Schema that their job type announces. */
import { z } from "zod";
import type { JobTypeOffer, Json } from "../actors/domain/job_type.ts";
import { byteLength, isLongerThan } from "../actors/domain/message.ts";
import type { Log } from "../actors/ports/log.ts";
import type { FieldError } from "./errors.ts";
import { errorsOf, fieldOf, pointerOf } from "./validation.ts";

/** Most types stay the same for days; a schema that changes makes a new entry. */
const KEPT_SCHEMAS = 500;

const ANY_OBJECT = z.looseObject({});

/** A payload that passed, as text for the store; or all that is wrong with it. */
export type PayloadAnswer =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly errors: readonly FieldError[] };

export interface Payloads {
  /** Checks a payload; `offer` null (no worker offers the type now) accepts any object. `at` is where it stands. */
  check(value: Json, offer: JobTypeOffer | null, at: readonly (string | number)[]): PayloadAnswer;
}

/** Keeps one compiled schema per text. `maxBytes`: of the longest payload in UTF-8, as it is stored. */
export function createPayloads(log: Log, maxBytes: number): Payloads {
  const compiled = new Map<string, z.ZodType>();

  function validatorOf(offer: JobTypeOffer | null): z.ZodType {
    if (offer === null || offer.schema === null) return ANY_OBJECT;
    const text = JSON.stringify(offer.schema);
    const known = compiled.get(text);
    if (known !== undefined) return known;
    const validator = compile(offer, log);
    const [oldest] = compiled.keys();
    if (compiled.size >= KEPT_SCHEMAS && oldest !== undefined) compiled.delete(oldest);
    compiled.set(text, validator);
    return validator;
  }

  // Of a thousand items in a row each has the same offer: it is looked up once.
  let last: { readonly offer: JobTypeOffer | null; readonly validator: z.ZodType } | null = null;

  return {
    check(value, offer, at) {
      if (last === null || last.offer !== offer) last = { offer, validator: validatorOf(offer) };
      const errors = errorsOf(last.validator, value, at);
      if (errors.length > 0) return { ok: false, errors: errors.map((error) => hinted(error, value, at)) };
      const text = JSON.stringify(value);
      if (!isLongerThan(text, maxBytes)) return { ok: true, text };
      return { ok: false, errors: [tooLong(at, byteLength(text), maxBytes)] };
    },
  };
}

/** Text that is JSON is the likeliest mistake: the original keeps payloads so. */
function hinted(error: FieldError, value: Json, at: readonly (string | number)[]): FieldError {
  if (typeof value !== "string" || error.pointer !== pointerOf(at)) return error;
  return { ...error, message: `${error.message} Give the value itself, not JSON in a text.` };
}

function tooLong(at: readonly (string | number)[], bytes: number, maxBytes: number): FieldError {
  const message = `${fieldOf(at)} has ${bytes} bytes and may have at most ${maxBytes / 1024} KiB ` +
    "(MilvaionConfig.Api.MaxJobDataKiB). Keep what is large elsewhere and give its address.";
  return { field: fieldOf(at), pointer: pointerOf(at), code: "too_long", message };
}

/** A schema that zod cannot read must not keep its jobs from being saved: the worker checks once more. */
function compile(offer: JobTypeOffer, log: Log): z.ZodType {
  try {
    return z.fromJSONSchema(offer.schema as Parameters<typeof z.fromJSONSchema>[0]);
  } catch (error) {
    log.warn(`Cannot use the schema of ${offer.name}, payloads are checked by the worker only: ${error}`);
    return ANY_OBJECT;
  }
}
