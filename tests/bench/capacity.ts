/**
 * The capacity planner beside what it predicts: it is asked before the runs that are measured, and goes by earlier ones.
 *
 *   deno task bench --cluster capacity                                   the row
 *   deno run -A tests/bench/capacity.ts > tests/bench/capacity_recorded.json   what CI holds the planner against
 */
import { delay } from "@std/async";
import { loadavg } from "node:os";
import type { Bench, Run } from "./benchmark.ts";
import { recordWaits, type WaitRecord } from "./capacity_waits.ts";
import { nameOf } from "./cluster.ts";
import { ClusterBed } from "./cluster_bed.ts";

const LANES = 10;
const MS = 500;
/** Answers of the planner are kept for so long. */
const KEPT_MS = 2100;

/** How far a prediction may be off. A wait has chance in it, and the moment that taking a run costs. */
export const RATE_OFF = 0.05;
export const WAIT_OFF = 0.2;

export interface RateRecord {
  readonly workers: number;
  readonly maxParallelJobs: number;
  /** Workers × MaxParallelJobs ÷ what the job waits. */
  readonly ideal: number;
  /** What the planner knew and said before the measured runs were sent. Null: not kept. */
  readonly before: { readonly averageSeconds: number | null; readonly predicted: number };
  /** Runs a second. */
  readonly measured: number;
}

export interface CapacityRecord {
  readonly recordedAt: string;
  readonly command: string;
  readonly machine: string;
  /** Fields of this record that no run has filled yet. */
  readonly notYetMeasured: readonly string[];
  readonly notes: string;
  readonly rates: readonly RateRecord[];
  readonly waits: WaitRecord | null;
}

/** Rates and waits, each as it was predicted and as it came. */
export async function measurePrediction(bench: Bench): Promise<Run> {
  const run: Record<string, number> = {};
  const { rates, waits } = await recordPredictions(bench.count);
  for (const { workers, before, measured } of rates) {
    run[nameOf(workers)] = measured;
    run[`${nameOf(workers)} predicted`] = before.predicted;
  }
  for (const name of ["meanSeconds", "p95Seconds"] as const) {
    run[`wait ${name}`] = waits.measured[name];
    run[`wait ${name} predicted`] = waits.before.predicted[name];
    run[`wait ${name} over ideal lanes`] = waits.ideal[name];
  }
  const { predicted } = waits.before;
  return {
    ...run,
    "rates off by": Math.max(...rates.map(({ before, measured }) => off(before.predicted, measured))) * 100,
    "waits off by": Math.max(
      off(predicted.meanSeconds, waits.measured.meanSeconds),
      off(predicted.p95Seconds, waits.measured.p95Seconds),
    ) * 100,
  };
}

/** `count` makes numbers of seconds smaller where it is only to be seen whether all works. */
async function recordPredictions(count: Bench["count"] = (full) => full) {
  const rates: RateRecord[] = [];
  for (const workers of [1, 2]) rates.push(await recordRate(workers, [count(4), Math.max(2, count(16))]));
  return { rates, waits: await recordWaits(count) };
}

async function recordRate(workers: number, seconds: readonly [number, number]): Promise<RateRecord> {
  await using bed = await ClusterBed.start({ workers, lanes: LANES, jobType: "WaitJob" });
  const jobId = await bed.createJob({ jobType: "WaitJob", triggerOnly: true, jobData: { ms: MS } });
  await bed.throughput(jobId, workers * LANES * 4); // warm, and something to predict from
  await delay(KEPT_MS);
  const { body } = await bed.request("GET", "/api/v1/capacity?jobType=WaitJob");
  const { averageSeconds, jobsPerSecond } = body.pools[0].types[0];
  const ideal = workers * LANES / (MS / 1000);
  const measured = await bed.steadyRate(jobId, ideal, seconds);
  return {
    workers,
    maxParallelJobs: LANES,
    ideal,
    before: { averageSeconds, predicted: jobsPerSecond },
    measured,
  };
}

export function off(predicted: number, measured: number): number {
  return Math.abs(predicted / measured - 1);
}

if (import.meta.main) {
  const record: CapacityRecord = {
    recordedAt: new Date().toISOString().slice(0, 10),
    command: "deno run -A tests/bench/capacity.ts",
    machine: `${navigator.hardwareConcurrency} processors, load average ${loadavg()[0]?.toFixed(1)} before`,
    notYetMeasured: [],
    notes: "",
    ...await recordPredictions(),
  };
  console.log(JSON.stringify(record, null, 2));
}
