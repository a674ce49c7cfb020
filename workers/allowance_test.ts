import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Allowance } from "./allowance.ts";

Deno.test("so many at once, then so many a second", () => {
  const allowance = new Allowance(3, 10);
  const taken = (at: number, times: number) => Array.from({ length: times }, () => allowance.take(at));
  assertEquals(taken(1000, 4), [true, true, true, false]);
  assertEquals(taken(1099, 1), [false]);
  assertEquals(taken(1100, 2), [true, false]);
  assertEquals(taken(60_000, 4), [true, true, true, false]);
});

Deno.test("property: never more than the burst and the rate allow, also when the clock goes back", () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: -50, max: 200 }), { maxLength: 200 }), (steps) => {
    const allowance = new Allowance(5, 20);
    let at = 0;
    let forward = 0;
    let taken = 0;
    for (const step of steps) {
      at += step;
      forward += Math.max(0, step);
      if (allowance.take(at)) taken += 1;
    }
    assertEquals(taken <= 5 + (forward * 20) / 1000 + 1e-9, true);
  }));
});
