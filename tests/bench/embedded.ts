/** The embedded rows of `deno task bench`: each starts the program as `deno task run` does and asks it over HTTP. */
import { delay } from "@std/async";
import { Program } from "../support/program.ts";
import { bareFile, bareFileTrips, bareProcess, bareStart } from "./bare_limits.ts";
import { ASKED_AFTER_MS, type Bench, percentiles, type Run } from "./benchmark.ts";

const JOBS = new URL("jobs", import.meta.url).pathname;
const QUIET = { MilvaionConfig__Logging__Level: "warn" };
const AT_ONCE = 1000;

async function createJob(program: Program, body: Record<string, unknown>): Promise<string> {
  const answer = await program.post("/api/v1/jobs", {
    displayName: "bench",
    concurrentExecutionPolicy: "Allow",
    ...body,
  });
  if (answer.status !== 201) throw new Error(`Cannot create a job: ${answer.status} ${answer.text}`);
  return answer.body.id;
}

/** Reports recorded so far. */
async function recorded(program: Program): Promise<number> {
  const { text } = await program.get("/metrics");
  let sum = 0;
  for (const line of text.split("\n")) {
    if (/^milvaion_reports_recorded_total[ {]/.test(line)) {
      sum += Number(line.slice(line.lastIndexOf(" ") + 1));
    }
  }
  return sum;
}

async function whenRecorded(program: Program, count: number): Promise<void> {
  await program.until(async () => await recorded(program) >= count, `${count} are recorded`);
}

async function triggerMany(program: Program, jobId: string, count: number, item: unknown): Promise<void> {
  for (let left = count; left > 0; left -= AT_ONCE) {
    const items = Array.from({ length: Math.min(left, AT_ONCE) }, () => item);
    const answer = await program.post(`/api/v1/jobs/${jobId}/trigger-many`, { items });
    if (answer.status !== 202) throw new Error(`Cannot trigger: ${answer.status} ${answer.text}`);
  }
}

/** From the first trigger to the last recorded completion, history and a log line each kept. */
export async function measureThroughput(bench: Bench, lanes: number): Promise<readonly Run[]> {
  const jobs = bench.count(40_000);
  await using program = await Program.start({
    args: ["--jobs", JOBS],
    env: {
      Worker__MaxParallelJobs: String(lanes),
      JobConsumers__SampleJob__MaxParallelJobs: String(lanes),
      ...QUIET,
    },
  });
  const item = { jobData: { message: "hi" } };
  const jobId = await createJob(program, { jobType: "SampleJob", triggerOnly: true, ...item });
  const rateOf = async (count: number) => {
    const before = await recorded(program);
    const startedAt = performance.now();
    await triggerMany(program, jobId, count, item);
    await whenRecorded(program, before + count);
    return count / ((performance.now() - startedAt) / 1000);
  };
  await rateOf(bench.count(5000)); // warm
  return await bench.repeat(async () => ({ throughput: await rateOf(jobs), file: await bareFile(jobs) }));
}

/** Triggers a job of ClockJob's and gives the milliseconds from sending the request to the start of user code. */
async function pickUp(program: Program, jobId: string): Promise<number> {
  const sent = performance.timeOrigin + performance.now();
  const { body } = await program.post(`/api/v1/jobs/${jobId}/trigger`, {});
  await delay(ASKED_AFTER_MS);
  return (await completed(program, body.occurrenceId)).result - sent;
}

async function completed(program: Program, occurrenceId: string) {
  return await program.until(async () => {
    const { body } = await program.get(`/api/v1/occurrences/${occurrenceId}`);
    return body.status === "Completed" && body;
  }, "it is completed");
}

/** Due time to start of user code for one-shot jobs spread evenly over ten seconds, after one run of the type. */
export async function measureLateness(bench: Bench): Promise<Run> {
  await using program = await Program.start({ args: ["--jobs", JOBS], env: QUIET });
  const cold = await pickUp(program, await createJob(program, { jobType: "ClockJob", triggerOnly: true }));
  const count = bench.count(1000);
  const first = Date.now() + 6000;
  for (let index = 0; index < count; index += 1) {
    await createJob(program, { jobType: "ClockJob", executeAt: new Date(first + index * 10).toISOString() });
  }
  await delay(Math.max(0, first + count * 10 - Date.now()));
  await whenRecorded(program, count + 1);
  const late = (await program.all("/api/v1/occurrences?status=Completed"))
    .filter((one) => one.origin === "schedule")
    .map((one) => one.result - Date.parse(one.scheduledFor));
  return {
    ...percentiles("lateness", late),
    cold,
    ...percentiles("two commits", await bareFileTrips(bench.count(300))),
  };
}

/** From sending the request to the start of user code, one at a time. */
export async function measurePickUp(bench: Bench): Promise<readonly Run[]> {
  await using program = await Program.start({ args: ["--jobs", JOBS], env: QUIET });
  const jobId = await createJob(program, { jobType: "ClockJob", triggerOnly: true });
  for (let index = 0; index < 20; index += 1) await pickUp(program, jobId); // warm
  return await bench.repeat(async () => {
    const waits: number[] = [];
    for (let index = 0; index < bench.count(300); index += 1) waits.push(await pickUp(program, jobId));
    return {
      ...percentiles("pick-up", waits),
      ...percentiles("two commits", await bareFileTrips(bench.count(300))),
    };
  });
}

/** From starting the program to the end of the first job, which waited in the store; caches warm. */
export async function measureStart(bench: Bench): Promise<readonly Run[]> {
  const dataDir = await Deno.makeTempDir({ prefix: "milvaion-bench-" });
  const start = async () => {
    const startedAt = Date.now();
    await using program = await Program.start({ dataDir, args: ["--jobs", JOBS] });
    const jobId = await createJob(program, { jobType: "ClockJob", triggerOnly: true });
    const { body } = await program.post(`/api/v1/jobs/${jobId}/trigger`, {});
    const { endedAt } = await completed(program, body.occurrenceId);
    await program.stop();
    return Date.parse(endedAt) - startedAt;
  };
  try {
    await start(); // caches
    return await bench.repeat(async () => ({ start: await start(), deno: await bareStart() }));
  } finally {
    await Deno.remove(dataDir, { recursive: true });
  }
}

/** Resident memory of the program and its executor hosts, five seconds after start and after work. */
export async function measureRest(bench: Bench): Promise<Run> {
  await using program = await Program.start({ args: ["--jobs", JOBS] });
  await delay(5000);
  const idle = await residentMegabytes(program.child.pid);
  const jobId = await createJob(program, { jobType: "NoOpJob", triggerOnly: true });
  const count = bench.count(5000);
  await triggerMany(program, jobId, count, {});
  await whenRecorded(program, count);
  await delay(5000);
  const after = await residentMegabytes(program.child.pid);
  return { idle, "after 5,000 jobs": after, deno: await bareProcess(residentMegabytes) };
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
