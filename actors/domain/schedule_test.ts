import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import {
  dueTimes,
  isDue,
  latestDue,
  nextDue,
  parseSchedule,
  type Schedule,
  type ScheduleInput,
} from "./schedule.ts";

const NOW = Date.UTC(2026, 0, 1);
const CONTEXT = { jobId: "01980000-0000-7000-8000-000000000001", now: NOW };

function scheduleOf(input: ScheduleInput, now = NOW): Schedule {
  const answer = parseSchedule(input, { ...CONTEXT, now });
  assert(answer.ok, answer.ok ? "" : answer.problems.map((one) => one.message).join("\n"));
  return answer.schedule;
}

function codesOf(input: ScheduleInput, allowPast = false): readonly string[] {
  const answer = parseSchedule(input, { ...CONTEXT, allowPast });
  return answer.ok ? [] : answer.problems.map((one) => `${one.field} ${one.code}`);
}

Deno.test("a cron schedule keeps what was written beside what is computed with", () => {
  assertEquals(scheduleOf({ cronExpression: "@daily", timeZone: "europe/berlin", foldPolicy: "Both" }), {
    kind: "cron",
    expression: "@daily",
    resolved: "0 0 0 * * *",
    timeZone: "Europe/Berlin",
    gap: "RunAtNextValid",
    fold: "Both",
  });
});

Deno.test("the zone is UTC, the gap RunAtNextValid and the fold First when nothing is said", () => {
  const schedule = scheduleOf({ cronExpression: "0 9 * * *", timeZone: null, gapPolicy: null });
  assert(schedule.kind === "cron");
  assertEquals([schedule.timeZone, schedule.gap, schedule.fold], ["UTC", "RunAtNextValid", "First"]);
});

Deno.test("executeAt and triggerOnly are schedules of their own", () => {
  const executeAt = Date.UTC(2026, 5, 1);
  assertEquals(scheduleOf({ executeAt: "2026-06-01T02:00:00+02:00" }), { kind: "once", executeAt });
  assertEquals(scheduleOf({ triggerOnly: true }), { kind: "triggerOnly" });
});

const REFUSED: readonly (readonly [id: string, input: ScheduleInput, codes: readonly string[]])[] = [
  ["B17", {}, ["cronExpression schedule_required"]],
  ["B17", { triggerOnly: false }, ["cronExpression schedule_required"]],
  ["B17", { cronExpression: null, executeAt: null }, ["cronExpression schedule_required"]],
  ["B17", { cronExpression: "* * * * *", executeAt: "2027-01-01T00:00:00Z" }, [
    "executeAt schedule_exclusive",
  ]],
  ["B17", { cronExpression: "* * * * *", triggerOnly: true }, ["triggerOnly schedule_exclusive"]],
  ["B17", { executeAt: "2027-01-01T00:00:00Z", triggerOnly: true }, ["triggerOnly schedule_exclusive"]],
  ["B18", { executeAt: "2025-12-31T23:59:59Z" }, ["executeAt in_past"]],
  ["B18", { executeAt: "10000-01-01T00:00:00Z" }, ["executeAt out_of_range"]],
  ["B18", { executeAt: "2026-05-01T00:00:00" }, ["executeAt offset_required"]],
  ["B18", { executeAt: "2026-02-30T00:00:00Z" }, ["executeAt date_invalid"]],
  ["B18", { executeAt: "2026-06-30T23:59:60Z" }, ["executeAt date_invalid"]],
  ["B26", { cronExpression: "60 * * * *" }, ["cronExpression cron_invalid"]],
  ["B26", { cronExpression: "" }, ["cronExpression cron_invalid"]],
  ["B27", { cronExpression: "0 0 30 2 *" }, ["cronExpression cron_never"]],
  ["B27", { cronExpression: "0 0 31 4 *" }, ["cronExpression cron_never"]],
  ["B27", { cronExpression: "0 0 31 2,4,6,9,11 *" }, ["cronExpression cron_never"]],
  ["B28", { cronExpression: `${"1,".repeat(5000)}1 * * * *` }, ["cronExpression cron_too_long"]],
  ["B30", { cronExpression: "@reboot" }, ["cronExpression cron_unsupported"]],
  ["B31", { cronExpression: "* * * * *", timeZone: "Mars/Olympus" }, ["timeZone zone_unknown"]],
  ["B31", { cronExpression: "* * * * *", timeZone: "+03:00" }, ["timeZone zone_unknown"]],
  ["B31", { cronExpression: "* * * * *", timeZone: "" }, ["timeZone zone_unknown"]],
  ["I20", { cronExpression: "* * * * *", gapPolicy: "Later" }, ["gapPolicy choice_unknown"]],
];

for (const [id, input, codes] of REFUSED) {
  Deno.test(`${id}: ${JSON.stringify(input).slice(0, 90)} is refused with ${codes.join(", ")}`, () => {
    assertEquals(codesOf(input), codes);
  });
}

Deno.test("a refusal names every problem at once", () => {
  const input = {
    cronExpression: "60 25 * * *",
    executeAt: "tomorrow",
    timeZone: "Europe/Berln",
    gapPolicy: "x",
    foldPolicy: "y",
  };
  assertEquals(codesOf(input), [
    "executeAt schedule_exclusive",
    "timeZone zone_unknown",
    "gapPolicy choice_unknown",
    "foldPolicy choice_unknown",
    "cronExpression cron_invalid",
    "cronExpression cron_invalid",
    "executeAt date_invalid",
  ]);
});

Deno.test("B18: a moment in the past is taken when the past is allowed, and the refusal says so", () => {
  assertEquals(codesOf({ executeAt: "2025-12-31T23:59:59Z" }, true), []);
  const answer = parseSchedule({ executeAt: "2025-12-31T23:59:59Z" }, CONTEXT);
  assert(!answer.ok);
  assertStringIncludes(answer.problems[0]?.message ?? "", "allow the past");
});

Deno.test("B27: a leap day is not never, however far it is", () => {
  assertEquals(codesOf({ cronExpression: "0 0 29 2 *" }), []);
});

Deno.test("a one-shot is due once and a trigger-only job never", () => {
  const executeAt = Date.UTC(2026, 5, 1);
  const once: Schedule = { kind: "once", executeAt };
  assertEquals(nextDue(once, executeAt - 1), executeAt);
  assertEquals(nextDue(once, executeAt), null);
  assertEquals(latestDue(once, executeAt), executeAt);
  assertEquals(latestDue(once, executeAt - 1), null);
  assertEquals(dueTimes(once, 0, executeAt, 5), [executeAt]);
  assertEquals(isDue(once, executeAt), true);

  const triggered: Schedule = { kind: "triggerOnly" };
  assertEquals([nextDue(triggered, 0), latestDue(triggered, NOW)], [null, null]);
});

const GAP_AND_FOLD: readonly (readonly [input: ScheduleInput, from: string, due: readonly string[]])[] = [
  [{}, "2026-03-29T00:00Z", ["2026-03-29T01:00Z"]],
  [{ gapPolicy: "Skip" }, "2026-03-29T00:00Z", []],
  [{}, "2026-10-24T23:00Z", ["2026-10-25T00:30Z"]],
  [{ foldPolicy: "Both" }, "2026-10-24T23:00Z", ["2026-10-25T00:30Z", "2026-10-25T01:30Z"]],
];

for (const [policies, from, due] of GAP_AND_FOLD) {
  Deno.test(`I20: 02:30 in Berlin with ${JSON.stringify(policies)} on ${from.slice(0, 10)} is due ${due.length} times`, () => {
    const schedule = scheduleOf({ cronExpression: "30 2 * * *", timeZone: "Europe/Berlin", ...policies });
    const start = Date.parse(from);
    assertEquals(dueTimes(schedule, start, start + 4 * 3_600_000, 10), due.map((text) => Date.parse(text)));
  });
}

Deno.test("I20: an interval comes at each real quarter of an hour through gap and fold", () => {
  const schedule = scheduleOf({ cronExpression: "*/15 * * * *", timeZone: "Europe/Berlin" });
  for (const start of [Date.UTC(2026, 2, 28, 22), Date.UTC(2026, 9, 24, 22)]) {
    const found = dueTimes(schedule, start, start + 8 * 3_600_000, 100);
    assertEquals(found, Array.from({ length: 33 }, (_, index) => start + index * 900_000));
  }
});

Deno.test("due times are bounded by their limit, and both ends belong to them", () => {
  const schedule = scheduleOf({ cronExpression: "* * * * * *" });
  assertEquals(dueTimes(schedule, NOW, NOW + 2000, 10), [NOW, NOW + 1000, NOW + 2000]);
  assertEquals(dueTimes(schedule, NOW + 1, NOW + 999, 10), []);
  assertEquals(dueTimes(schedule, NOW, NOW + 86_400_000, 3).length, 3);
});

Deno.test("next and latest due time enclose every moment, and each is a due time", () => {
  const cron = fc.constantFrom(
    "*/7 * * * * *",
    "30 2 * * *",
    "0 0 L * *",
    "0 9 * * MON-FRI",
    "0,30 1-3 * * *",
    "H H * * *",
  );
  const zone = fc.constantFrom("UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Nuuk");
  const policies = fc.record({
    gapPolicy: fc.constantFrom("RunAtNextValid", "Skip"),
    foldPolicy: fc.constantFrom("First", "Both"),
  });
  const moment = fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2060, 0) });
  fc.assert(
    fc.property(cron, zone, policies, moment, (cronExpression, timeZone, policy, at) => {
      const schedule = scheduleOf({ cronExpression, timeZone, ...policy });
      const next = nextDue(schedule, at);
      const latest = latestDue(schedule, at);
      assert(next !== null && latest !== null);
      assert(latest <= at && at < next);
      assertEquals(nextDue(schedule, latest), next);
      assertEquals(latestDue(schedule, next - 1), latest);
      assertEquals([isDue(schedule, next), isDue(schedule, latest)], [true, true]);
      if (at !== latest) assertEquals(isDue(schedule, at), false);
    }),
    { numRuns: 500 },
  );
});
