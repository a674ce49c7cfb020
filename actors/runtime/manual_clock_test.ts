import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { ManualClock } from "./manual_clock.ts";

Deno.test("time passes only when it is told to, for both clocks alike", async () => {
  const clock = new ManualClock({ now: 1000 });
  assertEquals([clock.now(), clock.mono()], [1000, 0]);
  await clock.advance(250);
  assertEquals([clock.now(), clock.mono()], [1250, 250]);
});

Deno.test("timers fire in order of their due time, equal ones in the order they were asked for", async () => {
  const delays = fc.array(fc.record({ delayMs: fc.integer({ min: 0, max: 20 }), cancelled: fc.boolean() }));
  await fc.assert(fc.asyncProperty(delays, async (list) => {
    const clock = new ManualClock();
    const fired: [number, number][] = [];
    list.forEach(({ delayMs, cancelled }, index) => {
      const cancel = clock.timer(delayMs, () => fired.push([clock.mono(), index]));
      if (cancelled) {
        cancel();
        cancel();
      }
    });
    await clock.advance(20);
    const expected = list.map(({ delayMs, cancelled }, index) => ({ delayMs, cancelled, index }))
      .filter(({ cancelled }) => !cancelled)
      .sort((left, right) => left.delayMs - right.delayMs)
      .map(({ delayMs, index }) => [delayMs, index]);
    assertEquals(fired as unknown[], expected);
    assertEquals(clock.timers, 0);
  }));
});

Deno.test("a timer that a timer sets fires on the same way when it is due on it", async () => {
  const clock = new ManualClock();
  const fired: number[] = [];
  clock.timer(10, () => {
    clock.timer(5, () => fired.push(clock.mono()));
    clock.timer(50, () => fired.push(clock.mono()));
  });
  await clock.advance(30);
  assertEquals(fired, [15]);
  await clock.advance(30);
  assertEquals(fired, [15, 60]);
});

Deno.test("what a timer causes settles before the next one fires", async () => {
  const clock = new ManualClock();
  const seen: string[] = [];
  clock.settleWith(() => Promise.resolve().then(() => void seen.push("settled")));
  clock.timer(1, () => seen.push("first"));
  clock.timer(2, () => seen.push("second"));
  await clock.advance(5);
  assertEquals(seen, ["settled", "first", "settled", "second", "settled"]);
});

Deno.test("a jump of the wall clock moves no timer and no monotonic time", async () => {
  const clock = new ManualClock({ now: 10_000 });
  let fired = false;
  clock.timer(100, () => fired = true);
  clock.setWall(5000);
  assertEquals([clock.now(), clock.mono(), fired], [5000, 0, false]);
  await clock.advance(100);
  assertEquals([clock.now(), clock.mono(), fired], [5100, 100, true]);
});
