import { assert, assertStringIncludes } from "@std/assert";
import { createMetrics } from "./metrics.ts";

Deno.test("metrics: counters, histograms and gauges stand on one page, under this program's prefix", async () => {
  const { meter, page } = createMetrics();
  meter.count("occurrences_published_total", 3);
  meter.count("attempts_ended_total", 1, { outcome: "completed" });
  meter.observe("occurrence_lateness_seconds", 0.004);
  const text = await page.render([
    { name: "lanes", help: "Lanes", samples: [{ value: 2, labels: { pool: "local", state: "busy" } }] },
  ]);
  assertStringIncludes(text, "milvaion_occurrences_published_total 3");
  assertStringIncludes(text, 'milvaion_attempts_ended_total{outcome="completed"} 1');
  assertStringIncludes(text, 'milvaion_occurrence_lateness_seconds_bucket{le="0.005"} 1');
  assertStringIncludes(text, 'milvaion_lanes{pool="local",state="busy"} 2');
  assertStringIncludes(text, "milvaion_process_resident_memory_bytes ");
});

Deno.test("metrics: a gauge whose source has left is not shown again", async () => {
  const { page } = createMetrics();
  await page.render([{ name: "lanes", help: "Lanes", samples: [{ value: 2, labels: { pool: "gone" } }] }]);
  const text = await page.render([{ name: "lanes", help: "Lanes", samples: [] }]);
  assert(!text.includes("gone"));
});

Deno.test("metrics: a histogram counts each observation in its bucket and all above it", async () => {
  const { meter, page } = createMetrics();
  for (const seconds of [0.0001, 0.003, 99]) {
    meter.observe("store_batch_seconds", seconds, { writer: "tracker" });
  }
  const text = await page.render([]);
  assertStringIncludes(text, 'milvaion_store_batch_seconds_bucket{writer="tracker",le="0.002"} 1');
  assertStringIncludes(text, 'milvaion_store_batch_seconds_bucket{writer="tracker",le="0.005"} 2');
  assertStringIncludes(text, 'milvaion_store_batch_seconds_bucket{writer="tracker",le="+Inf"} 3');
  assertStringIncludes(text, 'milvaion_store_batch_seconds_count{writer="tracker"} 3');
});

Deno.test("metrics: label values cannot break out of their quotes", async () => {
  const { meter, page } = createMetrics();
  meter.count("attempts_claimed_total", 1, { jobType: 'a"}\n\\' });
  assertStringIncludes(await page.render([]), 'milvaion_attempts_claimed_total{jobType="a\\"}\\n\\\\"} 1');
});
