import { assert, assertEquals, assertLess } from "@std/assert";
import { decide, every, jobWith, MINUTE, NOW, optionsWith, SECOND } from "../../tests/support/planned.ts";
import type { Pause } from "./job.ts";
import { type Decision, firstDue, MAX_DUE_TIMES, MAX_MISFIRE_LIMIT, planDecision } from "./plan.ts";
import { DEFAULT_FAILURE_RULES } from "./retry.ts";
import type { Schedule } from "./schedule.ts";

/** `-5 schedule`, `-9..-6 missed`: minutes before now, in the order of time. */
function outline({ slots, ranges }: Decision, now = NOW): readonly string[] {
  const minutes = (at: number): number => (at - now) / MINUTE;
  return [
    ...slots.map((slot) => ({ at: slot.dueAt, text: `${minutes(slot.dueAt)} ${slot.origin}` })),
    ...ranges.map(({ from, to, count, reason, by }) => {
      const span = from === to ? `${minutes(from)}` : `${minutes(from)}..${minutes(to)} (${count})`;
      return { at: from, text: `${span} ${reason}${by === "leader" ? "" : ` by ${by}`}` };
    }),
  ].sort((a, b) => a.at - b.at).map((line) => line.text);
}

Deno.test("a young due time fires, and the next one follows it", () => {
  const decision = decide(jobWith({}), NOW + 5);
  assertEquals(decision, {
    jobId: "job",
    jobVersion: 3,
    expectedDueAt: NOW,
    nextDueAt: NOW + MINUTE,
    slots: [{ occurrenceId: "0", dueAt: NOW, origin: "schedule" }],
    ranges: [],
    defaults: {
      maxRetries: 3,
      baseRetryDelaySeconds: 5,
      executionTimeoutSeconds: null,
      rules: DEFAULT_FAILURE_RULES,
    },
  });
});

Deno.test("a due time as old as the threshold fires, an older one is a misfire", () => {
  const misfirePolicy = "Skip";
  assertEquals(outline(decide(jobWith({ misfirePolicy, schedule: every(300) }), NOW + MINUTE)), [
    "0 schedule",
  ]);
  assertEquals(outline(decide(jobWith({ misfirePolicy, schedule: every(300) }), NOW + MINUTE + 1)), [
    "0 missed",
  ]);
});

Deno.test("a job's own threshold overrides the server's", () => {
  const job = jobWith({ misfirePolicy: "Skip", misfireThresholdSeconds: 600, nextDueAt: NOW - 10 * MINUTE });
  assertEquals(decide(job, NOW).slots.length, 11);
});

Deno.test("nothing is decided before it is due, or for a job without due times", () => {
  const options = optionsWith();
  assertEquals(planDecision(jobWith({}), NOW - 1, options), { ok: false, reason: "not-due" });
  assertEquals(planDecision(jobWith({ nextDueAt: null }), NOW, options), { ok: false, reason: "not-due" });
});

Deno.test("a schedule that cannot be computed is an answer, not an exception", () => {
  const schedule: Schedule = { ...every(60), kind: "cron", resolved: "not a cron" } as Schedule;
  const answer = planDecision(jobWith({ schedule }), NOW, optionsWith());
  assert(!answer.ok);
  assertEquals(answer.reason, "schedule-fault");
});

Deno.test("FireOnce: the latest missed due time runs when no younger one does", () => {
  const job = jobWith({ schedule: every(600), nextDueAt: NOW - 60 * MINUTE });
  assertEquals(outline(decide(job, NOW + 5 * MINUTE)), ["-60..-10 (6) missed", "0 catch-up"]);
});

Deno.test("FireOnce: a younger due time that fires is the one run for the outage", () => {
  const job = jobWith({ schedule: every(600), nextDueAt: NOW - 60 * MINUTE });
  assertEquals(outline(decide(job, NOW)), ["-60..-10 (6) missed", "0 schedule"]);
});

Deno.test("FireAll: the newest missed ones up to the limit run, young ones besides", () => {
  const job = jobWith({
    schedule: every(600),
    nextDueAt: NOW - 60 * MINUTE,
    misfirePolicy: "FireAll",
    misfireLimit: 2,
  });
  assertEquals(outline(decide(job, NOW)), [
    "-60..-30 (4) missed",
    "-20 catch-up",
    "-10 catch-up",
    "0 schedule",
  ]);
});

Deno.test("Skip: no missed due time runs", () => {
  const job = jobWith({ schedule: every(600), nextDueAt: NOW - 60 * MINUTE, misfirePolicy: "Skip" });
  assertEquals(outline(decide(job, NOW + 5 * MINUTE)), ["-60..0 (7) missed"]);
});

Deno.test("due times inside a pause are recorded by whoever paused, those around it run", () => {
  const pause: Pause = { reason: "night", by: "anna", since: NOW - 3 * MINUTE, until: NOW - MINUTE };
  const job = jobWith({ pause, nextDueAt: NOW - 4 * MINUTE, misfireThresholdSeconds: 3600 });
  assertEquals(outline(decide(job, NOW)), [
    "-4 schedule",
    "-3..-2 (2) paused by anna",
    "-1 schedule",
    "0 schedule",
  ]);
  const open = jobWith({ ...job, pause: { ...pause, until: null } });
  assertEquals(outline(decide(open, NOW)), ["-4 schedule", "-3..0 (4) paused by anna"]);
});

Deno.test("FireOnce: what a pause keeps from running does not stand for the outage", () => {
  const pause: Pause = { reason: "night", by: "anna", since: NOW - 15 * MINUTE, until: null };
  const job = jobWith({ pause, schedule: every(600), nextDueAt: NOW - 40 * MINUTE });
  assertEquals(outline(decide(job, NOW)), [
    "-40..-30 (2) missed",
    "-20 catch-up",
    "-10..0 (2) paused by anna",
  ]);
});

Deno.test("FireOnce: what lies behind the pass counts only where it may run", () => {
  const job = jobWith({ schedule: every(300), nextDueAt: NOW - 10 * MINUTE });
  const runs = ["-10 missed", "-5 catch-up"];
  assertEquals(outline(decide(job, NOW, 2)), ["-10..-5 (2) missed"]);
  const pause: Pause = { reason: "night", by: "anna", since: NOW, until: null };
  assertEquals(outline(decide({ ...job, pause }, NOW, 2)), runs);
  const ended: Pause = { ...pause, since: 0, until: NOW };
  assertEquals(outline(decide({ ...job, pause: ended }, NOW, 2)), ["-10..-5 (2) paused by anna"]);
  assertEquals(outline(decide({ ...job, endAt: NOW }, NOW, 2)), runs);
});

Deno.test("a job that is not active decides, and runs nothing", () => {
  const job = jobWith({ isActive: false, nextDueAt: NOW - 3 * MINUTE });
  assertEquals(outline(decide(job, NOW)), ["-3..0 (4) disabled"]);
});

Deno.test("outside its window a job records what has come, and goes on at its start or not at all", () => {
  const early = decide(jobWith({ nextDueAt: NOW - 2 * MINUTE, startAt: NOW + 3 * MINUTE }), NOW);
  assertEquals(outline(early), ["-2..0 (3) outside-window"]);
  assertEquals(early.nextDueAt, NOW + 3 * MINUTE);

  const late = decide(
    jobWith({ nextDueAt: NOW - 2 * MINUTE, endAt: NOW - MINUTE, misfirePolicy: "FireAll" }),
    NOW,
  );
  assertEquals(outline(late), ["-2 catch-up", "-1..0 (2) outside-window"]);
  assertEquals(late.nextDueAt, null);
});

Deno.test("a one-shot is decided once", () => {
  const once: Schedule = { kind: "once", executeAt: NOW };
  const decision = decide(jobWith({ schedule: once }), NOW + 1);
  assertEquals([decision.nextDueAt, decision.slots.length], [null, 1]);
  assertEquals(outline(decide(jobWith({ schedule: once }), NOW + 5 * MINUTE)), ["0 catch-up"]);
});

Deno.test("a definition starts with its first due time inside the window, strictly after now", () => {
  const timing = { schedule: every(60), startAt: null, endAt: null };
  assertEquals(firstDue(timing, NOW), NOW + MINUTE);
  assertEquals(firstDue({ ...timing, startAt: NOW + 10 * MINUTE }, NOW), NOW + 10 * MINUTE);
  assertEquals(firstDue({ ...timing, endAt: NOW + MINUTE }, NOW), null);
  assertEquals(firstDue({ ...timing, schedule: { kind: "triggerOnly" } }, NOW), null);
});

Deno.test("a one-shot starts with its moment, and saving it again does not run it again", () => {
  const timing = { schedule: { kind: "once", executeAt: NOW - 5 } as const, startAt: null, endAt: null };
  assertEquals(firstDue(timing, NOW), NOW - 5);
  assertEquals(firstDue(timing, NOW, { schedule: timing.schedule, nextDueAt: null }), null);
  const moved = { ...timing, schedule: { kind: "once", executeAt: NOW + 5 } as const };
  assertEquals(firstDue(moved, NOW, { schedule: timing.schedule, nextDueAt: null }), NOW + 5);
});

Deno.test("ten days of every second are decided exactly, each pass within its bound", () => {
  const missed = 864_000;
  let job = jobWith({ schedule: every(1), nextDueAt: NOW - missed * SECOND, misfirePolicy: "FireOnce" });
  let decided = 0;
  let runs = 0;
  // A few passes from the start and a few at the end tell all: between them only the start moves.
  for (let pass = 0; pass < 10; pass++) {
    const decision = decide(job, NOW);
    runs += decision.slots.length;
    decided += decision.ranges.reduce((sum, range) => sum + range.count, 0);
    assertLess(decision.slots.length + decision.ranges.length, MAX_DUE_TIMES + 1);
    job = { ...job, nextDueAt: decision.nextDueAt };
  }
  assertEquals([decided, runs, job.nextDueAt], [5000, 0, NOW - (missed - 5000) * SECOND]);

  job = { ...job, nextDueAt: NOW - 700 * SECOND };
  const last = [decide(job, NOW), decide({ ...job, nextDueAt: NOW - 200 * SECOND }, NOW)];
  assertEquals(last.map((decision) => decision.slots.length), [0, 61]);
  assertEquals(last[1]?.nextDueAt, NOW + SECOND);
});

Deno.test("catch-up runs are spaced, those decided before included; what fires normally is not held up", () => {
  const job = jobWith({
    schedule: every(60),
    nextDueAt: NOW - 4 * MINUTE,
    misfirePolicy: "FireAll",
    catchUpSpacingSeconds: 10,
    lastCatchUpAt: NOW - 4 * SECOND,
  });
  const decision = decide(job, NOW);
  assertEquals(decision.slots.map(({ notBefore = null }) => notBefore === null ? null : notBefore - NOW), [
    6 * SECOND,
    16 * SECOND,
    26 * SECOND,
    null,
    null,
  ]);
  assertEquals(decision.lastCatchUpAt, NOW + 26 * SECOND);
});

Deno.test("the pace over all jobs puts catch-up runs of one job further apart", () => {
  const job = jobWith({ nextDueAt: NOW - 4 * MINUTE, misfirePolicy: "FireAll" });
  const answer = planDecision(job, NOW, optionsWith({ pace: (earliest) => earliest + 5 * SECOND }));
  assert(answer.ok);
  const starts = answer.decision.slots.flatMap(({ notBefore }) =>
    notBefore === undefined ? [] : notBefore - NOW
  );
  assertEquals(starts, [5 * SECOND, 11 * SECOND, 17 * SECOND]);
});

Deno.test("a due time that a person skips is left out alone, with who and why", () => {
  const skippedDueTime = { dueAt: NOW - MINUTE, reason: "holiday", by: "anna", since: 0 };
  const job = jobWith({ skippedDueTime, nextDueAt: NOW - 2 * MINUTE, misfireThresholdSeconds: 600 });
  const decision = decide(job, NOW);
  assertEquals(outline(decision), ["-2 schedule", "-1 skipped-once by anna", "0 schedule"]);
  assertEquals([decision.ranges[0]?.note, decision.skippedDueAt], ["holiday", NOW - MINUTE]);
});

Deno.test("FireOnce: a skipped due time does not stand for the outage", () => {
  const skippedDueTime = { dueAt: NOW - 5 * MINUTE, reason: "holiday", by: "anna", since: 0 };
  const job = jobWith({ skippedDueTime, schedule: every(300), nextDueAt: NOW - 10 * MINUTE, endAt: NOW });
  assertEquals(outline(decide(job, NOW)), ["-10 catch-up", "-5 skipped-once by anna", "0 outside-window"]);
  assertEquals(outline(decide(job, NOW, 1)), ["-10 catch-up"]);
});

Deno.test("a pass plans no more runs than the run limit leaves, and goes on where it stopped", () => {
  const job = jobWith({
    nextDueAt: NOW - 4 * MINUTE,
    misfireThresholdSeconds: 600,
    runLimit: 5,
    runCount: 3,
  });
  const decision = decide(job, NOW);
  assertEquals([outline(decision), decision.nextDueAt], [["-4 schedule", "-3 schedule"], NOW - 2 * MINUTE]);
  const ended = decide({ ...job, runCount: 5 }, NOW);
  assertEquals([outline(ended), ended.nextDueAt], [[], null]);
});

Deno.test("a misfire limit beyond the largest counts as the largest", () => {
  const job = jobWith({
    schedule: every(1),
    nextDueAt: NOW - 3000 * SECOND,
    misfirePolicy: "FireAll",
    misfireLimit: 1e9,
  });
  const decision = decide({ ...job, misfireThresholdSeconds: 0 }, NOW, 5000);
  const catchUps = decision.slots.filter((slot) => slot.origin === "catch-up");
  assertEquals(catchUps.length, MAX_MISFIRE_LIMIT);
});
