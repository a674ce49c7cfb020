/** What can go wrong between this program and PostgreSQL, and what each failure allows. */

/** Why a database cannot be used. */
export type PostgresFault =
  /** Nobody answers there, or not in time. */
  | "unreachable"
  /** It answers and refuses: wrong password, no such database, a permission missing. */
  | "refused"
  /** The server is older than PostgreSQL 15. */
  | "too_old"
  /** Its schema is newer than this program, or not there. */
  | "schema_version"
  /** It holds data where an empty store is needed. */
  | "not_empty";

/** The database cannot be used. The message names host and port and the remedy, never a password. */
export class PostgresError extends Error {
  constructor(readonly code: PostgresFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "PostgresError";
  }
}

/** Thrown inside a transaction to run it again from its start. */
export class Restart extends Error {}

/** A try took longer than its deadline. */
export class Late extends Error {
  constructor(ms: number) {
    super(`no answer within ${ms} ms`);
  }
}

/**
 * Failures after which the statement is known not to have happened: no connection was made, or the server rolled it
 * back and says so.
 */
const NOT_RUN = new Set([
  "ECONNREFUSED",
  "CONNECT_TIMEOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "57P03", // cannot_connect_now: it is starting or stopping
  "53300", // too_many_connections
  "25006", // read_only_sql_transaction
  "40001", // serialization_failure
  "40P01", // deadlock_detected
  "55P03", // lock_not_available
]);

/** Failures after which nobody knows whether it happened. */
const UNKNOWN = new Set([
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "CONNECTION_CLOSED",
  "CONNECTION_DESTROYED",
  "CONNECTION_ENDED",
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "08006",
  "08003",
]);

export function codeOf(error: unknown): string {
  const code = (error as { readonly code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

/** Whether a call may be made again. Every call here tells by itself, the second time, what the first one did. */
export function mayTryAgain(error: unknown): boolean {
  return error instanceof Restart || error instanceof Late || NOT_RUN.has(codeOf(error)) ||
    UNKNOWN.has(codeOf(error));
}

/** True when the server is out of reach, out of room or out of time: the same call may succeed later. */
export function isOutage(error: unknown): boolean {
  if (error instanceof Restart) return false;
  // 53: out of memory, disk or connections; 57014: its deadline passed; 58: the system's fault.
  return mayTryAgain(error) || /^(53|57014|58)/.test(codeOf(error));
}

/** Codes of the server after which the connection is of no more use. Codes of five characters are the server's. */
const ENDS_CONNECTION = /^(57P0|53300|08)/;

/** True when the connection is not to be used again. */
export function endsConnection(error: unknown): boolean {
  const code = codeOf(error);
  return code !== "" && (!/^[0-9A-Z]{5}$/.test(code) || code === "EPIPE" || ENDS_CONNECTION.test(code));
}

/** True when a value or row was refused: the call's fault, so that calls beside it may well succeed. */
export function isRefusedRow(error: unknown): boolean {
  const code = codeOf(error) || codeOf((error as { readonly cause?: unknown } | null)?.cause);
  return code.startsWith("22") || code.startsWith("23");
}

/** True when the server is not there, as opposed to refusing. */
export function isUnreachable(error: unknown): boolean {
  const code = codeOf(error);
  return error instanceof Late || NOT_RUN.has(code) && !/^\d/.test(code) || UNKNOWN.has(code) ||
    code === "57P03" || code === "ENOTFOUND" || code === "EAI_AGAIN";
}

/** What happened, in words that a sentence can end with. */
export function wordsOf(error: unknown): string {
  const { message } = error as { readonly message?: string };
  const code = codeOf(error);
  if (code === "ECONNREFUSED") return "connection refused";
  if (code === "CONNECT_TIMEOUT") return "nobody answered in time";
  return message !== undefined && message !== "" ? message : code || String(error);
}
