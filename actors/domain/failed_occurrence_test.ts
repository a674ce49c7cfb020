import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { afterLoss, LOST_AT_MOST } from "./aftermath.ts";
import {
  errorOf,
  failureKindOf,
  fingerprintOfFailure,
  outputText,
  resolvedByReplay,
} from "./failed_occurrence.ts";
import { OCCURRENCE_STATUSES } from "./occurrence.ts";

Deno.test("a failure is what ended as Failed or TimedOut, and nothing else", () => {
  const kinds = OCCURRENCE_STATUSES.map((status) => [status, failureKindOf(status, "said")] as const);
  assertEquals(kinds.filter(([, kind]) => kind !== null), [["Failed", "failed"], ["TimedOut", "timed-out"]]);
});

Deno.test("what was lost too often is suspect", () => {
  const after = afterLoss(
    { cancel: null },
    { instanceId: "worker-1", isWorkerThere: false, lostBefore: LOST_AT_MOST - 1 },
  );
  assert(after.kind === "ends");
  assertEquals(failureKindOf(after.status, after.reason), "suspect");
});

Deno.test("failures without an error are alike within a kind and job type", () => {
  const of = fingerprintOfFailure;
  assertEquals(of("timed-out", "MailJob", null), of("timed-out", "MailJob", null));
  assertNotEquals(of("timed-out", "MailJob", null), of("suspect", "MailJob", null));
  assertNotEquals(of("timed-out", "MailJob", null), of("timed-out", "ReportJob", null));
  assertEquals(errorOf({ kind: "suspect", error: null, reason: "why" }), { name: "Suspect", message: "why" });
});

Deno.test("the last output is bounded in lines and in their length", () => {
  const line = { token: 1, at: 5, level: "info" as const, message: "x".repeat(2000) };
  const kept = JSON.parse(outputText(Array.from({ length: 50 }, () => line)) ?? "[]");
  assertEquals([kept.length, kept[0].message.length, outputText([])], [20, 501, null]);
});

Deno.test("of replays only those with an outcome of their own resolve", () => {
  const actions = OCCURRENCE_STATUSES.map((status) => resolvedByReplay("o", status, 1)?.action ?? null);
  assertEquals(actions, [null, null, "Replayed", "Superseded", null, "Superseded", null, null]);
});
