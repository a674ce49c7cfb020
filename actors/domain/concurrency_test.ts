import { assertEquals } from "@std/assert";
import { admit, MAX_WAITING, policyFor, triggerRefusal } from "./concurrency.ts";
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

Deno.test("a trigger finds room for all its items under Queue, or is refused", () => {
  const ask = (count: number, wanted: number) =>
    triggerRefusal("Queue", { count, holder: count === 0 ? null : "first" }, { wanted, isForced: true });
  assertEquals(ask(0, MAX_WAITING + 1), null);
  assertEquals(ask(MAX_WAITING, 1), null);
  assertEquals(ask(MAX_WAITING + 1, 1), {
    reason: "queue-full",
    occurrenceId: "first",
    waiting: MAX_WAITING,
    room: 0,
  });
  assertEquals(ask(MAX_WAITING - 1, 3), {
    reason: "queue-full",
    occurrenceId: "first",
    waiting: MAX_WAITING - 2,
    room: 2,
  });
});

Deno.test("Allow never asks who else runs", () => {
  assertEquals(admit("Allow", { count: 5000, holder: "first" }), { kind: "run" });
});

Deno.test("runs that catch up wait for one another under Skip, for each of them was asked for", () => {
  assertEquals(admit(policyFor("Skip", "catch-up"), held), { kind: "wait", behind: "first" });
  assertEquals(admit(policyFor("Skip", "schedule"), held), { kind: "skip", because: "first" });
  assertEquals(policyFor("Allow", "catch-up"), "Allow");
});
