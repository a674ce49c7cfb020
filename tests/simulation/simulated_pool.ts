/**
 * Where jobs run in a simulated worker. A run lasts as long as its job data says, ends as the seed says, and heeds its
 * signal after a while. It is a witness: it writes down its start, its signs of life and its end in true time.
 */
import type { JobTypeOffer } from "../../actors/domain/job_type.ts";
import type { Outcome } from "../../actors/domain/message.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type {
  AttemptListener,
  AttemptRequest,
  Pool,
  PoolFigures,
  RunningJob,
} from "../../actors/ports/pool.ts";
import { Followers } from "../support/followers.ts";
import { completed, failed } from "../support/in_process_pool.ts";
import type { Chance } from "./chance.ts";

/** A run as it wrote itself down; the shape that the checker takes. */
export interface Run {
  readonly occurrenceId: string;
  readonly jobId: string;
  readonly token: number;
  readonly start: number;
  end: number | null;
  stoppedAt: number | null;
  deadAt: number | null;
  readonly beats: number[];
}

/** How long user code goes on after its signal, kill ladder included: less than what is kept of a lease for it. */
export const HEEDS_AT_MOST_MS = 3000;

interface Going {
  readonly run: Run;
  readonly end: (outcome: Outcome) => void;
  readonly cancelTimer: () => void;
}

export class SimulatedPool implements Pool {
  readonly #going = new Set<Going>();
  readonly #followers = new Followers();

  constructor(
    readonly jobTypes: readonly JobTypeOffer[],
    private readonly parts: {
      readonly clock: Clock;
      readonly chance: Chance;
      /** True time, which no clock of a process knows. */
      readonly trueNow: () => number;
      readonly runs: Run[];
      readonly failingRuns: () => number;
    },
  ) {}

  run(request: AttemptRequest, listener: AttemptListener, after: RunningJob | null = null): RunningJob {
    return this.#followers.follow(after, listener, () => this.#begin(request, listener));
  }

  #begin(request: AttemptRequest, listener: AttemptListener): RunningJob {
    const { clock, chance, trueNow, runs, failingRuns } = this.parts;
    const run: Run = {
      occurrenceId: request.occurrenceId,
      jobId: request.jobId,
      token: request.token,
      start: trueNow(),
      end: null,
      stoppedAt: null,
      deadAt: null,
      beats: [],
    };
    runs.push(run);
    const from = clock.mono();
    listener.started(clock.now());
    const meanMs: number = JSON.parse(request.jobData).meanMs ?? 0;
    const lasts = meanMs === 0 ? 0 : chance.wait(meanMs);
    const isFailing = chance.happens(failingRuns());
    const outcome = isFailing ? failed("as planned", { permanent: chance.happens(0.1) }) : completed;
    const { timeoutMs } = request;
    const isTooSlow = timeoutMs !== null && lasts > timeoutMs;
    if (chance.happens(0.3)) {
      listener.line({ sequence: 0, at: clock.now(), level: "info", message: "begun", fields: null });
    }
    const end = (how: Outcome) => {
      if (!this.#going.delete(going)) return;
      going.cancelTimer();
      if (how.kind === "completed") run.end = trueNow();
      else run.stoppedAt = trueNow();
      listener.ended(how, clock.mono() - from);
      this.#followers.ended(job);
    };
    const going: Going = {
      run,
      end,
      cancelTimer: clock.timer(
        isTooSlow ? timeoutMs + this.#heeds() : lasts,
        () => end(isTooSlow ? { kind: "timedOut", rung: "signal", limitMs: timeoutMs } : outcome),
      ),
    };
    this.#going.add(going);
    let isTold = false;
    const job = this.#followers.began({
      recall: () => {},
      cancel: (why) => {
        if (why === "cancelled" && !isTold && this.#going.has(going)) {
          isTold = true;
          listener.signalled("cancelled", clock.now());
        }
        clock.timer(this.#heeds(), () =>
          end(
            why === "cancelled"
              ? { kind: "cancelled", rung: "signal" }
              : { kind: "handedBack", why: why === "stopping" ? "stopping" : "lease-lost" },
          ));
      },
    });
    return job;
  }

  figures(): PoolFigures {
    return { hosts: 1, threads: 1, busy: this.#going.size, rssBytes: 0, cpuMs: 0 };
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  /** The process is frozen: what runs was on until now. */
  freeze(): void {
    for (const { run } of this.#going) run.beats.push(this.parts.trueNow());
  }

  /** The process is killed, and all that runs in it. */
  die(): void {
    for (const { run } of this.#going) {
      run.deadAt = this.parts.trueNow();
      // One that was frozen did nothing since.
      if (run.beats.length === 0) run.beats.push(run.deadAt);
    }
    this.#going.clear();
  }

  #heeds(): number {
    return this.parts.chance.below(HEEDS_AT_MOST_MS);
  }
}
