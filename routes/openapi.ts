/** The OpenAPI 3.1 document, written from the same endpoints that answer: it cannot say anything else than they do. */
import { z } from "zod";
import type { DocumentedAnswer, Endpoint } from "./endpoint.ts";
import { type ProblemCode, PROBLEMS } from "./errors.ts";

type JsonObject = Record<string, unknown>;
type Components = Record<string, JsonObject>;

/** What any request may be answered with, whatever its endpoint. */
const COMMON_PROBLEMS = [
  "host_not_allowed",
  "origin_not_allowed",
  "token_invalid",
  "token_in_query",
  "internal_error",
] as const satisfies readonly ProblemCode[];

const BODY_PROBLEMS = [
  "body_too_large",
  "content_type_unsupported",
  "encoding_unsupported",
  "user_invalid",
] as const satisfies readonly ProblemCode[];

/** Where none is taken, one that says something is refused. */
const NO_BODY_PROBLEMS = [
  ...BODY_PROBLEMS,
  "json_invalid",
  "json_duplicate_key",
  "validation_failed",
] as const satisfies readonly ProblemCode[];

const INTRODUCTION = `Jobs are definitions; an occurrence is one due time of a job, and what became of it.

- Times in answers are ISO 8601 in UTC with milliseconds; times in requests need an offset.
- Choices are written by name, and read by name or number.
- Lists answer \`{items, nextCursor}\`; send \`nextCursor\` back as \`cursor\`, with the same filter.
- Errors are problem documents (RFC 9457) with a stable \`code\`; \`errors\` names each field and the remedy.
- Unknown fields and parameters are refused, so that a slip of the pen is not taken for silence.`;

const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string().describe("Stable, for programs. When all errors share one code, that code"),
  detail: z.string().describe("A sentence for people, with the remedy"),
  errors: z.array(z.object({
    field: z.string(),
    pointer: z.string().optional().describe("JSON pointer into the body"),
    code: z.string(),
    message: z.string(),
    given: z.string().optional(),
    allowed: z.array(z.string()).optional(),
  })).optional(),
  requestId: z.string().describe("Names this request in the log"),
}).meta({ id: "Problem" });

/** Writes the document of these endpoints. */
export function openApiDocument(
  endpoints: readonly Endpoint[],
  info: { readonly version: string },
): JsonObject {
  const components: Components = {};
  const problemReference = schemaOf(problemSchema, "output", components);
  const paths: Record<string, JsonObject> = {};
  for (const endpoint of endpoints) {
    const path = paths[endpoint.path] ??= {};
    path[endpoint.method.toLowerCase()] = operation(endpoint, components, problemReference);
  }
  return {
    openapi: "3.1.0",
    info: { title: "Milvaion for Deno", version: info.version, description: INTRODUCTION },
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    paths,
    components: {
      schemas: components,
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
    security: [{}, { token: [] }],
    "x-problems": Object.fromEntries(
      Object.entries(PROBLEMS).map(([code, [status, title]]) => [code, { status, title }]),
    ),
  };
}

function operation(endpoint: Endpoint, components: Components, problemReference: JsonObject): JsonObject {
  const { method, path, tag, summary, description, query, body, headers = {}, answers } = endpoint;
  const ofBody = method === "GET" ? [] : body === undefined ? NO_BODY_PROBLEMS : BODY_PROBLEMS;
  const codes = [...new Set([...endpoint.problems, ...ofBody, ...COMMON_PROBLEMS])];
  const parameters = [
    ...(path.includes("{id}") ? [pathParameter("id", { type: "string", format: "uuid" })] : []),
    ...(path.includes("{workerId}") ? [pathParameter("workerId", { type: "string" })] : []),
    ...(query === undefined ? [] : queryParameters(query)),
    ...Object.entries(headers).map(([name, text]) => ({
      name,
      in: "header",
      description: text,
      required: endpoint.problems.includes("if_match_required") && name === "If-Match",
      schema: { type: "string" },
    })),
  ];
  return {
    operationId: operationId(method, path),
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : {
      requestBody: {
        required: endpoint.isBodyOptional !== true,
        content: { "application/json": { schema: schemaOf(body, "input", components) } },
      },
    }),
    responses: {
      ...mapValues(answers, (answer) => documentedAnswer(answer, components)),
      ...problemAnswers(codes, problemReference),
    },
  };
}

function documentedAnswer(
  { description, schema, contentType }: DocumentedAnswer,
  components: Components,
): JsonObject {
  if (schema === undefined && contentType === undefined) return { description };
  const content = schema === undefined
    ? { schema: { type: "string" } }
    : { schema: schemaOf(schema, "output", components) };
  return { description, content: { [contentType ?? "application/json"]: content } };
}

function problemAnswers(codes: readonly ProblemCode[], schema: JsonObject): JsonObject {
  const byStatus = Object.groupBy(codes, (code) => String(PROBLEMS[code][0]));
  return mapValues(byStatus, (sameStatus = []) => ({
    description: sameStatus.map((code) => `${code}: ${PROBLEMS[code][1]}`).join(". "),
    content: { "application/problem+json": { schema } },
  }));
}

function pathParameter(name: string, schema: JsonObject): JsonObject {
  return { name, in: "path", required: true, schema };
}

function queryParameters(query: z.ZodObject): readonly JsonObject[] {
  const { properties = {}, required = [] } = toJsonSchema(query, "input");
  return Object.entries(properties).map(([name, schema]) => {
    const { description, ...rest } = schema as JsonObject;
    return {
      name,
      in: "query",
      required: required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema: rest,
    };
  });
}

/** `GET /api/v1/jobs/{id}/next-runs` → `getJobsByIdNextRuns`. */
function operationId(method: string, path: string): string {
  const words = path.replace(/^\/(api\/v1\/)?/, "").replaceAll("{id}", "by-id").replaceAll(
    "{workerId}",
    "by-worker-id",
  ).split(/[/-]/);
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}

/** A schema for use in the document: what has a name goes to the components. */
function schemaOf(schema: z.ZodType, io: "input" | "output", components: Components): JsonObject {
  const { $schema: _, $defs = {}, ...own } = toJsonSchema(schema, io);
  for (const [name, definition] of Object.entries($defs)) components[name] = moved(definition) as JsonObject;
  return moved(own) as JsonObject;
}

/** References, rewritten to where the definitions have gone. */
function moved(schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/'));
}

interface JsonSchema extends JsonObject {
  properties?: JsonObject;
  required?: string[];
  $defs?: Record<string, unknown>;
}

function toJsonSchema(schema: z.ZodType, io: "input" | "output"): JsonSchema {
  return z.toJSONSchema(schema, { io, override: ({ jsonSchema }) => simplify(jsonSchema) }) as JsonSchema;
}

/** Takes out what says nothing to a reader. */
function simplify(schema: JsonObject): void {
  if (schema["minimum"] === Number.MIN_SAFE_INTEGER) delete schema["minimum"];
  if (schema["maximum"] === Number.MAX_SAFE_INTEGER) delete schema["maximum"];
  if (schema["format"] === "uuid") delete schema["pattern"];
  const branches = schema["anyOf"];
  if (!Array.isArray(branches) || branches.length !== 2 || branches[1]?.type !== "null") return;
  // What may be null, in one line rather than two branches.
  const [value] = branches;
  if (typeof value.type !== "string" && !Array.isArray(value.enum)) return;
  delete schema["anyOf"];
  const own = { ...schema };
  Object.assign(schema, value, own);
  if (typeof value.type === "string") schema["type"] = [value.type, "null"];
  if (Array.isArray(schema["enum"]) && !schema["enum"].includes(null)) {
    schema["enum"] = [...schema["enum"], null];
  }
}

function mapValues<V>(record: Readonly<Record<string, V>>, map: (value: V) => unknown): JsonObject {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
