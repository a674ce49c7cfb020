import { assert, assertEquals, assertGreaterOrEqual, assertMatch } from "@std/assert";
import { systemClock, systemRandom } from "./clock.ts";

Deno.test("a timer calls back once, not before its delay has passed on the monotonic clock", async () => {
  for (const delayMs of [0, 1, 2.5, 7]) {
    const from = systemClock.mono();
    await new Promise<void>((resolve) => void systemClock.timer(delayMs, resolve));
    assertGreaterOrEqual(systemClock.mono() - from, delayMs);
  }
});

Deno.test("a cancelled timer never calls back, and cancelling twice or too late is fine", async () => {
  let fired = 0;
  const cancel = systemClock.timer(1, () => fired++);
  cancel();
  cancel();
  await new Promise<void>((resolve) => {
    const cancelLate = systemClock.timer(3, () => {
      cancelLate();
      resolve();
    });
  });
  assertEquals(fired, 0);
});

Deno.test("a timer far beyond what setTimeout can count neither fires early nor outlives its cancelling", async () => {
  let fired = false;
  const cancel = systemClock.timer(90 * 24 * 3_600_000, () => fired = true);
  await new Promise<void>((resolve) => void systemClock.timer(5, resolve));
  cancel();
  assertEquals(fired, false);
});

Deno.test("wall time is epoch milliseconds", () => {
  assert(Math.abs(systemClock.now() - Date.now()) < 1000);
});

Deno.test("random numbers lie in [0, 1)", () => {
  for (let draw = 0; draw < 5000; draw++) {
    const number = systemRandom.next();
    assert(number >= 0 && number < 1);
  }
});

Deno.test("ids are UUIDv7 of the wall time, all different, and sort in the order they were made", () => {
  const from = Date.now();
  const ids = Array.from({ length: 50_000 }, () => systemRandom.uuid());
  for (const id of ids.slice(0, 5000)) {
    assertMatch(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
  const madeAt = parseInt((ids[0] ?? "").replace("-", "").slice(0, 12), 16);
  assert(Math.abs(madeAt - from) < 1000);
  assertEquals(ids.toSorted(), ids);
  assertEquals(new Set(ids).size, ids.length);
});
