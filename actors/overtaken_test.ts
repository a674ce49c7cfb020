import { assertEquals } from "@std/assert";
import { nextLookInMs, Overtaking } from "./overtaken.ts";
import { messageWith } from "../tests/support/messages.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const NOW = Date.UTC(2026, 0, 1, 12);

const message = messageWith({ scheduledFor: NOW - HOUR });
const ran = (agoMs: number, pool: string | null = null) => ({
  jobType: "SampleJob",
  pool,
  readyAt: NOW - agoMs,
});

Deno.test("it is looked at again after 30 s, each time twice as late, up to an hour; without a worker up to 5 min", () => {
  const after = (hasWorker: boolean) =>
    [0, 1, 3, 4, 7, 1000].map((looks) => nextLookInMs({ looks }, hasWorker));
  assertEquals(after(true), [30, 60, 240, 480, 3600, 3600].map((seconds) => seconds * SECOND));
  assertEquals(after(false), [30, 60, 240, 300, 300, 300].map((seconds) => seconds * SECOND));
});

const CASES: readonly (readonly [
  title: string,
  looks: number,
  running: Parameters<Overtaking["sees"]>[0],
  isOvertaken: boolean,
])[] = [
  ["nothing runs", 1, [], false],
  ["what runs is older than its last look", 1, [ran(31 * SECOND)], false],
  ["what runs became ready at about its last look", 1, [ran(25 * SECOND)], false],
  ["what runs became ready well after its last look", 1, [ran(19 * SECOND), ran(90 * SECOND)], true],
  ["that runs in a pool, of another queue", 1, [ran(SECOND, "mail")], false],
  ["it was looked at twice: its last look is a minute ago", 2, [ran(45 * SECOND)], true],
  ["it was never published, as far as known", 0, [ran(SECOND)], false],
  ["what runs became ready later than now", 1, [ran(-SECOND)], false],
];

for (const [title, looks, running, isOvertaken] of CASES) {
  Deno.test(`a row whose message waits is ${isOvertaken ? "" : "not "}overtaken: ${title}`, () => {
    const overtaking = new Overtaking();
    overtaking.sees(running, NOW);
    overtaking.sees([], NOW);
    assertEquals(overtaking.has({ message, looks }, NOW), isOvertaken);
    overtaking.forget();
    assertEquals(overtaking.has({ message, looks }, NOW), false);
  });
}
