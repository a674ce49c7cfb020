/** Speaks to the API for the verbs, and turns whatever goes wrong into a line, a hint and an exit code. */
import { CommandFailure, EXIT, type ExitCode } from "./exit_code.ts";

/** A JSON object as the API answers it. */
export type JsonObject = { readonly [name: string]: unknown };

/** The server, and how to reach it. */
export interface ApiClientOptions {
  /** e.g. `http://127.0.0.1:5000`. */
  readonly url: string;
  readonly token: string | null;
  /** Who is behind it, as the server keeps it; null when nobody says. */
  readonly user: string | null;
  /** Milliseconds for one request, answer included. */
  readonly deadlineMs: number;
  readonly fetch: typeof fetch;
}

/** What goes with a method and a path. */
export interface ApiRequest {
  /** Empty values are left out. */
  readonly query?: Readonly<Record<string, string | number | null>>;
  /** JSON text. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A successful answer; the body is {} when there was none. */
export interface ApiAnswer {
  readonly body: JsonObject;
  readonly headers: Headers;
}

/** One server as the verbs see it. */
export interface ApiClient {
  /** Path below `/api/v1/`. Throws CommandFailure for every answer that is not a success. */
  send(method: string, path: string, request?: ApiRequest): Promise<ApiAnswer>;
}

/** A client of one server. Never follows redirects: the token is for the server that was named. */
export function createApiClient({ url, token, user, deadlineMs, fetch }: ApiClientOptions): ApiClient {
  return {
    async send(method, path, { query = {}, body, headers = {} } = {}) {
      const target = new URL(`${url.replace(/\/+$/, "")}/api/v1/${path}`);
      for (const [name, value] of Object.entries(query)) {
        if (value !== null && value !== "") target.searchParams.set(name, String(value));
      }
      const sent = headersOf({
        accept: "application/json",
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(user === null || method === "GET" ? {} : { "x-milvaion-user": encodeURIComponent(user) }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        // The command before this one may have written through another instance.
        "milvaion-position": "latest",
        ...headers,
      });
      let response: Response;
      let text: string;
      try {
        response = await fetch(target, {
          method,
          redirect: "manual",
          signal: AbortSignal.timeout(deadlineMs),
          headers: sent,
          ...(body === undefined ? {} : { body }),
        });
        text = await response.text();
      } catch (error) {
        throw unreachable(url, error, deadlineMs);
      }
      if (!response.ok) throw refusal(url, response, text, token !== null);
      return { body: text === "" ? {} : jsonObject(url, text), headers: response.headers };
    },
  };
}

/** Throws CommandFailure for values that a header cannot hold, without repeating them: one may be the token. */
function headersOf(values: Readonly<Record<string, string>>): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(values)) {
    try {
      headers.set(name, value);
    } catch {
      const hint = "Line breaks and characters beyond Latin-1 cannot be sent.";
      throw new CommandFailure(EXIT.usage, `The value for the header ${name} cannot be sent`, hint);
    }
  }
  return headers;
}

function jsonObject(url: string, text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  } catch {
    // Not JSON: no API of ours.
  }
  throw foreign(url, "its answer is no JSON object");
}

function unreachable(url: string, error: unknown, deadlineMs: number): CommandFailure {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return new CommandFailure(
      EXIT.unavailable,
      `Cannot reach ${url}: no answer within ${deadlineMs / 1000} s`,
      "The request may have been carried out all the same; look before you repeat it.",
    );
  }
  // "fetch failed" says nothing; its cause does, after the address and the layer it comes from.
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const message = cause instanceof Error ? cause.message : String(cause);
  const reason = message.replace(/^.*client error \(\w+\): /, "");
  const hint = /certificate|corrupt message|tls|handshake/i.test(reason)
    ? "Is it https at all? Its certificate must come from an authority that this machine knows, or that DENO_CERT names."
    : "Is it running? Start it with `milvaion run`, or name another address with --url or MILVAION_URL.";
  return new CommandFailure(EXIT.unavailable, `Cannot reach ${url}: ${reason}`, hint);
}

const CODES: Readonly<Record<number, ExitCode>> = {
  401: EXIT.noPermission,
  403: EXIT.noPermission,
  404: EXIT.noInput,
  405: EXIT.protocol,
  409: EXIT.refused,
  410: EXIT.noInput,
  412: EXIT.refused,
  421: EXIT.noPermission,
  429: EXIT.unavailable,
  503: EXIT.unavailable,
};

function refusal(url: string, response: Response, text: string, hadToken: boolean): CommandFailure {
  const { status } = response;
  if (!(response.headers.get("content-type") ?? "").startsWith("application/problem+json")) {
    // A gateway in front may well say that nobody is there, or that the caller is not let in.
    if (status === 401 || status === 403) {
      return failure(status, `${url} refuses this caller (${status})`, hadToken);
    }
    if (status === 502 || status === 503 || status === 504) {
      return new CommandFailure(EXIT.unavailable, `Cannot reach ${url}: it answers ${status}`);
    }
    return foreign(url, `it answers ${status} without a problem document`);
  }
  const document = jsonObject(url, text);
  const title = String(document["title"] ?? `The server refused with ${status}`);
  const detail = document["detail"] === undefined ? "" : `: ${document["detail"]}`;
  return failure(status, title + detail, hadToken, detailsOf(document));
}

function failure(
  status: number,
  message: string,
  hadToken: boolean,
  details: readonly string[] = [],
): CommandFailure {
  const code = CODES[status] ?? (status >= 500 ? EXIT.software : EXIT.data);
  const hint = status === 401
    ? hadToken ? "The token is not this server's." : "Give a token in MILVAION_API_TOKEN, or with --token."
    : status === 405
    ? "The server is of another version than this program."
    : null;
  return new CommandFailure(code, message, hint, details);
}

function foreign(url: string, reason: string): CommandFailure {
  return new CommandFailure(
    EXIT.protocol,
    `${url} does not speak this program's API: ${reason}`,
    "Check --url; or the server is of another version than this program.",
  );
}

/** `field: message` for each error, unless the only one is what `detail` says already. */
function detailsOf(document: JsonObject): string[] {
  const errors = document["errors"];
  if (!Array.isArray(errors)) return [];
  const lines = errors.filter((error) => typeof error === "object" && error !== null).map((error) =>
    `${error.field}: ${error.message}`
  );
  const isSaid = errors.length === 1 && errors[0]?.message === document["detail"];
  return isSaid ? [] : lines;
}
