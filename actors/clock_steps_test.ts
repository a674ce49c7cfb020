import { assertEquals } from "@std/assert";
import { ClockSteps } from "./clock_steps.ts";
import { ManualClock } from "./runtime/manual_clock.ts";

Deno.test("a wall clock that is set by more than five seconds is noticed once, back and forth", async () => {
  const clock = new ManualClock();
  const steps = new ClockSteps(clock);
  for (const byMs of [-3_600_000, 3_600_000, -5001, 5001]) {
    await clock.advance(60_000);
    assertEquals(steps.look(), null, "time that passes is no step");
    const from = clock.now();
    clock.setWall(from + byMs);
    assertEquals(steps.look(), { byMs, from, to: from + byMs });
    assertEquals(steps.look(), null);
  }
});

Deno.test("small corrections are none, however many", async () => {
  const clock = new ManualClock();
  const steps = new ClockSteps(clock);
  for (let count = 0; count < 20; count += 1) {
    await clock.advance(1000);
    clock.setWall(clock.now() - 5000);
    assertEquals(steps.look(), null);
  }
});
