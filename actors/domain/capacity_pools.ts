/**
 * What each pool has to do, and what it has to do it with: its workers and their lanes, and for each type what becomes
 * ready, what waits and how long runs take. Work that is not pinned to a pool is shared by those that offer its type,
 * by their lanes. Where no worker offers it, it is the work of the pools that took it before.
 */
import { attemptsOf, type RunFigures, runFigures, type SampledRun } from "./capacity_runs.ts";
import type { QueueStanding, WorkerStanding } from "./surroundings.ts";

/** Runs of a type (pinned to a pool, or not) that are ready and that no worker has taken. */
export interface WaitingRuns {
  readonly jobType: string;
  readonly pool: string | null;
  readonly count: number;
  /** Epoch milliseconds. */
  readonly oldestReadyAt: number;
}

/** Due times a second that schedules promise. */
export interface Promised {
  readonly jobType: string;
  readonly pool: string | null;
  readonly perSecond: number;
}

/** What a pool was like when it was last heard of. */
export interface RememberedPool {
  readonly pool: string;
  readonly maxParallelJobs: number;
  readonly types: readonly { readonly jobType: string; readonly maxParallelJobs: number }[];
}

/** All that came due from `since` to `now`. */
export interface Arrivals {
  readonly runs: readonly SampledRun[];
  readonly since: number;
  /** Where more came within the last minute than was read: how many in all, of which `runs` are the newest. Else null. */
  readonly lastMinute: number | null;
}

/** What planning goes by. Moments are epoch milliseconds. */
export interface WorkloadFacts {
  readonly now: number;
  readonly workers: readonly WorkerStanding[];
  readonly remembered: readonly RememberedPool[];
  readonly arrivals: Arrivals;
  /** Further runs that tell how long they take, and who takes them. */
  readonly further: readonly SampledRun[];
  readonly waiting: readonly WaitingRuns[];
  /** True when not everything that waits was counted: then the queues may know of more. */
  readonly isWaitingCut: boolean;
  readonly queues: readonly QueueStanding[];
  readonly promised: readonly Promised[];
}

export interface TypeLoad {
  readonly jobType: string;
  /** Workers of the pool that offer it. */
  readonly workers: number;
  /** Lanes of the type over all of them, the process bound of each heeded. */
  readonly lanes: number;
  readonly lanesBusy: number;
  /** Attempts a second, over the time that was looked at. */
  readonly arrivalsPerSecond: number;
  /** The same over the last minute. */
  readonly recentPerSecond: number;
  readonly promisedPerSecond: number;
  /** Ready, and not taken. Need not be whole, where pools share. */
  readonly waiting: number;
  readonly oldestReadyAt: number | null;
  readonly runs: RunFigures | null;
}

export interface PoolLoad {
  /** Null: work that no pool was ever seen to take. */
  readonly pool: string | null;
  /** Workers that are there and not about to stop. */
  readonly workers: number;
  /** Lanes of their processes, which all types share. */
  readonly lanes: number;
  readonly lanesBusy: number;
  readonly types: readonly TypeLoad[];
}

const MINUTE_MS = 60_000;

/** Every pool with its types, in the order of their names; work of no pool last. */
export function poolLoads(facts: WorkloadFacts): readonly PoolLoad[] {
  const pools = standingPools(facts);
  const takers = takersOf(facts, pools);
  const runsOfTypes = Map.groupBy(allRuns(facts), ({ jobType }) => jobType);
  const arrivalsOfTypes = Map.groupBy(facts.arrivals.runs, ({ jobType }) => jobType);
  const types = new Set([
    ...[...pools.values()].flatMap(({ types }) => [...types.keys()]),
    ...takers.keys(),
  ]);
  const loads = new Map<string | null, TypeLoad[]>([...pools.keys()].map((pool) => [pool, []]));
  for (const jobType of [...types].sort()) {
    const demand = demandOf(facts, jobType, arrivalsOfTypes.get(jobType) ?? []);
    const runs = runsOfTypes.get(jobType) ?? [];
    const sharing = shares(pools, takers, jobType);
    for (const pool of [...pools.keys(), null]) {
      const share = sharing.get(pool) ?? 0;
      const offer = pool === null ? undefined : pools.get(pool)?.types.get(jobType);
      const pinned = pool === null ? NOTHING : demand.pinned.get(pool) ?? NOTHING;
      if (offer === undefined && share === 0 && pinned === NOTHING) continue;
      const load = loadOf({
        jobType,
        offer,
        share,
        free: demand.free,
        pinned,
        runs: runsIn(runs, pool),
      });
      loads.set(pool, [...loads.get(pool) ?? [], load]);
    }
  }
  return [...loads].map(([pool, types]) => {
    const standing = pool === null ? undefined : pools.get(pool);
    return {
      pool,
      workers: standing?.workers ?? 0,
      lanes: standing?.lanes ?? 0,
      lanesBusy: standing?.lanesBusy ?? 0,
      types,
    };
  }).sort((left, right) => compareNames(left.pool, right.pool));
}

interface Offer {
  readonly workers: number;
  readonly lanes: number;
  readonly lanesBusy: number;
}

interface StandingPool extends Offer {
  readonly types: ReadonlyMap<string, Offer>;
}

function standingPools(facts: WorkloadFacts): ReadonlyMap<string, StandingPool> {
  const pools = new Map<string, StandingPool>();
  const absent = [
    ...facts.remembered.map(({ pool }) => pool),
    ...allRuns(facts).flatMap(({ pool, takenBy }) => [pool, takenBy]),
    ...facts.waiting.map(({ pool }) => pool),
    ...facts.promised.map(({ pool }) => pool),
  ];
  for (const pool of absent) if (pool !== null) pools.set(pool, EMPTY_POOL);
  for (const [pool, instances] of Map.groupBy(facts.workers, ({ workerId }) => workerId)) {
    const able = instances.filter(({ isStopping }) => !isStopping);
    const types = new Map<string, Offer>();
    for (const worker of able) {
      for (const { name, maxParallelJobs, lanesBusy } of worker.jobTypes) {
        const lanes = Math.min(maxParallelJobs, worker.maxParallelJobs);
        types.set(name, sum(types.get(name) ?? NO_OFFER, { workers: 1, lanes, lanesBusy }));
      }
    }
    const whole = able.reduce<Offer>((all, { maxParallelJobs, jobTypes }) => {
      const ofTypes = jobTypes.reduce((busy, type) => busy + type.lanesBusy, 0);
      const lanesBusy = Math.min(ofTypes, maxParallelJobs);
      return sum(all, { workers: 1, lanes: maxParallelJobs, lanesBusy });
    }, NO_OFFER);
    pools.set(pool, { ...whole, types });
  }
  return pools;
}

const NO_OFFER: Offer = { workers: 0, lanes: 0, lanesBusy: 0 };
const EMPTY_POOL: StandingPool = { ...NO_OFFER, types: new Map() };

function sum(left: Offer, right: Offer): Offer {
  return {
    workers: left.workers + right.workers,
    lanes: left.lanes + right.lanes,
    lanesBusy: left.lanesBusy + right.lanesBusy,
  };
}

/** Which pools took runs of a type before, or were said to offer it; all types that there is anything to say of. */
function takersOf(
  facts: WorkloadFacts,
  pools: ReadonlyMap<string, StandingPool>,
): ReadonlyMap<string, ReadonlySet<string>> {
  const takers = new Map<string, Set<string>>();
  const note = (jobType: string, pool: string | null) => {
    const known = takers.get(jobType) ?? new Set();
    if (pool !== null && pools.has(pool)) known.add(pool);
    takers.set(jobType, known);
  };
  for (const { jobType, takenBy } of allRuns(facts)) note(jobType, takenBy);
  for (const { jobType } of [...facts.waiting, ...facts.promised]) note(jobType, null);
  for (const { pool, types } of facts.remembered) for (const { jobType } of types) note(jobType, pool);
  return takers;
}

/** Which part of the work that is not pinned each pool takes. */
function shares(
  pools: ReadonlyMap<string, StandingPool>,
  takers: ReadonlyMap<string, ReadonlySet<string>>,
  jobType: string,
): ReadonlyMap<string | null, number> {
  const lanes = new Map([...pools].flatMap(([pool, { types }]) => {
    const offered = types.get(jobType)?.lanes ?? 0;
    return offered === 0 ? [] : [[pool, offered] as const];
  }));
  const all = [...lanes.values()].reduce((total, one) => total + one, 0);
  if (all > 0) return new Map([...lanes].map(([pool, own]) => [pool, own / all]));
  const before = [...takers.get(jobType) ?? []].filter((pool) => pools.get(pool)?.workers === 0);
  if (before.length === 0) return new Map([[null, 1]]);
  return new Map(before.map((pool) => [pool, 1 / before.length]));
}

interface Demand {
  readonly perSecond: number;
  readonly recentPerSecond: number;
  readonly promisedPerSecond: number;
  readonly waiting: number;
  readonly oldestReadyAt: number | null;
}

const NOTHING: Demand = {
  perSecond: 0,
  recentPerSecond: 0,
  promisedPerSecond: 0,
  waiting: 0,
  oldestReadyAt: null,
};

/** What is asked of a type: by jobs of any pool, and by those that are pinned. */
function demandOf(
  facts: WorkloadFacts,
  jobType: string,
  arrivals: readonly SampledRun[],
): { readonly free: Demand; readonly pinned: ReadonlyMap<string, Demand> } {
  const demands = new Map<string | null, Demand>();
  const add = (pool: string | null, more: Partial<Demand>) => {
    demands.set(pool, { ...demands.get(pool) ?? NOTHING, ...more });
  };
  const { now } = facts;
  const { since, lastMinute } = facts.arrivals;
  const seconds = Math.max(now - since, MINUTE_MS) / 1000;
  // How many each that was read stands for.
  const times = lastMinute === null ? 1 : lastMinute / Math.max(1, facts.arrivals.runs.length);
  for (const [pool, runs] of Map.groupBy(arrivals, (run) => run.pool)) {
    const count = (some: readonly SampledRun[]) =>
      times * some.reduce((total, run) => total + attemptsOf(run), 0);
    const recent = runs.filter(({ scheduledFor }) => scheduledFor > now - MINUTE_MS);
    const recentSeconds = Math.min(seconds, MINUTE_MS / 1000);
    add(pool, { perSecond: count(runs) / seconds, recentPerSecond: count(recent) / recentSeconds });
  }
  for (const one of facts.promised.filter((promised) => promised.jobType === jobType)) {
    add(one.pool, { promisedPerSecond: one.perSecond });
  }
  for (const one of facts.waiting.filter((waiting) => waiting.jobType === jobType)) {
    add(one.pool, { waiting: one.count, oldestReadyAt: one.oldestReadyAt });
  }
  if (facts.isWaitingCut) {
    for (const { pool, ready } of facts.queues.filter((queue) => queue.jobType === jobType)) {
      add(pool, { waiting: Math.max(ready, demands.get(pool)?.waiting ?? 0) });
    }
  }
  const free = demands.get(null) ?? NOTHING;
  const pinned = [...demands].flatMap(([pool, demand]) => pool === null ? [] : [[pool, demand] as const]);
  return { free, pinned: new Map(pinned) };
}

function loadOf(
  { jobType, offer = NO_OFFER, share, free, pinned, runs }: {
    readonly jobType: string;
    readonly offer: Offer | undefined;
    readonly share: number;
    readonly free: Demand;
    readonly pinned: Demand;
    readonly runs: RunFigures | null;
  },
): TypeLoad {
  const moments = [share > 0 ? free.oldestReadyAt : null, pinned.oldestReadyAt].filter((at) => at !== null);
  return {
    jobType,
    ...offer,
    arrivalsPerSecond: share * free.perSecond + pinned.perSecond,
    recentPerSecond: share * free.recentPerSecond + pinned.recentPerSecond,
    promisedPerSecond: share * free.promisedPerSecond + pinned.promisedPerSecond,
    waiting: share * free.waiting + pinned.waiting,
    oldestReadyAt: moments.length === 0 ? null : Math.min(...moments),
    runs,
  };
}

/** What runs of the type took in this pool; where it ran none, what they took anywhere. */
function runsIn(ofType: readonly SampledRun[], pool: string | null): RunFigures | null {
  return runFigures(ofType.filter(({ takenBy }) => takenBy === pool)) ?? runFigures(ofType);
}

function allRuns({ arrivals, further }: WorkloadFacts): readonly SampledRun[] {
  return [...arrivals.runs, ...further];
}

function compareNames(left: string | null, right: string | null): number {
  if (left === right) return 0;
  if (left === null || right === null) return left === null ? 1 : -1;
  return left < right ? -1 : 1;
}
