/** Processors: who fills them, and what an instance without a free one may say of servers. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { API, calls, POSTGRES, REDIS, WELL, WORKER } from "../../tests/support/well_installation.ts";
import { findBottlenecks } from "./bottleneck.ts";
import type { Evidence } from "./bottleneck_evidence.ts";
import { WORKER_FILLS_SHARE } from "./bottleneck_processors.ts";
import { ZSET_SHARE } from "./bottleneck_servers.ts";
import { resourceUses, UNPROVEN } from "./resource_use.ts";

const working = (used: number): Evidence => ({
  ...WELL,
  workers: [{ ...WORKER, cpu: { used, processors: 2, machineShare: 1 } }],
});

function codes(evidence: Evidence): readonly string[] {
  return findBottlenecks(evidence).map(({ code }) => code);
}

Deno.test("tail latencies seen from a machine without a free processor are not laid on the servers, and that is said", () => {
  // As it was: one executor at 94 %, the machine 0 % idle, 1 of 100 calls to Redis took 39 ms.
  const starved: Evidence = {
    ...WELL,
    api: { ...API, machineShare: 1 },
    workers: [{ ...WORKER, hostName: API.hostName, cpu: { used: 0.94, processors: 2, machineShare: 1 } }],
    redis: { call: calls(39), servers: [REDIS] },
    postgres: { ...POSTGRES, statement: calls(150) },
    store: { createdPerSecond: 0, completedPerSecond: 0, sync: calls(120) },
  };
  assertEquals(codes(starved), ["worker-cpu"]);
  const cause = findBottlenecks(starved)[0]?.cause ?? "";
  assertStringIncludes(cause, "Redis 39 ms, PostgreSQL 150 ms, the disk 120 ms");
  assertStringIncludes(cause, "prove nothing against the servers");
  // The median of the calls to Redis is twice its limit, and still not what is nearest.
  const uses = resourceUses({ ...starved, redis: { call: { ...calls(50), p50Ms: 40 }, servers: [REDIS] } });
  assertEquals([uses[0]?.resource, uses[0]?.place, uses[0]?.share], ["cpu", "machine machine-1", 1]);
  assertEquals(uses.slice(-3).map(({ unit, note }) => [unit, note]), [1, 2, 3].map(() => ["ms", UNPROVEN]));

  // What holds of half of the calls, or what the server says itself, is no matter of waiting for a turn.
  const slow = { ...starved, redis: { call: { ...calls(200), p50Ms: 60 }, servers: [REDIS] } };
  assertEquals(codes(slow), ["worker-cpu", "redis-latency"]);
  const sets = { ...REDIS, zsetShare: ZSET_SHARE.warning };
  assertEquals(codes({ ...starved, redis: { call: calls(39), servers: [sets] } }), [
    "worker-cpu",
    "redis-latency",
    "redis-zset",
  ]);
  assertEquals(codes({ ...starved, postgres: { ...POSTGRES, statement: calls(150), waitingForLocks: 1 } }), [
    "worker-cpu",
    "postgres-latency",
  ]);
});

Deno.test("a machine that was full for some seconds is enough for a tail of few calls, and for no more than a tail", () => {
  // As it was: 243 calls in 55 s, two or three of them while a build had both processors.
  const api = { ...API, machineShare: 0.7, machinePeak: 1 };
  const seen = (p99Ms: number, p50Ms: number): Evidence => ({
    ...WELL,
    api,
    redis: { call: { count: 243, p50Ms, p99Ms }, servers: [REDIS] },
    postgres: { ...POSTGRES, statement: { count: 243, p50Ms, p99Ms: 108 } },
  });
  assertEquals(codes(seen(189, 1.61)), []);
  assertEquals(codes(seen(189, 60)), ["redis-latency"]);
});

Deno.test("a tail no longer than twice what this process itself is late is not the server's", () => {
  const late = { ...API, eventLoopDelay: calls(15, 600) };
  assertEquals(codes({ ...WELL, redis: { call: calls(28), servers: [REDIS] }, api: late }), []);
  assertEquals(codes({ ...WELL, redis: { call: calls(30), servers: [REDIS] }, api: late }), [
    "redis-latency",
  ]);
});

Deno.test("a full machine is laid on its worker where that takes much of it, else on other programs", () => {
  const taken = (share: number) => working(share * 2);
  assertEquals(codes(taken(WORKER_FILLS_SHARE)), ["worker-cpu"]);
  assertEquals(codes(taken(WORKER_FILLS_SHARE - 0.01)), ["machine-cpu"]);
  const [found] = findBottlenecks(taken(WORKER_FILLS_SHARE - 0.01));
  assertStringIncludes(found?.cause ?? "", "Other programs on the machine");
  assertEquals(found?.place, "machine-2");
});
