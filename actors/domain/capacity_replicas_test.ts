import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import type { PoolLoad, TypeLoad } from "./capacity_pools.ts";
import { type ScalingBounds, type ScalingFacts, wantedReplicas } from "./capacity_replicas.ts";

const NOW = Date.UTC(2026, 10, 26, 12);
const BOUNDS: ScalingBounds = { minimum: 0, maximum: 50, targetWaitSeconds: 30 };

interface Scene {
  readonly workers: number;
  readonly lanes?: number;
  readonly lanesBusy?: number;
  readonly rate?: number;
  readonly recent?: number;
  readonly averageSeconds?: number | null;
  readonly waiting?: number;
  readonly ageSeconds?: number;
}

function facts(scene: Scene): ScalingFacts {
  const { workers, lanes = 10, lanesBusy = 0, rate = 0, waiting = 0, averageSeconds = 1 } = scene;
  const type: TypeLoad = {
    jobType: "A",
    workers,
    lanes: workers * lanes,
    lanesBusy,
    arrivalsPerSecond: rate,
    recentPerSecond: scene.recent ?? rate,
    promisedPerSecond: 0,
    waiting,
    oldestReadyAt: waiting === 0 ? null : NOW - (scene.ageSeconds ?? 0) * 1000,
    runs: averageSeconds === null
      ? null
      : { count: 1, averageSeconds, p95Seconds: averageSeconds, from: 0, until: 0 },
  };
  const load: PoolLoad = { pool: "pool", workers, lanes: workers * lanes, lanesBusy, types: [type] };
  return {
    load,
    lanesPerWorker: { process: lanes, ofType: new Map([["A", lanes]]) },
    unclaimed: 0,
    now: NOW,
  };
}

function wants(scene: Scene, bounds: Partial<ScalingBounds> = {}): number {
  return wantedReplicas(facts(scene), { ...BOUNDS, ...bounds }).wanted;
}

Deno.test("nothing to do wants the minimum", () => {
  assertEquals([wants({ workers: 4 }), wants({ workers: 4 }, { minimum: 2 })], [0, 2]);
  assertEquals(wantedReplicas(facts({ workers: 4 }), { ...BOUNDS, minimum: 2 }).boundBy, "minimum");
});

Deno.test("a pool without a worker wants one when work waits, measured or not", () => {
  assertEquals(wants({ workers: 0, waiting: 1 }), 1);
  assertEquals(wants({ workers: 0, waiting: 1, averageSeconds: null }), 1);
  const unknown = { ...facts({ workers: 0 }), lanesPerWorker: null, unclaimed: 3 };
  const nothingKnown = { ...unknown, load: { ...unknown.load, types: [] } };
  assertEquals(wantedReplicas(nothingKnown, BOUNDS).wanted, 1);
});

Deno.test("while nobody knows how many lanes a worker has, one is started to find out", () => {
  const unknown = { ...facts({ workers: 0, waiting: 100_000, rate: 100 }), lanesPerWorker: null };
  assertEquals(wantedReplicas(unknown, BOUNDS).wanted, 1);
  assertEquals(
    wantedReplicas({ ...unknown, ...facts({ workers: 0, rate: 100 }), lanesPerWorker: null }, BOUNDS).wanted,
    1,
  );
});

Deno.test("work that the workers there do not offer wants no more of them", () => {
  const known = facts({ workers: 3, waiting: 1000 });
  const other = { ...known, lanesPerWorker: { process: 10, ofType: new Map([["B", 10]]) } };
  assertEquals(wantedReplicas(other, BOUNDS).wanted, 1);
});

Deno.test("arrivals that keep lanes busy for more than 90 % want more, up to 80 %", () => {
  // 10 lanes of 1 s a worker: 2 workers do 20 a second.
  assertEquals(wants({ workers: 2, rate: 19 }), 3);
  assertEquals(wants({ workers: 2, rate: 17.5 }), 2);
  assertEquals(wants({ workers: 3, rate: 17.5 }), 3);
  assertEquals(wants({ workers: 3, rate: 15.9 }), 2);
});

Deno.test("the last minute counts when it is more than the time before", () => {
  assertEquals(wants({ workers: 2, rate: 5, recent: 40 }), 5);
  assertEquals(wants({ workers: 5, rate: 40, recent: 5 }), 5);
  // Runs that may wait for ten minutes need no workers for one busy minute.
  assertEquals(wants({ workers: 1, rate: 5, recent: 40 }, { targetWaitSeconds: 600 }), 1);
});

Deno.test("a backlog wants what begins it within the target, and no more than it has runs for", () => {
  assertEquals(wants({ workers: 1, waiting: 3000, averageSeconds: 1 }), 10);
  assertEquals(wants({ workers: 1, waiting: 3000, averageSeconds: 1 }, { targetWaitSeconds: 60 }), 5);
  assertEquals(wants({ workers: 1, waiting: 40, averageSeconds: 600 }), 4);
});

Deno.test("never fewer than what runs now needs", () => {
  assertEquals(wants({ workers: 5, lanesBusy: 31 }), 4);
});

Deno.test("work of which no run was ever measured, and that has waited too long, wants one more", () => {
  const scene = { workers: 2, waiting: 100, averageSeconds: null, lanesBusy: 20 };
  assertEquals(wants({ ...scene, ageSeconds: 10 }), 2);
  assertEquals(wants({ ...scene, ageSeconds: 31 }), 3);
});

Deno.test("the maximum holds, and the answer says what is needed", () => {
  const wanted = wantedReplicas(facts({ workers: 1, waiting: 1e6 }), BOUNDS);
  assertEquals([wanted.wanted, wanted.boundBy], [50, "maximum"]);
  assertStringIncludes(wanted.sentence, "The maximum holds it there; 3334 are needed");
});

const scenes = fc.record({
  workers: fc.integer({ min: 0, max: 60 }),
  lanes: fc.integer({ min: 1, max: 100 }),
  lanesBusy: fc.integer({ min: 0, max: 200 }),
  rate: fc.double({ min: 0, max: 200, noNaN: true }),
  recent: fc.double({ min: 0, max: 200, noNaN: true }),
  averageSeconds: fc.double({ min: 0.001, max: 60, noNaN: true }),
  waiting: fc.integer({ min: 0, max: 100_000 }),
  ageSeconds: fc.double({ min: 0, max: 3600, noNaN: true }),
});

Deno.test("always within its bounds, at least one for waiting work, never below what runs", () => {
  fc.assert(fc.property(scenes, fc.integer({ min: 0, max: 5 }), (scene, minimum) => {
    const wanted = wants(scene, { minimum, maximum: 40 });
    assert(wanted >= minimum && wanted <= 40);
    if (scene.waiting > 0) assert(wanted >= 1);
    assert(wanted >= Math.min(40, Math.ceil(scene.lanesBusy / scene.lanes)));
  }));
});

Deno.test("scales in only to what is busy for 80 % at most", () => {
  fc.assert(fc.property(scenes, (scene) => {
    const wanted = wants(scene, { maximum: 1e9 });
    if (wanted >= scene.workers) return;
    const busy = Math.max(scene.rate, scene.recent) * scene.averageSeconds;
    assert(busy <= wanted * scene.lanes * 0.8 * (1 + 1e-6));
  }));
});

Deno.test("with as many as it wanted it wants as many again", () => {
  fc.assert(fc.property(scenes, (scene) => {
    const wanted = wants(scene);
    assertEquals(wants({ ...scene, workers: wanted }), wanted);
  }));
});

Deno.test("more work never wants fewer", () => {
  fc.assert(fc.property(scenes, fc.integer({ min: 1, max: 1000 }), (scene, more) => {
    assert(wants({ ...scene, waiting: scene.waiting + more }) >= wants(scene));
  }));
});
