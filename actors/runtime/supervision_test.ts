import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import { decide, DEFAULT_SUPERVISION, type Supervision } from "./supervision.ts";

const supervisions: fc.Arbitrary<Supervision> = fc.record({
  strategy: fc.constantFrom("one-for-one" as const, "all-for-one" as const),
  maxRestarts: fc.integer({ min: 0, max: 8 }),
  withinMs: fc.integer({ min: 1, max: 10_000 }),
  backoff: fc.record({
    firstMs: fc.integer({ min: 2, max: 1000 }),
    maxMs: fc.integer({ min: 1000, max: 5000 }),
  }),
});
const jitters = fc.integer({ min: 0, max: 999 }).map((thousandth) => thousandth / 1000);
const pauses = fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 40 });

Deno.test("no window of time ever sees more restarts than the budget", () => {
  fc.assert(fc.property(supervisions, pauses, jitters, (supervision, list, jitter) => {
    const granted: number[] = [];
    let restartedAt: readonly number[] = [];
    let now = 0;
    for (const pause of list) {
      now += pause;
      const directive = decide({
        supervision,
        restart: "on-crash",
        end: "crashed",
        restartedAt,
        now,
        jitter,
      });
      const inWindow = granted.filter((at) => now - at < supervision.withinMs).length;
      // It escalates exactly when one more would be over the budget, not before.
      assertEquals(directive.kind, inWindow >= supervision.maxRestarts ? "escalate" : "restart");
      if (directive.kind !== "restart") return;
      granted.push(now);
      restartedAt = directive.restartedAt;
      assertLessOrEqual(restartedAt.length, supervision.maxRestarts);
    }
  }));
});

Deno.test("a back-off lies between half of its step and the step, doubles, and keeps to its limit", () => {
  fc.assert(
    fc.property(supervisions, fc.integer({ min: 0, max: 7 }), jitters, (supervision, before, jitter) => {
      const directive = decide({
        supervision: { ...supervision, maxRestarts: 8 },
        restart: "on-crash",
        end: "crashed",
        restartedAt: Array.from({ length: before }, () => 0),
        now: 0,
        jitter,
      });
      assert(directive.kind === "restart");
      const step = Math.min(supervision.backoff.firstMs * 2 ** before, supervision.backoff.maxMs);
      assertLessOrEqual(Math.floor(step / 2), directive.delayMs);
      assertLessOrEqual(directive.delayMs, step);
    }),
  );
});

Deno.test("the rule of the child says which ends are restarted at all", () => {
  const table = [
    ["always", "stopped", "restart"],
    ["always", "crashed", "restart"],
    ["on-crash", "stopped", "end"],
    ["on-crash", "crashed", "restart"],
    ["never", "stopped", "end"],
    ["never", "crashed", "end"],
  ] as const;
  for (const [restart, end, kind] of table) {
    const directive = decide({
      supervision: DEFAULT_SUPERVISION,
      restart,
      end,
      restartedAt: [],
      now: 0,
      jitter: 0,
    });
    assertEquals(directive.kind, kind, `${restart}, ${end}`);
  }
});

Deno.test("a budget of no restarts escalates the first crash", () => {
  const supervision = { ...DEFAULT_SUPERVISION, maxRestarts: 0 };
  assertEquals(
    decide({ supervision, restart: "on-crash", end: "crashed", restartedAt: [], now: 0, jitter: 0 }),
    { kind: "escalate", restarts: 0 },
  );
});
