/**
 * The runs on the lanes of one job type: when each will end, to judge by how long those before it lasted, and which
 * attempt follows it on its lane. Ends are foretold only for types whose runs are alike; where they are not, none is.
 */
import type { RunningJob } from "./ports/pool.ts";
import type { ActorRef } from "./runtime/actor.ts";
import type { JobActorMessage } from "./job.ts";

/** An attempt that has a lane, or waits for that of another. */
export interface Run {
  /** Monotonic moment from which its lease counts. */
  readonly leaseFrom: number;
  job: ActorRef<JobActorMessage> | null;
  /** Known once the pool has it. */
  running: RunningJob | null;
  /** The one whose lane it waits for; null when it has a lane. */
  before: Run | null;
  follower: Run | null;
}

/** How much one run counts in the averages. */
const WEIGHT = 1 / 8;
/** Runs that differ by more than this, on average, foretell nothing; milliseconds. */
const DEVIATION_AT_MOST_MS = 50;

export class LaneRuns {
  /** Monotonic moments at which runs began, oldest first. */
  readonly #begun = new Map<Run, number>();
  /** Oldest first. */
  readonly #following = new Set<Run>();
  #averageMs: number | null = null;
  #deviationMs = Infinity;

  /** It has a lane of its own. */
  begin(run: Run, now: number): void {
    this.#begun.set(run, now);
  }

  /** It gets the lane of that run when it ends. */
  follow(run: Run, before: Run): void {
    run.before = before;
    before.follower = run;
    this.#following.add(run);
  }

  /**
   * It has ended, or will not begin (`durationMs` null). Gives its lane to the one that follows, if any; says whether a
   * lane is free now.
   */
  end(run: Run, durationMs: number | null, now: number): boolean {
    const { before, follower } = run;
    if (before !== null) {
      // It never had a lane.
      this.#following.delete(run);
      before.follower = null;
      run.before = null;
      return false;
    }
    this.#begun.delete(run);
    if (durationMs !== null) this.#learn(durationMs);
    if (follower === null) return true;
    this.#following.delete(follower);
    follower.before = null;
    run.follower = null;
    this.begin(follower, now);
    return false;
  }

  /** Ends that nobody waits for, between now and `withinMs` later. A run that is overdue by more is not counted. */
  endingWithin(withinMs: number, now: number): number {
    let count = 0;
    for (const [run, end] of this.#ends()) {
      if (end > now + withinMs) break;
      if (end >= now - withinMs && run.follower === null) count += 1;
    }
    return count;
  }

  /** The next end after this moment, or null when that cannot be told. */
  nextEndAfter(moment: number): number | null {
    for (const [, end] of this.#ends()) if (end > moment) return end;
    return null;
  }

  /** The run that began first of those that nobody follows. */
  get first(): Run | null {
    for (const run of this.#begun.keys()) if (run.follower === null && run.running !== null) return run;
    return null;
  }

  /** Those that wait for a lane since before this moment, by their leases; each is given once. */
  takeFollowingSince(moment: number): readonly Run[] {
    const taken = [...this.#following].filter(({ leaseFrom }) => leaseFrom <= moment);
    for (const run of taken) this.#following.delete(run);
    return taken;
  }

  /** The one that waits longest, of those that were not taken. */
  get oldestFollowing(): Run | null {
    for (const run of this.#following) return run;
    return null;
  }

  #learn(durationMs: number): void {
    if (this.#averageMs === null) {
      this.#averageMs = durationMs;
      this.#deviationMs = durationMs;
      return;
    }
    this.#deviationMs += (Math.abs(durationMs - this.#averageMs) - this.#deviationMs) * WEIGHT;
    this.#averageMs += (durationMs - this.#averageMs) * WEIGHT;
  }

  /** Expected ends, soonest first. */
  *#ends(): Iterable<readonly [Run, number]> {
    if (this.#averageMs === null || this.#deviationMs > DEVIATION_AT_MOST_MS) return;
    for (const [run, begun] of this.#begun) yield [run, begun + this.#averageMs];
  }
}
