/** The guide's three pools with all their instances: how even is the load over the instances of a pool? */
import { Cluster } from "../support/cluster.ts";
import { withServers } from "../support/configured_worker.ts";
import {
  coefficientOfVariation,
  createPoolJob,
  GUIDE_POOLS,
  poolInstance,
  runsByInstance,
  runsOf,
  triggerMany,
} from "../support/guide_pools.ts";
import { until } from "../support/program.ts";
import type { Bench, Run } from "./benchmark.ts";

/** Triggered at once for each lane of a pool, so that all instances are busy and the queue is not empty. */
const ROUNDS = 5;
const MOST_AT_ONCE = 1000;
/** Runs of some 0.1 to 0.5 s. */
const PAYLOADS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  SendEmailJob: { to: "a@example.com" },
  GenerateReportJob: { upTo: 300_000 },
  MigrationJob: { batches: 1, batchMs: 100 },
};

export async function measureEvenLoad(bench: Bench): Promise<readonly Run[]> {
  const all: Run[] = [];
  await withServers(async (place) => {
    await using cluster = await Cluster.start({ ...place, apis: 1, workers: 0 });
    await using stack = new AsyncDisposableStack();
    for (const pool of GUIDE_POOLS) {
      for (let number = 1; number <= pool.instances; number++) {
        stack.use(await poolInstance(place, pool, number));
      }
    }
    await cluster.knowsWorkers(GUIDE_POOLS.reduce((sum, { instances }) => sum + instances, 0));
    all.push(...await bench.repeat(() => spread(bench, cluster)));
  });
  return all;
}

async function spread(bench: Bench, cluster: Cluster): Promise<Run> {
  const run: Record<string, number> = {};
  let astray = 0;
  for (const pool of GUIDE_POOLS) {
    const jobId = await createPoolJob(cluster, pool, PAYLOADS[pool.jobType]);
    const count = pool.instances * pool.maxParallelJobs * bench.count(ROUNDS);
    for (let left = count; left > 0; left -= MOST_AT_ONCE) {
      await triggerMany(cluster, jobId, Math.min(left, MOST_AT_ONCE));
    }
    const runs = await until(async () => {
      const all = await runsOf(cluster, jobId);
      return all.every(({ status }) => status === "Completed") && all;
    }, `all ${count} of ${pool.jobType} have run`);
    const busy = [...runsByInstance(runs).values()];
    const counts = [...busy, ...Array<number>(pool.instances - busy.length).fill(0)];
    run[pool.workerId] = coefficientOfVariation(counts) * 100;
    run[`${pool.workerId} least`] = Math.min(...counts);
    run[`${pool.workerId} most`] = Math.max(...counts);
    astray += runs.filter(({ workerId }) => workerId !== pool.workerId).length;
  }
  return { ...run, "in a wrong pool": astray };
}
