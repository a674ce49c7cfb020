/**
 * One look of the watchdog: what should have been decided against what was, by two ways that do not trust each other.
 *
 *   the rows' word     jobs whose next due time is past (an index lookup)
 *   the schedules' word  a part of the jobs, in turn: their due times computed anew, looked for in the ledger
 *
 * The ports are the store's own (`Oversight`), not those that the leader writes through. All of it is bounded: however
 * many jobs there are, a look reads so many of them, and computes so many due times.
 */
import { expectedDueTimes, missingDueTimes, type WatchedJob } from "./domain/expectation.ts";
import { ScheduleFault } from "./domain/local_cron.ts";
import type { DueEntry } from "./ports/due_index.ts";
import type { Log } from "./ports/log.ts";
import type { DueSpan, Oversight } from "./ports/oversight.ts";
import type { JobStore } from "./ports/store.ts";

export interface ComparisonDeps {
  readonly oversight: Oversight;
  readonly jobs: Pick<JobStore, "get">;
  readonly log: Log;
}

/** How much one look does. */
export interface ComparisonBounds {
  /** What came within this is still on its way. Milliseconds. */
  readonly toleranceMs: number;
  /** How far back due times are computed anew. Milliseconds. */
  readonly windowMs: number;
  readonly jobsPerPage: number;
  readonly jobsPerLook: number;
  /** The newest so many due times of a job are looked for. */
  readonly dueTimesPerJob: number;
  readonly dueTimesPerLook: number;
  /** Asked for in one call; computing them is what holds up the event loop, for about 0.1 ms each. */
  readonly dueTimesPerCall: number;
  /** Due times that are kept in sight one by one. */
  readonly kept: number;
}

export const DEFAULT_BOUNDS: Omit<ComparisonBounds, "toleranceMs"> = {
  windowMs: 86_400_000,
  jobsPerPage: 100,
  jobsPerLook: 1000,
  dueTimesPerJob: 60,
  dueTimesPerLook: 2000,
  dueTimesPerCall: 100,
  kept: 100,
};

/** What a look through a part of the jobs found. */
export interface Round {
  readonly missing: readonly DueEntry[];
  /** Where the next look goes on; null: at the beginning. */
  readonly cursor: string | null;
}

export class Comparison {
  constructor(private readonly deps: ComparisonDeps, private readonly bounds: ComparisonBounds) {}

  /** How many due times are overdue, and which have been longest. */
  overdue(now: number): ReturnType<Oversight["overdue"]> {
    return this.deps.oversight.overdue(now - this.bounds.toleranceMs, this.bounds.kept);
  }

  /** Those that are still the next of their job. */
  async stillOverdue(entries: readonly DueEntry[]): Promise<readonly DueEntry[]> {
    const still: DueEntry[] = [];
    for (const entry of entries) {
      const job = await this.deps.jobs.get(entry.jobId);
      if (job !== null && job.nextDueAt === entry.dueAt) still.push(entry);
    }
    return still;
  }

  /** Goes on through the jobs from where the last look stopped. */
  async round(from: string | null, now: number): Promise<Round> {
    const missing: DueEntry[] = [];
    let cursor = from;
    let jobs = 0;
    let dueTimes = 0;
    do {
      const page = await this.deps.oversight.jobs(this.bounds.jobsPerPage, cursor);
      for (const batch of this.#batches(page.items, now)) {
        dueTimes += batch.count;
        missing.push(...await this.#missingOf(batch.expected));
      }
      jobs += page.items.length;
      cursor = page.next;
    } while (cursor !== null && jobs < this.bounds.jobsPerLook && dueTimes < this.bounds.dueTimesPerLook);
    return { missing: missing.slice(0, this.bounds.kept), cursor };
  }

  /** Those that their job should have decided, and still has not. */
  async stillMissing(entries: readonly DueEntry[], now: number): Promise<readonly DueEntry[]> {
    const expected: Expected[] = [];
    for (const [jobId, asked] of Map.groupBy(entries, (entry) => entry.jobId)) {
      const job = await this.deps.jobs.get(jobId);
      if (job === null) continue;
      const dues = new Set(this.#expected(job, now, Infinity));
      const still = asked.map(({ dueAt }) => dueAt).filter((dueAt) => dues.has(dueAt));
      if (still.length > 0) expected.push({ job, dueTimes: still.toSorted((left, right) => left - right) });
    }
    return await this.#missingOf(expected);
  }

  /** The due times to look for, a few at a time, so that computing them never holds up the loop for long. */
  *#batches(
    jobs: readonly WatchedJob[],
    now: number,
  ): Generator<{ readonly expected: readonly Expected[]; readonly count: number }> {
    let expected: Expected[] = [];
    let count = 0;
    for (const job of jobs) {
      const dueTimes = this.#expected(job, now, this.bounds.dueTimesPerJob);
      if (dueTimes.length === 0) continue;
      expected.push({ job, dueTimes });
      count += dueTimes.length;
      if (count < this.bounds.dueTimesPerCall) continue;
      yield { expected, count };
      expected = [];
      count = 0;
    }
    if (expected.length > 0) yield { expected, count };
  }

  #expected(job: WatchedJob, now: number, most: number): readonly number[] {
    const { toleranceMs, windowMs } = this.bounds;
    try {
      return expectedDueTimes(job, { now, toleranceMs, windowMs, most });
    } catch (error) {
      if (!(error instanceof ScheduleFault)) throw error;
      // Such a job stands still, and is overdue by its row.
      this.deps.log.debug("Cannot compute the schedule of a job: " + error.message, { jobId: job.id });
      return [];
    }
  }

  async #missingOf(expected: readonly Expected[]): Promise<readonly DueEntry[]> {
    if (expected.length === 0) return [];
    const spans = expected.map(({ job, dueTimes }): DueSpan => ({
      jobId: job.id,
      from: dueTimes[0] ?? 0,
      to: dueTimes.at(-1) ?? 0,
    }));
    const decided = await this.deps.oversight.decided(spans);
    return expected.flatMap(({ job, dueTimes }, index) => {
      const found = decided[index] ?? null;
      return found === null
        ? []
        : missingDueTimes(job, dueTimes, found).map((dueAt) => ({ jobId: job.id, dueAt }));
    });
  }
}

interface Expected {
  readonly job: WatchedJob;
  /** Oldest first. */
  readonly dueTimes: readonly number[];
}
