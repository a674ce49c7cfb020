import { assert, assertEquals, assertLess } from "@std/assert";
import fc from "fast-check";
import type { Job, MisfirePolicy, Pause } from "./job.ts";
import { type Decision, firstDue, MAX_DUE_TIMES, MAX_MISFIRE_LIMIT, planDecision } from "./plan.ts";
import type { Schedule } from "./schedule.ts";

const NOW = Date.UTC(2026, 0, 1, 12);
const SECOND = 1000;
const MINUTE = 60 * SECOND;

function every(seconds: number): Schedule {
  const expression = seconds < 60 ? `*/${seconds} * * * * *` : `0 */${seconds / 60} * * * *`;
  return {
    kind: "cron",
    expression,
    resolved: expression,
    timeZone: "UTC",
    gap: "RunAtNextValid",
    fold: "First",
  };
}

function jobWith(change: Partial<Job>): Job {
  return {
    id: "job",
    version: 3,
    displayName: "Job",
    description: "",
    tags: [],
    jobType: "SampleJob",
    workerId: null,
    jobData: "{}",
    schedule: every(60),
    isActive: true,
    pause: null,
    concurrentExecutionPolicy: "Skip",
    misfirePolicy: "FireOnce",
    misfireLimit: 100,
    misfireThresholdSeconds: null,
    executionTimeoutSeconds: null,
    maxRetries: null,
    baseRetryDelaySeconds: null,
    startAt: null,
    endAt: null,
    nextDueAt: NOW,
    createdAt: 0,
    updatedAt: 0,
    ...change,
  };
}

/** Decides once; occurrence ids count up from 0. */
function decide(job: Job, now: number, maxDueTimes = MAX_DUE_TIMES): Decision {
  let ids = 0;
  const answer = planDecision(job, now, {
    misfireThresholdMs: MINUTE,
    maxDueTimes,
    instanceId: "leader",
    defaults: { maxRetries: 3, baseRetryDelaySeconds: 5, executionTimeoutSeconds: null },
    newId: () => `${ids++}`,
  });
  assert(answer.ok);
  return answer.decision;
}

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
    defaults: { maxRetries: 3, baseRetryDelaySeconds: 5, executionTimeoutSeconds: null },
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
  const options = {
    misfireThresholdMs: MINUTE,
    maxDueTimes: MAX_DUE_TIMES,
    instanceId: "leader",
    defaults: { maxRetries: 3, baseRetryDelaySeconds: 5, executionTimeoutSeconds: null },
    newId: () => "",
  };
  assertEquals(planDecision(jobWith({}), NOW - 1, options), { ok: false, reason: "not-due" });
  assertEquals(planDecision(jobWith({ nextDueAt: null }), NOW, options), { ok: false, reason: "not-due" });
});

Deno.test("a schedule that cannot be computed is an answer, not an exception", () => {
  const schedule: Schedule = { ...every(60), kind: "cron", resolved: "not a cron" } as Schedule;
  const answer = planDecision(jobWith({ schedule }), NOW, {
    misfireThresholdMs: MINUTE,
    maxDueTimes: MAX_DUE_TIMES,
    instanceId: "leader",
    defaults: { maxRetries: 3, baseRetryDelaySeconds: 5, executionTimeoutSeconds: null },
    newId: () => "",
  });
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

// ------------------------------------------------------------------------------------------------- properties

interface Outage {
  readonly job: Job;
  readonly dues: readonly number[];
  readonly now: number;
  readonly maxDueTimes: number;
}

/** Jobs with a plain step as schedule, so that the due times can be counted without any cron. */
function outages(): fc.Arbitrary<Outage> {
  const step = fc.constantFrom(1, 5, 10, 30, 60, 300);
  const offset = fc.integer({ min: -1800, max: 600 }).map((seconds) => NOW + seconds * SECOND);
  const pause = fc.option(
    fc.record({ since: offset, length: fc.option(fc.integer({ min: 0, max: 1800 }), { nil: null }) }),
    { nil: null },
  );
  return fc.record({
    step,
    count: fc.integer({ min: 1, max: 200 }),
    after: fc.integer({ min: 0, max: 90 * SECOND }),
    pause,
    startAt: fc.option(offset, { nil: null }),
    endAt: fc.option(offset, { nil: null }),
    isActive: fc.constantFrom(true, true, true, false),
    misfirePolicy: fc.constantFrom<MisfirePolicy>("FireOnce", "Skip", "FireAll"),
    misfireLimit: fc.integer({ min: 0, max: 60 }),
    threshold: fc.option(fc.integer({ min: 0, max: 900 }), { nil: null }),
    maxDueTimes: fc.integer({ min: 1, max: 50 }),
  }).map((given) => {
    const first = NOW - (given.count - 1) * given.step * SECOND;
    const now = NOW + Math.min(given.after, given.step * SECOND - 1);
    const dues = Array.from({ length: given.count }, (_, index) => first + index * given.step * SECOND);
    const pause = given.pause === null ? null : {
      reason: "maintenance",
      by: "anna",
      since: given.pause.since,
      until: given.pause.length === null ? null : given.pause.since + given.pause.length * SECOND,
    };
    const job = jobWith({
      schedule: every(given.step),
      nextDueAt: first,
      pause,
      startAt: given.startAt,
      endAt: given.endAt,
      isActive: given.isActive,
      misfirePolicy: given.misfirePolicy,
      misfireLimit: given.misfireLimit,
      misfireThresholdSeconds: given.threshold,
    });
    return { job, dues, now, maxDueTimes: given.maxDueTimes };
  });
}

/** What each due time should become, decided all at once and with the simplest means. */
function expected({ job, dues, now }: Outage): readonly string[] {
  const threshold = (job.misfireThresholdSeconds ?? 60) * SECOND;
  const bars = dues.map((due) => {
    if (due < (job.startAt ?? -Infinity) || due >= (job.endAt ?? Infinity)) return "outside-window";
    if (!job.isActive) return "disabled";
    const { pause } = job;
    return pause !== null && pause.since <= due && due < (pause.until ?? Infinity) ? "paused" : null;
  });
  const open = dues.filter((_, index) => bars[index] === null);
  const missed = open.filter((due) => now - due > threshold);
  const caughtUp = job.misfirePolicy === "Skip"
    ? []
    : job.misfirePolicy === "FireOnce"
    ? open.slice(-1).filter((due) => missed.includes(due))
    : missed.slice(Math.max(0, missed.length - job.misfireLimit));
  return dues.map((due, index) =>
    bars[index] ?? (caughtUp.includes(due) ? "catch-up" : missed.includes(due) ? "missed" : "schedule")
  );
}

/** What each due time became, over consecutive passes; fails when one is decided twice or not at all. */
function decided(outage: Outage, nowAt: (pass: number) => number): readonly string[] {
  const verdicts = new Map<number, string>();
  const record = (due: number, verdict: string): void => {
    assert(!verdicts.has(due), `${due} was decided twice`);
    verdicts.set(due, verdict);
  };
  let job = outage.job;
  for (let pass = 0; job.nextDueAt !== null && job.nextDueAt <= outage.now; pass++) {
    const decision = decide(job, nowAt(pass), outage.maxDueTimes);
    assertEquals(decision.expectedDueAt, job.nextDueAt);
    for (const slot of decision.slots) record(slot.dueAt, slot.origin);
    for (const range of decision.ranges) {
      const inside = outage.dues.filter((due) => range.from <= due && due <= range.to);
      assertEquals([inside[0], inside.at(-1), inside.length], [range.from, range.to, range.count]);
      for (const due of inside) record(due, range.reason);
    }
    job = { ...job, nextDueAt: decision.nextDueAt };
  }
  return outage.dues.map((due) => verdicts.get(due) ?? "undecided");
}

Deno.test("I1: consecutive passes give each due time the one verdict that a single look would", () => {
  fc.assert(
    fc.property(outages(), (outage) => {
      assertEquals(decided(outage, () => outage.now), expected(outage));
    }),
    { numRuns: 500 },
  );
});

Deno.test("I1: while time goes on between passes, each due time still has exactly one verdict", () => {
  fc.assert(
    fc.property(outages(), fc.integer({ min: 0, max: 20 * SECOND }), (outage, pause) => {
      // More due times come meanwhile; those known at the start are looked at.
      const step = (outage.dues[1] ?? Infinity) - (outage.dues[0] ?? 0);
      const passes = Math.ceil(outage.dues.length / outage.maxDueTimes);
      const until = outage.now + passes * pause;
      const later = [];
      for (let due = (outage.dues.at(-1) ?? 0) + step; due <= until; due += step) later.push(due);
      const whole = { ...outage, dues: [...outage.dues, ...later] };
      const verdicts = decided(whole, (pass) => outage.now + pass * pause).slice(0, outage.dues.length);
      assertEquals(verdicts.includes("undecided"), false);
      const catchUps = verdicts.filter((verdict) => verdict === "catch-up").length;
      if (outage.job.misfirePolicy === "FireOnce") assertLess(catchUps, 2);
      if (outage.job.misfirePolicy === "Skip") assertEquals(catchUps, 0);
    }),
    { numRuns: 300 },
  );
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
