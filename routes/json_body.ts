/** Reads the body of a request as strict JSON, and nothing larger than it may be. */
import type { Json } from "../actors/domain/job_type.ts";
import { type ApiProblem, invalidBody, problem } from "./errors.ts";
import { JsonFault, parseStrictJson, position } from "./strict_json.ts";
import { fieldOf, pointerOf } from "./validation.ts";

/** The largest body in bytes, as it arrives. */
export const MAX_BODY_BYTES = 1024 * 1024;

/** Keys and array items of a body, unless its endpoint says otherwise. */
export const MAX_BODY_ITEMS = 10_000;

export interface JsonBody {
  readonly value: Json;
  /** As it came, for the hash that an idempotency key is bound to. */
  readonly text: string;
}

/**
 * The body, or null when there is none. Throws ApiProblem: 413, 415, 400 with line and column, or 422 with the
 * JSON pointer of what may be JSON but is refused.
 */
export async function readJsonBody(request: Request, maxItems = MAX_BODY_ITEMS): Promise<JsonBody | null> {
  const bytes = await readBytes(request);
  if (bytes === null) return null;
  checkHeaders(request.headers);
  const text = decode(bytes);
  try {
    return { value: parseStrictJson(text, maxItems), text };
  } catch (error) {
    if (error instanceof JsonFault) throw refusal(error, text);
    throw error;
  }
}

function refusal(fault: JsonFault, text: string): ApiProblem {
  if (fault.code === "json_invalid" || fault.code === "json_duplicate_key") {
    const { line, column } = position(text, fault.offset);
    return problem(fault.code, `Line ${line}, column ${column}: ${fault.message}.`, {
      members: { line, column },
    });
  }
  const { code, message } = fault;
  return invalidBody([{ field: fieldOf(fault.path), pointer: pointerOf(fault.path), code, message }]);
}

function checkHeaders(headers: Headers): void {
  const encoding = headers.get("content-encoding");
  if (encoding !== null && encoding.trim().toLowerCase() !== "identity") {
    throw problem("encoding_unsupported", "Send the body as it is, without Content-Encoding.", {
      headers: { "accept-encoding": "identity" },
    });
  }
  const [type = "", ...parameters] = (headers.get("content-type") ?? "").toLowerCase().split(";");
  const charset = parameters.map((one) => one.trim()).find((one) => one.startsWith("charset="))?.slice(8);
  const isJson = /^application\/(?:[\w.-]+\+)?json$/.test(type.trim());
  if (!isJson || (charset !== undefined && charset.replaceAll('"', "") !== "utf-8")) {
    throw problem(
      "content_type_unsupported",
      "Send the header Content-Type: application/json, and the body in UTF-8.",
    );
  }
}

/** Counts what really arrives: Content-Length may be missing, or lie. Null when nothing does. */
async function readBytes(request: Request): Promise<Uint8Array | null> {
  if (request.body === null) return null;
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let length = Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES ? Infinity : 0;
  for (;;) {
    if (length > MAX_BODY_BYTES) {
      // Not awaited, and whatever comes of it: whoever sends without end may never notice.
      reader.cancel().catch(() => {});
      throw problem("body_too_large", `A body has at most ${MAX_BODY_BYTES} bytes.`);
    }
    const chunk = await nextChunk(reader);
    if (chunk === null) break;
    length += chunk.length;
    chunks.push(chunk);
  }
  const [first] = chunks;
  if (first === undefined || length === 0) return null;
  if (chunks.length === 1) return first;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Null at the end. A client that goes away is no fault of this side. */
async function nextChunk(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | null> {
  try {
    const { done, value } = await reader.read();
    return done ? null : value;
  } catch {
    throw problem("json_invalid", "The body broke off before its end.");
  }
}

function decode(bytes: Uint8Array): string {
  if (bytes[0] === 0xEF && bytes[1] === 0xBB && bytes[2] === 0xBF) {
    throw problem(
      "json_invalid",
      "Line 1, column 1: a byte order mark stands before the document; leave it out.",
      {
        members: { line: 1, column: 1 },
      },
    );
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw problem("json_invalid", "The body is not UTF-8.");
  }
}
