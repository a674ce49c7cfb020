import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { localTime, offsetText, parseTimeZone, periodAt } from "./zone.ts";

Deno.test("B31: IANA names are taken in any case, old ones too, and spelled as usual", () => {
  for (
    const [given, zone] of [
      ["Europe/Berlin", "Europe/Berlin"],
      ["europe/berlin", "Europe/Berlin"],
      ["EST5EDT", "EST5EDT"],
      ["US/Eastern", "US/Eastern"],
      ["utc", "UTC"],
      ["Etc/GMT-3", "Etc/GMT-3"],
    ] as const
  ) assertEquals(parseTimeZone(given), { ok: true, zone });
});

const UNKNOWN: readonly (readonly [given: string, named: string])[] = [
  ["Mars/Olympus", "Europe/Berlin"],
  ["", "Europe/Berlin"],
  ["europe/berln", "Europe/Berlin"],
  ["Berlin", "Europe/Berlin"],
  ["America/NewYork", "America/New_York"],
  ["+03:00", "Etc/GMT-3"],
  ["-5", "Etc/GMT+5"],
  ["UTC+2", "Etc/GMT-2"],
  ["+00:00", "Etc/UTC"],
  ["+05:30", "Asia/Kolkata"],
  ["Z", "UTC"],
  ["2026-01-01T00:00[Europe/Berlin]", "Europe/Berlin"],
  ["Europe/Berlin ", "Europe/Berlin"],
  ["x".repeat(5000), "UTC"],
];

for (const [given, named] of UNKNOWN) {
  Deno.test(`B31: the zone "${given.slice(0, 40)}" is zone_unknown, and ${named} is named`, () => {
    const answer = parseTimeZone(given);
    assert(!answer.ok);
    assertEquals(answer.problem.code, "zone_unknown");
    assertEquals(answer.problem.field, "timeZone");
    assertStringIncludes(answer.problem.message, named);
  });
}

Deno.test("a period holds the moment asked for, and its neighbours begin where it ends", () => {
  const at = Date.UTC(2026, 6, 1);
  const summer = periodAt("Europe/Berlin", at);
  assertEquals(summer, {
    start: Date.UTC(2026, 2, 29, 1),
    end: Date.UTC(2026, 9, 25, 1),
    offset: 7_200_000,
    offsetBefore: 3_600_000,
  });
  assertEquals(periodAt("Europe/Berlin", summer.start), summer);
  assertEquals(periodAt("Europe/Berlin", summer.start - 1).end, summer.start);
  assertEquals(periodAt("Europe/Berlin", summer.end).start, summer.end);
  assertEquals(periodAt("UTC", at), { start: -Infinity, end: Infinity, offset: 0, offsetBefore: 0 });
});

Deno.test("periods of every zone follow on each other, and each change changes the offset", () => {
  for (const zone of Intl.supportedValuesOf("timeZone")) {
    let period = periodAt(zone, 0);
    while (period.end < Date.UTC(2040, 0)) {
      const following = periodAt(zone, period.end);
      assertEquals(following.start, period.end, zone);
      assertEquals(following.offsetBefore, period.offset, zone);
      assert(following.offset !== period.offset, zone);
      period = following;
    }
  }
});

Deno.test("local times and offsets are those of the clocks", () => {
  const gap = Date.UTC(2026, 2, 29, 1);
  assertEquals(localTime("Europe/Berlin", gap - 1000), "2026-03-29T01:59:59");
  assertEquals(localTime("Europe/Berlin", gap), "2026-03-29T03:00:00");
  assertEquals(offsetText("Europe/Berlin", gap), "+02:00");
  assertEquals(offsetText("Asia/Kathmandu", gap), "+05:45");
});
