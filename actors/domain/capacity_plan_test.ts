import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { planPool, type TypePlan, type WhatIf } from "./capacity_plan.ts";
import type { PoolLoad, TypeLoad } from "./capacity_pools.ts";
import { expectedWaiting } from "./capacity_waiting.ts";

function type(changes: Partial<TypeLoad> & { readonly averageSeconds?: number } = {}): TypeLoad {
  const { averageSeconds = 2, ...rest } = changes;
  return {
    jobType: "SendEmailJob",
    workers: 3,
    lanes: 30,
    lanesBusy: 0,
    arrivalsPerSecond: 0,
    recentPerSecond: 0,
    promisedPerSecond: 0,
    waiting: 0,
    oldestReadyAt: null,
    runs: { count: 100, averageSeconds, p95Seconds: averageSeconds, from: 0, until: 0 },
    ...rest,
  };
}

function pool(types: readonly TypeLoad[], changes: Partial<PoolLoad> = {}): PoolLoad {
  return { pool: "email-worker", workers: 3, lanes: 30, lanesBusy: 0, types, ...changes };
}

function only(load: PoolLoad, whatIf: WhatIf = {}): TypePlan {
  const [plan] = planPool(load, whatIf).types;
  assert(plan !== undefined);
  return plan;
}

Deno.test("the guide's example, measured: 3 workers × 10 lanes ÷ 2 s = 15 a second, 900 a minute", () => {
  const plan = only(pool([type({ arrivalsPerSecond: 12 })]));
  assertEquals([plan.jobsPerSecond, plan.lanes, plan.utilisation], [15, 30, 0.8]);
  assertEquals(
    plan.sentences[0],
    "3 workers × 10 lanes ÷ 2 s = 15 a second, 900 a minute (100 runs measured).",
  );
  assertEquals(plan.waiting, expectedWaiting({ ratePerSecond: 12, averageSeconds: 2, lanes: 30 }));
  assertEquals(plan.workersFor.demand, 3);
});

Deno.test("the guide's example, imagined: without a worker or a run", () => {
  const nothing = type({ workers: 0, lanes: 0, runs: null });
  const plan = planPool(pool([nothing], { pool: null, workers: 0, lanes: 0 }), {
    workers: 3,
    maxParallelJobs: 10,
    averageSeconds: 2,
    targetRate: 30,
  });
  assertEquals([plan.types[0]?.jobsPerSecond, plan.lanes, plan.wantedWorkers], [15, 30, 6]);
});

Deno.test("what if twice as much came: more than is done, said with how fast it grows", () => {
  const plan = only(pool([type({ arrivalsPerSecond: 12, waiting: 100 })]), { load: 2 });
  assertEquals([plan.demandPerSecond, plan.utilisation, plan.waiting, plan.drainSeconds], [
    24,
    1.6,
    null,
    null,
  ]);
  assertEquals(plan.workersFor.demand, 6);
  assertStringIncludes(plan.sentences.join(" "), "more than is done: what waits grows by 9 a second");
  assertStringIncludes(plan.sentences.join(" "), "100 runs wait now, and it will not become less");
});

Deno.test("what if MaxParallelJobs were 20: twice the rate, for the process has as many", () => {
  const plan = planPool(pool([type({ arrivalsPerSecond: 12 })]), { maxParallelJobs: 20 });
  assertEquals([plan.types[0]?.jobsPerSecond, plan.lanes, plan.types[0]?.workersFor.demand], [30, 60, 2]);
});

Deno.test("types of a pool share the lanes of its processes", () => {
  const load = pool([
    type({ arrivalsPerSecond: 10 }),
    type({ jobType: "GenerateReportJob", arrivalsPerSecond: 5, averageSeconds: 1 }),
  ]);
  const plan = planPool(load);
  const [mail, report] = plan.types;
  assertEquals([mail?.lanes, report?.lanes], [25, 10]);
  assertEquals(plan.utilisation, 25 / 30);
  assertStringIncludes(mail?.sentences[1] ?? "", "25 of 30 are left for SendEmailJob");
  // 25 lanes busy for 80 % at most, of 10 a worker.
  assertEquals(plan.wantedWorkers, 4);
  const alone = planPool(load, { load: 2 }, "GenerateReportJob");
  assertEquals(alone.types.map(({ jobType, demandPerSecond }) => [jobType, demandPerSecond]), [
    ["GenerateReportJob", 10],
  ]);
  assertEquals(alone.utilisation, 1);
});

Deno.test("what schedules promise counts where it is more than what came", () => {
  const plan = only(pool([type({ arrivalsPerSecond: 1, promisedPerSecond: 6 })]));
  assertEquals([plan.demandPerSecond, plan.demandFrom, plan.utilisation], [6, "schedules", 0.4]);
});

Deno.test("a type of which no run was measured says so, and what to do", () => {
  const plan = only(pool([type({ runs: null, waiting: 3 })]));
  assertEquals([plan.jobsPerSecond, plan.workersFor.all, plan.drainSeconds], [null, null, null]);
  assertStringIncludes(plan.sentences[0] ?? "", "let it run once, or give averageSeconds");
});

Deno.test("when a backlog drains it says when, never when it does not, and that it is unknown while no run was measured", () => {
  const drain = (changes: Partial<TypeLoad>, load: Partial<PoolLoad> = {}) => {
    const plan = only(pool([type(changes)], load));
    return [plan.drain, plan.drainSeconds, plan.sentences.at(-1)];
  };
  assertEquals(drain({ waiting: 30 }), ["drains", 2, "30 runs wait now; nothing waits after 2 s."]);
  assertEquals(drain({ waiting: 0, runs: null }).slice(0, 2), ["empty", 0]);
  // They drained in the end: nobody had measured how fast.
  assertEquals(drain({ waiting: 50, runs: null }), [
    "unknown",
    null,
    "50 runs wait now; when they will have drained cannot be said.",
  ]);
  assertEquals(drain({ waiting: 1, arrivalsPerSecond: 20, workers: 3 }).slice(0, 2), ["never", null]);
  const noLanes = [{ waiting: 50, runs: null, workers: 0, lanes: 0 }, { workers: 0, lanes: 0 }] as const;
  assertEquals(drain(...noLanes), ["never", null, "50 runs wait now, and there is no lane for them."]);
});

Deno.test("a backlog and a target rate that are asked about are shared by the pools that offer the type, and said so", () => {
  const asked = { backlog: 1000, targetRate: 50, load: 0 };
  const plan = only(pool([type({ arrivalsPerSecond: 1, waiting: 7 })]), { ...asked, share: 0.9 });
  assertEquals([plan.backlog, plan.drainSeconds, plan.workersFor.targetRate], [900, 60, 9]);
  assertStringIncludes(
    plan.sentences.join(" "),
    "With 900 of 1,000 runs waiting, nothing waits after 60 s. 45 a second, its share of 50 a second, need 9 workers.",
  );
  const alone = only(pool([type({ arrivalsPerSecond: 1, waiting: 7 })]), asked);
  assertEquals([alone.backlog, alone.workersFor.targetRate], [1000, 10]);
  assertStringIncludes(
    alone.sentences.join(" "),
    "With 1,000 runs waiting, nothing waits after 66.7 s. 50 a second need 10",
  );
});

Deno.test("where 19 of 20 runs find a free lane, none of 95 of 100 waits, and it is not said of 0 ms", () => {
  const plan = only(pool([type({ arrivalsPerSecond: 9 })]));
  assertEquals(plan.waiting?.p95Seconds, 0);
  assertStringIncludes(plan.sentences.join(" "), "on average over all; 95 of 100 do not wait.");
});

Deno.test("what is next to nothing is not said in digits", () => {
  const little = type({ jobType: "GenerateReportJob", arrivalsPerSecond: 0.0001, averageSeconds: 1 });
  const [mail, report] = planPool(pool([type({ arrivalsPerSecond: 9 }), little])).types;
  assert(!mail?.sentences.join(" ").includes("Other types"), mail?.sentences.join(" "));
  assertStringIncludes(report?.sentences.join(" ") ?? "", "lanes are busy for less than 0.1 % of the time");
});

Deno.test("a target wait and a target rate name the workers that they need", () => {
  const plan = only(pool([type({ arrivalsPerSecond: 14 })]), { targetRate: 30, targetWaitSeconds: 0 });
  assertEquals(plan.workersFor.targetRate, 6);
  const { targetWait } = plan.workersFor;
  assert(targetWait !== null && targetWait > 6);
  const wait = (workers: number) =>
    expectedWaiting({ ratePerSecond: 30, averageSeconds: 2, lanes: workers * 10 })?.p95Seconds ?? Infinity;
  assertEquals([wait(targetWait) <= 0, wait(targetWait - 1) <= 0], [true, false]);
});

Deno.test("the workers that a plan wants are enough by that plan", () => {
  const given = fc.record({
    lanes: fc.integer({ min: 1, max: 100 }),
    workers: fc.integer({ min: 1, max: 20 }),
    first: fc.double({ min: 0, max: 50, noNaN: true }),
    second: fc.double({ min: 0, max: 50, noNaN: true }),
    averageSeconds: fc.double({ min: 0.01, max: 10, noNaN: true }),
  });
  fc.assert(fc.property(given, ({ lanes, workers, first, second, averageSeconds }) => {
    const of = (count: number) =>
      pool([
        type({ workers: count, lanes: count * lanes, arrivalsPerSecond: first, averageSeconds }),
        type({
          workers: count,
          lanes: count * lanes,
          jobType: "B",
          arrivalsPerSecond: second,
          averageSeconds,
        }),
      ], { workers: count, lanes: count * lanes });
    const { wantedWorkers } = planPool(of(workers));
    assert(wantedWorkers !== null);
    if (wantedWorkers === 0) return assertEquals(first + second, 0);
    const plan = planPool(of(wantedWorkers));
    assert((plan.utilisation ?? 1) <= 0.8 + 1e-6, `busy for ${plan.utilisation}`);
    assertEquals(plan.wantedWorkers, wantedWorkers);
  }));
});
