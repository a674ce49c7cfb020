/** Over any number of passes, lost ones included, each due time of an outage gets the one verdict that is its own. */
import { assert, assertEquals, assertLess } from "@std/assert";
import fc from "fast-check";
import { decide, every, jobWith, NOW, SECOND } from "../../tests/support/planned.ts";
import type { Job, MisfirePolicy } from "./job.ts";
import type { Decision } from "./plan.ts";

interface Outage {
  readonly job: Job;
  /** Between two due times. */
  readonly stepMs: number;
  readonly dues: readonly number[];
  readonly now: number;
  readonly maxDueTimes: number;
  /** Passes, by their number, whose decision is lost with the leader before it is written. */
  readonly crashes: ReadonlySet<number>;
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
    skipped: fc.option(fc.nat(220), { nil: null }),
    runLimit: fc.option(fc.integer({ min: 1, max: 80 }), { nil: null }),
    runCount: fc.nat(20),
    spacing: fc.option(fc.nat(30), { nil: null }),
    crashes: fc.array(fc.nat(20), { maxLength: 5 }),
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
      skippedDueTime: given.skipped === null
        ? null
        : { dueAt: first + given.skipped * given.step * SECOND, reason: "holiday", by: "bob", since: 0 },
      runLimit: given.runLimit,
      runCount: given.runCount,
      catchUpSpacingSeconds: given.spacing,
    });
    return {
      job,
      stepMs: given.step * SECOND,
      dues,
      now,
      maxDueTimes: given.maxDueTimes,
      crashes: new Set(given.crashes),
    };
  });
}

/** What each due time should become, decided all at once and with the simplest means. */
function expected({ job, dues, now }: Outage): readonly string[] {
  const threshold = (job.misfireThresholdSeconds ?? 60) * SECOND;
  const bars = dues.map((due) => {
    if (due < (job.startAt ?? -Infinity) || due >= (job.endAt ?? Infinity)) return "outside-window";
    if (!job.isActive) return "disabled";
    const { pause } = job;
    if (pause !== null && pause.since <= due && due < (pause.until ?? Infinity)) return "paused";
    return job.skippedDueTime?.dueAt === due ? "skipped-once" : null;
  });
  const open = dues.filter((_, index) => bars[index] === null);
  const missed = open.filter((due) => now - due > threshold);
  const caughtUp = job.misfirePolicy === "Skip"
    ? []
    : job.misfirePolicy === "FireOnce"
    ? open.slice(-1).filter((due) => missed.includes(due))
    : missed.slice(Math.max(0, missed.length - job.misfireLimit));
  let left = job.runLimit === null ? Infinity : job.runLimit - job.runCount;
  return dues.map((due, index) => {
    // The schedule has ended: there are no due times any more.
    if (left <= 0) return "undecided";
    const verdict = bars[index] ??
      (caughtUp.includes(due) ? "catch-up" : missed.includes(due) ? "missed" : "schedule");
    if (verdict === "catch-up" || verdict === "schedule") left -= 1;
    return verdict;
  });
}

interface Decided {
  readonly verdicts: readonly string[];
  /** `notBefore` of each catch-up run, in the order of their due times. */
  readonly starts: readonly number[];
}

/** What each due time became, over consecutive passes; fails when one is decided twice or not at all. */
function decided(outage: Outage, nowAt: (pass: number) => number): Decided {
  const verdicts = new Map<number, string>();
  const starts: number[] = [];
  const record = (due: number, verdict: string): void => {
    assert(!verdicts.has(due), `${due} was decided twice`);
    verdicts.set(due, verdict);
  };
  let job = outage.job;
  for (let pass = 0; job.nextDueAt !== null && job.nextDueAt <= outage.now; pass++) {
    const decision = decide(job, nowAt(pass), outage.maxDueTimes);
    assertEquals(decision.expectedDueAt, job.nextDueAt);
    if (outage.crashes.has(pass)) continue;
    for (const slot of decision.slots) {
      record(slot.dueAt, slot.origin);
      assertEquals(slot.notBefore !== undefined, slot.origin === "catch-up");
      if (slot.notBefore !== undefined) {
        assert(slot.notBefore >= nowAt(pass));
        starts.push(slot.notBefore);
      }
    }
    for (const range of decision.ranges) {
      const inside = outage.dues.filter((due) => range.from <= due && due <= range.to);
      assertEquals([inside[0], inside.at(-1), inside.length], [range.from, range.to, range.count]);
      for (const due of inside) record(due, range.reason);
    }
    job = written(job, decision);
  }
  return { verdicts: outage.dues.map((due) => verdicts.get(due) ?? "undecided"), starts };
}

/** The due times that come while the passes are made, besides those known at the start. */
function withLater(outage: Outage, pauseMs: number): Outage {
  const { stepMs, dues, now, maxDueTimes, crashes } = outage;
  const passes = Math.ceil(dues.length / maxDueTimes) + crashes.size;
  const until = now + passes * pauseMs;
  const later = [];
  for (let due = (dues.at(-1) ?? 0) + stepMs; due <= until; due += stepMs) later.push(due);
  return { ...outage, dues: [...dues, ...later] };
}

/** The job after the store has written a decision of which every run counts. */
function written(job: Job, decision: Decision): Job {
  const runCount = job.runCount + decision.slots.length;
  const nextDueAt = job.runLimit !== null && runCount >= job.runLimit ? null : decision.nextDueAt;
  const isSkipPast = job.skippedDueTime !== null && (nextDueAt ?? Infinity) > job.skippedDueTime.dueAt;
  return {
    ...job,
    nextDueAt,
    runCount,
    skippedDueTime: isSkipPast ? null : job.skippedDueTime,
    lastCatchUpAt: decision.lastCatchUpAt ?? job.lastCatchUpAt,
  };
}

Deno.test("I1: consecutive passes give each due time the one verdict that a single look would", () => {
  fc.assert(
    fc.property(outages(), (outage) => {
      assertEquals(decided(outage, () => outage.now).verdicts, expected(outage));
    }),
    { numRuns: 700 },
  );
});

Deno.test("F3: catch-up runs of a job are spaced over any number of passes and crashes", () => {
  fc.assert(
    fc.property(outages(), fc.integer({ min: 0, max: 2 * SECOND }), (outage, pause) => {
      const { starts } = decided(withLater(outage, pause), (pass) => outage.now + pass * pause);
      const spacing = (outage.job.catchUpSpacingSeconds ?? 1) * SECOND;
      starts.forEach((start, index) => {
        const before = starts[index - 1];
        if (before !== undefined) assert(start - before >= spacing, `${start - before} ms apart`);
      });
    }),
    { numRuns: 300 },
  );
});

/** Fails unless each due time gets one verdict although every pass is made at a later moment. */
function assertDecidedOnce(given: Outage, pause: number): void {
  const outage = { ...given, job: { ...given.job, runLimit: null } };
  const whole = withLater(outage, pause);
  const verdicts = decided(whole, (pass) => outage.now + pass * pause).verdicts.slice(
    0,
    outage.dues.length,
  );
  assertEquals(verdicts.includes("undecided"), false);
  const catchUps = verdicts.filter((verdict) => verdict === "catch-up").length;
  if (outage.job.misfirePolicy === "FireOnce") assertLess(catchUps, 2);
  if (outage.job.misfirePolicy === "Skip") assertEquals(catchUps, 0);
}

Deno.test("I1: a single due time that has come is decided with those that come after a lost pass", () => {
  const outage = {
    job: jobWith({ schedule: every(1), endAt: NOW }),
    stepMs: SECOND,
    dues: [NOW],
    now: NOW,
    maxDueTimes: 2,
    crashes: new Set([0]),
  };
  assertDecidedOnce(outage, SECOND);
  const { ranges, nextDueAt } = decide(outage.job, NOW + SECOND, 2);
  assertEquals(ranges.map(({ from, to, count, reason }) => [from, to, count, reason]), [
    [NOW, NOW + SECOND, 2, "outside-window"],
  ]);
  assertEquals(nextDueAt, null);
});

Deno.test("I1: while time goes on between passes, each due time still has exactly one verdict", () => {
  fc.assert(
    fc.property(outages(), fc.integer({ min: 0, max: 20 * SECOND }), assertDecidedOnce),
    { numRuns: 300 },
  );
});
