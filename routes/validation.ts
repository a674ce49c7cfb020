/** What a zod schema refuses, in this API's words: stable codes, sentences with the remedy, all of them at once. */
import type { z } from "zod";
import { nearestNames } from "../actors/domain/nearest.ts";
import type { FieldError } from "./errors.ts";
import { givenText } from "./fields.ts";

type Path = readonly PropertyKey[];
type Issue = z.core.$ZodIssue;

/** `["items", 3, "jobData", "to"]` → `items.3.jobData.to`; the body itself is `body`. */
export function fieldOf(path: Path): string {
  return path.length === 0 ? "body" : path.map(String).join(".");
}

/** The same as a JSON pointer (RFC 6901): `/items/3/jobData/to`. */
export function pointerOf(path: Path): string {
  return path.map((part) => "/" + String(part).replaceAll("~", "~0").replaceAll("/", "~1")).join("");
}

/**
 * Every error of a payload against `schema`, empty when there is none. Paths are prefixed with `at`. What a payload holds
 * is not repeated: it may be a secret.
 */
export function errorsOf(schema: z.ZodType, value: unknown, at: Path = []): readonly FieldError[] {
  const answer = schema.safeParse(value);
  return answer.success ? [] : fieldErrors(answer.error.issues, { schema, value, at, isPayload: true });
}

/** Translates issues. `schema` and `value` are what they were found with: for nearest names, and for what is missing. */
export function fieldErrors(
  issues: readonly Issue[],
  found: {
    readonly schema: z.ZodType;
    readonly value: unknown;
    readonly at?: Path;
    readonly isPayload?: boolean;
  },
): readonly FieldError[] {
  const at = found.at ?? [];
  const told: Told = found.isPayload === true ? () => "" : (given) => `is ${givenText(given)} and `;
  const errors = new Map<string, FieldError>();
  for (
    const { path, code, message, allowed } of issues.flatMap((issue) =>
      explain(issue, found.schema, found.value, told)
    )
  ) {
    const whole = [...at, ...path];
    const error: FieldError = {
      field: fieldOf(whole),
      pointer: pointerOf(whole),
      code,
      message: `${fieldOf(whole)} ${message}`,
      ...(allowed === undefined ? {} : { allowed }),
    };
    // A format and its pattern are refused one by one; people need to hear of it once.
    const key = `${error.pointer} ${code}`;
    if (!errors.has(key)) errors.set(key, error);
  }
  return [...errors.values()];
}

interface Explained {
  readonly path: Path;
  readonly code: string;
  /** Goes on after the field's name. */
  readonly message: string;
  readonly allowed?: readonly string[];
}

/** What was given, as a sentence begins; empty where it is not to be repeated. */
type Told = (given: unknown) => string;

function explain(issue: Issue, schema: z.ZodType, value: unknown, told: Told): readonly Explained[] {
  const { path } = issue;
  switch (issue.code) {
    case "invalid_type": {
      const given = valueAt(value, path);
      if (given === undefined) return [{ path, code: "required", message: "is missing." }];
      return [{
        path,
        code: "type",
        message: `${told(given)}must be ${withArticle(issue.expected)}.`,
      }];
    }
    case "unrecognized_keys": {
      const known = keysAt(schema, path);
      return issue.keys.map((key) => {
        const nearest = nearestNames(key, known);
        const remedy = nearest.length > 0 ? ` Did you mean ${nearest.join(" or ")}?` : "";
        const allowed = nearest.length > 0 ? nearest : known;
        return {
          path: [...path, key],
          code: "unknown_field",
          message: `is not known here.${remedy}`,
          allowed,
        };
      });
    }
    case "invalid_value": {
      const allowed = issue.values.map((one) =>
        typeof one === "string" ? one : JSON.stringify(one) ?? String(one)
      );
      const given = valueAt(value, path);
      const isMissing = given === undefined;
      const message = `${isMissing ? "is missing and " : told(given)}must be ${
        allowed.length === 1 ? "" : "one of "
      }${allowed.join(", ")}.`;
      return [{ path, code: isMissing ? "required" : "choice_unknown", message, allowed }];
    }
    case "too_small":
    case "too_big":
      return [{ path, ...bound(issue, valueAt(value, path), told) }];
    case "not_multiple_of":
      return [{
        path,
        code: "out_of_range",
        message: `${told(valueAt(value, path))}must be a multiple of ${issue.divisor}.`,
      }];
    case "invalid_format":
      return [{ path, code: "format", message: `has not the form of ${formName(issue)}.` }];
    case "invalid_union":
      return ofUnion(issue.errors, { schema, value, path, told });
    case "custom":
      return [{ path, ...ofCustom(issue) }];
    default:
      return [{ path, code: "invalid", message: `is refused: ${issue.message}.` }];
  }
}

function bound(
  issue: Extract<Issue, { code: "too_small" | "too_big" }>,
  given: unknown,
  told: Told,
): Omit<Explained, "path"> {
  const isBig = issue.code === "too_big";
  const limit = String(isBig ? issue.maximum : issue.minimum);
  const word = isBig
    ? (issue.inclusive === false ? "less than" : "at most")
    : (issue.inclusive === false ? "more than" : "at least");
  const length = typeof given === "string" || Array.isArray(given) ? given.length : null;
  const has = (noun: string) => length === null ? "" : `has ${length} ${noun}${length === 1 ? "" : "s"} and `;
  switch (issue.origin) {
    case "string":
      return {
        code: isBig ? "too_long" : "too_short",
        message: `${has("character")}must have ${word} ${limit}.`,
      };
    case "array":
    case "set":
      return {
        code: isBig ? "too_many_items" : "too_few_items",
        message: `${has("item")}must have ${word} ${limit}.`,
      };
    default:
      return {
        code: "out_of_range",
        message: `${told(given)}must be ${word} ${limit}.`,
        allowed: [`${word} ${limit}`],
      };
  }
}

/** Rules of our own (see `refine`) carry their code with them. */
function ofCustom(issue: Extract<Issue, { code: "custom" }>): Omit<Explained, "path"> {
  const code = typeof issue.params?.["code"] === "string" ? issue.params["code"] : "invalid";
  const allowed = issue.params?.["allowed"];
  return {
    code,
    message: issue.message,
    ...(Array.isArray(allowed) ? { allowed: allowed.map(String) } : {}),
  };
}

/** Of a union's branches, the errors of the one that was nearly met; when none was, what it could have been. */
function ofUnion(
  branches: readonly (readonly Issue[])[],
  { schema, value, path, told }: {
    readonly schema: z.ZodType;
    readonly value: unknown;
    readonly path: Path;
    readonly told: Told;
  },
): readonly Explained[] {
  if (valueAt(value, path) === undefined) return [{ path, code: "required", message: "is missing." }];
  const near = branches
    .filter((issues) => !issues.some((issue) => issue.code === "invalid_type" && issue.path.length === 0))
    .sort((a, b) => a.length - b.length);
  const [nearest] = near;
  if (nearest !== undefined) {
    return nearest.flatMap((issue) =>
      explain({ ...issue, path: [...path, ...issue.path] }, schema, value, told)
    );
  }
  const expected = branches.flat().flatMap((issue) => issue.code === "invalid_type" ? [issue.expected] : []);
  return [{
    path,
    code: "type",
    message: `must be ${[...new Set(expected.map(withArticle))].join(" or ")}.`,
  }];
}

function withArticle(expected: string): string {
  if (expected === "int") return "an integer";
  if (expected === "null") return "null";
  if (expected === "record") return "an object";
  return /^[aeiou]/.test(expected) ? `an ${expected}` : `a ${expected}`;
}

function formName(issue: Extract<Issue, { code: "invalid_format" }>): string {
  return issue.format === "regex" ? `the pattern ${issue.pattern}` : withArticle(issue.format);
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const part of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, part)) return undefined;
    at = Reflect.get(at, part);
  }
  return at;
}

/** The keys that the object at this path may have, as far as the schema says so. */
function keysAt(schema: z.ZodType, path: Path): readonly string[] {
  let at: z.core.$ZodType | undefined = schema;
  for (const part of [...path, null]) {
    at = unwrapped(at);
    if (part === null) break;
    if (isKind(at, "object")) at = (at as z.core.$ZodObject)._zod.def.shape[String(part)];
    else if (isKind(at, "array")) at = (at as z.core.$ZodArray)._zod.def.element;
    else return [];
  }
  return isKind(at, "object") ? Object.keys((at as z.core.$ZodObject)._zod.def.shape) : [];
}

function isKind(schema: z.core.$ZodType | undefined, kind: string): boolean {
  return schema?._zod.def.type === kind;
}

function unwrapped(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  let at = schema;
  for (;;) {
    const inner = at?._zod.def as { innerType?: z.core.$ZodType; in?: z.core.$ZodType } | undefined;
    const next = inner?.innerType ?? inner?.in;
    if (next === undefined) return at;
    at = next;
  }
}
