import { assertEquals } from "@std/assert";
import { admit, MAX_WAITING } from "./concurrency.ts";
import { CONCURRENCY_POLICIES } from "./job.ts";

const free = { count: 0, holder: null };
const held = { count: 1, holder: "first" };

Deno.test("a free job runs under every policy", () => {
  for (const policy of CONCURRENCY_POLICIES) assertEquals(admit(policy, free), { kind: "run" });
});

Deno.test("Skip names what is in the way, and a forced trigger runs all the same", () => {
  assertEquals(admit("Skip", held), { kind: "skip", because: "first" });
  assertEquals(admit("Skip", held, true), { kind: "run" });
});

Deno.test("Queue waits its turn, forced or not", () => {
  assertEquals(admit("Queue", held), { kind: "wait", behind: "first" });
  assertEquals(admit("Queue", held, true), { kind: "wait", behind: "first" });
});

Deno.test("Queue holds no more than its bound", () => {
  const nearlyFull = { count: MAX_WAITING, holder: "first" };
  assertEquals(admit("Queue", nearlyFull).kind, "wait");
  const full = { count: MAX_WAITING + 1, holder: "first" };
  assertEquals(admit("Queue", full), { kind: "full", because: "first", waiting: MAX_WAITING });
});

Deno.test("Allow never asks who else runs", () => {
  assertEquals(admit("Allow", { count: 5000, holder: "first" }), { kind: "run" });
});
