import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  afterRun,
  agreeAutoDisable,
  COOLDOWN_AT_MOST_SECONDS,
  DEFAULT_AUTO_DISABLE,
  enabled,
  type Failing,
  isDisabledNow,
  isOver,
  openFrom,
  probeEntry,
} from "./auto_disable.ts";
import type { AutoDisabled, AutoDisableSettings } from "./job.ts";
import type { OccurrenceStatus } from "./occurrence.ts";
import type { AutoDisableRule } from "./retry.ts";

const NOW = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;
const rule: AutoDisableRule = { failures: 3, windowSeconds: 600, cooldownSeconds: 60 };
const works: Failing = { streak: [], disabled: null };

function run(status: OccurrenceStatus, at: number, occurrenceId = "o", scheduledFor = at) {
  return { occurrenceId, status, scheduledFor, endedAt: at, reason: `${status} it was` };
}

function disabledAfter(failing: Failing = works, at = NOW): AutoDisabled {
  let state = failing;
  for (let index = 0; index < rule.failures; index++) {
    state = afterRun(state, run("Failed", at, `o${index}`), rule, at);
  }
  assert(isDisabledNow(state.disabled));
  return state.disabled;
}

Deno.test("as many failures in a row as the rule says disable a job, and the state names the last", () => {
  assertEquals(disabledAfter(), {
    since: NOW,
    until: null,
    failures: 3,
    occurrenceId: "o2",
    reason: "3 failures in a row within 10 min. The last: Failed it was",
    probeAt: NOW + MINUTE,
    probeId: null,
    cooldownSeconds: 60,
  });
});

/** Runs of an enabled job, a minute or some apart. */
const history = fc.array(
  fc.record({
    status: fc.constantFrom<OccurrenceStatus>("Completed", "Failed", "TimedOut", "Cancelled"),
    gapMs: fc.integer({ min: 0, max: 5 * MINUTE }),
  }),
  { maxLength: 40 },
);

Deno.test("a job is disabled exactly when its last failures in a row, all within the window, are as many as said", () => {
  fc.assert(
    fc.property(history, fc.integer({ min: 1, max: 6 }), (runs, failures) => {
      const given = { ...rule, failures };
      let failing: Failing = works;
      let at = NOW;
      let inARow: number[] = [];
      for (const { status, gapMs } of runs) {
        at += gapMs;
        const after = afterRun(failing, run(status, at), given, at);
        if (status === "Completed") inARow = [];
        else if (status !== "Cancelled") inARow.push(at);
        const recent = inARow.filter((one) => at - one <= given.windowSeconds * 1000);
        const isDisabling = (status === "Failed" || status === "TimedOut") && recent.length >= failures;
        assertEquals(after.change, isDisabling ? "disabled" : null);
        assertEquals(isDisabledNow(after.disabled), isDisabling);
        assert(after.streak.length <= failures, "no more is kept than is looked at");
        if (isDisabling) {
          // A person enables it: counted from nothing.
          inARow = [];
          failing = { streak: [], disabled: null };
        } else failing = after;
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("failures are counted in the order in which they ended, and a clock that is ahead counts as now", () => {
  const times = [NOW + 9 * MINUTE, NOW, NOW + 100 * MINUTE];
  let failing: Failing = works;
  for (const at of times) failing = afterRun(failing, run("Failed", at), rule, NOW + 9 * MINUTE);
  assertEquals(isDisabledNow(failing.disabled), true);
  assertEquals(failing.streak, [NOW, NOW + 9 * MINUTE, NOW + 9 * MINUTE]);
});

Deno.test("without a rule nothing is counted", () => {
  let failing: Failing = works;
  for (let index = 0; index < 20; index++) failing = afterRun(failing, run("Failed", NOW), null, NOW);
  assertEquals(failing, { ...works, change: null } as Failing);
});

Deno.test("while a job is disabled only its probe says whether it works: others change nothing", () => {
  const before = { streak: [NOW], disabled: { ...disabledAfter(), probeId: "probe" } };
  for (const status of ["Completed", "Failed", "TimedOut", "Cancelled"] as const) {
    assertEquals(afterRun(before, run(status, NOW, "other"), rule, NOW), { ...before, change: null });
  }
  const done = afterRun(before, run("Completed", NOW + 5, "probe"), rule, NOW + 5);
  assertEquals([done.change, done.streak, done.disabled?.until], ["enabled", [], NOW + 5]);
  const cancelled = afterRun(before, run("Cancelled", NOW, "probe"), rule, NOW);
  assertEquals([cancelled.change, cancelled.disabled], [null, { ...before.disabled, probeId: null }]);
});

Deno.test("each probe that fails doubles the cool-down up to a day, one before its time leaves it", () => {
  let failing: Failing = { streak: [NOW], disabled: disabledAfter() };
  const cooldowns: (number | null | undefined)[] = [];
  for (let index = 0; index < 14; index++) {
    const state = failing.disabled as AutoDisabled;
    const at = state.probeAt ?? NOW;
    failing = afterRun(
      { ...failing, disabled: { ...state, probeId: "p" } },
      run("TimedOut", at, "p"),
      rule,
      at,
    );
    cooldowns.push(failing.disabled?.cooldownSeconds);
    assertEquals(failing.disabled?.probeAt, at + (failing.disabled?.cooldownSeconds ?? 0) * 1000);
    assertEquals([failing.disabled?.probeId, failing.disabled?.failures], [null, 4 + index]);
  }
  assertEquals(cooldowns.slice(0, 4), [120, 240, 480, 960]);
  assertEquals(cooldowns.at(-1), COOLDOWN_AT_MOST_SECONDS);
  const early = afterRun(
    { streak: [NOW], disabled: { ...disabledAfter(), probeId: "p" } },
    run("Failed", NOW + 10, "p"),
    rule,
    NOW + 10,
  );
  assertEquals([early.change, early.disabled?.cooldownSeconds, early.disabled?.probeAt], [
    "probeFailed",
    60,
    NOW + 10 + MINUTE,
  ]);
});

Deno.test("what is open while a job is disabled, probed, enabled again, or by a person only", () => {
  const state = disabledAfter();
  assertEquals(openFrom(null), -Infinity);
  assertEquals(openFrom(state), NOW + MINUTE);
  assertEquals(openFrom({ ...state, probeId: "p" }), Infinity);
  assertEquals(openFrom({ ...state, probeAt: null }), Infinity);
  const again = enabled({ ...state, probeId: "p" }, NOW + 7);
  assertEquals([openFrom(again), again.probeId, again.probeAt], [NOW + 7, null, null]);
  assertEquals([isOver(again, null), isOver(again, NOW + 7), isOver(again, NOW + 6), isOver(state, null)], [
    true,
    true,
    false,
    false,
  ]);
});

Deno.test("a trigger probes a disabled job one at a time; by force it runs beside", () => {
  const state = disabledAfter();
  const refused = (probeId: string | null) => ({ ok: false, reason: "auto-disabled", probeId });
  assertEquals(probeEntry(null, 9, false), { ok: true, mayProbe: false });
  assertEquals(probeEntry(enabled(state, NOW), 9, false), { ok: true, mayProbe: false });
  assertEquals(probeEntry(state, 1, false), { ok: true, mayProbe: true });
  assertEquals(probeEntry(state, 2, false), refused(null) as ReturnType<typeof probeEntry>);
  assertEquals(
    probeEntry({ ...state, probeId: "p" }, 1, false),
    refused("p") as ReturnType<typeof probeEntry>,
  );
  assertEquals(probeEntry({ ...state, probeId: "p" }, 1, true), { ok: true, mayProbe: false });
});

Deno.test("a job's own word about being disabled comes before the server's, number by number", () => {
  const silent: AutoDisableSettings = {
    isEnabled: null,
    failures: null,
    windowMinutes: null,
    cooldownMinutes: null,
  };
  const off = { ...rule, isEnabled: false };
  assertEquals(agreeAutoDisable(null, rule), rule);
  assertEquals(agreeAutoDisable(silent, rule), rule);
  assertEquals([agreeAutoDisable(null, null), agreeAutoDisable(silent, off)], [null, null]);
  assertEquals(agreeAutoDisable({ ...silent, isEnabled: true }, off), rule);
  assertEquals(agreeAutoDisable({ ...silent, isEnabled: true }, null), DEFAULT_AUTO_DISABLE);
  assertEquals(agreeAutoDisable({ ...silent, isEnabled: false }, rule), null);
  assertEquals(
    agreeAutoDisable({ isEnabled: null, failures: 9, windowMinutes: 2, cooldownMinutes: 0 }, rule),
    { failures: 9, windowSeconds: 120, cooldownSeconds: null },
  );
});
