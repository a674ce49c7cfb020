/** How soon a cluster is whole again after it lost a leader or a worker. */
import { until } from "../support/program.ts";
import type { Run } from "./benchmark.ts";
import { ClusterBed } from "./cluster_bed.ts";

/** Of the leader's lock and of a run's lease. */
export const TTL_SECONDS = 15;

/** Due times come this often, so that what is measured is the leader and not the waiting for something to do. */
const DUE_EACH_MS = 20;
const AT_ONCE = 1000;

/** From the end of a leader to the first occurrence that the next one made. */
export async function measureFailover(how: "clean stop" | "SIGKILL"): Promise<Run> {
  await using bed = await ClusterBed.start({ apis: 2, workers: 1, lanes: 4, jobType: "NoOpJob" });
  const [first, second] = bed.apis;
  if (first === undefined || second === undefined) throw new Error("two instances were asked for");
  await until(
    async () => (await bed.request("GET", "/api/v1/leadership", undefined, first)).body.isLeader === true,
    "the first instance leads",
  );
  const from = Date.now() + 3000;
  const seconds = how === "SIGKILL" ? 2 * TTL_SECONDS : TTL_SECONDS;
  const jobs = Array.from({ length: seconds * 1000 / DUE_EACH_MS }, (_, index) => ({
    displayName: "due",
    jobType: "NoOpJob",
    executeAt: new Date(from + index * DUE_EACH_MS).toISOString(),
    concurrentExecutionPolicy: "Allow",
  }));
  for (let done = 0; done < jobs.length; done += AT_ONCE) {
    await bed.request("POST", "/api/v1/jobs/create-many", { jobs: jobs.slice(done, done + AT_ONCE) });
  }
  await until(async () => await bed.decided(first) > 0, "the first instance makes occurrences");
  const startedAt = performance.now();
  const gone = how === "SIGKILL" ? first.kill() : first.stop();
  // By its own counter, which stays at nothing until it leads.
  await until(async () => await bed.decided(second) > 0, "the second instance makes occurrences");
  const failover = (performance.now() - startedAt) / 1000;
  await gone;
  return { failover };
}

/** From the SIGKILL of a worker to the start of the last of its runs elsewhere. */
export async function measureWorkerLoss(): Promise<Run> {
  await using bed = await ClusterBed.start({ workers: 2, lanes: 10, jobType: "WaitJob" });
  const jobId = await bed.createJob({ jobType: "WaitJob", triggerOnly: true, jobData: { ms: 8000 } });
  await bed.trigger(jobId, 20);
  const all = await until(async () => {
    const { body } = await bed.request("GET", `/api/v1/occurrences?jobId=${jobId}&status=Running&limit=50`);
    const items: readonly { readonly id: string }[] = body.items;
    return items.length === 20 && items;
  }, "all run");
  const killedAt = Date.now();
  await bed.workers[0]?.kill();
  await bed.whenRecorded(20);
  let last = 0;
  for (const { id } of all) {
    const { body } = await bed.request("GET", `/api/v1/occurrences/${id}`);
    if (body.attempts.length > 1) last = Math.max(last, Date.parse(body.attempts.at(-1).claimedAt));
  }
  return { recovery: (last - killedAt) / 1000 };
}
