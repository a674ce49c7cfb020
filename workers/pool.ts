/** Makes the pool of a worker: finds its job types, then runs their attempts in executor hosts. */
import { resolve } from "node:path";
import type { Clock } from "../actors/ports/clock.ts";
import type { Log } from "../actors/ports/log.ts";
import type { Pool } from "../actors/ports/pool.ts";
import { discoverJobs } from "./discovery.ts";
import { type ConsumerOptions, jobTypesOf } from "./job_types.ts";
import { type Launch, launchOwn } from "./launch.ts";
import { RESULT_LIMIT } from "./limits.ts";
import { WorkerPool } from "./worker_pool.ts";

export interface PoolOptions {
  /** Folders of job files. Two types of one name, or one type key, are refused. */
  readonly jobFolders: readonly string[];
  /** Folders, among those, whose files get the permissions they ask for, unless the configuration says otherwise. */
  readonly trustedFolders?: readonly string[];
  /** Offer only these types. Left out: all. */
  readonly types?: readonly string[];
  /** Most lanes of a type. Default: cores × 2. The bound on all types together is the caller's. */
  readonly maxParallelJobs?: number;
  /** Seconds; null is no limit. Default 3600. */
  readonly executionTimeoutSeconds?: number | null;
  readonly consumers?: Readonly<Record<string, ConsumerOptions>>;
  /** Milliseconds between the abort signal and the end by force; siblings that would be cut off get as much. */
  readonly killGraceMs?: number;
  /** MiB of heap of each Web Worker. One that needs more takes its host down. Default 512. */
  readonly heapLimitMb?: number;
  /** Bytes of UTF-8 of the largest result that is kept whole. Default 64 KiB. */
  readonly maxResultBytes?: number;
  /** MiB of resident memory at which a host ends itself. Default: four times the heap limit. */
  readonly hostMemoryLimitMb?: number;
  /**
   * Milliseconds after which a host that hears nothing of this process (which is frozen, then) ends itself; 0 never.
   * A third of a lease ends job code before its lease does. Default 5000.
   */
  readonly parentSilenceMs?: number;
  /** Milliseconds after which an idle Web Worker ends; the last one of its type after ten times as long. */
  readonly idleMs?: number;
  /** Milliseconds in which all job files together must have been imported. */
  readonly discoveryDeadlineMs?: number;
  readonly launch?: Launch;
  /**
   * A moment of this machine's wall clock, by the clock that the caller goes by: hosts know the former only. The
   * same when left out.
   */
  readonly fromMachine?: (at: number) => number;
  readonly log: Log;
  readonly clock: Clock;
}

/** Finds the job types and makes the pool. No host runs until there is work. Throws `DiscoveryError`. */
export async function createPool(options: PoolOptions): Promise<Pool> {
  const { log, clock, launch = launchOwn } = options;
  const found = await discoverJobs({
    jobFolders: options.jobFolders,
    launch,
    clock,
    deadlineMs: options.discoveryDeadlineMs ?? 20_000,
  });
  const jobTypes = jobTypesOf(found, {
    ...(options.types === undefined ? {} : { types: options.types }),
    trustedFolders: (options.trustedFolders ?? []).map((folder) => resolve(folder)),
    maxParallelJobs: options.maxParallelJobs ?? navigator.hardwareConcurrency * 2,
    executionTimeoutSeconds: options.executionTimeoutSeconds === undefined
      ? 3600
      : options.executionTimeoutSeconds,
    consumers: options.consumers ?? {},
    log,
  });
  const heapLimitMb = options.heapLimitMb ?? 512;
  return new WorkerPool(jobTypes, {
    log,
    clock,
    launch,
    heapLimitMb,
    hostMemoryLimitMb: options.hostMemoryLimitMb ?? heapLimitMb * 4,
    maxResultBytes: options.maxResultBytes ?? RESULT_LIMIT,
    killGraceMs: options.killGraceMs ?? 5000,
    idleMs: options.idleMs ?? 60_000,
    parentSilenceMs: options.parentSilenceMs ?? 5000,
    fromMachine: options.fromMachine ?? ((at) => at),
  });
}
