import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  afterLoss,
  afterReport,
  type EndedAttempt,
  LOST_AT_MOST,
  LOST_WITH_WORKER_AT_MOST,
} from "./aftermath.ts";
import type { Outcome } from "./message.ts";
import { isFinal, mayBecome } from "./occurrence.ts";
import { DEFAULT_FAILURE_RULES } from "./retry.ts";

const NOW = Date.UTC(2026, 0, 1);
const error = { name: "TypeError", message: "x\ny", stack: null, causes: [] };
const cancel = { by: "ann", reason: "not needed", requestedAt: NOW };

const anyOutcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({ kind: fc.constant("completed" as const), result: fc.constantFrom(null, "1") }),
  fc.record({
    kind: fc.constant("failed" as const),
    error: fc.constant(error),
    permanent: fc.boolean(),
    retryAfterMs: fc.option(fc.nat(10_000)),
    cause: fc.constant("error" as const),
  }),
  fc.record({
    kind: fc.constant("timedOut" as const),
    rung: fc.constant("signal" as const),
    limitMs: fc.nat(),
  }),
  fc.record({ kind: fc.constant("cancelled" as const), rung: fc.constant("killed" as const) }),
  fc.record({ kind: fc.constant("handedBack" as const), why: fc.constant("stopping" as const) }),
);

const anyAttempt: fc.Arbitrary<EndedAttempt> = fc.record({
  attempt: fc.integer({ min: 1, max: 10 }),
  maxAttempts: fc.integer({ min: 1, max: 10 }),
  baseRetryDelaySeconds: fc.integer({ min: 0, max: 60 }),
  rules: fc.constant(DEFAULT_FAILURE_RULES),
  firstStartedAt: fc.constant(NOW - 5000),
  cancel: fc.constantFrom(null, cancel),
});

Deno.test("aftermath: whatever ends an attempt, a running occurrence may become what follows", () => {
  fc.assert(fc.property(anyAttempt, anyOutcome, (one, outcome) => {
    const after = afterReport(one, { outcome, workerId: "pool" }, NOW, () => 0.5);
    if (after.kind === "ends") {
      assert(isFinal(after.status) && mayBecome("Running", after.status));
      assert(after.status === "Completed" || (after.reason ?? "") !== "", "it says why");
    } else {
      assert(one.cancel === null, "what is to be cancelled does not run again");
      assert(after.readyAt === null || after.readyAt >= NOW);
      // What counts is bounded by the tries; what does not, is bounded elsewhere.
      assert(!after.counts || one.attempt < one.maxAttempts);
    }
  }));
});

Deno.test("aftermath: a failed attempt says what failed and what follows", () => {
  const one = {
    attempt: 2,
    maxAttempts: 3,
    baseRetryDelaySeconds: 10,
    rules: DEFAULT_FAILURE_RULES,
    firstStartedAt: NOW,
    cancel: null,
  };
  const failed = { kind: "failed", error, permanent: false, cause: "error", retryAfterMs: 1234 } as const;
  const after = (changes: Partial<typeof one>) =>
    afterReport({ ...one, ...changes }, { outcome: failed, workerId: "pool" }, NOW, () => 0.5);
  const again = after({});
  assertEquals(again.kind === "again" && again.readyAt, NOW + 1234);
  assertEquals(
    again.reason,
    "Attempt 2 of 3 failed (TypeError: x); the next one is due at 2026-01-01T00:00:01.234Z, as the job asked",
  );
  const last = after({ attempt: 3 });
  assertEquals([last.kind, last.reason], [
    "ends",
    "Attempt 3 of 3 failed (TypeError: x); no attempt is left",
  ]);
});

Deno.test("aftermath: an attempt that was lost runs again uncounted, and the second time it is suspect", () => {
  assertEquals(losses(LOST_AT_MOST, false), [["again", false], ["Failed", true]]);
  const cancelled = afterLoss({ cancel }, { instanceId: "worker-1", isWorkerThere: false, lostBefore: 0 });
  assertEquals(cancelled.kind === "ends" && cancelled.reason, "Cancelled by ann: not needed");
});

Deno.test("aftermath: what was lost while its worker is there did not take it down, and is suspect the fifth time only", () => {
  const again: [string, boolean] = ["again", false];
  assertEquals(losses(LOST_WITH_WORKER_AT_MOST, true), [again, again, again, again, ["Failed", true]]);
});

/** What follows from so many losses, one after another. */
function losses(count: number, isWorkerThere: boolean): unknown[] {
  return Array.from({ length: count }, (_, lostBefore) => {
    const after = afterLoss({ cancel: null }, { instanceId: "worker-1", isWorkerThere, lostBefore });
    return after.kind === "ends"
      ? [after.status, after.reason?.startsWith("suspect")]
      : [after.kind, after.counts];
  });
}
