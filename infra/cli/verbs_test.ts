import { assertEquals, assertMatch } from "@std/assert";
import { Desk, json } from "../../tests/support/cli_desk.ts";

/** Verbs whose request is all there is to say. */
const REQUESTS: readonly (readonly [args: string, method: string, path: string, body: string])[] = [
  ["jobs get 1", "GET", "/api/v1/jobs/1", ""],
  ["jobs delete 1", "DELETE", "/api/v1/jobs/1", ""],
  [
    "jobs pause 1 --reason why --until 2027-01-01T00:00:00Z",
    "POST",
    "/api/v1/jobs/1/pause",
    '{"reason":"why","until":"2027-01-01T00:00:00Z"}',
  ],
  ["jobs resume 1", "POST", "/api/v1/jobs/1/resume", "{}"],
  ["jobs trigger 1 --data [1] --force", "POST", "/api/v1/jobs/1/trigger", '{"jobData":[1],"force":true}'],
  ["jobs next-runs 1 --count 3", "GET", "/api/v1/jobs/1/next-runs?count=3", ""],
  [
    "jobs next-runs --cron @daily --count 3",
    "POST",
    "/api/v1/schedules/next-runs",
    '{"cronExpression":"@daily","count":3}',
  ],
  ["jobs explain 1", "GET", "/api/v1/jobs/1/explain", ""],
  [
    "jobs explain 1 --at 2026-11-24T10:00:05Z",
    "GET",
    "/api/v1/jobs/1/explain?at=2026-11-24T10%3A00%3A05Z",
    "",
  ],
  ["occurrences explain 1", "GET", "/api/v1/occurrences/1/explain", ""],
  [
    "occurrences list --job 1 --from 2026-11-24T10:00:05Z",
    "GET",
    "/api/v1/occurrences?jobId=1&from=2026-11-24T10%3A00%3A05Z",
    "",
  ],
  ["occurrences get 1", "GET", "/api/v1/occurrences/1", ""],
  ["occurrences logs 1 --limit 5", "GET", "/api/v1/occurrences/1/logs?limit=5", ""],
  ["occurrences cancel 1 --reason why", "POST", "/api/v1/occurrences/1/cancel", '{"reason":"why"}'],
  ["workers list", "GET", "/api/v1/workers", ""],
  ["leadership", "GET", "/api/v1/leadership", ""],
  ["alerts list", "GET", "/api/v1/alerts", ""],
];

for (const [args, method, path, body] of REQUESTS) {
  Deno.test(`\`${args}\` asks ${method} ${path}`, async () => {
    await using desk = new Desk(() =>
      method === "DELETE" ? new Response(null, { status: 204 }) : json({ id: "1", items: [] })
    );
    assertEquals((await desk.run(args.split(" "))).code, 0);
    const { last } = desk;
    assertEquals([last.method, last.path, last.body], [method, path, body]);
  });
}

Deno.test("an id cannot lead to another path", async () => {
  await using desk = new Desk(() => json({}));
  for (const id of ["..", ".", "../jobs", "a/b?c#d", "%2e%2e"]) {
    await desk.run(["jobs", "get", id]);
    assertMatch(desk.last.path, /^\/api\/v1\/jobs\/[^/?#]+$/);
  }
});
