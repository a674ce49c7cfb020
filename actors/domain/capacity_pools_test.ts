import { assert, assertEquals } from "@std/assert";
import { poolLoads, type WorkloadFacts } from "./capacity_pools.ts";
import type { SampledRun } from "./capacity_runs.ts";
import type { WorkerStanding } from "./surroundings.ts";

const NOW = Date.UTC(2026, 10, 26, 12);

function worker(
  workerId: string,
  types: Readonly<Record<string, number>>,
  changes: Partial<WorkerStanding> = {},
): WorkerStanding {
  return {
    workerId,
    instanceId: `${workerId}-1`,
    isStopping: false,
    reportsHeldBack: 0,
    lastSeenAt: NOW,
    maxParallelJobs: 10,
    running: [],
    jobTypes: Object.entries(types).map(([name, maxParallelJobs]) => ({
      name,
      maxParallelJobs,
      lanesBusy: 1,
    })),
    ...changes,
  };
}

function run(jobType: string, secondsAgo: number, changes: Partial<SampledRun> = {}): SampledRun {
  return {
    jobType,
    pool: null,
    takenBy: "mail",
    status: "Completed",
    attempt: 1,
    scheduledFor: NOW - secondsAgo * 1000,
    durationMs: 2000,
    ...changes,
  };
}

function facts(changes: Partial<WorkloadFacts> = {}): WorkloadFacts {
  return {
    now: NOW,
    workers: [],
    remembered: [],
    arrivals: { runs: [], since: NOW, lastMinute: null },
    further: [],
    waiting: [],
    isWaitingCut: false,
    queues: [],
    promised: [],
    ...changes,
  };
}

function loadOf(given: WorkloadFacts, pool: string | null, jobType: string) {
  const load = poolLoads(given).find((one) => one.pool === pool)?.types.find((one) =>
    one.jobType === jobType
  );
  assert(load !== undefined, `${pool} has nothing to do with ${jobType}`);
  return load;
}

Deno.test("lanes are those of workers that stay, each type held to its process", () => {
  const [load] = poolLoads(facts({
    workers: [
      worker("mail", { A: 4, B: 40 }),
      worker("mail", { A: 6 }),
      worker("mail", { A: 9 }, { isStopping: true }),
    ],
  }));
  assertEquals([load?.pool, load?.workers, load?.lanes, load?.lanesBusy], ["mail", 2, 20, 3]);
  assertEquals(load?.types.map(({ jobType, workers, lanes }) => [jobType, workers, lanes]), [
    ["A", 2, 10],
    ["B", 1, 10],
  ]);
});

Deno.test("arrivals are attempts a second since the oldest that was read, and those of the last minute", () => {
  const runs = [
    run("A", 10),
    run("A", 20, { attempt: 3 }),
    run("A", 30, { status: "Skipped" }),
    run("A", 40, { status: "Cancelled", takenBy: null, attempt: 0 }),
    run("A", 50, { status: "Queued", takenBy: null, attempt: 0, durationMs: null }),
    run("A", 200),
  ];
  const load = loadOf(
    facts({
      workers: [worker("mail", { A: 4 })],
      arrivals: { runs, since: NOW - 200_000, lastMinute: null },
    }),
    "mail",
    "A",
  );
  assertEquals([load.arrivalsPerSecond, load.recentPerSecond], [6 / 200, 5 / 60]);
  assertEquals(load.runs?.count, 3);
});

Deno.test("where what was read does not fill the last minute, its count says how much came", () => {
  const runs = [run("A", 1), run("A", 2, { attempt: 2 }), run("B", 3), run("A", 4, { status: "Skipped" })];
  const arrivals = { runs, since: NOW - 4000, lastMinute: 6000 };
  const given = facts({ workers: [worker("mail", { A: 4, B: 4 })], arrivals });
  const rates = (jobType: string) => {
    const { arrivalsPerSecond, recentPerSecond } = loadOf(given, "mail", jobType);
    return [arrivalsPerSecond, recentPerSecond];
  };
  assertEquals([rates("A"), rates("B")], [[75, 75], [25, 25]]);
});

Deno.test("work that is not pinned is shared by lanes; pinned work is its pool's", () => {
  const given = facts({
    workers: [worker("big", { A: 9 }), worker("small", { A: 3 })],
    waiting: [
      { jobType: "A", pool: null, count: 8, oldestReadyAt: NOW - 5000 },
      { jobType: "A", pool: "small", count: 10, oldestReadyAt: NOW - 9000 },
    ],
    promised: [{ jobType: "A", pool: null, perSecond: 4 }],
  });
  const big = loadOf(given, "big", "A");
  const small = loadOf(given, "small", "A");
  assertEquals([big.waiting, big.promisedPerSecond, big.oldestReadyAt], [6, 3, NOW - 5000]);
  assertEquals([small.waiting, small.promisedPerSecond, small.oldestReadyAt], [12, 1, NOW - 9000]);
});

Deno.test("where no worker offers a type, it is the work of pools that took it, or were heard to offer it", () => {
  const waiting = [{ jobType: "A", pool: null, count: 5, oldestReadyAt: NOW }];
  const took = facts({ waiting, further: [run("A", 9000, { takenBy: "gone" })] });
  assertEquals(loadOf(took, "gone", "A").waiting, 5);
  const remembered = [{ pool: "away", maxParallelJobs: 4, types: [{ jobType: "A", maxParallelJobs: 2 }] }];
  assertEquals(loadOf(facts({ waiting, remembered }), "away", "A").waiting, 5);
  const present = facts({ waiting, workers: [worker("mail", { A: 1 })], remembered });
  assertEquals(loadOf(present, "mail", "A").waiting, 5);
  assertEquals(poolLoads(present).find(({ pool }) => pool === "away")?.types, []);
});

Deno.test("work that nobody was ever seen to take stands last, with no pool", () => {
  const waiting = [{ jobType: "Lost", pool: null, count: 5, oldestReadyAt: NOW }];
  const loads = poolLoads(facts({ waiting, workers: [worker("mail", { A: 1 })] }));
  assertEquals(loads.map(({ pool, types }) => [pool, types.map(({ jobType }) => jobType)]), [
    ["mail", ["A"]],
    [null, ["Lost"]],
  ]);
});

Deno.test("the queue's own count is taken when not all that waits was counted", () => {
  const queues = [{ jobType: "A", pool: null, ready: 50_000, unacknowledged: 0, consumers: 1 }];
  const waiting = [{ jobType: "A", pool: null, count: 10_000, oldestReadyAt: NOW }];
  const workers = [worker("mail", { A: 1 })];
  assertEquals(loadOf(facts({ queues, waiting, workers }), "mail", "A").waiting, 10_000);
  assertEquals(loadOf(facts({ queues, waiting, workers, isWaitingCut: true }), "mail", "A").waiting, 50_000);
});

Deno.test("run times are those of the pool; a pool that ran none goes by the others", () => {
  const given = facts({
    workers: [worker("fast", { A: 1 }), worker("slow", { A: 1 }), worker("new", { A: 1 })],
    further: [
      run("A", 1, { takenBy: "fast", durationMs: 250 }),
      run("A", 1, { takenBy: "slow", durationMs: 750 }),
    ],
  });
  const average = (pool: string) => loadOf(given, pool, "A").runs?.averageSeconds;
  assertEquals([average("fast"), average("slow"), average("new")], [0.25, 0.75, 0.5]);
});

Deno.test("the work of all pools together is the work there is", () => {
  const given = facts({
    workers: [worker("a", { A: 3 }), worker("b", { A: 5 }), worker("c", { B: 2 })],
    arrivals: {
      runs: [run("A", 30), run("A", 50, { pool: "c" }), run("B", 100)],
      since: NOW - 100_000,
      lastMinute: null,
    },
    waiting: [
      { jobType: "A", pool: null, count: 7, oldestReadyAt: NOW },
      { jobType: "A", pool: "c", count: 2, oldestReadyAt: NOW },
      { jobType: "C", pool: null, count: 4, oldestReadyAt: NOW },
    ],
  });
  const types = poolLoads(given).flatMap((load) => load.types);
  const all = (of: (type: (typeof types)[number]) => number) =>
    types.reduce((sum, type) => sum + of(type), 0);
  assertEquals(all(({ waiting }) => waiting), 13);
  assert(Math.abs(all(({ arrivalsPerSecond }) => arrivalsPerSecond) - 3 / 100) < 1e-12);
});
