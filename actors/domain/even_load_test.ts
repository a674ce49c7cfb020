/** How evenly a pool works, which runs come near their limit, and what is new since the baseline. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Bottleneck } from "./bottleneck_finding.ts";
import { type EndedRun, poolEvenness, timeoutStandings } from "./even_load.ts";
import { newBottlenecks } from "./throughput_baseline.ts";

const run = (change: Partial<EndedRun>): EndedRun => ({
  jobType: "SampleJob",
  status: "Completed",
  workerId: "email",
  instanceId: "a",
  durationMs: 10,
  executionTimeoutSeconds: 60,
  ...change,
});
const runs = (instanceId: string, count: number) => Array.from({ length: count }, () => run({ instanceId }));
const present = (...ids: readonly string[]) => ids.map((instanceId) => ({ workerId: "email", instanceId }));

Deno.test("an instance that is there and gets nothing makes its pool uneven", () => {
  const [pool] = poolEvenness([...runs("a", 100), ...runs("b", 90)], present("a", "b", "idle"));
  assertEquals(pool?.isEven, false);
  assertEquals(pool?.instances.map(({ completed }) => completed), [100, 90, 0]);
  assertEquals(poolEvenness([...runs("a", 100), ...runs("b", 90)], present("a", "b"))[0]?.isEven, true);
});

Deno.test("nothing is said of one instance, of too few runs, and of those that have gone", () => {
  assertEquals(poolEvenness(runs("a", 500), present("a")), []);
  assertEquals(poolEvenness(runs("a", 19), present("a", "b")), []);
  assertEquals(poolEvenness(runs("gone", 500), present("a", "b")), []);
});

Deno.test("property: an equal share is a variation of 0, and the order of runs does not matter", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 8 }), fc.integer({ min: 10, max: 50 }), (instances, each) => {
      const ids = Array.from({ length: instances }, (_, index) => `i${index}`);
      const all = ids.flatMap((id) => runs(id, each));
      const [pool] = poolEvenness(all, present(...ids));
      assertEquals([pool?.variation, pool?.isEven], [0, true]);
      assertEquals(poolEvenness(all.toReversed(), present(...ids))[0], pool);
    }),
  );
});

Deno.test("runs that timed out and runs near their limit are counted by type, each once", () => {
  const standings = timeoutStandings([
    run({ durationMs: 47_999 }),
    run({ durationMs: 48_000 }),
    run({ durationMs: 60_000, status: "TimedOut" }),
    run({ jobType: "Other", durationMs: 90_000, executionTimeoutSeconds: null }),
  ]);
  assertEquals(standings, [
    { jobType: "SampleJob", runs: 3, timedOut: 1, nearLimit: 1, longestMs: 60_000, limitSeconds: 60 },
    { jobType: "Other", runs: 1, timedOut: 0, nearLimit: 0, longestMs: 90_000, limitSeconds: null },
  ]);
});

Deno.test("a bottleneck is new when the baseline has none of its kind", () => {
  const found = ["api-cpu", "redis-latency"].map((code) => ({ code, place: "x" } as Bottleneck));
  const fresh = newBottlenecks(found, { bottlenecks: [{ code: "api-cpu", place: "another instance" }] });
  assertEquals(fresh.map(({ code }) => code), ["redis-latency"]);
  assert(newBottlenecks(found, { bottlenecks: [] }).length === 2);
});
