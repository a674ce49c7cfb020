/** Throughput beside its baseline: a fall is told from less demand. */
import { assertEquals } from "@std/assert";
import { compareThroughput, isHeldBack, type Throughput } from "./throughput_baseline.ts";

const BEFORE = { completedPerSecond: 15, windowSeconds: 60, workers: 3 };
const now = (changes: Partial<Throughput>): Throughput => ({
  completedPerSecond: 15,
  workers: 3,
  isHeldBack: false,
  ...changes,
});

Deno.test("throughput fell when less is done while runs wait; less demand is not worse", () => {
  const compared = (changes: Partial<Throughput>) => compareThroughput(now(changes), BEFORE);
  assertEquals(compared({}), "as-before");
  assertEquals(compared({ completedPerSecond: 30, workers: 6, isHeldBack: true }), "as-before");
  assertEquals(compared({ completedPerSecond: 7, isHeldBack: true }), "fell");
  assertEquals(compared({ completedPerSecond: 7 }), "less-demand");
  // Twice the workers do a third more: what was added is held back by something else.
  assertEquals(compared({ completedPerSecond: 20, workers: 6, isHeldBack: true }), "fell-per-worker");
  assertEquals(compared({ completedPerSecond: 20, workers: 6 }), "as-before");
});

Deno.test("throughput: nothing to speak of is idle, unless runs wait", () => {
  const compared = (changes: Partial<Throughput>) => compareThroughput(now(changes), BEFORE);
  assertEquals(compared({ completedPerSecond: 0 }), "idle");
  assertEquals(compared({ completedPerSecond: 1 }), "idle");
  assertEquals(compared({ completedPerSecond: 0, isHeldBack: true }), "fell");
  assertEquals(compareThroughput(now({}), { ...BEFORE, completedPerSecond: 0 }), null);
});

Deno.test("throughput: what chance makes of few runs is no fall", () => {
  // 12 runs in the window of the baseline; 8 of them are within its chance, 4 are not.
  const few = { ...BEFORE, completedPerSecond: 0.2 };
  const compared = (completedPerSecond: number) =>
    compareThroughput(now({ completedPerSecond, isHeldBack: true }), few);
  assertEquals([compared(8 / 60), compared(4 / 60)], ["as-before", "fell"]);
});

Deno.test("work is held back when runs wait for lanes that are full, or more of them than is in passing", () => {
  const queue = { ready: 0, fullShare: 0 };
  assertEquals(isHeldBack([], 15), false);
  assertEquals(isHeldBack([{ ...queue, ready: 3 }], 15), false);
  assertEquals(isHeldBack([{ ...queue, ready: 3, fullShare: 0.5 }], 15), true);
  assertEquals(isHeldBack([{ ...queue, fullShare: 1 }], 15), false, "it has drained");
  assertEquals(isHeldBack([{ ...queue, ready: 9 }, { ...queue, ready: 9 }], 15), true);
  assertEquals(isHeldBack([{ ...queue, ready: 10 }], 0), false);
});
