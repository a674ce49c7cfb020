/** Throughput and scaling of a cluster. */
import { delay } from "@std/async";
import { bareBroker, bareCalls } from "./bare_limits.ts";
import type { Bench, Run } from "./benchmark.ts";
import { ClusterBed } from "./cluster_bed.ts";

/** No-op jobs end to end with one worker of 50 lanes, beside what the broker alone gives in the same run. */
export async function measureClusterThroughput(
  bench: Bench,
  claims: "PostgreSQL" | "RabbitMQ",
): Promise<readonly Run[]> {
  await using bed = await ClusterBed.start({
    workers: 1,
    lanes: 50,
    jobType: "NoOpJob",
    workersHaveDatabase: claims === "PostgreSQL",
  });
  const jobId = await bed.createJob({ jobType: "NoOpJob", triggerOnly: true });
  await bed.throughput(jobId, bench.count(5000)); // warm
  const jobs = bench.count(20_000);
  return await bench.repeat(async () => ({
    throughput: await bed.throughput(jobId, jobs),
    broker: await bareBroker(bed.amqpUrl, jobs),
  }));
}

/** The last is the guide's own sum: 10 workers × 20 jobs a second. */
export const SCALING_WORKERS = [1, 2, 4, 8, 10] as const;
export const SCALING_LANES = 10;
export const SCALING_MS = 500;

/** Waiting jobs over 1 to 10 worker processes: Workers × MaxParallelJobs ÷ duration is the ideal. */
export async function measureScaling(bench: Bench): Promise<Run> {
  const run: Record<string, number> = {};
  for (const workers of SCALING_WORKERS) {
    await using bed = await ClusterBed.start({ workers, lanes: SCALING_LANES, jobType: "WaitJob" });
    const jobData = { ms: SCALING_MS };
    const jobId = await bed.createJob({ jobType: "WaitJob", triggerOnly: true, jobData });
    const lanes = workers * SCALING_LANES;
    await bed.throughput(jobId, lanes * 4); // warm
    const ideal = lanes / (SCALING_MS / 1000);
    const name = nameOf(workers);
    const rate = await bed.steadyRate(jobId, ideal, [bench.count(5), Math.max(2, bench.count(20))]);
    run[name] = rate / ideal * 100;
    run[`${name} jobs/s`] = rate;
    const timers = await bareCalls({ lanes, each: bench.count(10) }, () => delay(SCALING_MS));
    run[`${name} timers`] = timers / ideal * 100;
  }
  return run;
}

export function nameOf(workers: number): string {
  return workers === 1 ? "1 worker" : `${workers} workers`;
}
