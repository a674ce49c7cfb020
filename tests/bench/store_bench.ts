/**
 * What the embedded store costs a job: trigger in batches of 1,000, claim, report with one log line each, the way
 * the whole program calls it.
 *
 *   deno run -A tests/bench/store_bench.ts [jobs] [lanes]
 */
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import { type Job, JOB_DEFAULTS } from "../../actors/domain/job.ts";
import { DEFAULT_FAILURE_RULES } from "../../actors/domain/retry.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Attempts } from "../../actors/ports/attempts.ts";
import type { Store } from "../../actors/ports/store.ts";
import { KeptLog } from "../support/quiet.ts";
import process from "node:process";

const DEFAULTS = {
  maxRetries: 2,
  baseRetryDelaySeconds: 10,
  executionTimeoutSeconds: null,
  rules: DEFAULT_FAILURE_RULES,
};
const LEASE_MS = 15_000;
const TRIGGERED_AT_ONCE = 1000;
/** Triggered ahead of the runs. */
const BACKLOG = 5000;

interface Figures {
  readonly jobs: number;
  readonly seconds: number;
  readonly cpuMicrosecondsPerJob: number;
  readonly longestStallMs: number;
  readonly bytesPerJob: number;
}

async function measure(jobs: number, lanes: number): Promise<Figures> {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-bench-" });
  const opened = await openEmbeddedStore({
    folder,
    clock: systemClock,
    random: systemRandom,
    log: new KeptLog(),
  });
  const job = newJob();
  await opened.store.jobs.insert([job]);
  await run(opened, job, 5000, lanes);

  const stalls = watchStalls();
  const started = performance.now();
  const cpu = process.cpuUsage();
  await run(opened, job, jobs, lanes);
  const used = process.cpuUsage(cpu);
  const seconds = (performance.now() - started) / 1000;
  const longestStallMs = stalls.stop();
  await opened.store.close();
  const sizes = ["milvaion.db", "logs.db"].map((name) => Deno.statSync(`${folder}/${name}`).size);
  await Deno.remove(folder, { recursive: true });
  return {
    jobs,
    seconds,
    cpuMicrosecondsPerJob: (used.user + used.system) / jobs,
    longestStallMs,
    bytesPerJob: sizes.reduce((sum, size) => sum + size, 0) / (jobs + 5000),
  };
}

/** Triggers and runs jobs: a filler keeps a backlog, two batches of lanes claim and report in turn. */
async function run(
  { store, attempts }: { readonly store: Store; readonly attempts: Attempts },
  job: Job,
  jobs: number,
  lanes: number,
): Promise<void> {
  const backlog: JobMessage[] = [];
  let triggered = 0;
  let done = 0;
  // Nobody spins: what waits for the backlog to change is woken by the change.
  let changed = Promise.withResolvers<void>();
  const change = () => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const fill = async () => {
    while (triggered < jobs) {
      if (backlog.length > BACKLOG) {
        await changed.promise;
        continue;
      }
      const count = Math.min(TRIGGERED_AT_ONCE, jobs - triggered);
      triggered += count;
      const answer = await store.outcomes.trigger({
        jobId: job.id,
        at: systemClock.now(),
        items: Array.from({ length: count }, (_, index) => ({
          occurrenceId: systemRandom.uuid(),
          jobData: `{"message":"hello ${index}"}`,
        })),
        force: false,
        reason: null,
        by: "bench",
        idempotency: null,
        defaultsOf: () => DEFAULTS,
      });
      if (answer.ok) backlog.push(...answer.messages);
      change();
    }
  };
  const work = async () => {
    while (done < jobs) {
      const messages = backlog.splice(0, lanes / 2);
      if (messages.length === 0) {
        await changed.promise;
        continue;
      }
      change();
      const requests = messages.map((message) => ({ message, workerId: "bench", instanceId: "bench-1" }));
      const answers = await attempts.claim(requests, LEASE_MS);
      const at = systemClock.now();
      const identities = messages.map((message, index) => {
        const answer = answers[index];
        if (answer?.ok !== true) throw new Error("a claim was refused");
        const { occurrenceId, scheduledFor, jobId } = message;
        return { occurrenceId, scheduledFor, jobId, token: answer.token };
      });
      const lines = store.lines.append(identities.map((one) => ({
        ...one,
        sequence: 0,
        at,
        level: "info",
        message: "Hello from the sample job",
        fields: null,
      })));
      await store.outcomes.record(
        identities.map((one) => ({
          ...one,
          workerId: "bench",
          instanceId: "bench-1",
          startedAt: at,
          endedAt: at,
          durationMs: 0,
          outcome: { kind: "completed", result: null },
        })),
        at,
        0.5,
      );
      await lines;
      done += messages.length;
      change();
    }
  };
  await Promise.all([fill(), work(), work()]);
}

/** The longest time that a timer of 1 ms came late. */
function watchStalls(): { stop(): number } {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 1);
    last = now;
  }, 1);
  return {
    stop() {
      clearInterval(timer);
      return longest;
    },
  };
}

function newJob(): Job {
  const now = systemClock.now();
  return {
    ...JOB_DEFAULTS,
    id: systemRandom.uuid(),
    version: 1,
    displayName: "Bench",
    jobType: "SampleJob",
    jobData: "{}",
    schedule: { kind: "triggerOnly" },
    concurrentExecutionPolicy: "Allow",
    nextDueAt: null,
    createdAt: now,
    updatedAt: now,
  };
}

if (import.meta.main) {
  const jobs = Number(Deno.args[0] ?? 100_000);
  const lanes = Number(Deno.args[1] ?? 100);
  const figures = await measure(jobs, lanes);
  console.log(
    `${jobs} jobs, ${lanes} lanes: ${Math.round(jobs / figures.seconds)} jobs/s, ` +
      `${figures.cpuMicrosecondsPerJob.toFixed(1)} µs of CPU a job, ` +
      `longest stall ${figures.longestStallMs.toFixed(1)} ms, ${Math.round(figures.bytesPerJob)} bytes a job`,
  );
}
