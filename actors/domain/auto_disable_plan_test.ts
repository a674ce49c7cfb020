/** What becomes of due times while a job is disabled by failures. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { disabledBy, enabled, isDisabledNow } from "./auto_disable.ts";
import { type AutoDisabled, type Job, JOB_DEFAULTS, MISFIRE_POLICIES } from "./job.ts";
import { type Decision, planDecision, stateAfter } from "./plan.ts";
import { DEFAULT_FAILURE_RULES } from "./retry.ts";
import { parseSchedule } from "./schedule.ts";

const NOON = Date.UTC(2026, 0, 1, 12);
const MINUTE = 60_000;

const state: AutoDisabled = {
  since: NOON - 30 * MINUTE,
  until: null,
  failures: 5,
  occurrenceId: "0198c2d4-5b6e-7f00-8a9b-0c1d2e3f4a5b",
  reason: "5 failures in a row",
  probeAt: NOON - 5 * MINUTE,
  probeId: null,
  cooldownSeconds: 1500,
};

function jobWith(autoDisabled: AutoDisabled | null, changes: Partial<Job> = {}): Job {
  const parsed = parseSchedule({ cronExpression: "* * * * *" }, { jobId: "job-1", now: NOON });
  assert(parsed.ok);
  return {
    ...JOB_DEFAULTS,
    id: "job-1",
    version: 1,
    displayName: "Minutely",
    jobType: "AnyJob",
    jobData: "{}",
    schedule: parsed.schedule,
    nextDueAt: NOON - 20 * MINUTE,
    createdAt: 0,
    updatedAt: 0,
    autoDisabled,
    ...changes,
  };
}

function planned(job: Job, now = NOON, maxDueTimes = 500): Decision {
  let count = 0;
  const answer = planDecision(job, now, {
    misfireThresholdMs: MINUTE,
    maxDueTimes,
    catchUpSpacingMs: 0,
    pace: (at) => at,
    instanceId: "api-1",
    defaults: {
      maxRetries: 0,
      baseRetryDelaySeconds: 1,
      executionTimeoutSeconds: null,
      rules: DEFAULT_FAILURE_RULES,
    },
    newId: () => `new-${now}-${++count}`,
  });
  assert(answer.ok);
  return answer.decision;
}

const slots = (decision: Decision) => decision.slots.map((slot) => (slot.dueAt - NOON) / MINUTE);
const ranges = ({ ranges }: Decision) =>
  ranges.map((one) => [(one.from - NOON) / MINUTE, one.count, one.reason]);

Deno.test("before the cool-down is over, and while a probe is on, every due time is recorded as auto-disabled", () => {
  for (const changes of [{ probeAt: NOON + 1 }, { probeAt: null }, { probeId: "probe" }]) {
    const seen = { ...state, ...changes };
    const decision = planned(jobWith(seen));
    assertEquals([slots(decision), ranges(decision)], [[], [[-20, 21, "auto-disabled"]]]);
    assertEquals(decision.ranges[0]?.by, disabledBy(state));
    assertEquals(decision.whileDisabled, { seen, probeId: null });
    assertEquals(decision.nextDueAt, NOON + MINUTE, "the schedule goes on");
  }
});

Deno.test("once the cool-down is over the latest due time is the probe, and the only one", () => {
  const decision = planned(jobWith(state));
  assertEquals(slots(decision), [0]);
  assertEquals(decision.whileDisabled?.probeId, decision.slots[0]?.occurrenceId);
  assertEquals(ranges(decision).map(([, , reason]) => reason), ["auto-disabled", "missed", "auto-disabled"]);
});

Deno.test("enabling does not fire the past: due times before it are recorded, whatever the misfire policy", () => {
  for (const misfirePolicy of MISFIRE_POLICIES) {
    const again = enabled(state, NOON - MINUTE / 2);
    const decision = planned(jobWith(again, { misfirePolicy }));
    assertEquals([slots(decision), ranges(decision)], [[0], [[-20, 20, "auto-disabled"]]]);
    assertEquals(decision.whileDisabled, { seen: again, probeId: null });
    assertEquals(stateAfter(decision, null), null, "the state is no more needed");
  }
});

Deno.test("a one-shot job whose moment comes while it is disabled is recorded, and probes after the cool-down", () => {
  const once = { schedule: { kind: "once", executeAt: NOON } as const, nextDueAt: NOON };
  const early = planned(jobWith({ ...state, probeAt: NOON + 1 }, once));
  assertEquals([slots(early), ranges(early), early.nextDueAt], [[], [[0, 1, "auto-disabled"]], null]);
  const late = planned(jobWith({ ...state, probeAt: NOON }, once));
  assertEquals([slots(late), late.whileDisabled?.probeId === null], [[0], false]);
});

const anyState = fc.record({
  probeAt: fc.option(fc.integer({ min: -30, max: 5 }).map((minutes) => NOON + minutes * MINUTE)),
  probeId: fc.constantFrom(null, "probe"),
  until: fc.option(fc.integer({ min: -30, max: 1 }).map((minutes) => NOON + minutes * MINUTE)),
});

Deno.test("in any state, with any policy and in any number of passes: each due time once, one probe at most, none early", () => {
  fc.assert(fc.property(
    anyState,
    fc.constantFrom(...MISFIRE_POLICIES),
    fc.integer({ min: 1, max: 30 }),
    fc.option(fc.integer({ min: 1, max: 3600 })),
    (changes, misfirePolicy, maxDueTimes, misfireThresholdSeconds) => {
      let job = jobWith({ ...state, ...changes }, { misfirePolicy, misfireThresholdSeconds });
      let decided = 0;
      let probes = changes.probeId === null ? 0 : 1;
      while (job.nextDueAt !== null && job.nextDueAt <= NOON) {
        const decision = planned(job, NOON, maxDueTimes);
        decided += decision.slots.length + decision.ranges.reduce((sum, range) => sum + range.count, 0);
        if (isDisabledNow(job.autoDisabled)) {
          probes += decision.slots.length;
          for (const { dueAt } of decision.slots) assert(dueAt >= (job.autoDisabled.probeAt ?? Infinity));
        } else {
          for (const { dueAt } of decision.slots) {
            assert(dueAt >= (changes.until ?? -Infinity), "the past stays");
          }
        }
        const autoDisabled = stateAfter(decision, decision.whileDisabled?.probeId ?? null);
        job = { ...job, nextDueAt: decision.nextDueAt, autoDisabled };
      }
      assertEquals(decided, 21);
      if (changes.until === null) assert(probes <= 1, `${probes} probes`);
    },
  ));
});
