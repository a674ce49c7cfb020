/** Cron expressions and time zones that are refused, those that come with a warning, and those that are right. */
import { assertEquals } from "@std/assert";
import { withApi } from "../support/api.ts";
import { type Case, CRON, job, JOBS, refuses } from "./bad_input.ts";

refuses("B26 cron expressions that are none", () =>
  [
    "60 * * * *",
    "*/0 * * * *",
    "5-1 * * * *",
    "a b c d e",
    "",
    "* * * *",
    "* * * * * * *",
    "1 2 3 4 5 6 7 8",
    "0 0 * * 8",
  ]
    .map((expression) => cron(expression, "cron_invalid")));

refuses(
  "B27 cron expressions that never come",
  () => [cron("0 0 30 2 *", "cron_never"), cron("0 0 31 4 *", "cron_never")],
);

refuses("B28 cron expressions beyond measure", () => [
  cron(Array(5000).fill("1").join().slice(0, 900) + " * * * *", "cron_too_long"),
  cron("*/999999 * * * *", "cron_invalid"),
  cron("99999999999 * * * *", "cron_invalid"),
]);

refuses("B30 cron words that are not supported", () => [
  cron("@reboot", "cron_unsupported"),
  cron("TZ=Europe/Berlin 0 0 * * *", "cron_unsupported"),
]);

refuses(
  "B31 zones that do not exist",
  () =>
    ["Mars/Olympus", "+03:00", "", "Europe/Berln"].map((timeZone) =>
      job(`zone ${timeZone}`, { ...CRON, timeZone }, [422, "zone_unknown", "timeZone"])
    ),
);

Deno.test("B29 runs that could bury a server are accepted with a warning", () =>
  withApi(async (api) => {
    const { status, body } = await api.post(JOBS, {
      ...CRON,
      cronExpression: "* * * * * *",
      concurrentExecutionPolicy: "Allow",
      executionTimeoutSeconds: 3600,
    });
    assertEquals([status, body.warnings.map(({ code }: { code: string }) => code)], [201, ["too_frequent"]]);
  }));

Deno.test("B30 the documented cron words are accepted, in either case", () =>
  withApi(async (api) => {
    for (
      const expression of [
        "0 0 L * *",
        "0 0 * * 5#2",
        "0 0 15W * *",
        "H H * * *",
        "0 0 ? * MON-fri",
        "0 0 1 jan *",
      ]
    ) {
      const { status, body } = await api.post(JOBS, { ...CRON, cronExpression: expression });
      assertEquals(status, 201, `${expression}: ${JSON.stringify(body)}`);
    }
  }));

function cron(expression: string, code: string): Case {
  return job(`cron ${JSON.stringify(expression.slice(0, 30))}`, { ...CRON, cronExpression: expression }, [
    422,
    code,
    "cronExpression",
  ]);
}
