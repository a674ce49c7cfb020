/** The rows of `deno task bench --cluster`. */
import { delay } from "@std/async";
import { until } from "../support/program.ts";
import { brokerCeiling } from "./broker_ceiling.ts";
import { ClusterBed } from "./cluster_bed.ts";
import { percentile } from "./embedded.ts";
import type { Row } from "./main.ts";

const RUNS = 3;
const JOBS = 20_000;

/** No-op jobs end to end with one worker of 50 lanes, beside what the broker alone gives in the same run. */
export async function measureClusterThroughput(claims: "PostgreSQL" | "RabbitMQ"): Promise<Row> {
  await using bed = await ClusterBed.start({
    workers: 1,
    lanes: 50,
    jobType: "NoOpJob",
    workersHaveDatabase: claims === "PostgreSQL",
  });
  const jobId = await bed.createJob({ jobType: "NoOpJob", triggerOnly: true });
  await bed.throughput(jobId, 5000); // warm
  const rates: number[] = [];
  const ceilings: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    rates.push(await bed.throughput(jobId, JOBS));
    ceilings.push(await brokerCeiling(bed.amqpUrl, JOBS));
  }
  const median = percentile(rates, 0.5);
  const ceiling = percentile(ceilings, 0.5);
  return {
    name: `cluster throughput, 50 lanes, claims through ${claims}`,
    budget: "≥ 5000 jobs/s",
    measured: `${Math.round(median)} jobs/s, ${(median / ceiling).toFixed(2)} of the broker alone ` +
      `(${Math.round(ceiling)} messages/s)`,
    met: median >= 5000,
    figures: {
      median,
      least: Math.min(...rates),
      most: Math.max(...rates),
      ceiling,
      ratio: median / ceiling,
    },
  };
}

/**
 * Waiting jobs over 1 to 8 worker processes: Workers × MaxParallelJobs ÷ duration is the ideal. The difference of a
 * long run and a short one, so that neither the start of the first jobs nor the end of the last counts.
 */
export async function measureScaling(): Promise<Row> {
  const lanes = 10;
  const ms = 500;
  const [shortSeconds, longSeconds] = [5, 20];
  const figures: Record<string, number> = {};
  const efficiencies: number[] = [];
  for (const workers of [1, 2, 4, 8]) {
    await using bed = await ClusterBed.start({ workers, lanes, jobType: "WaitJob" });
    const jobId = await bed.createJob({ jobType: "WaitJob", triggerOnly: true, jobData: { ms } });
    await bed.throughput(jobId, workers * lanes * 4); // warm
    const ideal = workers * lanes / (ms / 1000);
    const secondsFor = async (count: number) => count / await bed.throughput(jobId, count);
    const short = await secondsFor(ideal * shortSeconds);
    const long = await secondsFor(ideal * longSeconds);
    const rate = ideal * (longSeconds - shortSeconds) / (long - short);
    figures[`${workers} workers`] = rate;
    efficiencies.push(rate / ideal);
  }
  const least = Math.min(...efficiencies);
  return {
    name: "scaling, a 500 ms job over 1, 2, 4, 8 workers of 10 lanes",
    budget: "≥ 98 % of Workers × MaxParallelJobs ÷ duration",
    measured: efficiencies.map((one) => `${(one * 100).toFixed(1)} %`).join(", "),
    met: least >= 0.98,
    figures: { ...figures, least },
  };
}

/** From the end of a leader to the first occurrence that the next one made. */
export async function measureFailover(how: "clean stop" | "SIGKILL"): Promise<Row> {
  const ttlSeconds = 15;
  const times: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    await using bed = await ClusterBed.start({ apis: 2, workers: 1, lanes: 4, jobType: "NoOpJob" });
    const [first, second] = bed.apis;
    if (first === undefined || second === undefined) throw new Error("two instances were asked for");
    const leads = async (api: typeof first) =>
      (await bed.request("GET", "/api/v1/leadership", undefined, api)).body.isLeader === true;
    await until(() => leads(first), "the first instance leads");
    await delay(1000);
    const startedAt = performance.now();
    if (how === "SIGKILL") await first.kill();
    else await first.stop();
    await until(() => leads(second), "the second instance leads");
    times.push((performance.now() - startedAt) / 1000);
  }
  const worst = Math.max(...times);
  const budget = how === "SIGKILL" ? ttlSeconds + 1 : 1;
  return {
    name: `failover after a ${how}`,
    budget: `≤ ${budget} s`,
    measured: `${percentile(times, 0.5).toFixed(2)} s, at most ${worst.toFixed(2)} s`,
    met: worst <= budget,
    figures: { median: percentile(times, 0.5), worst },
  };
}

/** Due time to start of user code, and request to start of user code, on a cluster that is else idle. */
export async function measureClusterLatency(): Promise<Row> {
  await using bed = await ClusterBed.start({ workers: 1, lanes: 50, jobType: "ClockJob" });
  const startOf = async (occurrenceId: string) =>
    (await until(async () => {
      const { body } = await bed.request("GET", `/api/v1/occurrences/${occurrenceId}`);
      return body.status === "Completed" && body;
    }, "it is completed")).result as number;
  const jobId = await bed.createJob({ jobType: "ClockJob", triggerOnly: true });
  const pickUps: number[] = [];
  for (let run = 0; run < 200; run += 1) {
    const sentAt = performance.timeOrigin + performance.now();
    const { body } = await bed.request("POST", `/api/v1/jobs/${jobId}/trigger`, {});
    const began = await startOf(body.occurrenceId);
    if (run > 0) pickUps.push(began - sentAt);
  }
  const count = 500;
  const first = Date.now() + 5000;
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const executeAt = new Date(first + index * 20).toISOString();
    ids.push(await bed.createJob({ jobType: "ClockJob", executeAt }));
  }
  await delay(Math.max(0, first + count * 20 - Date.now()));
  const lateness: number[] = [];
  for (const id of ids) {
    const item = await until(async () => {
      const { body } = await bed.request("GET", `/api/v1/occurrences?jobId=${id}&limit=1`);
      return body.items[0]?.status === "Completed" && body.items[0];
    }, "it is completed");
    lateness.push(await startOf(item.id) - Date.parse(item.scheduledFor));
  }
  const [p50, p99] = [percentile(lateness, 0.5), percentile(lateness, 0.99)];
  const [pick50, pick99] = [percentile(pickUps, 0.5), percentile(pickUps, 0.99)];
  return {
    name: "cluster latency: lateness of due times, pick-up of single triggers",
    budget: "lateness p99 ≤ 20 ms; pick-up p50 ≤ 5, p99 ≤ 15 ms",
    measured: `lateness p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)} ms; ` +
      `pick-up p50 ${pick50.toFixed(1)}, p99 ${pick99.toFixed(1)} ms`,
    met: p99 <= 20 && pick50 <= 5 && pick99 <= 15,
    figures: { p50, p99, pick50, pick99 },
  };
}
