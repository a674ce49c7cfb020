import { assertEquals } from "@std/assert";
import { clockChanges, nextRuns } from "./next_runs.ts";
import type { CronSchedule } from "./schedule.ts";

const halfPastTwo: CronSchedule = {
  kind: "cron",
  expression: "30 2 * * *",
  resolved: "0 30 2 * * *",
  timeZone: "Europe/Berlin",
  gap: "RunAtNextValid",
  fold: "First",
};
const BEFORE_GAP = Date.UTC(2026, 2, 27, 12);
const BEFORE_FOLD = Date.UTC(2026, 9, 23, 12);

function lines(schedule: CronSchedule, after: number, count: number): readonly string[] {
  return nextRuns(schedule, after, count).map((run) =>
    `${run.localTime}${run.offset} ${run.note ?? ""}`.trim()
  );
}

Deno.test("a run that a gap puts off says so", () => {
  assertEquals(lines(halfPastTwo, BEFORE_GAP, 3), [
    "2026-03-28T02:30:00+01:00",
    "2026-03-29T03:00:00+02:00 02:30 does not exist on 2026-03-29: runs at 03:00",
    "2026-03-30T02:30:00+02:00",
  ]);
});

Deno.test("a run that a gap leaves out is told of at the one after it", () => {
  assertEquals(lines({ ...halfPastTwo, gap: "Skip" }, BEFORE_GAP, 2), [
    "2026-03-28T02:30:00+01:00",
    "2026-03-30T02:30:00+02:00 02:30 does not exist on 2026-03-29: no run",
  ]);
});

Deno.test("a run in a fold says which one it is", () => {
  assertEquals(lines(halfPastTwo, BEFORE_FOLD, 3), [
    "2026-10-24T02:30:00+02:00",
    "2026-10-25T02:30:00+02:00 the first 02:30 of this day; the second does not run",
    "2026-10-26T02:30:00+01:00",
  ]);
  assertEquals(lines({ ...halfPastTwo, fold: "Both" }, BEFORE_FOLD, 3), [
    "2026-10-24T02:30:00+02:00",
    "2026-10-25T02:30:00+02:00 the first 02:30 of this day",
    "2026-10-25T02:30:00+01:00 the second 02:30 of this day",
  ]);
});

Deno.test("the next two clock changes tell what becomes of the schedule", () => {
  const changes = clockChanges(halfPastTwo, BEFORE_GAP);
  assertEquals(changes, [
    {
      at: Date.UTC(2026, 2, 29, 1),
      kind: "gap",
      localBefore: "2026-03-29T02:00:00",
      localAfter: "2026-03-29T03:00:00",
      offsetBefore: "+01:00",
      offsetAfter: "+02:00",
      effect: "02:30 does not exist: it runs at 03:00.",
    },
    {
      at: Date.UTC(2026, 9, 25, 1),
      kind: "fold",
      localBefore: "2026-10-25T03:00:00",
      localAfter: "2026-10-25T02:00:00",
      offsetBefore: "+02:00",
      offsetAfter: "+01:00",
      effect: "02:30 comes twice: it runs at the first.",
    },
  ]);
});

Deno.test("the effect of a clock change follows the rules and the pattern", () => {
  const effects = (schedule: CronSchedule): readonly string[] =>
    clockChanges(schedule, BEFORE_GAP).map((change) => change.effect);
  assertEquals(effects({ ...halfPastTwo, gap: "Skip", fold: "Both" }), [
    "02:30 does not exist: it does not run on this day.",
    "02:30 comes twice: it runs at both.",
  ]);
  const interval = "The interval goes on in real time.";
  assertEquals(effects({ ...halfPastTwo, resolved: "0 */15 * * * *" }), [interval, interval]);
  const none = "No run is stated for this time.";
  assertEquals(effects({ ...halfPastTwo, resolved: "0 0 9 * * *" }), [none, none]);
});

Deno.test("a zone without clock changes shows none, and one-shots are shown in UTC", () => {
  assertEquals(clockChanges({ ...halfPastTwo, timeZone: "Asia/Tokyo" }, BEFORE_GAP), []);
  assertEquals(clockChanges({ kind: "once", executeAt: BEFORE_FOLD }, BEFORE_GAP), []);
  assertEquals(nextRuns({ kind: "once", executeAt: BEFORE_FOLD }, BEFORE_GAP, 5), [
    { at: BEFORE_FOLD, localTime: "2026-10-23T12:00:00", offset: "+00:00", note: null },
  ]);
  assertEquals(nextRuns({ kind: "triggerOnly" }, BEFORE_GAP, 5), []);
});

Deno.test("several stated times in one change are told together", () => {
  const effects = (change: Partial<CronSchedule>) =>
    clockChanges({ ...halfPastTwo, ...change }, BEFORE_GAP).map((one) => one.effect);
  const resolved = "0 15,45 2 * * *";
  assertEquals(effects({ resolved }), [
    "02:15 and 02:45 do not exist: one run at 03:00 stands for them.",
    "02:15 and 02:45 come twice: each runs at the first.",
  ]);
  assertEquals(effects({ resolved, gap: "Skip", fold: "Both" }), [
    "02:15 and 02:45 do not exist: they do not run on this day.",
    "02:15 and 02:45 come twice: each runs at both.",
  ]);
  assertEquals(
    effects({ resolved: "0 5,10,15,20 2 * * *" })[0]?.split(" do not")[0],
    "02:05, 02:10, 02:15 and further times",
  );
});
