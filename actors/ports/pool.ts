/** Where job code runs: executor hosts with Web Workers, sized to MaxParallelJobs. */
import type { JobTypeOffer } from "../domain/job_type.ts";
import type { LineLevel, Outcome } from "../domain/message.ts";
import type { Ending } from "../domain/occurrence.ts";

export interface AttemptRequest {
  readonly occurrenceId: string;
  readonly jobId: string;
  readonly jobType: string;
  readonly scheduledFor: number;
  readonly token: number;
  readonly attempt: number;
  readonly maxAttempts: number;
  /** JSON text. */
  readonly jobData: string;
  /** Milliseconds of run time before the abort signal, or null. */
  readonly timeoutMs: number | null;
}

export interface AttemptListener {
  /** User code has started, at this moment (epoch milliseconds, by the clock of the machine it runs on). */
  started(at: number): void;
  /** Lines are numbered where they are made. */
  line(
    line: {
      readonly sequence: number;
      readonly at: number;
      readonly level: LineLevel;
      readonly message: string;
      readonly fields: string | null;
    },
  ): void;
  progress(done: number, total: number): void;
  /** Its abort signal was given, because somebody cancelled it or its time limit was reached; at most once. */
  signalled(cause: Ending["cause"], at: number): void;
  /** Called exactly once, after which user code of this attempt no longer runs. */
  ended(outcome: Outcome, durationMs: number): void;
}

export interface RunningJob {
  /** Starts the kill ladder: abort signal, grace, terminate, SIGKILL of the host. */
  cancel(why: "cancelled" | "lease-lost" | "stopping", message: string): void;
  /** Takes back what waits for another attempt to end: it is handed back, for `no-lane`. Nothing once it has begun. */
  recall(): void;
}

export interface PoolFigures {
  readonly hosts: number;
  readonly threads: number;
  readonly busy: number;
  /** Resident memory of the hosts, as each said last. */
  readonly rssBytes: number;
  /** Processor time of all hosts there have been, as each said last. */
  readonly cpuMs: number;
}

export interface Pool {
  /** The types found in the job folders, as they are offered. */
  readonly jobTypes: readonly JobTypeOffer[];
  /**
   * Runs an attempt. The caller keeps to the type's lanes. With `after` it begins when that one ends, which is of the
   * same type and has no other behind it; at once when it has ended.
   */
  run(request: AttemptRequest, listener: AttemptListener, after?: RunningJob | null): RunningJob;
  figures(): PoolFigures;
  /** Ends every host. Attempts still running get their signal and the grace, then are handed back. */
  stop(graceMs: number): Promise<void>;
}
