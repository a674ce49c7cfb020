import { assert, assertEquals, assertThrows } from "@std/assert";
import { AttemptSignal } from "./attempt_signal.ts";
import { Cells, MOVED } from "./protocol.ts";

function begun() {
  const cells = Cells.of(1);
  cells.begin(0, 9);
  return { cells, attempt: new AttemptSignal(cells, 0, 9) };
}

Deno.test("a loop that polls sees the abort in shared memory, without any message", () => {
  const { cells, attempt } = begun();
  assertEquals(attempt.signal.aborted, false);
  attempt.signal.throwIfAborted();
  cells.flag(0, 9, MOVED);
  assertEquals(attempt.signal.aborted, false, "to be taken back is no abort");
  cells.flag(0, 9, "timeout");
  let heard = 0;
  attempt.signal.addEventListener("abort", () => heard += 1);
  assertThrows(() => attempt.signal.throwIfAborted(), DOMException, "The time limit is reached");
  assertEquals([attempt.signal.aborted, attempt.signal.reason.name, heard], [true, "TimeoutError", 1]);
});

Deno.test("an abort by message reaches listeners and derived signals once, with its own words", () => {
  const { cells, attempt } = begun();
  const heard: string[] = [];
  const derived = AbortSignal.any([attempt.signal]);
  derived.addEventListener("abort", () => heard.push(derived.reason.message));
  cells.flag(0, 9, "cancelled");
  attempt.abort("cancelled", "Wrong recipient");
  attempt.abort("stopping", "The worker is stopping");
  assertEquals(heard, ["Wrong recipient"]);
  assert(attempt.signal.aborted && attempt.signal.reason.name === "AbortError");
});
