/** Rates, percentiles and slopes of looks. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { WorkerInstance } from "../../actors/ports/presence.ts";
import { createMetrics } from "../metrics.ts";
import { loadOf } from "../redis/server_load.ts";
import type { Look } from "./look.ts";
import {
  latencyBetween,
  machinePeak,
  perSecond,
  queueEvidence,
  redisEvidence,
  routeRates,
  slope,
  workerEvidence,
} from "./window.ts";

const { reader } = createMetrics();
const NOTHING = reader.distribution("redis_call_seconds");
const LOOK: Look = {
  at: 0,
  processors: { ownMs: 0, machine: null },
  requests: new Map(),
  requestSeconds: new Map(),
  eventLoop: NOTHING,
  sync: NOTHING,
  statements: NOTHING,
  redisCalls: NOTHING,
  created: null,
  completed: null,
  depths: null,
  workers: null,
  postgres: null,
  statementTotals: null,
  redis: null,
};

Deno.test("property: percentiles between two looks lie in the bucket of the observation they stand for", () => {
  const seconds = fc.double({ min: 0.00001, max: 9.9, noNaN: true });
  fc.assert(fc.property(fc.array(seconds), fc.array(seconds, { minLength: 1 }), (before, between) => {
    const { meter, reader } = createMetrics();
    for (const one of before) meter.observe("redis_call_seconds", one);
    const first = reader.distribution("redis_call_seconds");
    for (const one of between) meter.observe("redis_call_seconds", one);
    const last = reader.distribution("redis_call_seconds");
    const latency = latencyBetween(first, last);
    assert(latency !== null);
    assertEquals(latency.count, between.length);
    const sorted = between.toSorted((a, b) => a - b);
    for (const [part, ms] of [[0.5, latency.p50Ms], [0.99, latency.p99Ms]] as const) {
      const meant = sorted[Math.ceil(part * sorted.length) - 1] ?? 0;
      const upper = last.bounds.findIndex((bound) => meant <= bound);
      const [low, high] = [last.bounds[upper - 1] ?? 0, last.bounds[upper] ?? Infinity];
      assert(
        ms / 1000 >= low - 1e-9 && ms / 1000 <= high + 1e-9,
        `${ms} ms is not within ${low} and ${high} s`,
      );
    }
  }));
});

Deno.test("what is slower than every bucket counts as the last bound, and nothing observed has no percentile", () => {
  const { meter, reader } = createMetrics();
  const first = reader.distribution("redis_call_seconds");
  assertEquals(latencyBetween(first, first), null);
  meter.observe("redis_call_seconds", 3600);
  assertEquals(latencyBetween(first, reader.distribution("redis_call_seconds"))?.p99Ms, 10_000);
});

Deno.test("the fullest time between two looks is a machine's peak; where it may not be asked there is none", () => {
  const look = (at: number, busyMs: number | null) => ({
    at,
    processors: { ownMs: 0, machine: busyMs === null ? null : { busyMs, processors: 2 } },
  });
  assertEquals(machinePeak([look(0, 0), look(5000, 2000), look(10_000, 12_000), look(15_000, 13_000)]), 1);
  assertEquals([machinePeak([look(0, 0)]), machinePeak([look(0, null), look(5000, null)])], [null, null]);
});

Deno.test("property: the slope of a line is its slope, whatever its height", () => {
  const figures = fc.record({ rise: fc.integer({ min: -500, max: 500 }), height: fc.nat(10_000) });
  fc.assert(fc.property(figures, fc.integer({ min: 2, max: 13 }), ({ rise, height }, count) => {
    const points = Array.from(
      { length: count },
      (_, second) => ({ at: second * 1000, value: height + rise * second }),
    );
    assert(Math.abs(slope(points) - rise) < 1e-6);
  }));
  assertEquals(slope([{ at: 0, value: 7 }]), 0);
  assertEquals(slope([{ at: 5, value: 7 }, { at: 5, value: 9 }]), 0, "all at one moment");
});

Deno.test("a counter that went back was begun anew: its rate is 0 and not negative", () => {
  assertEquals([perSecond(5, 25, 10), perSecond(25, 5, 10), perSecond(null, 5, 10), perSecond(0, 5, 0)], [
    2,
    0,
    0,
    0,
  ]);
});

Deno.test("reads of lists and explanations are polls; live events, health and writes are not", () => {
  const routes = [
    "GET /api/v1/jobs",
    "GET /api/v1/jobs/{id}/explain",
    "GET /api/v1/occurrences",
    "GET /api/v1/live",
    "GET /livez",
    "GET /metrics",
    "POST /api/v1/jobs",
    "GET /api/v1/bottlenecks",
  ];
  const requests = new Map(routes.map((route) => [`{route="${route}"}`, 10]));
  const requestSeconds = new Map(routes.map((route) => [`{route="${route}"}`, 2]));
  const rates = routeRates(LOOK, { ...LOOK, requests, requestSeconds }, 10);
  assertEquals(rates.filter(({ isPoll }) => isPoll).map(({ route }) => route), routes.slice(0, 3));
  assertEquals(rates.map((one) => one.perSecond), routes.map(() => 1));
  assertEquals(rates.map((one) => one.inProgress), routes.map(() => 0.2));
});

Deno.test("lanes are full when the type's or the process's are, and something waits", () => {
  const type = (name: string, lanesBusy: number, most: number) =>
    ({ name, lanesBusy, lanesFree: most - lanesBusy, maxParallelJobs: most }) as WorkerInstance["jobTypes"][
      number
    ];
  const worker = (jobTypes: WorkerInstance["jobTypes"]) =>
    ({ workerId: "local", isStopping: false, maxParallelJobs: 4, jobTypes }) as unknown as WorkerInstance;
  const looks = (ready: number, jobTypes: WorkerInstance["jobTypes"]) => [
    {
      ...LOOK,
      depths: [{ jobType: "A", pool: null, ready, unacknowledged: 0, consumers: 1 }],
      workers: [worker(jobTypes)],
    },
  ];
  const fullShare = (ready: number, jobTypes: WorkerInstance["jobTypes"]) =>
    queueEvidence(looks(ready, jobTypes))[0]?.fullShare;
  assertEquals(fullShare(5, [type("A", 2, 2), type("B", 0, 4)]), 1, "the type's");
  assertEquals(fullShare(5, [type("A", 1, 4), type("B", 3, 4)]), 1, "the process's");
  assertEquals(fullShare(5, [type("A", 1, 4), type("B", 2, 4)]), 0);
  assertEquals(fullShare(0, [type("A", 2, 2)]), 0, "nothing waits");
  assertEquals(fullShare(5, [type("B", 4, 4)]), 0, "nobody offers it");
});

Deno.test("a worker's processors are a mean over the looks, in which one that was too modest to say counts as idle", () => {
  const seen = (used: number | null, isOld = false) => ({
    ...LOOK,
    workers: [{
      workerId: "local",
      instanceId: "a",
      hostName: "here",
      load: used === null ? null : {
        rssBytes: 1,
        memoryLimitBytes: null,
        eventLoopDelayMs: 0,
        cpu: isOld ? null : { used, processors: 2, machineShare: used / 2 },
        largestPayload: null,
      },
    }] as unknown as readonly WorkerInstance[],
  });
  const cpu = (...looks: readonly Look[]) => workerEvidence(looks).map((one) => one.cpu);
  assertEquals(cpu(seen(null), seen(1), seen(2)), [{ used: 1, processors: 2, machineShare: 0.75 }]);
  assertEquals(cpu(seen(2), seen(null)), [], "now it says nothing");
  assertEquals(cpu(seen(1, true)), [null], "of a version that does not say");
});

Deno.test("the load of a Redis server is read from INFO: sorted set commands, memory, clients", () => {
  const info = (calls: number, micros: number) =>
    [
      "total_commands_processed:1000",
      `cmdstat_zadd:calls=${calls},usec=${micros},usec_per_call=1.00,rejected_calls=0,failed_calls=0`,
      "cmdstat_bzpopmin:calls=5,usec=10,usec_per_call=2.00",
      "cmdstat_get:calls=900,usec=99999,usec_per_call=1.00",
      "used_memory:2048",
      "used_memory_rss:9999",
      "maxmemory:0",
      "maxmemory_policy:noeviction",
      "connected_clients:7",
      "maxclients:10000",
      "used_cpu_sys:1.5",
      "used_cpu_user:2.25",
    ].join("\r\n");
  const before = loadOf(info(100, 400));
  assertEquals(before, {
    commands: 1000,
    zsetCalls: 105,
    zsetMicros: 410,
    cpuMs: 3750,
    usedBytes: 2048,
    maxBytes: null,
    clients: 7,
    maxClients: 10_000,
  });
  const [server] = redisEvidence([{ place: "a", ...before }], [{
    place: "a",
    ...loadOf(info(1100, 5_000_400)),
  }], 10);
  assertEquals([server?.zsetPerSecond, server?.zsetMicrosPerCall, server?.zsetShare], [100, 5000, 0.5]);
});
