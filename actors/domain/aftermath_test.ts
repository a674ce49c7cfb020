import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { afterLoss, afterReport, type EndedAttempt, LOST_AT_MOST } from "./aftermath.ts";
import type { Outcome } from "./message.ts";
import { isFinal, mayBecome } from "./occurrence.ts";

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

Deno.test("aftermath: a failed attempt waits as long as the job asked, or base × 2^(n−1) with jitter", () => {
  const one = { attempt: 2, maxAttempts: 3, baseRetryDelaySeconds: 10, cancel: null };
  const failed = { kind: "failed", error, permanent: false, cause: "error" } as const;
  const waits = (retryAfterMs: number | null, jitter: number) => {
    const report = { outcome: { ...failed, retryAfterMs }, workerId: "pool" };
    const after = afterReport(one, report, NOW, () => jitter);
    return after.kind === "again" && after.readyAt !== null ? after.readyAt - NOW : null;
  };
  assertEquals([waits(1234, 0.9), waits(null, 0), waits(null, 1)], [1234, 10_000, 20_000]);
});

Deno.test("aftermath: an attempt that was lost runs again uncounted, and the third time it is suspect", () => {
  const kinds = Array.from({ length: LOST_AT_MOST }, (_, before) => {
    const after = afterLoss({ cancel: null }, "worker-1", before);
    return after.kind === "ends"
      ? [after.status, after.reason?.startsWith("suspect")]
      : [after.kind, after.counts];
  });
  assertEquals(kinds, [["again", false], ["again", false], ["Failed", true]]);
  const cancelled = afterLoss({ cancel }, "worker-1", 0);
  assertEquals(cancelled.kind === "ends" && cancelled.reason, "Cancelled by ann: not needed");
});
