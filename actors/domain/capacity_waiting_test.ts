import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { drainSeconds, expectedWaiting, workersForWait, workersToDrain } from "./capacity_waiting.ts";

function near(actual: number, expected: number, tolerance = 1e-7): void {
  assert(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);
}

/** The same from the birth–death chain itself: the part of time with each number of runs there, up to very many. */
function bruteForce(load: number, lanes: number, averageSeconds: number) {
  const parts = [1];
  for (let there = 1; there < lanes + 4000; there += 1) {
    parts.push((parts[there - 1] ?? 0) * load / Math.min(there, lanes));
  }
  const all = parts.reduce((sum, part) => sum + part, 0);
  const probability = parts.slice(lanes).reduce((sum, part) => sum + part, 0) / all;
  const queue = parts.reduce((sum, part, there) => sum + part * Math.max(0, there - lanes), 0) / all;
  // Little's law: what waits on average ÷ what comes a second.
  return { probability, meanSeconds: queue / (load / averageSeconds) };
}

const loads = fc.record({
  lanes: fc.integer({ min: 1, max: 60 }),
  utilisation: fc.double({ min: 0.01, max: 0.97, noNaN: true }),
  averageSeconds: fc.double({ min: 0.001, max: 600, noNaN: true }),
});

Deno.test("the wait is that of the birth–death chain", () => {
  fc.assert(fc.property(loads, ({ lanes, utilisation, averageSeconds }) => {
    const load = lanes * utilisation;
    const found = expectedWaiting({ ratePerSecond: load / averageSeconds, averageSeconds, lanes });
    assert(found !== null);
    const chain = bruteForce(load, lanes, averageSeconds);
    near(found.probability, chain.probability, 1e-7);
    near(found.meanSeconds / averageSeconds, chain.meanSeconds / averageSeconds, 1e-6);
  }));
});

Deno.test("the tables of Erlang C: 8 erlangs on 10 lanes wait with probability 0.4092", () => {
  const found = expectedWaiting({ ratePerSecond: 8, averageSeconds: 1, lanes: 10 });
  near(found?.probability ?? 0, 0.4092, 5e-5);
  near(found?.meanSeconds ?? 0, 0.2046, 5e-5);
});

Deno.test("one lane: the wait of M/M/1, and 95 of 100 wait no longer than it says", () => {
  const found = expectedWaiting({ ratePerSecond: 0.5, averageSeconds: 1, lanes: 1 });
  near(found?.probability ?? 0, 0.5);
  near(found?.meanSeconds ?? 0, 1);
  // P(wait > t) = 0.5 e^(−t/2) = 0.05
  near(found?.p95Seconds ?? 0, 2 * Math.log(10));
});

Deno.test("more lanes never wait longer, more load never shorter", () => {
  fc.assert(fc.property(loads, ({ lanes, utilisation, averageSeconds }) => {
    const ratePerSecond = lanes * utilisation / averageSeconds;
    const waiting = (rate: number, count: number) =>
      expectedWaiting({ ratePerSecond: rate, averageSeconds, lanes: count });
    const here = waiting(ratePerSecond, lanes);
    const more = waiting(ratePerSecond, lanes + 1);
    const less = waiting(ratePerSecond * 0.9, lanes);
    assert(here !== null && more !== null && less !== null);
    for (const better of [more, less]) {
      assert(better.probability <= here.probability);
      assert(better.meanSeconds <= here.meanSeconds);
      assert(better.p95Seconds <= here.p95Seconds);
    }
  }));
});

Deno.test("more load than lanes has no wait to speak of; no load waits for nobody", () => {
  assertEquals(expectedWaiting({ ratePerSecond: 10, averageSeconds: 1, lanes: 10 }), null);
  assertEquals(expectedWaiting({ ratePerSecond: 1, averageSeconds: 1, lanes: 0 }), null);
  assertEquals(expectedWaiting({ ratePerSecond: 0, averageSeconds: 1, lanes: 0 })?.p95Seconds, 0);
});

Deno.test("workers for a wait keep it, and one less does not", () => {
  const given = fc.record({
    ratePerSecond: fc.double({ min: 0.01, max: 200, noNaN: true }),
    averageSeconds: fc.double({ min: 0.001, max: 20, noNaN: true }),
    maxParallelJobs: fc.integer({ min: 1, max: 50 }),
    targetWaitSeconds: fc.double({ min: 0, max: 60, noNaN: true }),
  });
  fc.assert(fc.property(given, (asked) => {
    const workers = workersForWait(asked);
    assert(workers !== null);
    const wait = (count: number) =>
      expectedWaiting({ ...asked, lanes: count * asked.maxParallelJobs })?.p95Seconds ?? Infinity;
    assert(wait(workers) <= asked.targetWaitSeconds);
    assert(workers === 1 || wait(workers - 1) > asked.targetWaitSeconds);
  }));
});

Deno.test("a wait that would need more than a million lanes is refused, not computed for ever", () => {
  const asked = { ratePerSecond: 1e6, averageSeconds: 10, maxParallelJobs: 1000, targetWaitSeconds: 1 };
  assertEquals(workersForWait(asked), null);
});

Deno.test("what is there, and what comes while it drains, is exactly what is done until then", () => {
  const given = fc.record({
    backlog: fc.integer({ min: 1, max: 1e6 }),
    ratePerSecond: fc.double({ min: 0, max: 1000, noNaN: true }),
    more: fc.double({ min: 0.01, max: 1000, noNaN: true }),
  });
  fc.assert(fc.property(given, ({ backlog, ratePerSecond, more }) => {
    const jobsPerSecond = ratePerSecond + more;
    const seconds = drainSeconds({ backlog, ratePerSecond, jobsPerSecond });
    assert(seconds !== null);
    const done = jobsPerSecond * seconds;
    near(done / (backlog + ratePerSecond * seconds), 1, 1e-6);
  }));
  assertEquals(drainSeconds({ backlog: 1, ratePerSecond: 2, jobsPerSecond: 2 }), null);
  assertEquals(drainSeconds({ backlog: 0, ratePerSecond: 2, jobsPerSecond: 1 }), 0);
});

Deno.test("workers to drain a backlog end it in time, and one less does not", () => {
  const given = fc.record({
    backlog: fc.integer({ min: 1, max: 1e5 }),
    withinSeconds: fc.integer({ min: 1, max: 3600 }),
    ratePerSecond: fc.double({ min: 0, max: 100, noNaN: true }),
    averageSeconds: fc.double({ min: 0.01, max: 60, noNaN: true }),
    maxParallelJobs: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(fc.property(given, (asked) => {
    const workers = workersToDrain(asked);
    const seconds = (count: number) =>
      drainSeconds({ ...asked, jobsPerSecond: count * asked.maxParallelJobs / asked.averageSeconds }) ??
        Infinity;
    assert(seconds(workers) <= asked.withinSeconds * (1 + 1e-6));
    assert(seconds(workers - 1) > asked.withinSeconds * (1 - 1e-6));
  }));
});
