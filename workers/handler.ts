/**
 * What job code is: the module that job files import as `milvaion`.
 *
 *     import { defineJob, z } from "milvaion";
 *     export default defineJob({
 *       name: "SendEmailJob",
 *       data: z.object({ to: z.email() }),
 *       run: async (ctx) => { … },
 *     });
 *
 * `run` may be called more than once for one occurrence (a crash, a retry): `ctx.fencingToken` grows with each
 * attempt and lets the systems it talks to refuse an older one.
 */
import { z } from "zod";
import type { RetryAction } from "../actors/domain/retry.ts";
import type { Isolation, JobPermissions, Json } from "../actors/domain/job_type.ts";

export { z };

/** Further values of a log line. Written as JSON; what JSON cannot say is written as text. */
export type LineFields = Readonly<Record<string, unknown>>;

/** Lines kept with the occurrence and streamed live. A line is cut at 8 KiB, floods are thinned out with a mark. */
export interface JobLog {
  info(message: string, fields?: LineFields): void;
  warn(message: string, fields?: LineFields): void;
  error(message: string, fields?: LineFields): void;
}

/** One attempt, as its code sees it. */
export interface JobContext<Data = unknown> {
  /** The payload, validated and as the schema's output type. */
  readonly data: Data;
  readonly occurrenceId: string;
  readonly jobId: string;
  /** The due time; for a trigger the moment it was asked for. */
  readonly scheduledFor: Date;
  /** 1, 2, 3 … up to `maxAttempts`, or further when a retry rule allows its errors more. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** Grows with each attempt of an occurrence: send it along, so that a forgotten older attempt can be refused. */
  readonly fencingToken: number;
  /**
   * Aborted when the time limit is reached, somebody cancels, or the worker stops. Polling `signal.aborted` works in
   * a loop that never awaits, too. Throw `signal.reason` (or call `signal.throwIfAborted()`) when the work is not
   * done: after a stop the occurrence then runs again. Returning says that it is done.
   */
  readonly signal: AbortSignal;
  readonly log: JobLog;
  /** Share of the work that is done, for people to see. */
  progress(done: number, total: number): void;
}

/** Decides about attempts that failed with errors of one class. */
export interface RetryRuleOptions {
  /** Class name of the error, e.g. `HttpError`; `*` stands for any characters. */
  readonly error: string;
  /** `retry`: as often as may be. `fail`: never again. */
  readonly action: RetryAction;
  /** Attempts after the first, for these errors; left out, the type's. */
  readonly maxRetries?: number | null;
  /** First back-off in seconds, for these errors; left out, the type's. */
  readonly baseRetryDelaySeconds?: number | null;
}

/** What a job file says about its job. Configuration (`JobConsumers.<name>`) overrides limits and grants permissions. */
export interface JobDefinition<Schema extends z.ZodType> {
  /** Class name of the type, e.g. `SendEmailJob`. */
  readonly name: string;
  readonly description?: string;
  /** Zod schema of the payload. Left out: any JSON object. */
  readonly data?: Schema;
  /** Deno permissions the code needs. Asked for here, granted by the configuration or a trusted folder. */
  readonly permissions?: JobPermissions;
  /** e.g. `report.*`; left out, `<type key>.*`. */
  readonly routingPattern?: string;
  /** Attempts that run at once in one worker process. */
  readonly maxParallelJobs?: number;
  /** Seconds of run time before the abort signal; null is no limit. */
  readonly executionTimeoutSeconds?: number | null;
  /** Attempts after the first. Default 3. */
  readonly maxRetries?: number;
  /** First back-off in seconds; each further one is twice as long, with full jitter. Default 5. */
  readonly baseRetryDelaySeconds?: number;
  /** Longest back-off in seconds. Default 3600. */
  readonly maxRetryDelaySeconds?: number;
  /** Seconds from the start of the first attempt after which no further one is made ready; null is no limit. */
  readonly retryBudgetSeconds?: number | null;
  /** Which errors are tried again, and how: the first that fits counts. At most 20. */
  readonly retryRules?: readonly RetryRuleOptions[];
  /** Web Workers that the lanes are spread over, at most 16. */
  readonly threads?: number;
  readonly isolation?: Isolation;
  /** The work. What it returns is the result: anything JSON can say, up to 64 KiB. */
  run(ctx: JobContext<z.output<Schema>>): unknown;
}

/** What `defineJob` makes: the default export of a job file. */
export class Job {
  /** Use `defineJob`, which keeps payload type and schema together. */
  constructor(
    readonly definition: Omit<JobDefinition<z.ZodType>, "run" | "data">,
    private readonly schema: z.ZodType,
    private readonly hasSchema: boolean,
    readonly run: (ctx: JobContext<unknown>) => unknown,
  ) {}

  /** JSON Schema (2020-12) of the payload before validation, or null when any JSON object will do. */
  jsonSchema(): { readonly [key: string]: Json } | null {
    if (!this.hasSchema) return null;
    // Through JSON, because Zod hangs functions on what it returns.
    return JSON.parse(JSON.stringify(z.toJSONSchema(this.schema, { io: "input", unrepresentable: "any" })));
  }

  /** The payload as the job sees it. Throws `InvalidJobData`; a promise only for schemas with async refinements. */
  parse(payload: unknown): unknown {
    try {
      return this.checked(this.schema.safeParse(payload));
    } catch (error) {
      if (!(error instanceof z.core.$ZodAsyncError)) throw error;
      return this.schema.safeParseAsync(payload).then((parsed) => this.checked(parsed));
    }
  }

  private checked(parsed: z.ZodSafeParseResult<unknown>): unknown {
    if (parsed.success) return parsed.data;
    throw new InvalidJobData(
      parsed.error.issues.map((issue) => `${issue.path.join(".") || "jobData"}: ${issue.message}`).join("; "),
    );
  }
}

/** Declares a job. Export it as the default of a file in a job folder. */
export function defineJob<Schema extends z.ZodType = z.ZodRecord<z.ZodString, z.ZodUnknown>>(
  definition: JobDefinition<Schema>,
): Job {
  const { run, data, ...rest } = definition;
  const schema = data ?? z.record(z.string(), z.unknown());
  // `parse` came before: data is the output of this schema.
  return new Job(rest, schema, data !== undefined, (ctx) => run(ctx as JobContext<z.output<Schema>>));
}

/** Thrown by job code: trying again will not help. */
export class PermanentJobError extends Error {
  override readonly name = "PermanentJobError";
}

/**
 * Thrown by job code: try again, but not before `afterSeconds` have passed. It counts as an attempt. Any other error
 * may say the same by a property `retryAfter`: a number of seconds, a `Date`, or the text of a `Retry-After` header
 * (seconds or an HTTP date). A wait that would end after the retry budget is not begun. It is obeyed beyond
 * `maxRetryDelaySeconds`, which bounds back-offs, but for a week at most; what is no wait, or an endless one, is left to
 * the back-off.
 */
export class RetryLater extends Error {
  override readonly name = "RetryLater";
  readonly afterSeconds: number;

  constructor(message: string, options: { readonly afterSeconds: number; readonly cause?: unknown }) {
    super(message, { cause: options.cause });
    this.afterSeconds = options.afterSeconds;
  }
}

/** The payload does not fit the schema: the message names each path. */
export class InvalidJobData extends Error {
  override readonly name = "InvalidJobData";
}
