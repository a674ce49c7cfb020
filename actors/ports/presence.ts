/** Which worker instances are there, what they offer and what they run. Kept by heartbeat, gone when silent. */
import type { JobTypeOffer } from "../domain/job_type.ts";
import type { ProcessLoad } from "./process_load.ts";

export interface RunningAttempt {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  readonly token: number;
}

export interface WorkerInstance {
  /** `Worker.WorkerId`: the pool. */
  readonly workerId: string;
  /** Unique per process start. */
  readonly instanceId: string;
  readonly hostName: string;
  readonly version: string;
  readonly startedAt: number;
  /** Set by the adapter that received the heartbeat. */
  readonly lastSeenAt: number;
  readonly maxParallelJobs: number;
  readonly jobTypes: readonly WorkerJobType[];
  /** What runs, and what has ended and its report is held back. */
  readonly running: readonly RunningAttempt[];
  /** Reports that wait on its disk for the broker. */
  readonly reportsHeldBack: number;
  readonly isStopping: boolean;
  /** What it takes; null while it runs nothing and takes little, and from workers that do not say. */
  readonly load: WorkerLoad | null;
}

export interface WorkerLoad extends ProcessLoad {
  /** Of the job data of runs that it began within the last minute; null when there was none. */
  readonly largestPayload: { readonly jobType: string; readonly bytes: number } | null;
}

/** What is not worth telling of a worker that runs nothing. */
export function isModest(
  { rssBytes, memoryLimitBytes, eventLoopDelayMs, cpu, largestPayload }: WorkerLoad,
): boolean {
  return largestPayload === null && eventLoopDelayMs < 50 &&
    (cpu === null || cpu.used < cpu.processors / 2) &&
    (memoryLimitBytes === null || rssBytes < memoryLimitBytes / 2);
}

export interface WorkerJobType extends JobTypeOffer {
  readonly lanesBusy: number;
  readonly lanesFree: number;
}

export interface Presence {
  /** Says that this instance is here; replaces what it said before. */
  announce(instance: Omit<WorkerInstance, "lastSeenAt">): Promise<void>;
  /** The instance leaves in order. */
  leave(instanceId: string): Promise<void>;
  /** Instances heard of within their lifetime (three heartbeats), in the order of their ids. */
  list(): Promise<readonly WorkerInstance[]>;
}
