import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { jobsPerSecond, workersForRate } from "./capacity_throughput.ts";

Deno.test("the guide's example: 3 workers × 10 ÷ 2 s = 15 jobs a second = 900 a minute", () => {
  const rate = jobsPerSecond({ workers: 3, maxParallelJobs: 10, averageSeconds: 2 });
  assertEquals([rate, rate * 60], [15, 900]);
  assertEquals(workersForRate({ ratePerSecond: 15, maxParallelJobs: 10, averageSeconds: 2 }), 3);
});

Deno.test("the guide's rows: 100 ms at 10 gives 100 a second, 500 ms at 10 gives 20, ten workers 200", () => {
  assertEquals(jobsPerSecond({ workers: 1, maxParallelJobs: 10, averageSeconds: 0.1 }), 100);
  assertEquals(jobsPerSecond({ workers: 1, maxParallelJobs: 10, averageSeconds: 0.5 }), 20);
  assertEquals(jobsPerSecond({ workers: 10, maxParallelJobs: 10, averageSeconds: 0.5 }), 200);
});

Deno.test("workers for a rate do it, and one less does not", () => {
  const given = fc.record({
    ratePerSecond: fc.double({ min: 0.01, max: 1e5, noNaN: true }),
    maxParallelJobs: fc.integer({ min: 1, max: 1000 }),
    averageSeconds: fc.double({ min: 0.001, max: 3600, noNaN: true }),
    utilisation: fc.double({ min: 0.1, max: 1, noNaN: true }),
  });
  fc.assert(fc.property(given, (asked) => {
    const workers = workersForRate(asked);
    const does = (count: number) => jobsPerSecond({ ...asked, workers: count }) * asked.utilisation;
    assert(does(workers) >= asked.ratePerSecond * (1 - 1e-6));
    assert(does(workers - 1) < asked.ratePerSecond * (1 + 1e-6));
  }));
});
