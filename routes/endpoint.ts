/**
 * An endpoint as data: how it is called, what it answers, and what does the work. Reading requests, the
 * documentation and the routing all come from this one description.
 */
import { z } from "zod";
import type { Context } from "hono";
import type { Position } from "../actors/ports/reads.ts";
import type { ProblemCode } from "./errors.ts";
import { fieldErrors } from "./validation.ts";
import { type FieldError, invalidBody, invalidRequest, problem } from "./errors.ts";
import { parseId } from "./fields.ts";
import { type JsonBody, readJsonBody } from "./json_body.ts";
import { UNNAMED_USER, USER_HEADER, userOf } from "./user.ts";
import { nearestNames } from "../actors/domain/nearest.ts";

/** The HTTP methods in use here. */
export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** What the app keeps for each request. */
export interface RequestEnv {
  Variables: {
    requestId: string;
    /** How new what is listed must be; see `read_after.ts`. */
    readAfter: Position | "latest" | null;
  };
}

/** One answer that an endpoint gives, for the documentation. */
export interface DocumentedAnswer {
  readonly description: string;
  /** Absent when there is no body, or none in JSON. */
  readonly schema?: z.ZodType;
  readonly contentType?: string;
}

/** What a handler answers; a `Response` of its own for what is not JSON. */
export type Answer =
  | { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> }
  | Response;

/** A request whose parts have been read and found valid. */
export interface Call<Q, B> {
  /** The `{id}` of the path, in lower case; empty for a path without one. */
  readonly id: string;
  /** The `{workerId}` of the path; empty for a path without one. */
  readonly workerId: string;
  readonly query: Q;
  readonly body: B;
  /** The body as it came; empty when there is none. */
  readonly bodyText: string;
  /** Who says to be behind it. */
  readonly by: string;
  readonly context: Context<RequestEnv>;
}

export interface Endpoint {
  readonly method: Method;
  /** With `{id}` where an id stands, `{workerId}` where the name of a pool does. */
  readonly path: string;
  readonly tag: string;
  /** An imperative sentence without full stop. */
  readonly summary: string;
  readonly description?: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly isBodyOptional?: boolean;
  /** Request headers with a meaning here: name → description. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly answers: Readonly<Record<number, DocumentedAnswer>>;
  readonly problems: readonly ProblemCode[];
  /** Answers a request. Throws ApiProblem. */
  readonly answer: (context: Context<RequestEnv>) => Promise<Answer>;
}

interface EndpointParts<Q extends z.ZodObject, B extends z.ZodType>
  extends Omit<Endpoint, "query" | "body" | "answer"> {
  readonly query?: Q;
  readonly body?: B;
  /** Keys and array items of the body; the default of `readJsonBody` when absent. */
  readonly maxBodyItems?: number;
  readonly handle: (call: Call<z.output<Q>, z.output<B>>) => Promise<Answer> | Answer;
}

const USER_TEXT =
  "Who is behind it, kept and shown as `by`: a claim, not authentication. Up to 100 characters, " +
  "percent-encoded beyond ASCII; api when absent";
const NO_QUERY = z.strictObject({});
const NO_BODY = z.undefined();
const NO_FIELDS = z.strictObject({});

/** Describes an endpoint; the types of query and body follow from their schemas. */
export function endpoint<Q extends z.ZodObject = typeof NO_QUERY, B extends z.ZodType = typeof NO_BODY>(
  parts: EndpointParts<Q, B>,
): Endpoint {
  const { handle, maxBodyItems, ...described } = parts;
  return {
    ...described,
    headers: parts.method === "GET"
      ? described.headers ?? {}
      : { ...described.headers, [USER_HEADER]: USER_TEXT },
    async answer(context) {
      const by = parts.method === "GET" ? UNNAMED_USER : userOf(context.req.raw.headers);
      const id = parts.path.includes("{id}") ? readId(context) : "";
      const workerId = parts.path.includes("{workerId}") ? readWorkerId(context) : "";
      const query = readQuery(parts.query ?? NO_QUERY, context.req.url) as z.output<Q>;
      const read = parts.method === "GET" ? null : await readJsonBody(context.req.raw, maxBodyItems);
      const body = readBody(parts, read) as z.output<B>;
      return await handle({ id, workerId, query, body, bodyText: read?.text ?? "", by, context });
    },
  };
}

function readId(context: Context): string {
  const given = context.req.param("id") ?? "";
  const id = parseId(given);
  if (id !== null) return id;
  const message = "An id is a UUID like 0198c2d4-5b6e-7f00-8a9b-0c1d2e3f4a5b, without braces.";
  throw problem("id_invalid", message, { errors: [{ field: "id", code: "id_invalid", message }] });
}

/** As `Worker.WorkerId` may be. */
const WORKER_ID = /^[A-Za-z0-9_-]{1,64}$/;

function readWorkerId(context: Context): string {
  const given = context.req.param("workerId") ?? "";
  if (WORKER_ID.test(given)) return given;
  const message = "The name of a pool has 1 to 64 letters, digits, - and _, like email-worker.";
  throw invalidRequest([{ field: "workerId", code: "format", message }]);
}

function readQuery(schema: z.ZodObject, url: string): unknown {
  const errors: FieldError[] = [];
  const given: Record<string, string> = {};
  const known = Object.keys(schema.shape);
  for (const [name, value] of new URL(url).searchParams) {
    if (!known.includes(name)) {
      const nearest = nearestNames(name, known);
      const allowed = known.length === 0 ? "no parameters" : known.join(", ");
      const remedy = nearest.length > 0 ? `Did you mean ${nearest.join(" or ")}?` : `Known here: ${allowed}.`;
      const message = `${name} is no parameter of this address. ${remedy}`;
      errors.push({ field: name, code: "field_unknown", message, allowed: known });
    } else if (Object.hasOwn(given, name)) {
      errors.push({ field: name, code: "duplicate", message: `${name} is given more than once.` });
    } else given[name] = value;
  }
  const answer = schema.safeParse(given);
  if (!answer.success) {
    // A query has no JSON pointers.
    const found = fieldErrors(answer.error.issues, { schema, value: given });
    errors.push(...found.map(({ pointer: _, ...error }) => error));
  }
  if (errors.length > 0) throw invalidRequest(errors);
  return answer.data;
}

/** Where no body is taken an empty object may come: some clients always send one. What says something is not passed over. */
function refuseFields(value: unknown): void {
  const answer = NO_FIELDS.safeParse(value);
  if (!answer.success) throw invalidBody(fieldErrors(answer.error.issues, { schema: NO_FIELDS, value }));
}

function readBody(parts: Pick<Endpoint, "body" | "isBodyOptional">, read: JsonBody | null): unknown {
  if (parts.body === undefined) {
    if (read !== null) refuseFields(read.value);
    return undefined;
  }
  if (read === null && parts.isBodyOptional !== true) {
    throw problem("json_invalid", "The body is empty; a JSON document is expected.");
  }
  const value = read === null ? {} : read.value;
  const answer = parts.body.safeParse(value);
  if (!answer.success) throw invalidBody(fieldErrors(answer.error.issues, { schema: parts.body, value }));
  return answer.data;
}
