import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { CatchUpPace } from "./catch_up.ts";

const NOW = Date.UTC(2026, 0, 1);

Deno.test("a thousand jobs missed at once start so many a second", () => {
  const pace = new CatchUpPace(50);
  const starts = Array.from({ length: 1000 }, () => pace.take(NOW));
  assertEquals([starts[0], starts[1], starts.at(-1)], [NOW, NOW + 20, NOW + 19_980]);
});

Deno.test("F3: whoever asks gets the first free moment, and no second has more starts than may be", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.nat(5000), { minLength: 1, maxLength: 300 }),
      (perSecond, asked) => {
        const pace = new CatchUpPace(perSecond);
        const everyMs = 1000 / perSecond;
        const taken = new Set<number>();
        const starts = asked.map((after) => {
          const earliest = NOW + after;
          let place = Math.floor(earliest / everyMs);
          while (taken.has(place)) place += 1;
          taken.add(place);
          const start = pace.take(earliest);
          assertEquals(start, Math.max(earliest, Math.ceil(place * everyMs)));
          return start;
        }).sort((a, b) => a - b);
        starts.forEach((start, index) => {
          // One more where a window begins in the middle of the places.
          assert((starts[index + perSecond + 1] ?? Infinity) - start >= 1000 - 1);
        });
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("what lies in the past is forgotten, what is planned is not", () => {
  const pace = new CatchUpPace(10);
  for (let index = 0; index < 20; index++) pace.take(NOW);
  pace.forget(NOW + 1000);
  assertEquals(pace.take(NOW + 1000), NOW + 2000);
});
