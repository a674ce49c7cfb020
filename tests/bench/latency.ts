/** Due time to start of user code, and request to start of user code: on a cluster that is else idle, and a busy one. */
import { delay } from "@std/async";
import { until } from "../support/program.ts";
import { bareTrips } from "./bare_limits.ts";
import { ASKED_AFTER_MS, type Bench, percentiles, type Run } from "./benchmark.ts";
import { ClusterBed } from "./cluster_bed.ts";

const SHARE = 0.8;
const TICK_MS = 25;

export async function measureClusterLatency(bench: Bench): Promise<readonly Run[]> {
  await using bed = await ClusterBed.start({ workers: 1, lanes: 50, jobType: "ClockJob" });
  const jobId = await bed.createJob({ jobType: "ClockJob", triggerOnly: true });
  await pickUp(bed, jobId); // starts a host
  return await bench.repeat(async () => {
    const pickUps: number[] = [];
    for (let index = 0; index < bench.count(200); index += 1) pickUps.push(await pickUp(bed, jobId));
    const count = bench.count(500);
    const first = Date.now() + 5000;
    const ids = await createClocks(bed, { count, first, eachMs: 20 });
    await delay(Math.max(0, first + count * 20 - Date.now()));
    return {
      ...percentiles("lateness", await latenessOf(bed, ids)),
      ...percentiles("pick-up", pickUps),
      ...percentiles("bare trip", await bareTrips(bed.servers, bench.count(300))),
    };
  });
}

/** Due times and single triggers of one type, while another takes 80 % of what the cluster can carry. */
export async function measureUnderLoad(bench: Bench): Promise<readonly Run[]> {
  await using bed = await ClusterBed.start({ workers: 1, lanes: 50, jobType: "NoOpJob,ClockJob" });
  const busy = await bed.createJob({ jobType: "NoOpJob", triggerOnly: true });
  const clock = await bed.createJob({ jobType: "ClockJob", triggerOnly: true });
  await bed.throughput(busy, bench.count(5000)); // warm
  return await bench.repeat(async () => {
    const full = await bed.throughput(busy, bench.count(20_000));
    const bare = await bareTrips(bed.servers, bench.count(300));
    const count = bench.count(200);
    const first = Date.now() + 8000;
    const ids = await createClocks(bed, { count, first, eachMs: 50 });
    const before = await bed.recorded();

    const ended = new AbortController();
    const load = keepBusy(bed, busy, { perSecond: full * SHARE, signal: ended.signal });
    const pickUps: number[] = [];
    await delay(Math.max(0, first - Date.now()));
    while (Date.now() < first + count * 50) {
      pickUps.push(await pickUp(bed, clock));
      await delay(20);
    }
    ended.abort();
    const { sent, perSecond } = await load;
    const lateness = await latenessOf(bed, ids);
    await bed.whenRecorded(before + sent + count + pickUps.length); // the next run begins idle
    return {
      full,
      load: perSecond,
      ...percentiles("lateness", lateness),
      ...percentiles("pick-up", pickUps),
      ...percentiles("bare trip", bare),
    };
  });
}

/** Milliseconds from sending a trigger to the start of user code. */
async function pickUp(bed: ClusterBed, jobId: string): Promise<number> {
  const sentAt = performance.timeOrigin + performance.now();
  const { body } = await bed.request("POST", `/api/v1/jobs/${jobId}/trigger`, {});
  await delay(ASKED_AFTER_MS);
  return await startOf(bed, body.occurrenceId) - sentAt;
}

/** One-shot ClockJobs, evenly spread from `first` on. */
async function createClocks(
  bed: ClusterBed,
  { count, first, eachMs }: { readonly count: number; readonly first: number; readonly eachMs: number },
): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const executeAt = new Date(first + index * eachMs).toISOString();
    ids.push(await bed.createJob({ jobType: "ClockJob", executeAt }));
  }
  return ids;
}

/** How late the one run of each of these jobs began, milliseconds. */
async function latenessOf(bed: ClusterBed, ids: readonly string[]): Promise<readonly number[]> {
  const lateness: number[] = [];
  for (const id of ids) {
    const item = await until(async () => {
      const { body } = await bed.request("GET", `/api/v1/occurrences?jobId=${id}&limit=1`);
      return body.items[0]?.status === "Completed" && body.items[0];
    }, "it is completed");
    lateness.push(await startOf(bed, item.id) - Date.parse(item.scheduledFor));
  }
  return lateness;
}

/** The moment at which a ClockJob began. */
async function startOf(bed: ClusterBed, occurrenceId: string): Promise<number> {
  const { result } = await until(async () => {
    const { body } = await bed.request("GET", `/api/v1/occurrences/${occurrenceId}`);
    return body.status === "Completed" && body;
  }, "it is completed");
  return result as number;
}

/** Triggers at a steady rate until it is told to end. */
async function keepBusy(
  bed: ClusterBed,
  jobId: string,
  { perSecond, signal }: { readonly perSecond: number; readonly signal: AbortSignal },
): Promise<{ readonly sent: number; readonly perSecond: number }> {
  const startedAt = performance.now();
  let sent = 0;
  while (!signal.aborted) {
    const wanted = Math.round((performance.now() - startedAt) / 1000 * perSecond) - sent;
    if (wanted > 0) {
      await bed.trigger(jobId, Math.min(wanted, 1000));
      sent += Math.min(wanted, 1000);
    }
    await delay(TICK_MS);
  }
  return { sent, perSecond: sent / ((performance.now() - startedAt) / 1000) };
}
