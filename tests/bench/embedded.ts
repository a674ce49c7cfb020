/** The rows of `deno task bench`: each starts the program as `deno task run` does and asks it over HTTP. */
import { delay } from "@std/async";
import { Program } from "../support/program.ts";
import type { Row } from "./main.ts";

const JOBS = new URL("jobs", import.meta.url).pathname;
const RUNS = 3;
const QUIET = { MilvaionConfig__Logging__Level: "warn" };

/** The value below which `share` of the sorted values lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

async function createJob(program: Program, body: Record<string, unknown>): Promise<string> {
  const answer = await program.post("/api/v1/jobs", {
    displayName: "bench",
    concurrentExecutionPolicy: "Allow",
    ...body,
  });
  if (answer.status !== 201) throw new Error(`Cannot create a job: ${answer.status} ${answer.text}`);
  return answer.body.id;
}

/** Sum of a counter over its labels. */
async function counter(program: Program, name: string): Promise<number> {
  const { text } = await program.get("/metrics");
  let sum = 0;
  for (const line of text.split("\n")) {
    if (line.startsWith(name + " ") || line.startsWith(name + "{")) {
      sum += Number(line.slice(line.lastIndexOf(" ") + 1));
    }
  }
  return sum;
}

/** From the first trigger to the last recorded completion, history and a log line each kept. */
export async function measureThroughput(lanes: number, budget: number): Promise<Row> {
  const jobs = 40_000;
  const rates: number[] = [];
  await using program = await Program.start({
    args: ["--jobs", JOBS],
    env: {
      Worker__MaxParallelJobs: String(lanes),
      JobConsumers__SampleJob__MaxParallelJobs: String(lanes),
      ...QUIET,
    },
  });
  const jobId = await createJob(program, {
    jobType: "SampleJob",
    triggerOnly: true,
    jobData: { message: "hi" },
  });
  const trigger = async (count: number) => {
    const recorded = await counter(program, "milvaion_reports_recorded_total");
    const started = performance.now();
    const batches = Array.from({ length: count / 1000 }, () => ({
      items: Array.from({ length: 1000 }, () => ({ jobData: { message: "hi" } })),
    }));
    for (const batch of batches) {
      const answer = await program.post(`/api/v1/jobs/${jobId}/trigger-many`, batch);
      if (answer.status !== 202) throw new Error(`Cannot trigger: ${answer.status} ${answer.text}`);
    }
    await program.until(
      async () => await counter(program, "milvaion_reports_recorded_total") >= recorded + count,
      "all are recorded",
    );
    return count / ((performance.now() - started) / 1000);
  };
  await trigger(5000); // warm
  for (let run = 0; run < RUNS; run += 1) rates.push(await trigger(jobs));
  const rate = percentile(rates, 0.5);
  return {
    name: `throughput, ${lanes} lanes`,
    budget: `≥ ${budget} jobs/s`,
    measured: `${Math.round(rate)} jobs/s`,
    met: rate >= budget,
    figures: { median: rate, least: Math.min(...rates), most: Math.max(...rates), jobs },
  };
}

/** Triggers a job of ClockJob's and gives the milliseconds from sending the request to the start of user code. */
async function pickUp(program: Program, jobId: string): Promise<number> {
  const sent = performance.timeOrigin + performance.now();
  const { body } = await program.post(`/api/v1/jobs/${jobId}/trigger`, {});
  const occurrence = await program.until(async () => {
    const answer = await program.get(`/api/v1/occurrences/${body.occurrenceId}`);
    return answer.body.status === "Completed" && answer.body;
  }, "it is completed");
  return occurrence.result - sent;
}

/** Due time to start of user code for one-shot jobs spread evenly over ten seconds, after one run of the type. */
export async function measureLateness(): Promise<Row> {
  await using program = await Program.start({ args: ["--jobs", JOBS], env: QUIET });
  const cold = await pickUp(program, await createJob(program, { jobType: "ClockJob", triggerOnly: true }));
  const count = 1000;
  const first = Date.now() + 6000;
  for (let index = 0; index < count; index += 1) {
    await createJob(program, { jobType: "ClockJob", executeAt: new Date(first + index * 10).toISOString() });
  }
  await delay(Math.max(0, first + count * 10 - Date.now()));
  await program.until(
    async () => await counter(program, "milvaion_reports_recorded_total") >= count,
    "all have run",
  );
  const late = (await program.all("/api/v1/occurrences?status=Completed"))
    .filter((one) => one.origin === "schedule")
    .map((one) => one.result - Date.parse(one.scheduledFor));
  const [p50, p99] = [percentile(late, 0.5), percentile(late, 0.99)];
  return {
    name: "lateness, 1,000 one-shot jobs over 10 s",
    budget: "p99 ≤ 20 ms",
    measured: `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms (the type's very first run: ${
      Math.round(cold)
    } ms)`,
    met: p99 <= 20,
    figures: { p50, p99, most: Math.max(...late), count: late.length, cold },
  };
}

/** From sending the request to the start of user code, one at a time. */
export async function measurePickUp(): Promise<Row> {
  await using program = await Program.start({ args: ["--jobs", JOBS], env: QUIET });
  const jobId = await createJob(program, { jobType: "ClockJob", triggerOnly: true });
  const waits: number[] = [];
  for (let index = 0; index < 320; index += 1) {
    const wait = await pickUp(program, jobId);
    if (index >= 20) waits.push(wait);
  }
  const [p50, p99] = [percentile(waits, 0.5), percentile(waits, 0.99)];
  return {
    name: "pick-up of a single trigger",
    budget: "p50 ≤ 3 ms, p99 ≤ 10 ms",
    measured: `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
    met: p50 <= 3 && p99 <= 10,
    figures: { p50, p99, most: Math.max(...waits), count: waits.length },
  };
}

/** From starting the program to the end of the first job, which waited in the store; caches warm. */
export async function measureStart(): Promise<Row> {
  const dataDir = await Deno.makeTempDir({ prefix: "milvaion-bench-" });
  const times: number[] = [];
  try {
    for (let run = 0; run < RUNS + 1; run += 1) {
      const started = Date.now();
      await using program = await Program.start({ dataDir, args: ["--jobs", JOBS] });
      const jobId = await createJob(program, { jobType: "ClockJob", triggerOnly: true });
      const { body } = await program.post(`/api/v1/jobs/${jobId}/trigger`, {});
      const occurrence = await program.until(async () => {
        const answer = await program.get(`/api/v1/occurrences/${body.occurrenceId}`);
        return answer.body.status === "Completed" && answer.body;
      }, "it is completed");
      if (run > 0) times.push(Date.parse(occurrence.endedAt) - started);
      await program.stop();
    }
  } finally {
    await Deno.remove(dataDir, { recursive: true });
  }
  const median = percentile(times, 0.5);
  return {
    name: "start to first completed job",
    budget: "≤ 1000 ms",
    measured: `${Math.round(median)} ms`,
    met: median <= 1000,
    figures: { median, least: Math.min(...times), most: Math.max(...times) },
  };
}

/** Resident memory of the program and its executor hosts, ten seconds after start and after work. */
export async function measureRest(): Promise<Row> {
  await using program = await Program.start({ args: ["--jobs", JOBS] });
  await delay(5000);
  const idle = await residentMegabytes(program.child.pid);
  const jobId = await createJob(program, { jobType: "NoOpJob", triggerOnly: true });
  for (let batch = 0; batch < 5; batch += 1) {
    await program.post(`/api/v1/jobs/${jobId}/trigger-many`, {
      items: Array.from({ length: 1000 }, () => ({})),
    });
  }
  await program.until(
    async () => await counter(program, "milvaion_reports_recorded_total") >= 5000,
    "all are recorded",
  );
  await delay(5000);
  const after = await residentMegabytes(program.child.pid);
  return {
    name: "memory at rest",
    budget: "recorded",
    measured: `${Math.round(idle)} MB after start, ${Math.round(after)} MB after 5,000 jobs (hosts included)`,
    met: null,
    figures: { idle, after },
  };
}

/** A process with its descendants. */
async function residentMegabytes(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("ps", { args: ["-e", "-o", "pid=,ppid=,rss="] }).output();
  const rows = new TextDecoder().decode(stdout).trim().split("\n").map((line) =>
    line.trim().split(/\s+/).map(Number)
  );
  const family = new Set([pid]);
  let kilobytes = 0;
  for (let grown = true; grown;) {
    grown = false;
    for (const [child = 0, parent = 0] of rows) {
      if (family.has(parent) && !family.has(child)) {
        family.add(child);
        grown = true;
      }
    }
  }
  for (const [member = 0, , resident = 0] of rows) if (family.has(member)) kilobytes += resident;
  return kilobytes / 1024;
}
