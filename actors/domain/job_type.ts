/** A job type: what a worker offers to run, found by discovery in the job folder and announced to the API. */
import type { RetryRule } from "./retry.ts";

/** A JSON value, as parsed. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** How attempts of a type share Web Workers and executor hosts. */
export const ISOLATIONS = ["lane", "thread", "process"] as const;
/**
 * lane: several attempts may share a Web Worker. thread: one attempt at a time in each Web Worker.
 * process: as thread, in executor hosts that hold no other type.
 */
export type Isolation = (typeof ISOLATIONS)[number];

/** Deno permissions that job code asks for, or is granted. Absent means none. */
export interface JobPermissions {
  readonly net?: boolean | readonly string[];
  readonly read?: boolean | readonly string[];
  readonly write?: boolean | readonly string[];
  readonly env?: boolean | readonly string[];
  readonly sys?: boolean | readonly string[];
}

export interface JobTypeOffer {
  /** Class name, e.g. `SendEmailJob`. */
  readonly name: string;
  readonly description: string;
  /** JSON Schema (2020-12) of `jobData`, or null when any JSON object will do. */
  readonly schema: { readonly [key: string]: Json } | null;
  /** e.g. `sendemail.*`; decides the queue `jobs.sendemail.wildcard`. */
  readonly routingPattern: string;
  readonly maxParallelJobs: number;
  /** Web Workers that the lanes are spread over. */
  readonly threads: number;
  readonly isolation: Isolation;
  /** Seconds, or null for no limit. */
  readonly executionTimeoutSeconds: number | null;
  readonly maxRetries: number;
  readonly baseRetryDelaySeconds: number;
  /** Absent, as the next two, in what a worker of an older version says: then the server's counts. */
  readonly maxRetryDelaySeconds?: number;
  /** Seconds from the start of the first attempt after which no further one is made ready; null is no limit. */
  readonly retryBudgetSeconds?: number | null;
  readonly retryRules?: readonly RetryRule[];
}

/** `SendEmailJob` → `sendemail`: lower case, without a trailing `Job`. Two types on one key are refused. */
export function typeKey(jobType: string): string {
  const lower = jobType.toLowerCase();
  return lower.endsWith("job") && lower.length > 3 ? lower.slice(0, -3) : lower;
}

/** The pattern a type has when nobody names another. */
export function defaultRoutingPattern(jobType: string): string {
  return `${typeKey(jobType)}.*`;
}

/** `sendemail.*` → `jobs.sendemail.wildcard`; pinned to pool `mail`: `jobs.mail.sendemail.wildcard`. */
export function queueName(routingPattern: string, pool: string | null): string {
  const suffix = routingPattern.replaceAll("*", "wildcard").replaceAll("#", "all");
  return pool === null ? `jobs.${suffix}` : `jobs.${pool}.${suffix}`;
}
