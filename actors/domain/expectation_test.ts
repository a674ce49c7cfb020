import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { DAY, jobWith, MINUTE, NOW } from "../../tests/support/explained.ts";
import { expectedDueTimes, missingDueTimes } from "./expectation.ts";
import type { Job } from "./job.ts";
import { dueTimes } from "./schedule.ts";

const HOUR = 60 * MINUTE;
const OPTIONS = { now: NOW + 20 * MINUTE, toleranceMs: 30_000, windowMs: DAY, most: 60 };

function expected(change: Partial<Job>, options: Partial<typeof OPTIONS> = {}): readonly number[] {
  return expectedDueTimes(jobWith(change), { ...OPTIONS, ...options });
}

const hours = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => NOW + (from + index) * HOUR);

Deno.test("the due times of the last day that the row claims to be decided are expected, oldest first", () => {
  assertEquals(expected({}), hours(-23, 0));
  assertEquals(expected({}, { most: 3 }), hours(-2, 0), "the newest of them");
});

Deno.test("what came within the tolerance, or lies at or after the next due time, is not expected", () => {
  assertEquals(expected({}, { now: NOW + 29_999 }).at(-1), NOW - HOUR);
  assertEquals(expected({}, { now: NOW + 30_000 }).at(-1), NOW);
  assertEquals(
    expected({ nextDueAt: NOW - HOUR }).at(-1),
    NOW - 2 * HOUR,
    "the row says itself that it is behind",
  );
  assertEquals(expected({ nextDueAt: NOW + DAY }).at(-1), NOW, "a row moved on past due times hides nothing");
  assertEquals(expected({ nextDueAt: null }).at(-1), NOW);
});

Deno.test("nothing is expected of the time before the definition, outside the window, and past retention", () => {
  assertEquals(expected({ createdAt: NOW - 3 * HOUR }), hours(-2, 0));
  assertEquals(expected({ updatedAt: NOW - HOUR - 1 }), hours(-1, 0));
  assertEquals(expected({ startAt: NOW - 2 * HOUR, endAt: NOW }), hours(-2, -1));
  const retention = { completedDays: 0, failedDays: null, keepLast: null };
  assertEquals(expected({ retention }), []);
});

Deno.test("a single moment is expected, and a trigger-only job never", () => {
  const once = (executeAt: number) => expected({ schedule: { kind: "once", executeAt }, nextDueAt: null });
  assertEquals(once(NOW - 1), [NOW - 1]);
  assertEquals(once(NOW - 2 * DAY), []);
  assertEquals(once(NOW + HOUR), []);
  assertEquals(expected({ schedule: { kind: "once", executeAt: NOW - 1 }, nextDueAt: NOW - 1 }), []);
  assertEquals(expected({ schedule: { kind: "triggerOnly" }, nextDueAt: null }), []);
});

Deno.test("missing is what has neither an occurrence nor a range", () => {
  const decided = {
    occurrences: [NOW - 3 * HOUR, NOW],
    ranges: [{ from: NOW - 2 * HOUR, to: NOW - 2 * HOUR }],
  };
  assertEquals(missingDueTimes(jobWith(), hours(-3, 0), decided), [NOW - HOUR]);
  assertEquals(missingDueTimes(jobWith(), hours(-1, 0), { occurrences: [], ranges: [] }), hours(-1, 0));
});

Deno.test("after the run that reached the limit nothing is missing, before it everything counts", () => {
  const job = jobWith({ runLimit: 2, runCount: 2, nextDueAt: null });
  assertEquals(
    missingDueTimes(job, hours(-3, 0), { occurrences: [NOW - 3 * HOUR, NOW - HOUR], ranges: [] }),
    [
      NOW - 2 * HOUR,
    ],
  );
});

Deno.test("property: backwards from the schedule comes what forwards comes, within all bounds", () => {
  const moment = fc.integer({ min: -2000, max: 100 }).map((minutes) => NOW + minutes * MINUTE);
  fc.assert(fc.property(
    fc.record({
      createdAt: moment,
      updatedAt: moment,
      startAt: fc.option(moment),
      endAt: fc.option(moment),
      nextDueAt: fc.option(moment),
    }),
    fc.integer({ min: 1, max: 60 }),
    (change, minutes) => {
      const schedule = {
        kind: "cron",
        expression: `*/${minutes} * * * *`,
        resolved: `0 */${minutes} * * * *`,
        timeZone: "Europe/Berlin",
        gap: "RunAtNextValid",
        fold: "First",
      } as const;
      const job = jobWith({ ...change, schedule });
      const last = Math.min(NOW - 30_000, (job.nextDueAt ?? Infinity) - 1, (job.endAt ?? Infinity) - 1);
      const first = Math.max(NOW - DAY, job.createdAt + 1, job.updatedAt + 1, job.startAt ?? 0);
      const forwards = dueTimes(schedule, first, last, 2000);
      assertEquals(expectedDueTimes(job, { ...OPTIONS, now: NOW }), forwards.slice(-60));
    },
  ));
});
