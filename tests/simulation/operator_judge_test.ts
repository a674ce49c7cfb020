import { assertEquals } from "@std/assert";
import { judgeOperators, type OperatorHistory } from "./operator_judge.ts";

const JOB = {
  id: "job",
  policy: "Skip",
  createdAt: 0,
  pattern: { cron: "0 * * * * *", everyMs: 60_000, offsetMs: 0 },
  executeAt: null,
  runLimit: 2,
} as const;

function history(
  begun: readonly (readonly [dueAt: number, to: string])[],
  change: Partial<OperatorHistory> = {},
): OperatorHistory {
  const seen = { order: 0, at: 0, session: "", transaction: "", fromToken: 0, toToken: 0 };
  return {
    jobs: [JOB],
    nextDueAt: new Map([[JOB.id, null]]),
    occurrences: begun.map(([dueAt, status]) => ({
      id: `at ${dueAt}`,
      jobId: JOB.id,
      scheduled: true,
      dueAt,
      status,
      token: 0,
      createdReason: null,
      catchesUp: false,
    })),
    edges: begun.map(([dueAt, to]) => ({
      ...seen,
      occurrenceId: `at ${dueAt}`,
      jobId: JOB.id,
      from: null,
      to,
    })),
    leftOut: [],
    bulk: { open: [], doubled: new Map() },
    ...change,
  };
}

const TWICE = [[60_000, "Queued"], [120_000, "Skipped"], [180_000, "Queued"]] as const;

Deno.test("what operators were told is so: a history that keeps it is found whole", () => {
  assertEquals(judgeOperators(history(TWICE, { leftOut: [{ jobId: "job", dueAt: 240_000 }] })), []);
  const goesOn = new Map([["job", 240_000]]);
  assertEquals(judgeOperators(history(TWICE.slice(0, 1), { nextDueAt: goesOn })), []);
});

Deno.test("what operators were told is so: each planted error is found", () => {
  assertEquals(judgeOperators(history([...TWICE, [240_000, "Queued"]])), [
    "run limit: 3 due times of job job ran, 2 may",
  ]);
  assertEquals(judgeOperators(history(TWICE.slice(0, 2))), ["run limit: job job has ended after 1 of 2"]);
  assertEquals(judgeOperators(history(TWICE, { leftOut: [{ jobId: "job", dueAt: 180_000 }] })), [
    "left out: 1970-01-01T00:03:00.000Z of job job has an occurrence",
  ]);
  const bulk = { open: ["one"], doubled: new Map([["one/failed", 2]]) };
  assertEquals(judgeOperators(history(TWICE, { bulk })), [
    "bulk: action one is still under way",
    "bulk: one/failed was replayed 2 times",
  ]);
});
