import { assertEquals } from "@std/assert";
import { SubscribeTries } from "./subscribe_tries.ts";

/** Looks once a second while the broker is away from `from` to `to`; when it was tried, and what was news. Seconds. */
function outage(from: number, to: number, until: number) {
  const tries = new SubscribeTries();
  const [tried, news]: [number[], number[]] = [[], []];
  for (let at = from; at <= until; at += 1) {
    const isUp = at >= to;
    if (at > from && !tries.isTime(isUp, at * 1000)) continue;
    tried.push(at);
    if (isUp) return { tried, news, wasFailing: tries.succeeded() };
    if (tries.failed("not connected", false, at * 1000)) news.push(at);
  }
  return { tried, news, wasFailing: false };
}

Deno.test("a broker that is away is asked for less and less, each ten seconds in the end, and complained of once", () => {
  assertEquals(outage(0, 100, 60), { tried: [0, 1, 3, 7, 15, 25, 35, 45, 55], news: [0], wasFailing: false });
});

Deno.test("however long the broker was away, it is tried again with the first look after it is back", () => {
  for (let back = 1; back < 60; back += 1) {
    const { tried, news, wasFailing } = outage(0, back, 100);
    assertEquals([tried.at(-1), news, wasFailing], [back, [0], true]);
  }
});

Deno.test("a broker that is back and not ready yet is asked again after a second, and another reason is news", () => {
  const tries = new SubscribeTries();
  for (let at = 0; at < 30_000; at += 1000) {
    if (at === 0 || tries.isTime(false, at)) tries.failed("not connected", false, at);
  }
  assertEquals(tries.isTime(true, 30_000), true);
  assertEquals(tries.failed("the queue is another", true, 30_000), true);
  assertEquals([tries.isTime(true, 30_999), tries.isTime(true, 31_000)], [false, true]);
  assertEquals(tries.failed("the queue is another", true, 31_000), false);
  tries.succeeded();
  assertEquals([tries.succeeded(), tries.failed("not connected", false, 40_000)], [false, true]);
});
