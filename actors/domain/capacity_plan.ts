/**
 * The capacity planner: what a pool does, what it would do if something were different, how many workers a rate or a
 * wait needs. Figures, and sentences beside them.
 */
import type { PoolLoad, TypeLoad } from "./capacity_pools.ts";
import {
  busyLanes,
  jobsPerSecond,
  ROOMY_UTILISATION,
  wholeUp,
  workersForRate,
} from "./capacity_throughput.ts";
import { drainSeconds, expectedWaiting, type Waiting, workersForWait } from "./capacity_waiting.ts";
import { amountText, partText, rateText, roundText, spanText } from "./capacity_words.ts";

/** What is to be different. Absent leaves it as it is. */
export interface WhatIf {
  /** Times what comes now. */
  readonly load?: number | undefined;
  /** Lanes of each worker for the type; its process has as many at least. */
  readonly maxParallelJobs?: number | undefined;
  readonly workers?: number | undefined;
  readonly averageSeconds?: number | undefined;
  /** Jobs a second that are to be done. */
  readonly targetRate?: number | undefined;
  /** 95 of 100 runs are to wait no longer. */
  readonly targetWaitSeconds?: number | undefined;
  /** Runs that wait, instead of those that do. */
  readonly backlog?: number | undefined;
  /** Part of `targetRate` and `backlog` that this pool takes, 0 to 1; other pools that offer the type take the rest. */
  readonly share?: number | undefined;
}

/** Unknown: lanes take from it, but no run was measured. Never: more comes than is done, or there is no lane. */
export const DRAINS = ["empty", "drains", "never", "unknown"] as const;
export type Drain = (typeof DRAINS)[number];

export interface TypePlan {
  readonly jobType: string;
  readonly pool: string | null;
  readonly workers: number;
  /** Lanes of one worker for the type. */
  readonly maxParallelJobs: number;
  /** Lanes that the type has while the other types of the pool take theirs. */
  readonly lanes: number;
  readonly averageSeconds: number | null;
  readonly arrivalsPerSecond: number;
  readonly promisedPerSecond: number;
  /** What comes a second, from what it was taken, times `load`. */
  readonly demandPerSecond: number;
  readonly demandFrom: "runs" | "schedules";
  /** The guide's formula; null while nobody knows how long a run takes. */
  readonly jobsPerSecond: number | null;
  /** Part of the lanes that the demand keeps busy; above 1 more comes than is done. */
  readonly utilisation: number | null;
  readonly waiting: Waiting | null;
  readonly backlog: number;
  /** What becomes of the backlog. */
  readonly drain: Drain;
  /** Until nothing waits; null when that is never, or unknown. */
  readonly drainSeconds: number | null;
  readonly workersFor: WorkersFor;
  readonly sentences: readonly string[];
}

export interface WorkersFor {
  /** What comes, with lanes busy for 80 % of the time at most. */
  readonly demand: number | null;
  readonly targetRate: number | null;
  readonly targetWait: number | null;
  /** The most of these; at least 1 where there is anything to do. */
  readonly all: number | null;
}

export interface PoolPlan {
  readonly pool: string | null;
  readonly workers: number;
  /** Lanes of all its processes. */
  readonly lanes: number;
  /** Part of them that all types together keep busy. */
  readonly utilisation: number | null;
  /** Enough for each type, and for all of them on the lanes of the process. */
  readonly wantedWorkers: number | null;
  readonly types: readonly TypePlan[];
}

/** Beyond this the machine is the limit, not the lanes: tests/bench/README.md. */
const CARRIED_PER_SECOND = 5000;

/** Part of its lanes that others of the pool must take from a type for a sentence. */
const WORTH_SAYING = 0.005;

/** Plans a pool. `only` leaves out its other types, whose work is counted all the same. */
export function planPool(load: PoolLoad, whatIf: WhatIf = {}, only: string | null = null): PoolPlan {
  const standings = load.types.map((type) =>
    standingOf(load, type, appliesTo(type, only) ? whatIf : { workers: whatIf.workers })
  );
  const busy = standings.map(({ busy }) => busy ?? 0);
  const busyAltogether = busy.reduce((sum, one) => sum + one, 0);
  const workers = whatIf.workers ?? load.workers;
  const laneBound = Math.max(
    processLanes(load),
    ...standings.map(({ maxParallelJobs }, index) =>
      isChanged(load.types[index], whatIf, only) ? maxParallelJobs : 0
    ),
  );
  const types = standings.flatMap((standing, index) => {
    if (!appliesTo(standing.load, only)) return [];
    const others = busyAltogether - (busy[index] ?? 0);
    return [planType(standing, { pool: load.pool, whatIf, left: workers * laneBound - others, others })];
  });
  const wanted = types.flatMap(({ workersFor }) => workersFor.all ?? []);
  const forAll = laneBound === 0 ? 0 : wholeUp(busyAltogether / (laneBound * ROOMY_UTILISATION));
  return {
    pool: load.pool,
    workers,
    lanes: workers * laneBound,
    utilisation: workers * laneBound === 0 ? null : busyAltogether / (workers * laneBound),
    wantedWorkers: wanted.length === 0 ? null : Math.max(forAll, ...wanted),
    types,
  };
}

function shareOf(all: number, { share }: WhatIf): number {
  return all * (share ?? 1);
}

function appliesTo({ jobType }: TypeLoad, only: string | null): boolean {
  return only === null || jobType === only;
}

function isChanged(type: TypeLoad | undefined, { maxParallelJobs }: WhatIf, only: string | null): boolean {
  return maxParallelJobs !== undefined && type !== undefined && appliesTo(type, only);
}

function processLanes({ workers, lanes }: PoolLoad): number {
  return workers === 0 ? 0 : lanes / workers;
}

/** A type as it would be, by itself. */
interface Standing {
  readonly load: TypeLoad;
  readonly workers: number;
  readonly maxParallelJobs: number;
  readonly averageSeconds: number | null;
  readonly demandPerSecond: number;
  readonly demandFrom: "runs" | "schedules";
  /** Lanes that the demand keeps busy. */
  readonly busy: number | null;
}

function standingOf(pool: PoolLoad, type: TypeLoad, whatIf: WhatIf): Standing {
  const workers = whatIf.workers ?? type.workers;
  const perWorker = type.workers === 0 ? processLanes(pool) : type.lanes / type.workers;
  const averageSeconds = whatIf.averageSeconds ?? type.runs?.averageSeconds ?? null;
  const isScheduled = type.promisedPerSecond > type.arrivalsPerSecond;
  const demand = Math.max(type.promisedPerSecond, type.arrivalsPerSecond) * (whatIf.load ?? 1);
  return {
    load: whatIf.backlog === undefined ? type : { ...type, waiting: shareOf(whatIf.backlog, whatIf) },
    workers,
    maxParallelJobs: whatIf.maxParallelJobs ?? perWorker,
    averageSeconds,
    demandPerSecond: demand,
    demandFrom: isScheduled ? "schedules" : "runs",
    busy: averageSeconds === null ? null : busyLanes(demand, averageSeconds),
  };
}

function planType(
  standing: Standing,
  { pool, whatIf, left, others }: {
    readonly pool: string | null;
    readonly whatIf: WhatIf;
    /** Lanes of the processes that other types leave. */
    readonly left: number;
    readonly others: number;
  },
): TypePlan {
  const { load, workers, maxParallelJobs, averageSeconds, demandPerSecond, demandFrom, busy } = standing;
  const own = workers * maxParallelJobs;
  const lanes = Math.max(0, Math.min(own, left));
  // What the type does with the lanes that it has; the guide's formula, where no other type is in the way.
  const rate = averageSeconds === null
    ? null
    : jobsPerSecond({ workers: 1, maxParallelJobs: lanes, averageSeconds });
  const seconds = rate === null
    ? load.waiting === 0 ? 0 : null
    : drainSeconds({ backlog: load.waiting, ratePerSecond: demandPerSecond, jobsPerSecond: rate });
  const plan = {
    jobType: load.jobType,
    pool,
    workers,
    maxParallelJobs,
    lanes,
    averageSeconds,
    arrivalsPerSecond: load.arrivalsPerSecond,
    promisedPerSecond: load.promisedPerSecond,
    demandPerSecond,
    demandFrom,
    jobsPerSecond: rate,
    utilisation: busy === null || lanes === 0 ? null : busy / lanes,
    waiting: averageSeconds === null
      ? null
      : expectedWaiting({ ratePerSecond: demandPerSecond, averageSeconds, lanes }),
    backlog: load.waiting,
    drain: drainOf({ backlog: load.waiting, seconds, isMeasured: rate !== null, lanes }),
    drainSeconds: seconds,
    workersFor: workersFor(standing, whatIf),
  };
  return { ...plan, sentences: sentencesOf(plan, { own, others, whatIf, runs: load.runs?.count ?? 0 }) };
}

function workersFor(
  { load, averageSeconds, maxParallelJobs, demandPerSecond }: Standing,
  whatIf: WhatIf,
): WorkersFor {
  const { targetWaitSeconds } = whatIf;
  const targetRate = whatIf.targetRate === undefined ? undefined : shareOf(whatIf.targetRate, whatIf);
  if (averageSeconds === null || maxParallelJobs === 0) {
    return { demand: null, targetRate: null, targetWait: null, all: null };
  }
  const lane = { maxParallelJobs, averageSeconds };
  const demand = workersForRate({ ...lane, ratePerSecond: demandPerSecond, utilisation: ROOMY_UTILISATION });
  const forRate = targetRate === undefined ? null : workersForRate({ ...lane, ratePerSecond: targetRate });
  const forWait = targetWaitSeconds === undefined
    ? null
    : workersForWait({ ...lane, ratePerSecond: targetRate ?? demandPerSecond, targetWaitSeconds });
  const least = demandPerSecond > 0 || load.waiting > 0 ? 1 : 0;
  return {
    demand,
    targetRate: forRate,
    targetWait: forWait,
    all: targetWaitSeconds !== undefined && forWait === null
      ? null
      : Math.max(least, demand, forRate ?? 0, forWait ?? 0),
  };
}

function sentencesOf(
  plan: Omit<TypePlan, "sentences">,
  { own, others, whatIf, runs }: {
    /** Lanes of the type, were it alone. */
    readonly own: number;
    readonly others: number;
    readonly whatIf: WhatIf;
    readonly runs: number;
  },
): readonly string[] {
  const { workers, maxParallelJobs, averageSeconds, lanes, jobType } = plan;
  if (averageSeconds === null || plan.jobsPerSecond === null) {
    return [
      `No run of ${jobType} was measured, so nothing can be said of its rate: let it run once, or give averageSeconds.`,
      ...backlogSentence(plan, whatIf),
    ];
  }
  const sentences: string[] = [];
  const formula = jobsPerSecond({ workers, maxParallelJobs, averageSeconds });
  sentences.push(
    `${amountText(workers, "worker")} × ${amountText(maxParallelJobs, "lane")} ÷ ${
      spanText(averageSeconds)
    } = ` +
      `${rateText(formula)}, ${roundText(formula * 60)} a minute` +
      (whatIf.averageSeconds === undefined ? ` (${amountText(runs, "run")} measured).` : "."),
  );
  if (lanes < own * (1 - WORTH_SAYING)) {
    sentences.push(
      `Other types of the pool keep ${amountText(others, "lane")} of its processes busy: ${
        roundText(lanes)
      } of ` +
        `${roundText(own)} are left for ${jobType}, which gives ${rateText(plan.jobsPerSecond)}.`,
    );
  }
  if (plan.jobsPerSecond > CARRIED_PER_SECOND) {
    sentences.push(
      "Runs so short are limited by processors, not by lanes: one worker was measured to do 6,000 to 8,000 a second.",
    );
  }
  return [
    ...sentences,
    ...demandSentences(plan),
    ...backlogSentence(plan, whatIf),
    ...workersSentences(plan, whatIf),
  ];
}

function demandSentences(plan: Omit<TypePlan, "sentences">): readonly string[] {
  const { demandPerSecond, demandFrom, jobsPerSecond, utilisation, waiting, lanes } = plan;
  if (demandPerSecond === 0) {
    return ["Nothing of it came in the time that was looked at, and no schedule promises any."];
  }
  const comes = demandFrom === "schedules"
    ? `Schedules promise ${rateText(demandPerSecond)}`
    : `${rateText(demandPerSecond)} became ready`;
  if (lanes === 0) return [`${comes}, and there is no lane for it.`];
  const behind = demandPerSecond - (jobsPerSecond ?? 0);
  if (behind >= 0) return [`${comes}, more than is done: what waits grows by ${rateText(behind)}.`];
  if (waiting === null || utilisation === null) {
    return [`${comes}, practically all that can be done: what comes in bursts waits very long.`];
  }
  return [
    `${comes}: lanes are busy for ${partText(utilisation)} of the time. ` +
    (waiting.probability < 0.0005
      ? "A run practically never waits for a lane."
      : `${partText(waiting.probability)} of the runs wait for a lane, ${
        spanText(waiting.meanSeconds)
      } on average ` +
        `over all; 95 of 100 ${
          waiting.p95Seconds === 0 ? "do not wait" : `no longer than ${spanText(waiting.p95Seconds)}`
        }.`),
  ];
}

function drainOf({ backlog, seconds, isMeasured, lanes }: {
  readonly backlog: number;
  readonly seconds: number | null;
  readonly isMeasured: boolean;
  readonly lanes: number;
}): Drain {
  if (backlog === 0) return "empty";
  if (seconds !== null) return "drains";
  return isMeasured || lanes === 0 ? "never" : "unknown";
}

function backlogSentence(
  { backlog, drain, drainSeconds, lanes }: Pick<TypePlan, "backlog" | "drain" | "drainSeconds" | "lanes">,
  whatIf: WhatIf,
): readonly string[] {
  const isOne = backlog === 1;
  const what = waitingText(backlog, whatIf);
  switch (drain) {
    case "empty":
      return [];
    case "drains":
      return [`${what.then} nothing waits after ${spanText(drainSeconds ?? 0)}.`];
    case "never":
      return [
        lanes === 0
          ? `${what.and} there is no lane for ${isOne ? "it" : "them"}.`
          : `${what.and} it will not become less.`,
      ];
    case "unknown":
      return [`${what.then} when ${isOne ? "it" : "they"} will have drained cannot be said.`];
  }
}

/** How a sentence begins about what waits, or would. */
function waitingText(
  count: number,
  { backlog, share = 1 }: WhatIf,
): { readonly then: string; readonly and: string } {
  if (backlog === undefined) {
    const waits = `${amountText(count, "run")} ${count === 1 ? "waits" : "wait"} now`;
    return { then: `${waits};`, and: `${waits}, and` };
  }
  const runs = share < 1
    ? `${roundText(count)} of ${amountText(backlog, "run")}`
    : amountText(backlog, "run");
  return { then: `With ${runs} waiting,`, and: `With ${runs} waiting,` };
}

function workersSentences(
  { workersFor: { demand, targetRate, targetWait }, workers }: Pick<TypePlan, "workersFor" | "workers">,
  whatIf: WhatIf,
): readonly string[] {
  const sentences: string[] = [];
  if (demand !== null && demand > workers) {
    sentences.push(`${amountText(demand, "worker")} would have lanes busy for 80 % of the time at most.`);
  }
  if (targetRate !== null) {
    const all = whatIf.targetRate ?? 0;
    const own = shareOf(all, whatIf);
    const rate = own < all ? `${rateText(own)}, its share of ${rateText(all)},` : rateText(all);
    sentences.push(`${rate} need ${amountText(targetRate, "worker")}.`);
  }
  if (whatIf.targetWaitSeconds !== undefined) {
    const wait = `For 95 of 100 runs to wait no longer than ${spanText(whatIf.targetWaitSeconds)}`;
    sentences.push(
      targetWait === null
        ? `${wait}, more than a million lanes would be needed.`
        : `${wait}: ${amountText(targetWait, "worker")}.`,
    );
  }
  return sentences;
}
