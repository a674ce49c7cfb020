/**
 * From what job files declare and the configuration says to what this worker offers. The configuration wins over
 * the job file, the job file over the worker's defaults.
 */
import { z } from "zod";
import {
  defaultRoutingPattern,
  type Isolation,
  ISOLATIONS,
  type JobPermissions,
  type JobTypeOffer,
  typeKey,
} from "../actors/domain/job_type.ts";
import { MAX_RETRY_DELAY_SECONDS, RETRY_ACTIONS } from "../actors/domain/retry.ts";
import { matchesWildcard } from "../actors/domain/wildcard.ts";
import type { Log } from "../actors/ports/log.ts";
import { DiscoveryError, type DiscoveryProblem, type FoundJob } from "./discovery.ts";
import { grantsKey, grantsOf, refusedKinds } from "./permissions.ts";

/** Configuration of one job type. What is left out is the job file's to say. */
export interface ConsumerOptions {
  readonly maxParallelJobs?: number;
  readonly executionTimeoutSeconds?: number | null;
  readonly maxRetries?: number;
  readonly baseRetryDelaySeconds?: number;
  readonly maxRetryDelaySeconds?: number;
  readonly retryBudgetSeconds?: number;
  readonly routingPattern?: string;
  readonly threads?: number;
  readonly isolation?: Isolation;
  /** The grant: it replaces what the job file asks for. */
  readonly permissions?: JobPermissions;
}

export interface JobTypeOptions {
  /** Offer only the types whose name or routing pattern one of these is; `*` in it stands for any characters. */
  readonly types?: readonly string[];
  /** Absolute paths of folders whose files get the permissions they ask for. */
  readonly trustedFolders: readonly string[];
  readonly maxParallelJobs: number;
  readonly executionTimeoutSeconds: number | null;
  readonly consumers: Readonly<Record<string, ConsumerOptions>>;
  readonly log: Log;
}

/** A type as the pool runs it. */
export interface JobType {
  readonly offer: JobTypeOffer;
  /** Absolute path. */
  readonly file: string;
  readonly folder: string;
  readonly grants: JobPermissions;
  /** Types with equal keys may share executor hosts. */
  readonly hostKey: string;
}

/** Web Workers of a type unless it says otherwise: more cost some 8 MB each and win nothing on few cores. */
const THREADS_UNLESS_SAID = 16;
const SCHEMA_LIMIT = 64 * 1024;
const MAX_RETRIES = 3;
const BASE_RETRY_DELAY_SECONDS = 5;

const names = z.union([z.boolean(), z.array(z.string())]).optional();

const declaration = z.object({
  name: z.string().regex(
    /^[A-Za-z][A-Za-z0-9_-]{0,99}$/,
    "is 1 to 100 letters, digits, _ or -, a letter first",
  ),
  description: z.string().max(1000).default(""),
  permissions: z.strictObject({ net: names, read: names, write: names, env: names, sys: names }).optional(),
  routingPattern: z.string().max(200)
    .regex(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.[*#]$/, "is words with dots between, ending in .* or .#")
    .optional(),
  maxParallelJobs: z.int().min(1).max(1000).optional(),
  executionTimeoutSeconds: z.number().positive().max(7 * 86_400).nullable().optional(),
  maxRetries: z.int().min(0).max(100).optional(),
  baseRetryDelaySeconds: z.number().min(0).max(86_400).optional(),
  maxRetryDelaySeconds: z.number().positive().max(7 * 86_400).optional(),
  retryBudgetSeconds: z.number().positive().max(30 * 86_400).nullable().optional(),
  retryRules: z.array(z.strictObject({
    error: z.string().min(1).max(100),
    action: z.enum(RETRY_ACTIONS),
    maxRetries: z.int().min(0).max(100).nullable().default(null),
    baseRetryDelaySeconds: z.number().min(0).max(86_400).nullable().default(null),
  })).max(20).optional(),
  threads: z.int().min(1).max(64).optional(),
  isolation: z.enum(ISOLATIONS).optional(),
});
type Declaration = z.output<typeof declaration>;

/** The types this worker offers, by name. Throws `DiscoveryError`. */
export function jobTypesOf(
  found: readonly FoundJob[],
  options: JobTypeOptions,
): ReadonlyMap<string, JobType> {
  const problems: DiscoveryProblem[] = [];
  const fileOf = new Map<string, KnownType & { readonly file: string }>();
  const jobTypes = new Map<string, JobType>();
  for (const job of found) {
    const parsed = declaration.safeParse(job.definition);
    if (!parsed.success) {
      const reasons = parsed.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`);
      problems.push({ file: job.file, reason: reasons.join("; ") });
      continue;
    }
    const { name } = parsed.data;
    const other = fileOf.get(typeKey(name));
    if (other !== undefined) {
      const both = other.name === name ? `${name} is` : `${name} and ${other.name} have one type key and are`;
      problems.push({ file: job.file, reason: `${both} declared by ${other.file} already` });
      continue;
    }
    const known = { name, routingPattern: routingPatternOf(parsed.data, options) };
    fileOf.set(typeKey(name), { ...known, file: job.file });
    if (JSON.stringify(job.schema).length > SCHEMA_LIMIT) {
      problems.push({
        file: job.file,
        reason: `the JSON Schema of its data is larger than ${SCHEMA_LIMIT} bytes`,
      });
    } else if (options.types?.some((wanted) => selects(wanted, known)) ?? true) {
      jobTypes.set(name, jobType(job, parsed.data, options));
    }
  }
  const known = [...fileOf.values()];
  for (const wanted of options.types ?? []) {
    if (known.some((one) => selects(wanted, one))) continue;
    const all = known.map(({ name, routingPattern }) => `${name} (${routingPattern})`);
    problems.push({
      file: wanted,
      reason: "no job file declares a type of this name or routing pattern; there are " +
        (all.join(", ") || "none"),
    });
  }
  for (const configured of Object.keys(options.consumers)) {
    if (known.some(({ name }) => name === configured)) continue;
    options.log.warn("A job type is configured that no job file declares", { jobType: configured });
  }
  if (problems.length > 0) throw new DiscoveryError(problems);
  return jobTypes;
}

/** What a type can be selected by. */
type KnownType = Pick<JobTypeOffer, "name" | "routingPattern">;

function selects(wanted: string, { name, routingPattern }: KnownType): boolean {
  return matchesWildcard(wanted, name) || matchesWildcard(wanted, routingPattern);
}

function routingPatternOf({ name, routingPattern }: Declaration, options: JobTypeOptions): string {
  return options.consumers[name]?.routingPattern ?? routingPattern ?? defaultRoutingPattern(name);
}

function jobType(job: FoundJob, declared: Declaration, options: JobTypeOptions): JobType {
  const { name } = declared;
  const configured = options.consumers[name] ?? {};
  const lanesWanted = configured.maxParallelJobs ?? declared.maxParallelJobs ?? options.maxParallelJobs;
  const lanes = Math.min(lanesWanted, options.maxParallelJobs);
  if (configured.maxParallelJobs !== undefined && configured.maxParallelJobs > lanes) {
    options.log.warn("A job type has more lanes than its worker: the worker's count", {
      jobType: name,
      lanes,
    });
  }
  const isolation = configured.isolation ?? declared.isolation ?? "lane";
  const threadsWanted = configured.threads ?? declared.threads ?? THREADS_UNLESS_SAID;
  const asked = askedOf(declared);
  const trusted = options.trustedFolders.includes(job.folder);
  const grants = grantsOf({ asked, configured: configured.permissions, trusted });
  const refused = refusedKinds(asked, grants);
  if (refused.length > 0) {
    options.log.warn(
      "A job type asks for permissions that are not granted: set JobConsumers.<type>.Permissions",
      {
        jobType: name,
        refused: refused.join(", "),
      },
    );
  }
  const timeout = configured.executionTimeoutSeconds === undefined
    ? declared.executionTimeoutSeconds
    : configured.executionTimeoutSeconds;
  return {
    offer: {
      name,
      description: declared.description,
      // It came as JSON, and is checked no further: it is shown and handed to validators.
      schema: job.schema as JobTypeOffer["schema"],
      routingPattern: routingPatternOf(declared, options),
      maxParallelJobs: lanes,
      threads: isolation === "lane" ? Math.min(lanes, threadsWanted) : lanes,
      isolation,
      executionTimeoutSeconds: timeout === undefined ? options.executionTimeoutSeconds : timeout,
      maxRetries: configured.maxRetries ?? declared.maxRetries ?? MAX_RETRIES,
      baseRetryDelaySeconds: configured.baseRetryDelaySeconds ?? declared.baseRetryDelaySeconds ??
        BASE_RETRY_DELAY_SECONDS,
      maxRetryDelaySeconds: configured.maxRetryDelaySeconds ?? declared.maxRetryDelaySeconds ??
        MAX_RETRY_DELAY_SECONDS,
      retryBudgetSeconds: configured.retryBudgetSeconds ?? declared.retryBudgetSeconds ?? null,
      retryRules: declared.retryRules ?? [],
    },
    file: job.file,
    folder: job.folder,
    grants,
    // A host reads no job folder but the one of its types.
    hostKey: isolation === "process" ? `type ${name}` : `${job.folder} ${grantsKey(grants)}`,
  };
}

/** Without the keys that are there and undefined. */
function askedOf(declared: Declaration): JobPermissions {
  return JSON.parse(JSON.stringify(declared.permissions ?? {}));
}
