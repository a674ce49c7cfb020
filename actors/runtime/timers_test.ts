import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { NOTHING, type Sealed } from "./mailbox.ts";
import { ManualClock } from "./manual_clock.ts";
import { Timers } from "./timers.ts";

/** Timers with a mailbox that is opened by hand. */
function timersWithMailbox() {
  const clock = new ManualClock();
  const mailbox: Sealed[] = [];
  const timers = new Timers<string>(clock, (tick) => mailbox.push(tick));
  const open = () => mailbox.splice(0).map((tick) => tick.open()).filter((message) => message !== NOTHING);
  return { clock, timers, mailbox, open };
}

Deno.test("a timer gives its message once, when its delay has passed", async () => {
  const { clock, timers, open } = timersWithMailbox();
  timers.after("tick", 100, "tick");
  await clock.advance(99);
  assertEquals(open(), []);
  await clock.advance(1);
  assertEquals(open(), ["tick"]);
  await clock.advance(1000);
  assertEquals(open(), []);
  assertEquals(timers.size, 0);
});

Deno.test("a tick that waits in the mailbox is void once its timer is cancelled", async () => {
  const { clock, timers, mailbox, open } = timersWithMailbox();
  timers.after("tick", 100, "tick");
  await clock.advance(100);
  assertEquals(mailbox.length, 1);
  timers.cancel("tick");
  assertEquals(open(), []);
});

Deno.test("a tick that waits in the mailbox is void once its key is set anew", async () => {
  const { clock, timers, open } = timersWithMailbox();
  timers.after("tick", 100, "old");
  await clock.advance(100);
  timers.after("tick", 100, "new");
  assertEquals(open(), []);
  await clock.advance(100);
  assertEquals(open(), ["new"]);
});

Deno.test("a periodic timer leaves out ticks while one waits unread", async () => {
  const { clock, timers, mailbox, open } = timersWithMailbox();
  timers.every("tick", 10, "tick");
  await clock.advance(55);
  assertEquals(mailbox.length, 1);
  assertEquals(open(), ["tick"]);
  await clock.advance(4);
  assertEquals(open(), []);
  await clock.advance(1);
  assertEquals(open(), ["tick"]);
  timers.cancelAll();
  assertEquals(clock.timers, 0);
});

Deno.test("a periodic timer keeps its beat after a clock that came late, without a burst", () => {
  let now = 0;
  const due: { at: number; callback: () => void }[] = [];
  const ticks: number[] = [];
  const lateClock = {
    now: () => now,
    mono: () => now,
    timer(delayMs: number, callback: () => void) {
      due.push({ at: now + delayMs, callback });
      return () => {};
    },
  };
  const timers = new Timers<string>(lateClock, (tick) => {
    ticks.push(now);
    tick.open();
  });
  timers.every("tick", 10, "tick");
  for (const lateness of [0, 0, 37, 0, 3, 0]) {
    const next = due.shift();
    if (next === undefined) break;
    now = next.at + lateness;
    next.callback();
  }
  assertEquals(ticks, [10, 20, 67, 70, 83, 90]);
});

Deno.test("whatever is set, replaced and cancelled, exactly the live timers give their messages, in order", async () => {
  const steps = fc.array(
    fc.record({
      key: fc.constantFrom("a", "b", "c"),
      delayMs: fc.option(fc.integer({ min: 0, max: 50 }), { nil: null }),
      passMs: fc.integer({ min: 0, max: 30 }),
      read: fc.boolean(),
    }),
    { maxLength: 30 },
  );
  await fc.assert(fc.asyncProperty(steps, async (list) => {
    const { clock, timers, open } = timersWithMailbox();
    let live: { key: string; at: number; message: string }[] = [];
    const got: unknown[] = [];
    const expected: string[] = [];
    const read = () => {
      got.push(...open());
      const ripe = live.filter((timer) => timer.at <= clock.mono());
      expected.push(...ripe.sort((left, right) => left.at - right.at).map((timer) => timer.message));
      live = live.filter((timer) => timer.at > clock.mono());
    };
    for (const [index, step] of list.entries()) {
      live = live.filter((timer) => timer.key !== step.key);
      if (step.delayMs === null) timers.cancel(step.key);
      else {
        timers.after(step.key, step.delayMs, `${index}`);
        live.push({ key: step.key, at: clock.mono() + step.delayMs, message: `${index}` });
      }
      await clock.advance(step.passMs);
      if (step.read) read();
    }
    await clock.advance(100);
    read();
    assertEquals(got, expected);
    assertEquals([timers.size, clock.timers], [0, 0]);
  }));
});

Deno.test("a delay or period that makes no sense is refused", () => {
  const { timers } = timersWithMailbox();
  for (const delay of [-1, NaN, Infinity]) assertThrows(() => timers.after("a", delay, ""), RangeError);
  for (const period of [0, -1, NaN, Infinity]) assertThrows(() => timers.every("a", period, ""), RangeError);
  assertEquals(timers.size, 0);
});
