import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Lanes } from "./lanes.ts";

/** Lanes, and the names of those that were woken, in turn. */
function open(total: number) {
  const lanes = new Lanes(total);
  const woken: string[] = [];
  return {
    lanes,
    woken,
    take: (key: string, wanted: number) => lanes.take(key, wanted, () => woken.push(key)),
    wait: (key: string) => lanes.wait(key, () => woken.push(key)),
  };
}

Deno.test("lanes: a freed lane is the first one's in line, whoever asks before it has looked", () => {
  const { lanes, woken, take } = open(1);
  assertEquals(take("busy", 1), 1);
  assertEquals([take("first", 1), take("second", 1)], [0, 0]);
  lanes.give(1);
  assertEquals([woken, take("busy", 1), take("second", 1)], [["first"], 0, 0]);
  assertEquals(take("first", 1), 1);
  lanes.give(1);
  assertEquals(woken, ["first", "second"]);
});

Deno.test("lanes: who gave its messages back still waits, and is not passed over by those with messages in hand", () => {
  const { lanes, woken, take, wait } = open(1);
  take("busy", 1);
  wait("paused");
  assertEquals(lanes.isWanted, true, "so that nothing is claimed ahead");
  take("another", 1);
  lanes.give(1);
  assertEquals([woken, take("busy", 1)], [["paused"], 0]);
  assertEquals([lanes.keep("paused"), take("paused", 1)], [true, 1], "kept until its message has come");
});

Deno.test("lanes: a lane that is not needed after all goes to the next in line, or is free", () => {
  const { lanes, woken, take, wait } = open(1);
  take("busy", 1);
  wait("paused");
  take("another", 1);
  lanes.give(1);
  lanes.leave("paused");
  assertEquals([woken, take("another", 1)], [["paused", "another"], 1]);
  lanes.give(1);
  assertEquals([lanes.free, lanes.isWanted], [1, false]);
});

Deno.test("lanes: of one that has ended nothing is left in line, and no lane is kept for it", () => {
  const { lanes, woken, take, wait } = open(2);
  take("busy", 2);
  for (const key of ["ended", "gone", "another"]) wait(key);
  lanes.give(1);
  lanes.forget("gone");
  lanes.forget("ended");
  assertEquals([woken, lanes.isWanted], [["ended", "another"], false]);
});

Deno.test("property: no lane is lost or made, and none is free while somebody waits", () => {
  const who = fc.constantFrom("a", "b", "c", "d");
  const step = fc.record({ what: fc.constantFrom("take", "give", "wait", "keep", "leave", "forget"), who });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step), (total, steps) => {
      const { lanes, take, wait } = open(total);
      const held = new Map<string, number>();
      for (const { what, who } of steps) {
        const has = held.get(who) ?? 0;
        if (what === "take") held.set(who, has + take(who, 2));
        else if (what === "give" && has > 0) {
          held.set(who, has - 1);
          lanes.give(1);
        } else if (what === "wait" && lanes.free === 0) wait(who);
        else if (what === "keep") lanes.keep(who);
        else if (what === "leave") lanes.leave(who);
        else if (what === "forget") lanes.forget(who);
        if (lanes.isWanted) assertEquals(lanes.free, 0);
      }
      for (const key of ["a", "b", "c", "d"]) lanes.forget(key);
      const taken = [...held.values()].reduce((sum, one) => sum + one, 0);
      assertEquals(lanes.free, total - taken);
    }),
  );
});
