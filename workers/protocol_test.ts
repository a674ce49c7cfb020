import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Cells, MOVED } from "./protocol.ts";

Deno.test("an attempt that is flagged before it begins never begins, and the host knows", () => {
  const cells = Cells.of(2);
  assertEquals(cells.flag(1, 17, "cancelled"), false);
  assertEquals(cells.begin(1, 17), false);
  assertEquals(cells.aborted(1, 17), "cancelled");
});

Deno.test("a flag on a running attempt is an abort, unless it was to be taken back", () => {
  const cells = Cells.of(1);
  assert(cells.begin(0, 5));
  assertEquals([cells.running(0), cells.aborted(0, 5)], [5, null]);
  assertEquals(cells.flag(0, 5, MOVED), true);
  assertEquals(cells.aborted(0, 5), null);
  assertEquals(cells.flag(0, 5, "timeout"), true);
  assertEquals(cells.aborted(0, 5), "timeout");
  cells.end(0, 5);
  assertEquals(cells.running(0), 0);
  assertEquals(cells.flag(0, 5, "timeout"), true, "it has ended: its last word is on the way");
});

Deno.test("property: in every order of their steps, guest and host never both believe that the other will act", () => {
  // Guest: stores its state, then reads the flag. Host: stores the flag, then reads the state.
  fc.assert(fc.property(fc.shuffledSubarray(["guest", "host"]), fc.boolean(), (order, other) => {
    const cells = Cells.of(1);
    if (other) cells.begin(0, 1);
    let starts = false;
    let hostSeesIt = false;
    for (const who of order) {
      if (who === "guest") starts = cells.begin(0, 2);
      else hostSeesIt = cells.flag(0, 2, "stopping");
    }
    if (order.length === 2) assert(!starts || hostSeesIt);
  }));
});
