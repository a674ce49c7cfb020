import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Benchmark, Figure } from "./benchmark.ts";
import { measuredOf, tableOf } from "./report.ts";

const benchmark = (figures: readonly Figure[]): Benchmark => ({
  name: "row",
  about: "a row",
  seconds: [0, 0],
  figures,
  measure: () => Promise.resolve([]),
});

Deno.test("a figure is the median of its runs, beside its ideal and the bare limit of the same runs", () => {
  const [rate] = measuredOf(
    benchmark([{ name: "rate", unit: "jobs/s", atLeast: 10, ideal: "ideal", bare: "alone" }]),
    [{ rate: 5, ideal: 20, alone: 40 }, { rate: 12, ideal: 24, alone: 30 }, {
      rate: 90,
      ideal: 26,
      alone: 10,
    }],
  );
  assertEquals(rate, {
    name: "rate",
    unit: "jobs/s",
    budget: "≥ 10",
    measured: 12,
    least: 5,
    most: 90,
    ideal: 24,
    ofIdeal: 0.5,
    bareLimit: 30,
    ratio: 0.4,
    met: true,
  });
});

Deno.test("where the worst counts, one run beyond the budget misses it", () => {
  const runs = [{ wait: 1 }, { wait: 2 }, { wait: 9 }];
  const figure = { name: "wait", unit: "s", atMost: 5 };
  assertEquals(measuredOf(benchmark([figure]), runs)[0]?.met, true);
  assertEquals(measuredOf(benchmark([{ ...figure, worstCounts: true }]), runs)[0]?.met, false);
});

Deno.test("a figure that a run did not give is no figure that meets its budget", () => {
  assertEquals(
    measuredOf(benchmark([{ name: "rate", unit: "/s", atLeast: 1 }]), [{ rate: 2 }, {}])[0]?.met,
    false,
  );
});

Deno.test("the table says of a row that failed why, and keeps the others", () => {
  const common = { ground: "embedded", about: "", seconds: 1, runs: [{ rate: 2 }] } as const;
  const text = tableOf([
    { ...common, name: "broken", figures: [], error: "connection refused\n  at x" },
    {
      ...common,
      name: "whole",
      figures: measuredOf(benchmark([{ name: "rate", unit: "jobs/s" }]), common.runs),
    },
  ]);
  assertStringIncludes(text, "connection refused");
  assertStringIncludes(text, "2.00 jobs/s");
});
