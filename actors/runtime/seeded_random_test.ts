import { assert, assertEquals, assertLess, assertMatch, assertNotEquals } from "@std/assert";
import { ManualClock } from "./manual_clock.ts";
import { seededRandom } from "./seeded_random.ts";

Deno.test("the same seed gives the same numbers and ids, another seed others", () => {
  const draw = (seed: number) => {
    const random = seededRandom(seed, new ManualClock());
    return [random.next(), random.uuid(), random.next(), random.uuid()];
  };
  assertEquals(draw(7), draw(7));
  assertNotEquals(draw(7), draw(8));
});

Deno.test("seeded numbers lie in [0, 1) and spread evenly", () => {
  const random = seededRandom(3, new ManualClock());
  const tenths = Array.from({ length: 10 }, () => 0);
  for (let draw = 0; draw < 10_000; draw++) {
    const number = random.next();
    assert(number >= 0 && number < 1);
    const tenth = Math.floor(number * 10);
    tenths[tenth] = (tenths[tenth] ?? 0) + 1;
  }
  for (const count of tenths) assertLess(Math.abs(count - 1000), 150);
});

Deno.test("seeded ids are UUIDv7 of the clock's time and sort as they are made, even when it goes back", async () => {
  const clock = new ManualClock({ now: Date.UTC(2026, 5, 1) });
  const random = seededRandom(1, clock);
  const ids = Array.from({ length: 5000 }, () => random.uuid());
  assertEquals(parseInt((ids[0] ?? "").replace("-", "").slice(0, 12), 16), Date.UTC(2026, 5, 1));
  await clock.advance(10);
  ids.push(random.uuid());
  clock.setWall(0);
  ids.push(random.uuid(), random.uuid());
  for (const id of ids) {
    assertMatch(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
  assertEquals(ids.toSorted(), ids);
  assertEquals(new Set(ids).size, ids.length);
});
