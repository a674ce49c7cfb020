import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { DEFAULTS } from "../../tests/support/node.ts";
import { DAY, jobWith, MINUTE, NOW } from "../../tests/support/explained.ts";
import type { Job } from "./job.ts";
import { nextOutlooks, outlookAt, type OutlookCode, OUTLOOKS } from "./outlook.ts";
import { isProbe, planDecision } from "./plan.ts";
import type { RangeReason } from "./verdict.ts";

const HOUR = 60 * MINUTE;
const NEXT = NOW + HOUR;

const autoDisabled = {
  since: NOW - HOUR,
  until: null,
  failures: 5,
  occurrenceId: "failed-5",
  reason: "five in a row",
  probeAt: null,
  probeId: null,
  cooldownSeconds: null,
};

const CASES: readonly (readonly [title: string, job: Partial<Job>, code: OutlookCode, words: string])[] = [
  ["nothing bars it", { concurrentExecutionPolicy: "Allow" }, "will-run", "It will run."],
  ["Skip", {}, "will-run", "unless the run before it is still on"],
  [
    "Queue",
    { concurrentExecutionPolicy: "Queue" },
    "will-run",
    "after the run before it, unless 1000 wait by then",
  ],
  ["not active", { isActive: false }, "disabled", "not active"],
  ["its window begins later", { startAt: NEXT + 1 }, "outside-window", "outside the job's window"],
  ["its window has ended", { endAt: NEXT }, "outside-window", "outside the job's window"],
  [
    "a pause without end",
    { pause: { by: "ann", reason: "stocktaking", since: NOW - 1, until: null } },
    "paused",
    'paused by ann, "stocktaking"',
  ],
  [
    "a pause that ends before it",
    { pause: { by: "ann", reason: "stocktaking", since: NOW - 1, until: NEXT } },
    "will-run",
    "It will run",
  ],
  [
    "somebody left it out",
    { skippedDueTime: { dueAt: NEXT, by: "ann", reason: "inventory", since: NOW } },
    "skipped-once",
    'ann left it out, "inventory"',
  ],
  [
    "somebody left out another one",
    { skippedDueTime: { dueAt: NEXT + HOUR, by: "ann", reason: "inventory", since: NOW } },
    "will-run",
    "It will run",
  ],
  ["its failures disabled it", { autoDisabled }, "auto-disabled", "waits for somebody to enable it"],
  [
    "a probe comes later",
    { autoDisabled: { ...autoDisabled, probeAt: NEXT + 1 } },
    "auto-disabled",
    "not before",
  ],
  ["it is the probe", { autoDisabled: { ...autoDisabled, probeAt: NEXT } }, "will-probe", "runs as a probe"],
  [
    "a probe is on",
    { autoDisabled: { ...autoDisabled, probeAt: NOW, probeId: "probe-1" } },
    "auto-disabled",
    "occurrence probe-1",
  ],
  ["it was enabled again", { autoDisabled: { ...autoDisabled, until: NOW } }, "will-run", "It will run"],
  ["its limit is reached", { runLimit: 3, runCount: 3 }, "run-limit-reached", "limit of 3 runs"],
  ["one run is left", { runLimit: 3, runCount: 2 }, "will-run", "It will run"],
];

for (const [title, change, code, words] of CASES) {
  Deno.test(`a coming due time when ${title}: ${code}`, () => {
    const outlook = outlookAt(jobWith(change), NEXT, NOW);
    assertEquals(outlook.code, code);
    assertStringIncludes(outlook.sentence, words);
  });
}

Deno.test("the run limit is counted down over the coming due times, what does not run left aside", () => {
  const job = jobWith({
    runLimit: 10,
    runCount: 7,
    skippedDueTime: { dueAt: NEXT + HOUR, by: "ann", reason: "inventory", since: NOW },
  });
  const codes = nextOutlooks(job, NOW, 6).map(({ code }) => code);
  assertEquals(codes, [
    "will-run",
    "skipped-once",
    "will-run",
    "will-run",
    "run-limit-reached",
    "run-limit-reached",
  ]);
  const single = codes.map((_, index) => outlookAt(job, NEXT + index * HOUR, NOW).code);
  assertEquals(single, codes, "asked one by one it is the same");
});

Deno.test("due times outside the window are not among the next ones", () => {
  const job = jobWith({ startAt: NEXT + HOUR, endAt: NEXT + 3 * HOUR });
  assertEquals(nextOutlooks(job, NOW, 5).map(({ at }) => at), [NEXT + HOUR, NEXT + 2 * HOUR]);
  assertEquals(nextOutlooks(jobWith({ schedule: { kind: "triggerOnly" } }), NOW, 5), []);
});

Deno.test("due times that the job has moved on past are not among the next ones", () => {
  assertEquals(nextOutlooks(jobWith({ nextDueAt: NEXT + 2 * HOUR }), NOW, 2).map(({ at }) => at), [
    NEXT + 2 * HOUR,
    NEXT + 3 * HOUR,
  ]);
  const limited = jobWith({ nextDueAt: NEXT + HOUR, runLimit: 2, runCount: 1 });
  assertEquals(nextOutlooks(limited, NOW, 2).map(({ code }) => code), ["will-run", "run-limit-reached"]);
});

Deno.test("a due time that a clock change moves says so", () => {
  const moved = Date.UTC(2026, 2, 29, 1);
  const job = jobWith({
    nextDueAt: moved,
    schedule: {
      kind: "cron",
      expression: "30 2 * * *",
      resolved: "0 30 2 * * *",
      timeZone: "Europe/Berlin",
      gap: "RunAtNextValid",
      fold: "First",
    },
  });
  assertStringIncludes(outlookAt(job, moved, moved - DAY).note ?? "", "02:30 does not exist on 2026-03-29");
  assertEquals(nextOutlooks(job, moved - 1, 1)[0]?.note, outlookAt(job, moved, moved - DAY).note);
});

Deno.test("while it is disabled by failures only the first open due time is a probe; the others wait for its end", () => {
  const job = jobWith({ autoDisabled: { ...autoDisabled, probeAt: NEXT + 1 } });
  const codes = nextOutlooks(job, NOW, 4).map(({ code }) => code);
  assertEquals(codes, ["auto-disabled", "will-probe", "auto-disabled", "auto-disabled"]);
  assertEquals(codes.map((_, index) => outlookAt(job, NEXT + index * HOUR, NOW).code), codes);
});

/** What becomes of a job's next due time, in the words of an outlook. */
function decided(job: Job, at: number): OutlookCode | RangeReason {
  const planned = planDecision(job, at, {
    misfireThresholdMs: 60_000,
    maxDueTimes: 500,
    instanceId: "api-1",
    defaults: DEFAULTS,
    newId: () => "id",
    catchUpSpacingMs: 1000,
    pace: (earliest) => earliest,
  });
  assert(planned.ok);
  const { slots: [slot], ranges: [range] } = planned.decision;
  if (range !== undefined) return range.reason;
  if (slot === undefined) return "run-limit-reached";
  return isProbe(planned.decision, slot.occurrenceId) ? "will-probe" : "will-run";
}

Deno.test("property: what is foretold of the next due time is what is decided when it comes", () => {
  const moment = fc.integer({ min: -3, max: 8 }).map((steps) => NOW + steps * 30 * MINUTE);
  /** One time in six: what bars a due time is rare, else what is asked last would hardly ever be reached. */
  const seldom = <T>(what: fc.Arbitrary<T>) => fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, what);
  const jobs = fc.record({
    isActive: fc.constantFrom(...Array<boolean>(9).fill(true), false),
    startAt: seldom(moment),
    endAt: seldom(moment),
    pause: seldom(fc.record({
      by: fc.constant("ann"),
      reason: fc.constant("because"),
      since: moment,
      until: fc.option(moment),
    })),
    skippedDueTime: fc.option(
      fc.record({
        dueAt: fc.integer({ min: 1, max: 4 }).map((hours) => NOW + hours * HOUR),
        by: fc.constant("ann"),
        reason: fc.constant("because"),
        since: fc.constant(NOW),
      }),
      { freq: 2 },
    ),
    runLimit: seldom(fc.integer({ min: 1, max: 3 })),
    runCount: fc.nat(3),
    autoDisabled: fc.option(
      fc.record({
        since: moment,
        until: fc.option(moment, { freq: 2 }),
        failures: fc.constant(5),
        occurrenceId: fc.constant("failed-5"),
        reason: fc.constant("five in a row"),
        probeAt: fc.option(moment),
        probeId: seldom(fc.constant("probe-1")),
        cooldownSeconds: fc.constant(1800),
      }),
      { freq: 2 },
    ),
  });
  const seen = new Set<string>();
  fc.assert(
    fc.property(jobs, fc.integer({ min: 1, max: 4 }), (change, hours) => {
      const at = NOW + hours * HOUR;
      const job = jobWith({ ...change, nextDueAt: at });
      // Told in the hour before: nothing else comes in between.
      const foretold = outlookAt(job, at, at - HOUR).code;
      assertEquals(foretold, decided(job, at));
      const listed = nextOutlooks(job, at - HOUR, 1).find((one) => one.at === at);
      assertEquals(listed?.code ?? foretold, foretold);
      seen.add(foretold);
    }),
    { numRuns: 2000 },
  );
  assertEquals([...seen].sort(), [...OUTLOOKS].sort(), "each of them has come up");
});
