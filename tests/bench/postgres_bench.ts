/**
 * What the PostgreSQL store costs a job: trigger in batches of 1,000, claim and report in lanes, the way the whole
 * program calls it. CPU is measured on both sides: this process, and the server's backends (from /proc, where the
 * server runs on this machine).
 *
 *   deno run -A tests/bench/postgres_bench.ts [jobs] [lanes]
 */
import process from "node:process";
import postgres from "postgres";
import { type ConcurrencyPolicy, type Job, JOB_DEFAULTS } from "../../actors/domain/job.ts";
import { DEFAULT_FAILURE_RULES } from "../../actors/domain/retry.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Attempts } from "../../actors/ports/attempts.ts";
import type { Store } from "../../actors/ports/store.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { openPostgresStore } from "../../infra/postgres/store.ts";
import { KeptLog } from "../support/quiet.ts";
import { temporaryDatabase } from "../support/servers.ts";

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
const WARM_UP = 5000;
/** Clock ticks a second, as /proc counts CPU. */
const TICKS = 100;

async function measure(jobs: number, lanes: number): Promise<void> {
  await using database = await temporaryDatabase();
  const opened = await openPostgresStore({
    url: database.url,
    maxConnections: 10,
    prepare: true,
    migrate: true,
    clock: systemClock,
    random: systemRandom,
    log: new KeptLog(),
  });
  const job = newJob("Allow");
  await opened.store.jobs.insert([job]);
  await run(opened, job, WARM_UP, lanes);

  const sql = postgres(database.url, { max: 1, onnotice: () => {} });
  const started = performance.now();
  const cpu = process.cpuUsage();
  const before = await serverCpu(sql);
  await run(opened, job, jobs, lanes);
  const used = process.cpuUsage(cpu);
  const after = await serverCpu(sql);
  const seconds = (performance.now() - started) / 1000;
  await opened.store.close();
  const [size] = await sql`SELECT pg_database_size(current_database()) AS bytes`;
  const [hot] = await sql`SELECT sum(n_tup_upd) AS updates, sum(n_tup_hot_upd) AS hot FROM pg_stat_user_tables
    WHERE relname LIKE 'occurrences%'`;
  await sql.end();
  console.log(
    `${jobs} jobs, ${lanes} lanes: ${Math.round(jobs / seconds)} jobs/s, ` +
      `${micro(after - before, jobs)} µs of PostgreSQL's CPU a job, ` +
      `${((used.user + used.system) / jobs).toFixed(1)} µs of ours, ` +
      `${Math.round(Number(size?.["bytes"]) / (jobs + WARM_UP))} bytes a job, ` +
      `${
        Math.round(100 * Number(hot?.["hot"]) / Number(hot?.["updates"]))
      } % of updates HOT (50 is all claims)`,
  );
}

/** Single triggers, as many HTTP requests at once make them. */
async function measureSingleTriggers(count: number, atOnce: number): Promise<void> {
  await using database = await temporaryDatabase();
  const opened = await openPostgresStore({
    url: database.url,
    maxConnections: 10,
    prepare: true,
    migrate: true,
    clock: systemClock,
    random: systemRandom,
    log: new KeptLog(),
  });
  for (const policy of ["Allow", "Queue"] as const) {
    const job = newJob(policy);
    await opened.store.jobs.insert([job]);
    let left = policy === "Queue" ? Math.min(count, 900) : count;
    const total = left;
    const started = performance.now();
    await Promise.all(Array.from({ length: atOnce }, async () => {
      while (left-- > 0) await opened.store.outcomes.trigger(request(job, 1));
    }));
    const seconds = (performance.now() - started) / 1000;
    console.log(`${atOnce} callers, ${policy}: ${Math.round(total / seconds)} single triggers/s`);
  }
  await opened.store.close();
}

/** The leader's part: due times of many jobs, decided a thousand at a time. */
async function measureDecisions(policy: ConcurrencyPolicy, jobs: number): Promise<void> {
  await using database = await temporaryDatabase();
  const { store, attempts } = await openPostgresStore({
    url: database.url,
    maxConnections: 10,
    prepare: true,
    migrate: true,
    clock: systemClock,
    random: systemRandom,
    log: new KeptLog(),
  });
  const due = systemClock.now();
  const all = Array.from({ length: jobs }, () => ({ ...newJob(policy), nextDueAt: due }));
  await store.jobs.insert(all);
  const { epoch } = await store.ledger.raiseEpoch("bench", due, due + 60_000);
  const sql = postgres(database.url, { max: 1, onnotice: () => {} });
  const before = await serverCpu(sql);
  let decideMs = 0;
  let restMs = 0;
  const rounds = 10;
  for (let round = 0; round < rounds; round++) {
    const decisions = all.map((job) => ({
      jobId: job.id,
      jobVersion: 1,
      expectedDueAt: due + round,
      nextDueAt: due + round + 1,
      slots: [{ occurrenceId: systemRandom.uuid(), dueAt: due + round, origin: "schedule" as const }],
      ranges: [],
      defaults: DEFAULTS,
    }));
    const started = performance.now();
    const answer = await store.ledger.decide(epoch, decisions, systemClock.now());
    decideMs += performance.now() - started;
    if (!answer.ok) throw new Error("the epoch was refused");
    if (answer.messages.length !== jobs) throw new Error(`${answer.messages.length} run`);
    const again = performance.now();
    await complete({ store, attempts }, answer.messages);
    restMs += performance.now() - again;
  }
  const used = await serverCpu(sql) - before;
  await sql.end();
  await store.close();
  console.log(
    `${policy}, ${jobs} jobs due at once: decided in ${Math.round(decideMs / rounds)} ms, ` +
      `claimed and recorded in ${Math.round(restMs / rounds)} ms, ` +
      `${micro(used, rounds * jobs)} µs of PostgreSQL's CPU a job`,
  );
}

async function complete(
  { store, attempts }: { readonly store: Store; readonly attempts: Attempts },
  messages: readonly JobMessage[],
): Promise<void> {
  const requests = messages.map((message) => ({ message, workerId: "bench", instanceId: "bench-1" }));
  const answers = await attempts.claim(requests, LEASE_MS);
  const at = systemClock.now();
  await store.outcomes.record(
    messages.map(({ occurrenceId, scheduledFor, jobId }, index) => {
      const answer = answers[index];
      if (answer?.ok !== true) throw new Error(`a claim was refused: ${JSON.stringify(answer)}`);
      return {
        occurrenceId,
        scheduledFor,
        jobId,
        token: answer.token,
        workerId: "bench",
        instanceId: "bench-1",
        startedAt: at,
        endedAt: at,
        durationMs: 0,
        outcome: { kind: "completed", result: null },
      };
    }),
    at,
    0.5,
  );
}

/** Triggers and runs jobs: a filler keeps a backlog, two batches of lanes claim and report in turn. */
async function run(
  opened: { readonly store: Store; readonly attempts: Attempts },
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
      const answer = await opened.store.outcomes.trigger(request(job, count));
      if (!answer.ok) throw new Error("a trigger was refused");
      opened.store.outcomes.notePublished(answer.messages);
      backlog.push(...answer.messages);
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
      await complete(opened, messages);
      done += messages.length;
      change();
    }
  };
  await Promise.all([fill(), work(), work()]);
}

function request(job: Job, count: number) {
  return {
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
  };
}

/** Seconds of CPU that the server's processes used so far, those of ended backends included. */
async function serverCpu(sql: postgres.Sql): Promise<number> {
  const [row] = await sql`SELECT pg_backend_pid() AS pid`;
  const backend = statOf(Number(row?.["pid"]));
  if (backend === null) return Number.NaN;
  const parent = backend.parent;
  let ticks = statOf(parent)?.ended ?? 0;
  for (const { name } of Deno.readDirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : null;
    if (stat?.parent === parent) ticks += stat.used;
  }
  return ticks / TICKS;
}

function statOf(
  pid: number,
): { readonly parent: number; readonly used: number; readonly ended: number } | null {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number);
    const at = (index: number) => fields[index] ?? 0;
    return { parent: at(1), used: at(11) + at(12), ended: at(13) + at(14) };
  } catch {
    return null;
  }
}

function micro(seconds: number, jobs: number): string {
  return (seconds * 1e6 / jobs).toFixed(1);
}

function newJob(concurrentExecutionPolicy: ConcurrencyPolicy): Job {
  const now = systemClock.now();
  return {
    ...JOB_DEFAULTS,
    id: systemRandom.uuid(),
    version: 1,
    displayName: "Bench",
    jobType: "SampleJob",
    jobData: "{}",
    schedule: { kind: "triggerOnly" },
    concurrentExecutionPolicy,
    nextDueAt: null,
    createdAt: now,
    updatedAt: now,
  };
}

if (import.meta.main) {
  const jobs = Number(Deno.args[0] ?? 50_000);
  for (const lanes of Deno.args[1] === undefined ? [50, 200, 1000] : [Number(Deno.args[1])]) {
    await measure(jobs, lanes);
  }
  for (const policy of ["Allow", "Skip", "Queue"] as const) await measureDecisions(policy, 1000);
  await measureSingleTriggers(10_000, 200);
}
