import { assertEquals, assertLess } from "@std/assert";
import { realScheduler } from "../infra/scheduler.ts";
import { EmbeddedDueIndex } from "../infra/embedded/due_index.ts";
import { KeptLog, KeptMeter } from "../tests/support/quiet.ts";
import { indexBuilder } from "./built_index.ts";
import { dispatcherActor, type DispatcherDeps } from "./dispatcher.ts";
import { type Job, JOB_DEFAULTS } from "./domain/job.ts";
import type { Decision } from "./domain/plan.ts";
import { DEFAULT_FAILURE_RULES } from "./domain/retry.ts";
import type { DueIndex } from "./ports/due_index.ts";
import type { Ledger } from "./ports/store.ts";
import { simulate } from "./runtime/simulation.ts";

const NOW = Date.UTC(2026, 0, 1);
const SECOND = 1000;
const EPOCH = 1;

/** What of the world around the dispatcher is broken now. */
interface Broken {
  /** The ledger leaves out what the index lists. */
  leavesOut: boolean;
  /** Each decision meets somebody else's write. */
  conflicts: boolean;
  /** markBuilt does nothing. */
  staysUnbuilt: boolean;
  /** What is put and removed is not heard of. */
  ignoresMoves: boolean;
}

/** A dispatcher on one job a minute, whose calls are counted. */
async function world(change: Partial<Broken> = {}) {
  const broken: Broken = {
    leavesOut: false,
    conflicts: false,
    staysUnbuilt: false,
    ignoresMoves: false,
    ...change,
  };
  const { system, clock, random } = simulate({ soon: realScheduler, now: NOW });
  const log = new KeptLog();
  const calls = { looks: 0, builds: 0, decided: 0 };
  let job: Job = jobDueAt(NOW);
  const heap = new EmbeddedDueIndex();
  await heap.put([{ jobId: job.id, dueAt: NOW }]);
  const index: DueIndex = {
    put: (entries) => broken.ignoresMoves ? Promise.resolve() : heap.put(entries),
    remove: (jobIds) => broken.ignoresMoves ? Promise.resolve() : heap.remove(jobIds),
    due: (now, limit) => {
      calls.looks += 1;
      return heap.due(now, limit);
    },
    nextAt: () => heap.nextAt(),
    size: () => heap.size(),
    clear: () => heap.clear(),
    markBuilt: (builder) => {
      calls.builds += 1;
      return broken.staysUnbuilt ? Promise.resolve() : heap.markBuilt(builder);
    },
    builtBy: () => heap.builtBy(),
  };
  const due = (now: number) =>
    Promise.resolve(broken.leavesOut || job.nextDueAt === null || job.nextDueAt > now ? [] : [job]);
  const decide = (decisions: readonly Decision[]) => {
    const conflicts = broken.conflicts ? decisions.map(({ jobId }) => jobId) : [];
    if (!broken.conflicts) {
      for (const { nextDueAt } of decisions) job = { ...job, nextDueAt };
      calls.decided += decisions.length;
    }
    return Promise.resolve({ ok: true, messages: [], unsent: [], conflicts, ended: [] } as const);
  };
  const deps: DispatcherDeps = {
    jobs: {
      get: () => Promise.resolve(job),
      dueEntries: () =>
        Promise.resolve({
          items: job.nextDueAt === null ? [] : [{ jobId: job.id, dueAt: job.nextDueAt }],
          next: null,
        }),
    },
    ledger: {
      dueJobs: (_ids: readonly string[], now: number) => due(now),
      pollDueJobs: (now: number) => due(now),
      plannedCatchUps: () => Promise.resolve([]),
      decide: (_epoch: number, decisions: readonly Decision[]) => decide(decisions),
    } as unknown as Ledger,
    dueIndex: index,
    queue: { publish: () => Promise.resolve([]) } as unknown as DispatcherDeps["queue"],
    store: { outcomes: { notePublished: () => {} } },
    events: { subscribe: () => () => {}, publish: () => {} } as unknown as DispatcherDeps["events"],
    jobTypes: {
      refresh: () => Promise.resolve([]),
      defaults: () => ({
        maxRetries: 0,
        baseRetryDelaySeconds: 1,
        executionTimeoutSeconds: null,
        rules: DEFAULT_FAILURE_RULES,
      }),
    } as unknown as DispatcherDeps["jobTypes"],
    clock,
    random,
    log,
    meter: new KeptMeter(),
  };
  system.spawn(
    "dispatcher",
    dispatcherActor(deps, {
      epoch: EPOCH,
      instanceId: "leader",
      misfireThresholdMs: 60 * SECOND,
      catchUp: { spacingMs: SECOND, perSecond: 50 },
      batchSize: 1000,
      pollMs: 5 * SECOND,
      onStaleEpoch: () => {},
    }),
  );
  /** How often something was done while time passed. */
  const during = async (ms: number, what: keyof typeof calls): Promise<number> => {
    const before = calls[what];
    await clock.advance(ms);
    return calls[what] - before;
  };
  return { system, clock, log, broken, calls, during, heap };
}

function jobDueAt(nextDueAt: number): Job {
  const expression = "0 * * * * *";
  return {
    ...JOB_DEFAULTS,
    id: "job",
    version: 1,
    displayName: "Job",
    jobType: "SampleJob",
    jobData: "{}",
    schedule: {
      kind: "cron",
      expression,
      resolved: expression,
      timeZone: "UTC",
      gap: "RunAtNextValid",
      fold: "First",
    },
    nextDueAt,
    createdAt: 0,
    updatedAt: 0,
  };
}

for (
  const [what, change] of [
    ["the index lists jobs that the ledger leaves out", { leavesOut: true }],
    ["every decision meets somebody else's write", { conflicts: true }],
    ["the index keeps its entries whatever it is told", { leavesOut: true, ignoresMoves: true }],
  ] as const
) {
  Deno.test(`while ${what}, passes come with pauses that double, and it is said once`, async () => {
    const { system, log, during } = await world(change);
    assertLess(await during(SECOND, "looks"), 10);
    assertLess(await during(30 * SECOND, "looks"), 40);
    assertEquals(log.complaints.length, 1, log.complaints.join("\n"));
    await system.stop(0);
  });
}

Deno.test("an index that forgets what it is told to remove is looked at with pauses", async () => {
  const { system, clock, during, heap, broken } = await world();
  await clock.advance(0);
  await heap.put([{ jobId: "job", dueAt: NOW - SECOND }]);
  broken.ignoresMoves = true;
  assertLess(await during(5 * SECOND, "looks"), 20);
  assertLess(await during(30 * SECOND, "looks"), 40);
  await system.stop(0);
});

Deno.test("what came to be decidable is decided within a second, and the next due time in its moment", async () => {
  const { system, log, broken, calls, during } = await world({ leavesOut: true });
  await during(20 * SECOND, "looks");
  broken.leavesOut = false;
  assertEquals(await during(SECOND, "decided"), 1);
  assertEquals(await during(39 * SECOND - 1, "decided"), 0);
  assertEquals(await during(1, "decided"), 1);
  // Told of again when it happens again.
  broken.leavesOut = true;
  await during(90 * SECOND, "looks");
  assertEquals([calls.decided, log.complaints.length], [2, 2]);
  await system.stop(0);
});

Deno.test("an index that never is whole is built again with pauses that double, and it is said once", async () => {
  const { system, log, broken, during, heap } = await world({ staysUnbuilt: true });
  assertLess(await during(SECOND, "builds"), 5);
  assertLess(await during(60 * SECOND, "builds"), 10);
  assertLess(await during(600 * SECOND, "builds"), 15);
  assertEquals(log.complaints.length, 1, log.complaints.join("\n"));
  broken.staysUnbuilt = false;
  await during(60 * SECOND, "builds");
  assertEquals(await heap.builtBy(), indexBuilder(EPOCH));
  // Once whole, a loss is mended at once.
  await during(5 * SECOND, "builds");
  await heap.clear();
  assertEquals(await during(5 * SECOND, "builds"), 1);
  await system.stop(0);
});
