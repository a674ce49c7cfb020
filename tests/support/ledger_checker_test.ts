import { assertEquals } from "@std/assert";
import { checkLedger, type LedgerHistory } from "./ledger_checker.ts";

const a = { id: "a", jobId: "j", scheduled: true, dueAt: 1000, status: "Completed", token: 2 };
const b = { id: "b", jobId: "j", scheduled: true, dueAt: 2000, status: "Skipped", token: 0 };
const t = { id: "t", jobId: "j", scheduled: false, dueAt: 2500, status: "Completed", token: 1 };
const runOfT = { occurrenceId: "t", jobId: "j", token: 1, start: 2500, end: 2600, deadAt: null };

/** A history that keeps every promise: due at 1, 2, 3 s; one ran, one skipped, one missed. */
const SOUND: LedgerHistory = {
  jobs: [{ id: "j", policy: "Skip", dueTimes: [1000, 2000, 3000] }],
  occurrences: [a, b, t],
  ranges: [{ jobId: "j", from: 3000, to: 3000, count: 1 }],
  changes: [
    { occurrenceId: "a", to: "Queued", token: 0 },
    { occurrenceId: "a", to: "Running", token: 1 },
    { occurrenceId: "a", to: "Queued", token: 1 },
    { occurrenceId: "a", to: "Running", token: 2 },
    { occurrenceId: "a", to: "Completed", token: 2 },
  ],
  runs: [
    { occurrenceId: "a", jobId: "j", token: 1, start: 1001, end: null, deadAt: 1500 },
    { occurrenceId: "a", jobId: "j", token: 2, start: 1600, end: 1900, deadAt: null },
    runOfT,
  ],
  acknowledged: ["t"],
  settled: true,
};

function invariantsBroken(change: Partial<LedgerHistory>): string[] {
  return [...new Set(checkLedger({ ...SOUND, ...change }).map((one) => one.invariant))];
}

Deno.test("a sound history has no violation", () => assertEquals(checkLedger(SOUND), []));

Deno.test("a run that was cut off lasted until its last beat, and one that threw until it threw", () => {
  const cutOff = SOUND.runs.map((run) => run.token === 1 && run !== runOfT ? { ...run, deadAt: null } : run);
  assertEquals(invariantsBroken({ runs: cutOff }), ["overlap"]);
  assertEquals(invariantsBroken({ runs: cutOff.map((run) => ({ ...run, beats: [run.start + 10] })) }), []);
  assertEquals(invariantsBroken({ runs: cutOff.map((run) => ({ ...run, stoppedAt: run.start + 10 })) }), []);
});

const PLANTED: readonly (readonly [string, string[], Partial<LedgerHistory>])[] = [
  ["a due time that nobody decided", ["complete"], { ranges: [] }],
  ["a range that counts wrongly", ["complete"], { ranges: [{ jobId: "j", from: 3000, to: 3000, count: 2 }] }],
  ["a due time with an occurrence inside a range", ["unique", "complete"], {
    ranges: [{ jobId: "j", from: 2000, to: 3000, count: 1 }],
  }],
  ["two occurrences of one due time", ["unique"], {
    occurrences: [...SOUND.occurrences, { ...b, id: "c" }],
  }],
  ["an occurrence that was never due", ["unique"], {
    occurrences: [...SOUND.occurrences, { ...b, id: "c", dueAt: 2200 }],
  }],
  ["a final status that changed", ["terminal-once"], {
    changes: [...SOUND.changes, { occurrenceId: "a", to: "Failed", token: 2 }],
  }],
  ["a token that went back", ["tokens"], {
    changes: [{ occurrenceId: "a", to: "Running", token: 3 }, {
      occurrenceId: "a",
      to: "Completed",
      token: 2,
    }],
  }],
  ["an occurrence left undone", ["settled"], { occurrences: [a, { ...b, status: "Queued" }, t] }],
  ["two runs at once under Skip", ["overlap"], {
    runs: [...SOUND.runs, { occurrenceId: "b", jobId: "j", token: 0, start: 1700, end: 1800, deadAt: null }],
  }],
  ["a run that still beat while the next one ran", ["overlap"], {
    runs: SOUND.runs.map((run) => run.token === 1 && run !== runOfT ? { ...run, beats: [1100, 1700] } : run),
  }],
  ["one token that ran twice", ["granted"], {
    runs: [...SOUND.runs, { ...runOfT, start: 2700, end: 2800 }],
  }],
  ["a run that was never granted", ["granted"], {
    runs: [...SOUND.runs, { ...runOfT, token: 9, start: 2700, end: 2800 }],
  }],
  ["a completion without a run that ended", ["lost"], {
    runs: SOUND.runs.filter((run) => run.occurrenceId !== "t"),
  }],
  ["an accepted trigger that is gone", ["lost"], { acknowledged: ["t", "x"] }],
];

for (const [name, expected, change] of PLANTED) {
  Deno.test(`the checker finds ${name}`, () =>
    assertEquals(invariantsBroken(change).sort(), expected.sort()));
}
