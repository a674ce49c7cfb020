/**
 * What planning goes by, gathered and kept for seconds, so that a scaler that asks often and a page that is left open
 * cost the store little. Each gathering reads:
 *
 *   the newest 2,000 occurrences that were due in the window      index by due time
 *   how many were due in the last minute, when those do not reach back so far: counted up to 600,000
 *                                                                   the same index
 *   2,000 more from the first that waits on back, behind a long backlog; once more before its due time when all of
 *   these wait as well                                             the same index
 *   200 rows for each of up to 20 types that these do not show      their jobs' own index
 *   the first 10,000 active occurrences, counted by the server      index of what is active
 *   presence; depths of queues only when more than those wait
 */
import type { PoolLoad, Promised, RememberedPool, WorkloadFacts } from "../actors/domain/capacity_pools.ts";
import { promisesOf, type ScheduledJob } from "../actors/domain/capacity_promise.ts";
import { runFigures, type SampledRun } from "../actors/domain/capacity_runs.ts";
import type { LanesPerWorker } from "../actors/domain/capacity_replicas.ts";
import type { WorkerInstance } from "../actors/ports/presence.ts";
import type { Reader } from "../actors/ports/reads.ts";
import { Unavailable } from "../actors/ports/unavailable.ts";
import type { ApiDeps } from "./deps.ts";

const RUNS_READ = 2000;
const MINUTE_MS = 60_000;
/** Ten thousand a second. */
const COUNTED_A_MINUTE = 600_000;
const ACTIVE_READ = 10_000;
const TYPES_LOOKED_UP = 20;
/** Jobs whose schedules are read; what more jobs promise is taken to be alike. */
const JOBS_READ = 1000;
/** Small pages: computing due times must not hold the event loop. */
const JOBS_A_PAGE = 50;
const KEPT_MS = 2000;
const PROMISES_KEPT_MS = 60_000;
/** Windows that are kept at once. */
const WINDOWS_KEPT = 8;

export interface WorkloadRequest {
  readonly windowSeconds: number;
  /** Read from the store itself and not from a copy. */
  readonly isLatest: boolean;
  /** Fails when nobody can say which workers are there; otherwise those last heard of count. */
  readonly needsPresence: boolean;
  /** Whether what schedules promise is wanted. */
  readonly withPromises: boolean;
}

export interface GatheredWorkload {
  readonly facts: WorkloadFacts;
  /** True when the window holds more runs than were read. */
  readonly isCut: boolean;
}

export interface WorkloadReader {
  gather(request: WorkloadRequest): Promise<GatheredWorkload>;
  /** Lanes of a worker of the pool, now or when it was last heard of. */
  lanesPerWorker(load: PoolLoad): LanesPerWorker | null;
}

type Deps = Pick<ApiDeps, "store" | "jobTypes" | "queue" | "clock">;

export function createWorkloadReader(deps: Deps): WorkloadReader {
  const { store, jobTypes, queue, clock } = deps;
  const remembered = new Map<string, RememberedPool>();
  const gathered = new Kept<GatheredWorkload>(clock, KEPT_MS);
  const promises = new Kept<readonly Promised[]>(clock, PROMISES_KEPT_MS);

  return {
    gather: (request) => gathered.get(JSON.stringify(request), () => gather(request)),
    lanesPerWorker({ pool, workers, lanes, types }) {
      if (workers > 0) {
        const ofType = types.filter((type) => type.workers > 0).map((type) =>
          [type.jobType, type.lanes / type.workers] as const
        );
        return { process: lanes / workers, ofType: new Map(ofType) };
      }
      const known = pool === null ? undefined : remembered.get(pool);
      if (known === undefined) return null;
      const ofType = known.types.map(({ jobType, maxParallelJobs }) => [jobType, maxParallelJobs] as const);
      return { process: known.maxParallelJobs, ofType: new Map(ofType) };
    },
  };

  async function gather(request: WorkloadRequest): Promise<GatheredWorkload> {
    const reader = store.reads.reader(request.isLatest ? "latest" : null);
    const workers = request.needsPresence ? await present() : await jobTypes.refresh();
    remember(workers);
    const now = clock.now();
    const from = now - request.windowSeconds * 1000;
    const [newest, waiting, promised] = await Promise.all([
      reader.workload.runs({ from, until: now }, RUNS_READ),
      reader.workload.waiting(now, ACTIVE_READ),
      request.withPromises ? promises.get("", () => readPromises(reader, now)) : [],
    ]);
    const { runs, isCut } = newest;
    const oldest = runs.at(-1)?.scheduledFor ?? now;
    // A minute of a busy cluster is more than is read, and what is read of it would count for all.
    const lastMinute = isCut && oldest > now - MINUTE_MS
      ? await reader.workload.count({ from: now - MINUTE_MS, until: now }, COUNTED_A_MINUTE)
      : null;
    const { firstScheduledFor } = waiting;
    // A long backlog hides the runs that have ended: they come before the first that waits.
    const before = isCut && firstScheduledFor !== null && firstScheduledFor <= oldest
      ? await behind(reader, from, firstScheduledFor)
      : [];
    const seen = [...runs, ...before];
    const types = [...workers.flatMap((worker) => worker.jobTypes.map(({ name }) => name))]
      .concat(waiting.groups.map(({ jobType }) => jobType), promised.map(({ jobType }) => jobType));
    return {
      isCut,
      facts: {
        now,
        workers,
        remembered: [...remembered.values()],
        arrivals: { runs, since: oldest, lastMinute },
        further: [...before, ...await unseen(reader, types, seen)],
        waiting: waiting.groups,
        isWaitingCut: waiting.isCut,
        queues: waiting.isCut ? await queue.depth().catch(() => []) : [],
        promised,
      },
    };
  }

  /** A scaler that took "not known" for "nobody there" would stop workers that run. */
  async function present(): Promise<readonly WorkerInstance[]> {
    try {
      return await jobTypes.refresh(true);
    } catch (error) {
      throw new Unavailable(`Cannot ask which workers are there: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  function remember(workers: readonly WorkerInstance[]): void {
    for (const { workerId, maxParallelJobs, jobTypes } of workers) {
      const types = jobTypes.map((type) => ({
        jobType: type.name,
        maxParallelJobs: Math.min(type.maxParallelJobs, maxParallelJobs),
      }));
      remembered.set(workerId, { pool: workerId, maxParallelJobs, types });
    }
  }

  async function readPromises(reader: Reader, now: number): Promise<readonly Promised[]> {
    const jobs: ScheduledJob[] = [];
    const promised: Promised[] = [];
    let after: string | null = null;
    do {
      const page = await reader.jobs.list({ isActive: true }, JOBS_A_PAGE, after);
      jobs.push(...page.items);
      promised.push(...promisesOf(page.items, now));
      after = page.next;
    } while (after !== null && jobs.length < JOBS_READ);
    const { activeJobs } = after === null ? { activeJobs: jobs.length } : await reader.history.counts();
    return summed(promised, Math.max(1, activeJobs / Math.max(1, jobs.length)));
  }
}

/** Runs from the first that waits on back. */
async function behind(reader: Reader, from: number, first: number): Promise<readonly SampledRun[]> {
  const { runs } = await reader.workload.runs({ from, until: first }, RUNS_READ);
  // Thousands may be due in one moment, of which the last ones were read.
  return runFigures(runs) === null
    ? (await reader.workload.runs({ from, until: first - 1 }, RUNS_READ)).runs
    : runs;
}

/** Runs of types that are not among those seen, for how long they take. */
async function unseen(
  reader: Reader,
  types: readonly string[],
  seen: readonly SampledRun[],
): Promise<readonly SampledRun[]> {
  const bySeen = Map.groupBy(seen, ({ jobType }) => jobType);
  const missing = [...new Set(types)].filter((jobType) => runFigures(bySeen.get(jobType) ?? []) === null);
  const found = await Promise.all(
    missing.sort().slice(0, TYPES_LOOKED_UP).map((jobType) => reader.workload.runsOfType(jobType)),
  );
  return found.flat();
}

function summed(promised: readonly Promised[], times: number): readonly Promised[] {
  return [...Map.groupBy(promised, ({ jobType, pool }) => JSON.stringify([jobType, pool])).values()].flatMap(
    (alike) => {
      const [first] = alike;
      const perSecond = alike.reduce((sum, one) => sum + one.perSecond, 0) * times;
      return first === undefined ? [] : [{ ...first, perSecond }];
    },
  );
}

/** Answers that count for a while; who asks while one is on its way waits for it. A failure is not kept. */
class Kept<T> {
  readonly #answers = new Map<string, { readonly until: number; readonly answer: Promise<T> }>();

  constructor(private readonly clock: Pick<ApiDeps["clock"], "mono">, private readonly keptMs: number) {}

  get(key: string, ask: () => Promise<T>): Promise<T> {
    const now = this.clock.mono();
    const known = this.#answers.get(key);
    if (known !== undefined && now < known.until) return known.answer;
    const answer = ask();
    if (this.#answers.size >= WINDOWS_KEPT) this.#answers.clear();
    const kept = { until: now + this.keptMs, answer };
    this.#answers.set(key, kept);
    answer.catch(() => {
      if (this.#answers.get(key) === kept) this.#answers.delete(key);
    });
    return answer;
  }
}
