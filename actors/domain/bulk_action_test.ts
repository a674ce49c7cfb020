import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  afterCommand,
  afterStep,
  BULK_COMMANDS,
  BULK_STATES,
  type BulkAction,
  countRefusal,
  isEnded,
  isSettled,
  type ItemCounts,
  MAX_BULK_ITEMS,
  MAX_UNCOUNTED,
  mayBegin,
  NO_ITEMS,
  whyStop,
} from "./bulk_action.ts";

const counts: fc.Arbitrary<ItemCounts> = fc.record({
  waiting: fc.nat(50),
  on: fc.nat(20),
  succeeded: fc.nat(50),
  failed: fc.nat(50),
  skipped: fc.nat(50),
});

function action(changes: Partial<BulkAction> = {}): BulkAction {
  return {
    id: "a",
    kind: "replay",
    state: "running",
    selection: "{}",
    total: 1,
    counts: { ...NO_ITEMS, waiting: 1 },
    stateReason: null,
    createdAt: 1,
    changedAt: 1,
    endedAt: null,
    ratePerSecond: 10,
    canary: true,
    force: false,
    reason: null,
    by: "ann",
    ...changes,
  };
}

Deno.test("a canary begins one, ten, the rest, and each stage when all before it have ended", () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { maxLength: 200 }),
      fc.integer({ min: 1, max: 60 }),
      (ends, total) => {
        let now: ItemCounts = { ...NO_ITEMS, waiting: total };
        for (const isEnd of ends) {
          const begun = now.on + now.succeeded;
          const room = mayBegin(now, true);
          // What runs beside what: the first alone, the second to eleventh, the others.
          if (room > 0 && now.on > 0) assert(begun !== 1 && begun !== 11, `begun ${begun} with ${now.on} on`);
          assert(begun + room <= 1 || begun >= 1, "the first is alone");
          assert(begun + room <= 11 || begun >= 11, "the ten come before the rest");
          if (isEnd && now.on > 0) now = { ...now, on: now.on - 1, succeeded: now.succeeded + 1 };
          else if (room > 0) now = { ...now, waiting: now.waiting - 1, on: now.on + 1 };
        }
      },
    ),
  );
});

Deno.test("a canary stops for the error that was replayed, and when most of a stage failed", () => {
  const after = (counts: Partial<ItemCounts>) => whyStop({ ...NO_ITEMS, waiting: 5, ...counts }, null);
  const returned = { occurrenceId: "o", fingerprint: "f" };
  assertEquals(
    whyStop({ ...NO_ITEMS, succeeded: 3, on: 2 }, returned),
    "replay o ended in the same error (f)",
  );
  assertEquals(after({ failed: 1 }), "the first replay failed");
  assertEquals(after({ failed: 1, waiting: 0 }), null, "there is nothing to stop");
  assertEquals(after({ succeeded: 5, failed: 6 }), "6 of the first 11 replays failed");
  assertEquals(after({ succeeded: 6, failed: 5 }), null);
  assertEquals(after({ succeeded: 1, failed: 9, on: 1 }), null, "the stage is not over");
  assertEquals(after({ succeeded: 1, failed: 19 }), null, "the rest is on its way");
});

Deno.test("whatever has happened, something may begin once nothing is on, until none waits", () => {
  fc.assert(fc.property(counts, fc.boolean(), (some, canary) => {
    const room = mayBegin({ ...some, on: 0 }, canary);
    assertEquals(room > 0, some.waiting > 0);
    assert(mayBegin(some, canary) <= some.waiting);
    assertEquals(mayBegin(some, false), some.waiting);
  }));
});

Deno.test("no command and no step leaves a state that is an end", () => {
  const state = fc.constantFrom(...BULK_STATES);
  fc.assert(fc.property(state, counts, fc.constantFrom(...BULK_COMMANDS), (state, some, command) => {
    const before = action({ state, counts: some });
    const commanded = afterCommand(before, command, { by: "ann", at: 5 });
    const stepped = afterStep(before, "the first replay failed", 5);
    if (!isEnded(state)) {
      assert(commanded !== null);
      assertEquals(stepped.state, state === "running" ? "stopped" : state);
      return;
    }
    assert(commanded === null || commanded === before);
    assertEquals(stepped, before);
  }));
});

Deno.test("an action is complete when every item has its end, and settled when nothing is on any more", () => {
  fc.assert(fc.property(counts, (some) => {
    const after = afterStep(action({ counts: some }), null, 9);
    const isDone = some.waiting === 0 && some.on === 0;
    assertEquals(after.state, isDone ? "completed" : "running");
    assertEquals(after.endedAt, isDone ? 9 : null);
    assertEquals(isSettled(after), isDone);
    assertEquals(isSettled(action({ state: "cancelled", counts: some })), some.on === 0);
  }));
});

Deno.test("a filter of many is refused until their exact count is said; ids and few are not", () => {
  const by = (count: number, isFilter: boolean, expectedCount: number | null = null) =>
    countRefusal(count, { isFilter, expectedCount });
  assertEquals([by(0, true), by(0, true, 3)], ["none", "none"]);
  assertEquals([by(MAX_UNCOUNTED, true), by(MAX_UNCOUNTED + 1, true)], [null, "uncounted"]);
  assertEquals([by(1000, false), by(1000, true, 1000), by(1000, true, 999)], [null, null, "unexpected"]);
  assertEquals(by(MAX_BULK_ITEMS + 1, true, MAX_BULK_ITEMS + 1), "too-many");
});
