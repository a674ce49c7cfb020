/**
 * The pool alone: attempts in, outcomes out, nothing stored. Prints attempts/s with the lanes kept full, the CPU
 * time of this process for each attempt, and what a start costs.
 *
 *     deno run --allow-read --allow-env --allow-run=$(deno eval -p 'Deno.execPath()') tests/bench/pool_bench.ts
 */
import { cpuUsage } from "node:process";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../infra/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { AttemptRequest, Pool } from "../../actors/ports/pool.ts";
import { createPool } from "../../workers/pool.ts";

const silent: Log = { debug() {}, info() {}, warn: console.error, error: console.error, with: () => silent };
const folders = ["./jobs", "../../workers/jobs/samples"].map((folder) =>
  fileURLToPath(import.meta.resolve(folder))
);

function open(lanes: number): Promise<Pool> {
  return createPool({ jobFolders: folders, maxParallelJobs: lanes, log: silent, clock: systemClock });
}

let made = 0;
function request(jobType: string): AttemptRequest {
  const id = String(++made).padStart(12, "0");
  return {
    occurrenceId: `0193a5c0-0000-7000-8000-${id}`,
    jobId: "0193a5c0-0000-7000-8000-000000000000",
    jobType,
    scheduledFor: Date.now(),
    token: 1,
    attempt: 1,
    maxAttempts: 4,
    jobData: '{"message":"hi"}',
    timeoutMs: 3_600_000,
  };
}

/** Keeps `lanes` attempts running until `count` have ended. */
function drive(pool: Pool, jobType: string, lanes: number, count: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let started = 0;
  let ended = 0;
  let freed = 0;
  const fill = () => {
    for (; freed > 0 && started < count; freed--, started++) {
      pool.run(request(jobType), {
        started() {},
        line() {},
        progress() {},
        signalled() {},
        ended(outcome) {
          if (outcome.kind !== "completed") reject(new Error(JSON.stringify(outcome)));
          if (++ended === count) resolve();
          // As a consumer does: all lanes that came free in one turn are filled together.
          if (freed++ === 0) queueMicrotask(fill);
        },
      });
    }
  };
  freed = lanes;
  fill();
  return promise;
}

for (const jobType of ["NoOpJob", "SampleJob"]) {
  for (const lanes of [1, 50, 200]) {
    const pool = await open(lanes);
    await drive(pool, jobType, lanes, 5000);
    const count = lanes === 1 ? 5000 : 60_000;
    const cpu = cpuUsage();
    const began = performance.now();
    await drive(pool, jobType, lanes, count);
    const ms = performance.now() - began;
    const used = cpuUsage(cpu);
    const { hosts, threads } = pool.figures();
    console.log(
      `${jobType} at ${lanes} lanes: ${Math.round((count / ms) * 1000)} attempts/s, ` +
        `${
          ((used.user + used.system) / count).toFixed(1)
        } µs CPU each in this process, ${hosts} host(s), ${threads} thread(s)`,
    );
    await pool.stop(0);
  }
}

for (let round = 0; round < 3; round++) {
  const began = performance.now();
  const pool = await open(4);
  const found = performance.now();
  await drive(pool, "SampleJob", 1, 1);
  const first = performance.now();
  await drive(pool, "SampleJob", 1, 1);
  const second = performance.now();
  console.log(
    `discovery ${Math.round(found - began)} ms, first attempt ${Math.round(first - found)} ms after it, ` +
      `second ${(second - first).toFixed(1)} ms`,
  );
  await pool.stop(0);
}
