import { assertEquals, assertThrows } from "@std/assert";
import {
  isFinal,
  mayBecome,
  OCCURRENCE_STATUSES,
  type OccurrenceStatus,
  statusesBefore,
  statusNumber,
  statusOf,
} from "./occurrence.ts";

// Design §3, written out a second time on purpose.
const EDGES: Readonly<Record<OccurrenceStatus, string>> = {
  Queued: "Running Failed Cancelled",
  Running: "Queued Completed Failed Cancelled TimedOut Unknown",
  Completed: "",
  Failed: "",
  Cancelled: "",
  TimedOut: "",
  Unknown: "Queued Running Failed Cancelled",
  Skipped: "",
};

Deno.test("a status may become exactly those that the design lists", () => {
  for (const from of OCCURRENCE_STATUSES) {
    const reached = OCCURRENCE_STATUSES.filter((to) => mayBecome(from, to)).join(" ");
    assertEquals(reached, EDGES[from], from);
  }
});

Deno.test("the guard of an update lists every status from which it may be entered", () => {
  for (const to of OCCURRENCE_STATUSES) {
    assertEquals(statusesBefore(to), OCCURRENCE_STATUSES.filter((from) => mayBecome(from, to)));
  }
  assertEquals(statusesBefore("Running"), ["Queued", "Unknown"]);
  assertEquals(statusesBefore("Skipped"), []);
});

Deno.test("a final status has no way out", () => {
  const final = OCCURRENCE_STATUSES.filter(isFinal);
  assertEquals(final, ["Completed", "Failed", "Cancelled", "TimedOut", "Skipped"]);
});

Deno.test("statuses keep their numbers on the wire", () => {
  assertEquals(OCCURRENCE_STATUSES.map(statusNumber), [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals(OCCURRENCE_STATUSES.map((_, number) => statusOf(number)), [...OCCURRENCE_STATUSES]);
  assertThrows(() => statusOf(8), RangeError);
  assertThrows(() => statusOf(-1), RangeError);
});
