/** A pool whose jobs are functions of the test, run in process: for flows on a manual clock. */
import type { JobTypeOffer } from "../../actors/domain/job_type.ts";
import type { Outcome } from "../../actors/domain/message.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { AttemptListener, AttemptRequest, Pool, RunningJob } from "../../actors/ports/pool.ts";
import { Followers } from "./followers.ts";

/** What an attempt does: ends at once with an outcome, or after some manual time. */
export type Behaviour = (request: AttemptRequest) => {
  readonly afterMs: number;
  readonly outcome: Outcome;
  /** How long it takes to heed a cancellation, milliseconds; at once when absent. */
  readonly heedsAfterMs?: number;
};

export const completed: Outcome = { kind: "completed", result: null };

export function failed(message: string, options: { permanent?: boolean } = {}): Outcome {
  return {
    kind: "failed",
    error: { name: "Error", message, stack: null, causes: [] },
    permanent: options.permanent ?? false,
    retryAfterMs: null,
    cause: "error",
  };
}

export function offer(name: string, change: Partial<JobTypeOffer> = {}): JobTypeOffer {
  return {
    name,
    description: "",
    schema: null,
    routingPattern: `${name.toLowerCase()}.*`,
    maxParallelJobs: 4,
    threads: 4,
    isolation: "lane",
    executionTimeoutSeconds: null,
    maxRetries: 3,
    baseRetryDelaySeconds: 5,
    ...change,
  };
}

export class InProcessPool implements Pool {
  readonly started: AttemptRequest[] = [];
  readonly #followers = new Followers();
  readonly #running = new Map<string, (outcome: Outcome) => void>();

  constructor(
    readonly jobTypes: readonly JobTypeOffer[],
    private readonly clock: Clock,
    public behaviour: Behaviour,
  ) {}

  run(request: AttemptRequest, listener: AttemptListener, after: RunningJob | null = null): RunningJob {
    return this.#followers.follow(after, listener, () => this.#begin(request, listener));
  }

  #begin(request: AttemptRequest, listener: AttemptListener): RunningJob {
    this.started.push(request);
    const key = `${request.occurrenceId}/${request.token}`;
    const from = this.clock.mono();
    listener.started(this.clock.now());
    listener.line({
      sequence: 0,
      at: this.clock.now(),
      level: "info",
      message: `attempt ${request.attempt}`,
      fields: null,
    });
    const { afterMs, outcome, heedsAfterMs = 0 } = this.behaviour(request);
    let isTold = false;
    const stopTimer = this.clock.timer(afterMs, () => end(outcome));
    const end = (how: Outcome) => {
      if (!this.#running.delete(key)) return;
      stopTimer();
      listener.ended(how, this.clock.mono() - from);
      this.#followers.ended(job);
    };
    this.#running.set(key, end);
    const job = this.#followers.began({
      recall: () => {},
      cancel: (why) => {
        if (why !== "cancelled") {
          end({ kind: "handedBack", why: why === "stopping" ? "stopping" : "lease-lost" });
        } else if (!isTold && this.#running.has(key)) {
          isTold = true;
          listener.signalled("cancelled", this.clock.now());
          const heed = () => end({ kind: "cancelled", rung: "signal" });
          if (heedsAfterMs === 0) heed();
          else this.clock.timer(heedsAfterMs, heed);
        }
      },
    });
    return job;
  }

  figures() {
    return { hosts: 1, threads: 1, busy: this.#running.size, rssBytes: 0, cpuMs: 0 };
  }

  stop(): Promise<void> {
    for (const end of [...this.#running.values()]) end({ kind: "handedBack", why: "stopping" });
    return Promise.resolve();
  }
}
