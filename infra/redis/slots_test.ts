import { assertEquals } from "@std/assert";
import { SlotMap, slotOf } from "./slots.ts";

Deno.test("a key's slot is that of its hash tag, as Redis counts it", () => {
  // From the specification of Redis Cluster, and from CLUSTER KEYSLOT.
  assertEquals(["123456789", "foo", "{user1000}.following", "user1000", ""].map(slotOf), [
    12739,
    12182,
    3443,
    3443,
    0,
  ]);
  assertEquals(slotOf("foo{}{bar}"), 8363, "an empty tag is none");
  assertEquals(slotOf("foo{{bar}}zap"), slotOf("{bar"));
  assertEquals(slotOf("foo{bar}{zap}"), slotOf("bar"));
});

Deno.test("the map of slots knows masters, replicas, and slots that nobody serves or that have moved", () => {
  const map = new SlotMap([
    [0, 99, ["a", 1, "id"], ["b", 2, "id"]],
    [200, 16383, ["", 3, "id"]],
  ], { host: "asked", port: 9 });
  assertEquals([map.masterOf(0), map.masterOf(99), map.masterOf(100), map.masterOf(200)], [
    "a:1",
    "a:1",
    null,
    "asked:3",
  ]);
  assertEquals([...map.replicas.keys()], ["b:2"]);
  assertEquals(Object.fromEntries(map.counts), { "a:1": 100, "asked:3": 16_184 });
  map.move(7, { host: "c", port: 4 });
  assertEquals([map.masterOf(7), map.counts.get("a:1"), [...map.masters.keys()]], [
    "c:4",
    99,
    ["a:1", "asked:3", "c:4"],
  ]);
});
