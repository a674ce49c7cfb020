/** Many scheduled jobs: how fast they are registered, what they cost at rest, and what a due time costs among them. */
import { delay } from "@std/async";
import { shell } from "../support/processes.ts";
import { until } from "../support/program.ts";
import { bareSchedules, bareTrips } from "./bare_limits.ts";
import { type Bench, percentiles, type Run } from "./benchmark.ts";
import { ClusterBed } from "./cluster_bed.ts";
import { createDaily } from "./memory.ts";

const REST_SECONDS = 20;
const DUE_PER_SECOND = 1000;
const DUE_SECONDS = 20;
const TICKS_PER_SECOND = 100;
const PAGE = 200;
/** The bare limit does not depend on how many there are. */
const BARE_MOST = 100_000;

/** One API instance, which leads, on its servers; `jobs` jobs that are due once a day. */
export async function measureSchedules(bench: Bench, jobs: number): Promise<Run> {
  // What is due is of a type of its own: some of the daily jobs are due meanwhile as well.
  await using bed = await ClusterBed.start({
    workers: 1,
    lanes: 50,
    jobType: "NoOpJob,ClockJob",
    env: { MilvaionConfig__Watchdog__IntervalSeconds: "10" },
  });
  const count = bench.count(jobs);
  const bare = await bareSchedules(bed.servers, Math.min(count, BARE_MOST));
  const trips = await bareTrips(bed.servers, bench.count(300));
  const startedAt = performance.now();
  await createDaily(bed, count);
  const registered = count / ((performance.now() - startedAt) / 1000);

  await delay(5000); // what the registration left to do
  const rest = await usageDuring(bed, () => delay(bench.count(REST_SECONDS) * 1000));
  const due = bench.count(DUE_PER_SECOND * DUE_SECONDS);
  const first = await createOneShots(bed, due);
  await delay(Math.max(0, first - Date.now()));
  const before = await bed.decided();
  const busy = await usageDuring(bed, async () => {
    await delay(Math.max(0, first + due / DUE_PER_SECOND * 1000 - Date.now()));
    await until(async () => await bed.decided() >= before + due, "all due times are decided");
  });
  const decided = await bed.decided() - before;
  return {
    registered,
    bare,
    "at rest": rest.cpuPercent,
    "memory at rest": rest.megabytes,
    "a due time": busy.cpuSeconds / decided * 1e6,
    "memory when busy": busy.megabytes,
    ...percentiles("lateness", await latenessOf(bed, due)),
    ...percentiles("bare trip", trips),
  };
}

/** Due in half a minute, a hundredth of a second apart, so that all are registered by then. Gives when the first is due. */
async function createOneShots(bed: ClusterBed, count: number): Promise<number> {
  const perTick = DUE_PER_SECOND / TICKS_PER_SECOND;
  const first = Date.now() + 30_000;
  for (let done = 0; done < count; done += 1000) {
    const jobs = Array.from({ length: Math.min(1000, count - done) }, (_, index) => ({
      displayName: "due",
      jobType: "ClockJob",
      executeAt: new Date(first + Math.floor((done + index) / perTick) * 1000 / TICKS_PER_SECOND)
        .toISOString(),
      concurrentExecutionPolicy: "Allow",
    }));
    await bed.request("POST", "/api/v1/jobs/create-many", { jobs });
  }
  return first;
}

/** How late user code of each of the due times began, milliseconds. Waits until all have run. */
async function latenessOf(bed: ClusterBed, count: number): Promise<readonly number[]> {
  return await until(async () => {
    const late: number[] = [];
    let cursor: string | null = null;
    do {
      const more: string = cursor === null ? "" : `&cursor=${cursor}`;
      const { body } = await bed.request(
        "GET",
        `/api/v1/occurrences?jobType=ClockJob&status=Completed&limit=${PAGE}${more}`,
      );
      for (const one of body.items) late.push(one.result - Date.parse(one.scheduledFor));
      cursor = body.nextCursor;
    } while (cursor !== null);
    return late.length === count && late;
  }, `all ${count} due times have run`);
}

async function usageDuring(bed: ClusterBed, work: () => Promise<void>) {
  const pid = bed.apis[0]?.pid ?? 0;
  const before = await usageOf(pid);
  const startedAt = performance.now();
  await work();
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await usageOf(pid);
  const cpuSeconds = after.cpuSeconds - before.cpuSeconds;
  return { cpuSeconds, cpuPercent: cpuSeconds / seconds * 100, megabytes: after.megabytes };
}

/** Processor time and memory of a process: Deno shows /proc to no program with fewer than all permissions. */
async function usageOf(pid: number): Promise<{ readonly cpuSeconds: number; readonly megabytes: number }> {
  const text = await shell('cat "/proc/$1/stat" && getconf CLK_TCK && getconf PAGESIZE', String(pid));
  const [stat = "", ticks = "100", page = "4096"] = text.trim().split("\n");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / Number(ticks),
    megabytes: Number(fields[21]) * Number(page) / 1e6,
  };
}
