/**
 * What went wrong, as RFC 9457 problem documents. The only place that knows which refusal has which HTTP status;
 * everything else throws an `ApiProblem` by its code. Codes are for programs and never change their meaning.
 */
import type { Problem } from "../actors/domain/problem.ts";
import type { Log } from "../actors/ports/log.ts";
import { Unavailable } from "../actors/ports/unavailable.ts";

/** code → status and title. A code that names one field's fault stands in `errors` and is not listed here. */
export const PROBLEMS = {
  json_invalid: [400, "The body is not JSON"],
  json_duplicate_key: [400, "The body names a key twice"],
  id_invalid: [400, "The id is not a UUID"],
  cursor_invalid: [400, "The cursor is not one of this list"],
  if_match_invalid: [400, "If-Match is not a version"],
  idempotency_key_invalid: [400, "The idempotency key is not usable"],
  token_in_query: [400, "A token does not belong in an address"],
  user_invalid: [400, "The name of the user is not usable"],
  request_invalid: [400, "The request is not valid"],
  token_invalid: [401, "A valid token is needed"],
  origin_not_allowed: [403, "Requests from this web page are refused"],
  not_found: [404, "There is no such thing"],
  method_not_allowed: [405, "This method is not possible here"],
  version_conflict: [409, "The job was changed by someone else"],
  state_conflict: [409, "The present state does not allow it"],
  already_running: [409, "A run of this job is in the way"],
  job_in_use: [409, "A run of this job is on"],
  idempotency_mismatch: [409, "The idempotency key belongs to another request"],
  body_too_large: [413, "The body is too large"],
  content_type_unsupported: [415, "The body must be application/json in UTF-8"],
  encoding_unsupported: [415, "The body must not be compressed"],
  host_not_allowed: [421, "This host name is not served here"],
  validation_failed: [422, "The body is not valid"],
  if_match_required: [428, "Say which version you are changing"],
  internal_error: [500, "Something is wrong on this side"],
  not_ready: [503, "This instance is not ready"],
  unavailable: [503, "A server this instance stands on is out of reach"],
  too_many_connections: [503, "Too many live connections"],
} as const satisfies Readonly<Record<string, readonly [status: number, title: string]>>;

/** A code that a problem document may carry at its top when no single field is at fault. */
export type ProblemCode = keyof typeof PROBLEMS;

/** One thing that is wrong in a request. */
export interface FieldError extends Problem {
  /** JSON pointer into the body (RFC 6901), e.g. `/jobData/to`; absent for what does not stand in the body. */
  readonly pointer?: string;
}

export interface ProblemParts {
  readonly errors?: readonly FieldError[];
  /** Further members of the document, e.g. the current version. */
  readonly members?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A refusal on its way to the client. `detail` is a sentence for people and names the remedy. */
export class ApiProblem extends Error {
  constructor(
    /** What kind of refusal: decides status and title. */
    readonly kind: ProblemCode,
    /** The kind again, or the one code that all field errors share. */
    readonly code: string,
    readonly detail: string,
    readonly parts: ProblemParts = {},
  ) {
    super(detail);
    this.name = "ApiProblem";
  }
}

/** Refuses with a code of the list. */
export function problem(code: ProblemCode, detail: string, parts: ProblemParts = {}): ApiProblem {
  return new ApiProblem(code, code, detail, parts);
}

/** The body breaks its rules (422): all errors at once, and their code at the top when they share one. */
export function invalidBody(errors: readonly FieldError[]): ApiProblem {
  return ofFields(errors, "validation_failed");
}

/** The path, the query or a header breaks its rules (400). */
export function invalidRequest(errors: readonly FieldError[]): ApiProblem {
  return ofFields(errors, "request_invalid");
}

function ofFields(errors: readonly FieldError[], kind: ProblemCode): ApiProblem {
  const [first] = errors;
  const isAlike = first !== undefined && errors.every((error) => error.code === first.code);
  const detail = errors.length === 1 && first !== undefined
    ? first.message
    : `${errors.length} things are wrong; each is named in errors.`;
  return new ApiProblem(kind, isAlike ? first.code : kind, detail, { errors });
}

/** There is no job (occurrence, …) with this id. */
export function notFound(what: string, id: string): ApiProblem {
  return problem("not_found", `There is no ${what} with the id ${id}.`);
}

/**
 * The answer to whatever a handler threw. What is no `ApiProblem` is a fault on this side: it is logged once, here,
 * with the request's id, and the client learns that id and nothing else.
 */
export function problemResponse(thrown: unknown, requestId: string, log: Log): Response {
  const { kind, code, detail, parts } = thrown instanceof ApiProblem ? thrown : fault(thrown, requestId, log);
  const [status, title] = PROBLEMS[kind];
  const document = {
    type: `/docs#${kind}`,
    title,
    status,
    code,
    detail,
    ...parts.members,
    ...(parts.errors === undefined ? {} : { errors: parts.errors }),
    requestId,
  };
  return new Response(JSON.stringify(document), {
    status,
    headers: { "content-type": "application/problem+json", ...parts.headers },
  });
}

function fault(thrown: unknown, requestId: string, log: Log): ApiProblem {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (error instanceof Unavailable) {
    log.warn(`Cannot answer a request: ${error.message}`, { requestId });
    return problem("unavailable", "Please try again in a moment. What was asked may have been done.", {
      headers: { "retry-after": "2" },
    });
  }
  log.error(`Cannot answer a request: ${error.message}`, { requestId, stack: error.stack });
  return problem("internal_error", `Please try again; if it stays, look for ${requestId} in the log.`);
}
