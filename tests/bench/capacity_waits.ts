/**
 * Waiting for a lane, predicted and measured. Erlang C speaks of runs that come at random and take a time that varies;
 * so they are sent. A first stretch is what the planner goes by, and it is asked before the second begins.
 */
import { delay } from "@std/async";
import { expectedWaiting } from "../../actors/domain/capacity_waiting.ts";
import { type Bench, percentile } from "./benchmark.ts";
import { ClusterBed } from "./cluster_bed.ts";

const LANES = 10;
const AVERAGE_SECONDS = 0.5;
/** Lanes are busy for 80 % of the time. */
const PER_SECOND = 0.8 * LANES / AVERAGE_SECONDS;
/** The planner looks at no shorter stretch. */
const LEARN_SECONDS = 60;
const MEASURE_SECONDS = 180;
const LEAST_SECONDS = 10;
const PAGE = 100;

/** How long runs wait, over all of them. */
export interface Waits {
  readonly meanSeconds: number;
  readonly p95Seconds: number;
}

export interface WaitRecord {
  readonly maxParallelJobs: number;
  /** What the planner knew and said before the measured runs were sent. */
  readonly before: {
    readonly averageSeconds: number;
    readonly demandPerSecond: number;
    readonly predicted: Waits;
  };
  readonly measured: Waits & { readonly runs: number };
  /** The very same runs over lanes that cost nothing: the rest of the difference to Erlang C is chance. */
  readonly ideal: Waits;
}

export async function recordWaits(count: Bench["count"]): Promise<WaitRecord> {
  const measureSeconds = Math.max(LEAST_SECONDS, count(MEASURE_SECONDS));
  await using bed = await ClusterBed.start({ workers: 1, lanes: LANES, jobType: "WaitJob" });
  const learnt = await bed.createJob({ jobType: "WaitJob", triggerOnly: true, jobData: { ms: 1 } });
  await send(bed, learnt, typicalTraffic(PER_SECOND * LEARN_SECONDS));
  // Asked at the end of the stretch, of just that stretch: a longer look would make less of what comes.
  const path = `/api/v1/capacity?jobType=WaitJob&windowSeconds=${LEARN_SECONDS}`;
  const { body } = await bed.request("GET", path);
  const { averageSeconds, demandPerSecond, expectedWait } = body.pools[0].types[0];
  const { meanSeconds, p95Seconds } = expectedWait;
  await bed.whenRecorded(PER_SECOND * LEARN_SECONDS);

  const jobId = await bed.createJob({ jobType: "WaitJob", triggerOnly: true, jobData: { ms: 1 } });
  const traffic = typicalTraffic(PER_SECOND * measureSeconds);
  await send(bed, jobId, traffic);
  await bed.whenRecorded(PER_SECOND * (LEARN_SECONDS + measureSeconds));
  const waits = await waitsOf(bed, jobId);
  return {
    maxParallelJobs: LANES,
    before: { averageSeconds, demandPerSecond, predicted: { meanSeconds, p95Seconds } },
    measured: { ...summary(waits), runs: waits.length },
    ideal: summary(idealWaits(traffic, LANES)),
  };
}

/** A run that comes `at` seconds after the first and takes `seconds`. */
interface Arrival {
  readonly at: number;
  readonly seconds: number;
}

/**
 * Times between arrivals and run times as an exponential distribution gives them, always the same. A few minutes of
 * chance may wait twice as long as the next few; of 200 samples it is the one that waits most nearly as Erlang C says.
 */
export function typicalTraffic(count: number): readonly Arrival[] {
  const expected = expectedWaiting({
    ratePerSecond: PER_SECOND,
    averageSeconds: AVERAGE_SECONDS,
    lanes: LANES,
  });
  const samples = Array.from({ length: 200 }, (_, seed) => sampled(count, seed + 1)).map((traffic) => {
    const { meanSeconds, p95Seconds } = summary(idealWaits(traffic, LANES));
    const off = (found: number, wanted: number) => Math.abs(found / wanted - 1);
    return {
      traffic,
      off: off(meanSeconds, expected?.meanSeconds ?? 0) + off(p95Seconds, expected?.p95Seconds ?? 0),
    };
  });
  return samples.reduce((best, one) => one.off < best.off ? one : best).traffic;
}

function sampled(count: number, seed: number): readonly Arrival[] {
  const random = chance(seed);
  // Held to their averages, so that the rate and the run time are those that were meant.
  const gaps = exponential(count, 1 / PER_SECOND, random);
  const seconds = exponential(count, AVERAGE_SECONDS, random);
  let at = 0;
  return gaps.map((gap, index) => ({ at: at += gap, seconds: seconds[index] ?? AVERAGE_SECONDS }));
}

function exponential(count: number, mean: number, random: () => number): readonly number[] {
  const drawn = Array.from({ length: count }, () => -Math.log(1 - random()));
  const times = mean * count / drawn.reduce((sum, one) => sum + one, 0);
  return drawn.map((one) => one * times);
}

/** Mulberry32. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = state + 0x6D2B79F5 | 0;
    let mixed = Math.imul(state ^ state >>> 15, 1 | state);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  };
}

/** Seconds that each waits when the first free lane takes the oldest, at once. */
export function idealWaits(traffic: readonly Arrival[], lanes: number): readonly number[] {
  const freeAt = new Array<number>(lanes).fill(0);
  return traffic.map(({ at, seconds }) => {
    const first = freeAt.indexOf(Math.min(...freeAt));
    const begins = Math.max(at, freeAt[first] ?? 0);
    freeAt[first] = begins + seconds;
    return begins - at;
  });
}

function summary(waits: readonly number[]): Waits {
  return {
    meanSeconds: waits.reduce((sum, one) => sum + one, 0) / waits.length,
    p95Seconds: percentile(waits, 0.95),
  };
}

/** Each at its moment, whether or not those before it were answered. */
async function send(bed: ClusterBed, jobId: string, traffic: readonly Arrival[]): Promise<void> {
  const startedAt = performance.now();
  const sent: Promise<unknown>[] = [];
  for (const { at, seconds } of traffic) {
    await delay(Math.max(0, startedAt + at * 1000 - performance.now()));
    const jobData = { ms: seconds * 1000 };
    sent.push(bed.request("POST", `/api/v1/jobs/${jobId}/trigger`, { jobData }));
  }
  await Promise.all(sent);
}

/** From the trigger to the start of the run, by the run's own end and duration. */
async function waitsOf(bed: ClusterBed, jobId: string): Promise<readonly number[]> {
  const waits: number[] = [];
  let cursor = "";
  do {
    const path = `/api/v1/occurrences?jobId=${jobId}&limit=${PAGE}${cursor}`;
    const { body } = await bed.request("GET", path);
    for (const { scheduledFor, endedAt, durationMs } of body.items) {
      waits.push(Math.max(0, Date.parse(endedAt) - durationMs - Date.parse(scheduledFor)) / 1000);
    }
    cursor = body.nextCursor === null ? "" : `&cursor=${encodeURIComponent(body.nextCursor)}`;
  } while (cursor !== "");
  return waits;
}
