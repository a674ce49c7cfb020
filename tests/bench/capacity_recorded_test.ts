/**
 * No speed is asserted here: what a benchmark recorded is held against what the planner said before that run, and what
 * the planner said then against what it says now of the same durations.
 */
import { planPool, type TypePlan } from "../../actors/domain/capacity_plan.ts";
import { expectedWaiting } from "../../actors/domain/capacity_waiting.ts";
import { assert, assertEquals } from "@std/assert";
import { type CapacityRecord, off, RATE_OFF, WAIT_OFF } from "./capacity.ts";
import { idealWaits, typicalTraffic } from "./capacity_waits.ts";
import recordedJson from "./capacity_recorded.json" with { type: "json" };

const recorded: CapacityRecord = recordedJson;

function planned(
  { workers, maxParallelJobs, averageSeconds, demandPerSecond = 0 }: {
    readonly workers: number;
    readonly maxParallelJobs: number;
    readonly averageSeconds: number;
    readonly demandPerSecond?: number;
  },
): TypePlan {
  const lanes = workers * maxParallelJobs;
  const [plan] = planPool({
    pool: "bench",
    workers,
    lanes,
    lanesBusy: 0,
    types: [{
      jobType: "WaitJob",
      workers,
      lanes,
      lanesBusy: 0,
      arrivalsPerSecond: demandPerSecond,
      recentPerSecond: 0,
      promisedPerSecond: 0,
      waiting: 0,
      oldestReadyAt: null,
      runs: { count: 1, averageSeconds, p95Seconds: averageSeconds, from: 0, until: 0 },
    }],
  }).types;
  assert(plan !== undefined);
  return plan;
}

function assertNear(found: number, wanted: number): void {
  assert(off(found, wanted) < 1e-6, `${found} is not ${wanted}`);
}

Deno.test("the rates that the planner predicted before a run are within 5 % of what that run gave", () => {
  for (const { before, measured } of recorded.rates) {
    assert(
      off(before.predicted, measured) <= RATE_OFF,
      `${before.predicted} predicted, ${measured} measured`,
    );
  }
  assertEquals(recorded.rates.map(({ workers }) => workers), [1, 2]);
});

Deno.test("the waits that it predicted are within 20 % of what was measured", () => {
  if (recorded.waits === null) return;
  const { before: { predicted }, measured } = recorded.waits;
  for (const name of ["meanSeconds", "p95Seconds"] as const) {
    assert(
      off(predicted[name], measured[name]) <= WAIT_OFF,
      `${predicted[name]}, measured ${measured[name]}`,
    );
  }
});

Deno.test("fed with what it knew then, the planner predicts now what it predicted then", () => {
  for (const { workers, maxParallelJobs, before: { averageSeconds, predicted } } of recorded.rates) {
    if (averageSeconds === null) continue;
    const { jobsPerSecond } = planned({ workers, maxParallelJobs, averageSeconds });
    assertNear(jobsPerSecond ?? 0, predicted);
  }
  if (recorded.waits === null) return;
  const { maxParallelJobs, before: { averageSeconds, demandPerSecond, predicted } } = recorded.waits;
  const { waiting } = planned({ workers: 1, maxParallelJobs, averageSeconds, demandPerSecond });
  assertNear(waiting?.meanSeconds ?? 0, predicted.meanSeconds);
  assertNear(waiting?.p95Seconds ?? 0, predicted.p95Seconds);
});

Deno.test("what no run has filled yet is named in the record", () => {
  const { rates, waits, notYetMeasured } = recorded;
  assertEquals(notYetMeasured.includes("waits"), waits === null);
  assertEquals(
    notYetMeasured.includes("rates.before.averageSeconds"),
    rates.some(({ before }) => before.averageSeconds === null),
  );
});

Deno.test("the runs that the bench sends wait over ideal lanes as Erlang C says: they are what it speaks of", () => {
  const traffic = typicalTraffic(2880);
  const waits = idealWaits(traffic, 10);
  const mean = waits.reduce((sum, one) => sum + one, 0) / waits.length;
  const expected = expectedWaiting({ ratePerSecond: 16, averageSeconds: 0.5, lanes: 10 });
  assert(off(mean, expected?.meanSeconds ?? 0) <= 0.03, `${mean}, by Erlang C ${expected?.meanSeconds}`);
  assertNear(traffic.reduce((sum, { seconds }) => sum + seconds, 0) / traffic.length, 0.5);
  assertNear(traffic.at(-1)?.at ?? 0, 180);
});
