import { assertEquals, assertStringIncludes } from "@std/assert";
import { cancellationOf, endingOf, noticed } from "./cancellation.ts";
import type { Outcome } from "./message.ts";
import { type Ending, KILL_RUNGS, type OccurrenceStatus } from "./occurrence.ts";

const CANCEL = { by: "ann", reason: "enough", requestedAt: 5 };

function stateOf(status: OccurrenceStatus, ending: Ending | null = null) {
  return cancellationOf({ status, ending, cancel: CANCEL, endedAt: null, token: 1 });
}

function endingAt(rung: Ending["rung"], cause: Ending["cause"] = "cancelled"): Ending {
  return { cause, signalledAt: 7, instanceId: "worker-1", rung };
}

Deno.test("nobody asked: there is no cancellation, however it was made to end", () => {
  const timedOut = {
    status: "TimedOut",
    ending: endingAt("killed", "timedOut"),
    endedAt: 9,
    token: 1,
  } as const;
  assertEquals(cancellationOf({ ...timedOut, cancel: null }), null);
});

Deno.test("a request goes from requested over signalled to ended, or killed when the signal was not heeded", () => {
  assertEquals(stateOf("Running")?.state, "requested");
  assertEquals(stateOf("Running", endingAt(null))?.state, "signalled");
  assertEquals(stateOf("Unknown", endingAt(null))?.state, "signalled");
  const ended = KILL_RUNGS.map((rung) => stateOf("Cancelled", endingAt(rung)));
  assertEquals(ended.map((one) => one?.state), ["ended", "killed", "killed"]);
  assertEquals(ended.map((one) => one?.signalledAt), [7, 7, 7]);
  assertStringIncludes(ended[2]?.sentence ?? "", "its executor host was killed");
});

Deno.test("what was queued, or whose worker is gone, ends without a rung", () => {
  for (const ending of [null, endingAt(null)]) {
    const one = stateOf("Cancelled", ending);
    assertEquals([one?.state, one?.rung], ["ended", null]);
    assertStringIncludes(one?.sentence ?? "", "without a word of its worker");
  }
});

Deno.test("what never started ended at once, and nothing is said of a worker", () => {
  const one = cancellationOf({ status: "Cancelled", ending: null, cancel: CANCEL, endedAt: 9, token: 0 });
  assertEquals([one?.state, one?.sentence], ["ended", "It had not started, and ended at once."]);
});

Deno.test("what ended otherwise first says that the request came too late, a time limit included", () => {
  for (const status of ["Completed", "Failed", "TimedOut"] as const) {
    const one = stateOf(status, endingAt("signal", "timedOut"));
    assertEquals([one?.state, one?.rung], ["too-late", null]);
    assertStringIncludes(one?.sentence ?? "", `It ended as ${status} before`);
  }
});

Deno.test("the report's word on the signal counts, and its notice's where it is silent", () => {
  const before = noticed({
    occurrenceId: "o",
    scheduledFor: 1,
    token: 1,
    instanceId: "worker-1",
    cause: "cancelled",
    at: 3,
  });
  const report = (outcome: Outcome, signalledAt?: number) => ({
    outcome,
    instanceId: "worker-1",
    ...(signalledAt === undefined ? {} : { signalledAt }),
  });
  const cancelled: Outcome = { kind: "cancelled", rung: "signal" };
  assertEquals(endingOf(report(cancelled, 4), before)?.signalledAt, 4);
  assertEquals(endingOf(report(cancelled), before)?.signalledAt, 3);
  assertEquals(endingOf(report(cancelled), null)?.signalledAt, null);
  assertEquals(endingOf(report({ kind: "completed", result: null }), before), before);
  const timedOut = endingOf(report({ kind: "timedOut", rung: "killed", limitMs: 5 }, 4), null);
  assertEquals(timedOut, { cause: "timedOut", signalledAt: 4, instanceId: "worker-1", rung: "killed" });
});
