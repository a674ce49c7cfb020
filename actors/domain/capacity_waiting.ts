/**
 * Waiting for a lane (Erlang C): runs become ready at random, take a time that varies as an exponential distribution
 * does, and go to the first lane that is free, oldest first. Runs that all take the same time wait half as long; runs
 * that become ready in bursts wait longer.
 */
import { busyLanes, wholeUp } from "./capacity_throughput.ts";

/** More lanes than this are counted as this many. */
const MOST_LANES = 1_000_000;

/** What a run that becomes ready has to expect. */
export interface Waiting {
  /** That no lane is free; 0 to 1. */
  readonly probability: number;
  /** Over all runs, those that need not wait included. */
  readonly meanSeconds: number;
  /** 95 of 100 runs wait no longer. */
  readonly p95Seconds: number;
}

export interface WaitingLoad {
  readonly ratePerSecond: number;
  readonly averageSeconds: number;
}

/** Null when more comes than the lanes do: then the wait grows without end. `lanes` counts whole lanes. */
export function expectedWaiting(
  { ratePerSecond, averageSeconds, lanes }: WaitingLoad & { readonly lanes: number },
): Waiting | null {
  const load = busyLanes(ratePerSecond, averageSeconds);
  const whole = Math.min(Math.floor(lanes), MOST_LANES);
  if (load >= whole) return load === 0 ? NO_WAITING : null;
  return waitingOf({ load, lanes: whole, blocking: blockingUpTo(load, whole), averageSeconds });
}

/**
 * The fewest workers with which 95 of 100 runs wait no longer than the target. Null when more than a million lanes
 * would be needed.
 */
export function workersForWait(
  { ratePerSecond, averageSeconds, maxParallelJobs, targetWaitSeconds }: WaitingLoad & {
    readonly maxParallelJobs: number;
    readonly targetWaitSeconds: number;
  },
): number | null {
  const load = busyLanes(ratePerSecond, averageSeconds);
  if (load === 0) return 0;
  let blocking = 1;
  let lanes = 0;
  for (let workers = 1; workers * maxParallelJobs <= MOST_LANES; workers += 1) {
    const reached = Math.floor(workers * maxParallelJobs);
    while (lanes < reached) blocking = nextBlocking(load, ++lanes, blocking);
    if (load >= lanes) continue;
    const { p95Seconds } = waitingOf({ load, lanes, blocking, averageSeconds });
    if (p95Seconds <= targetWaitSeconds) return workers;
  }
  return null;
}

const NO_WAITING: Waiting = { probability: 0, meanSeconds: 0, p95Seconds: 0 };
/** The part of runs that may wait longer than `p95Seconds`. */
const LONGER = 0.05;

/** Erlang B, lane by lane: no factorial, so nothing overflows. */
function blockingUpTo(load: number, lanes: number): number {
  let blocking = 1;
  for (let lane = 1; lane <= lanes; lane += 1) blocking = nextBlocking(load, lane, blocking);
  return blocking;
}

function nextBlocking(load: number, lane: number, blocking: number): number {
  return load * blocking / (lane + load * blocking);
}

function waitingOf(
  { load, lanes, blocking, averageSeconds }: {
    readonly load: number;
    readonly lanes: number;
    readonly blocking: number;
    readonly averageSeconds: number;
  },
): Waiting {
  const probability = blocking / (1 - (load / lanes) * (1 - blocking));
  const meanOfWaiting = averageSeconds / (lanes - load);
  return {
    probability,
    meanSeconds: probability * meanOfWaiting,
    p95Seconds: probability <= LONGER ? 0 : Math.log(probability / LONGER) * meanOfWaiting,
  };
}

/** The fewest workers whose lanes end a backlog within a time, while more becomes ready. */
export function workersToDrain(
  { backlog, withinSeconds, ratePerSecond, averageSeconds, maxParallelJobs }: WaitingLoad & {
    readonly backlog: number;
    readonly withinSeconds: number;
    readonly maxParallelJobs: number;
  },
): number {
  return wholeUp(busyLanes(ratePerSecond + backlog / withinSeconds, averageSeconds) / maxParallelJobs);
}

/** Seconds until nothing waits, at these rates; null when it never comes to that. */
export function drainSeconds(
  { backlog, ratePerSecond, jobsPerSecond }: {
    readonly backlog: number;
    readonly ratePerSecond: number;
    readonly jobsPerSecond: number;
  },
): number | null {
  if (backlog === 0) return 0;
  return jobsPerSecond > ratePerSecond ? backlog / (jobsPerSecond - ratePerSecond) : null;
}
