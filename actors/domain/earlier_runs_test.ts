import { assertEquals } from "@std/assert";
import { earlierRuns } from "./earlier_runs.ts";
import { evidence } from "./explanation.ts";
import type { Attempt, AttemptOutcome } from "./occurrence.ts";

const AT = Date.UTC(2026, 5, 1, 12);

function attempt(token: number, outcome: AttemptOutcome | null): Attempt {
  return {
    token,
    number: null,
    workerId: "local",
    instanceId: `worker-${token}`,
    claimedAt: AT + token * 1000,
    endedAt: outcome === null ? null : AT + token * 1000 + 500,
    durationMs: null,
    outcome,
    error: null,
    progress: null,
  };
}

Deno.test("runs that were lost or handed back are told with their workers; others are not", () => {
  const { told, evidence: found } = earlierRuns([
    attempt(1, "lost"),
    attempt(2, "handedBack"),
    attempt(3, "failed"),
    attempt(4, null),
  ]);
  assertEquals(
    told,
    " Not counted as an attempt: its run on worker-1 since 2026-06-01T12:00:01.000Z (taken for lost at " +
      "2026-06-01T12:00:01.500Z), on worker-2 since 2026-06-01T12:00:02.000Z (handed back at " +
      "2026-06-01T12:00:02.500Z).",
  );
  assertEquals(found, [evidence("worker", "worker-1"), evidence("worker", "worker-2")]);
  assertEquals(earlierRuns([attempt(1, "completed")]), { told: "", evidence: [] });
});

Deno.test("of many the newest are told, and how many there are besides", () => {
  const many = earlierRuns([1, 2, 3, 4, 5].map((token) => attempt(token, "lost")));
  assertEquals(many.evidence.map(({ id }) => id), ["worker-3", "worker-4", "worker-5"]);
  assertEquals(many.told.endsWith(", and 2 before."), true);
});
