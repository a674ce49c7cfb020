import { assertEquals, assertStringIncludes } from "@std/assert";
import { tooFrequent } from "./frequency.ts";
import type { Schedule } from "./schedule.ts";

const everySecond: Schedule = {
  kind: "cron",
  expression: "* * * * * *",
  resolved: "* * * * * *",
  timeZone: "UTC",
  gap: "RunAtNextValid",
  fold: "First",
};

Deno.test("B29: every second under Allow with an hour's limit is warned of, with the number of runs", () => {
  const warning = tooFrequent({ schedule: everySecond, policy: "Allow", executionTimeoutSeconds: 3600 }, 0);
  assertEquals(warning?.code, "too_frequent");
  assertStringIncludes(warning?.message ?? "", "3600 runs");
});

Deno.test("B29: short limits, other policies and schedules that come once are not warned of", () => {
  const limit = { executionTimeoutSeconds: 3600 };
  const once: Schedule = { kind: "once", executeAt: 1000 };
  assertEquals(tooFrequent({ schedule: everySecond, policy: "Allow", executionTimeoutSeconds: 60 }, 0), null);
  assertEquals(
    tooFrequent({ schedule: everySecond, policy: "Allow", executionTimeoutSeconds: null }, 0),
    null,
  );
  assertEquals(tooFrequent({ schedule: everySecond, policy: "Skip", ...limit }, 0), null);
  assertEquals(tooFrequent({ schedule: everySecond, policy: "Queue", ...limit }, 0), null);
  assertEquals(tooFrequent({ schedule: once, policy: "Allow", ...limit }, 0), null);
});
