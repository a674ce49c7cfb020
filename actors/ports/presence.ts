/** Which worker instances are there, what they offer and what they run. Kept by heartbeat, gone when silent. */
import type { JobTypeOffer } from "../domain/job_type.ts";

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
  readonly running: readonly RunningAttempt[];
  readonly isStopping: boolean;
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
