import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { backoffMs, MAX_RETRY_DELAY_SECONDS } from "./retry.ts";

const policy = { baseRetryDelaySeconds: 5, maxRetryDelaySeconds: MAX_RETRY_DELAY_SECONDS };

Deno.test("back-off doubles with each failure until the cap", () => {
  const steps = [1, 2, 3, 4].map((failures) => backoffMs(policy, failures, 0) * 2);
  assertEquals(steps, [5000, 10_000, 20_000, 40_000]);
  assertEquals(backoffMs(policy, 50, 0) * 2, MAX_RETRY_DELAY_SECONDS * 1000);
  assertEquals(backoffMs(policy, 1_000_000, 0) * 2, MAX_RETRY_DELAY_SECONDS * 1000);
});

Deno.test("back-off with jitter lies between half of the step and the step", () => {
  const jitters = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(fc.property(fc.integer({ min: 1, max: 200 }), jitters, (failures, jitter) => {
    const step = backoffMs(policy, failures, 0) * 2;
    const wait = backoffMs(policy, failures, jitter);
    assert(wait >= step / 2 && wait <= step, `${wait} of ${step}`);
  }));
});
