/** The verbs that make and change jobs: what they send, and wishes that are none. */
import { assertEquals, assertMatch } from "@std/assert";
import { Desk, JOB, json, runCommand, withFile } from "../../tests/support/cli_desk.ts";
import type { VerbWorld } from "./run_verb.ts";

Deno.test("jobs create sends what the flags say", async () => {
  await using desk = new Desk(() =>
    json({ ...JOB, warnings: [{ code: "no_worker_for_type", message: "No worker." }] })
  );
  const { code, out, error } = await desk.run([
    ...["jobs", "create", "--name", "Hello", "--type", "SampleJob", "--cron", "*/5 * * * * *"],
    ...[
      "--data",
      '{"message":"hi"}',
      "--tag",
      "a",
      "--tag",
      "b",
      "--max-retries",
      "2",
      "--allow-unknown-type",
    ],
  ]);
  assertEquals(code, 0);
  assertEquals([desk.last.method, desk.last.path], ["POST", "/api/v1/jobs?allowUnknownType=true"]);
  assertEquals(JSON.parse(desk.last.body), {
    displayName: "Hello",
    jobType: "SampleJob",
    cronExpression: "*/5 * * * * *",
    tags: ["a", "b"],
    maxRetries: 2,
    jobData: { message: "hi" },
  });
  assertMatch(out, /^id +019aaf3e/);
  assertEquals(error, "warning: No worker.\n");
});

Deno.test("jobs create sends a file letter for letter, and flags over it when there are any", async () => {
  await using desk = new Desk(() => json(JOB));
  const text = '{ "displayName": "A",\n  "triggerOnly": true }';
  await withFile(new TextEncoder().encode(text), async (path) => {
    assertEquals((await desk.run(["jobs", "create", "--file", path])).code, 0);
    assertEquals(desk.last.body, text);
    assertEquals((await desk.run(["jobs", "create", "--file", path, "--cron", "0 0 * * *"])).code, 0);
    assertEquals(JSON.parse(desk.last.body), { displayName: "A", cronExpression: "0 0 * * *" });
  });
});

Deno.test("jobs create reads a job from a pipe", async () => {
  await using desk = new Desk(() => json(JOB));
  const { code } = await desk.run(["jobs", "create", "--file", "-"], standardInput('{"displayName":"A"}'));
  assertEquals([code, desk.last.body], [0, '{"displayName":"A"}']);
});

Deno.test("jobs update changes what the flags name, of the version that was read", async () => {
  await using desk = new Desk(() => json(JOB, { etag: '"3"' }));
  const { code } = await desk.run([
    "jobs",
    "update",
    JOB.id,
    "--at",
    "2027-01-01T00:00:00Z",
    "--name",
    "New",
  ]);
  assertEquals(code, 0);
  assertEquals(desk.asked.map(({ method }) => method), ["GET", "PUT"]);
  assertEquals(desk.last.headers.get("if-match"), '"3"');
  assertEquals(JSON.parse(desk.last.body), {
    displayName: "New",
    description: "",
    tags: ["a"],
    jobType: "SampleJob",
    jobData: { message: "hi" },
    executeAt: "2027-01-01T00:00:00Z",
    timeZone: "UTC",
    isActive: true,
  });
});

Deno.test("B44 contradictions and empty wishes end with 64", async () => {
  for (const args of ["jobs create", "jobs update 1", "jobs next-runs", "jobs next-runs 1 --cron x"]) {
    const { code, error } = await runCommand(args.split(" "), {});
    assertEquals(code, 64, args);
    assertMatch(error, /\nhint: /);
  }
});

Deno.test("B44 data that is not JSON ends with 65", async () => {
  assertEquals((await runCommand(["jobs", "trigger", "1", "--data", "{x"], {})).code, 65);
});

function standardInput(text: string): Pick<VerbWorld, "standardInput"> {
  const readable = ReadableStream.from([new TextEncoder().encode(text)]);
  return { standardInput: { isTerminal: () => false, readable } };
}

Deno.test("retries, misfire, limits, auto-disable and retention have flags, which change only what they name", async () => {
  const kept = {
    ...JOB,
    autoDisable: { isEnabled: true, failures: 9, windowMinutes: 30, cooldownMinutes: 5 },
    retention: { completedDays: 1, failedDays: 2, keepLast: 3 },
  };
  await using desk = new Desk(() => json(kept, { etag: '"3"' }));
  const flags = [
    ...["--retry-delay", "2", "--max-retry-delay", "60", "--retry-budget", "600"],
    ...["--retry-on", "HttpError", "--fail-on", "*ValidationError", "--retry-on", "Timeout*"],
    ...["--misfire", "FireAll", "--misfire-limit", "7", "--run-limit", "12"],
    ...["--start-at", "2027-01-01T00:00:00Z", "--end-at", "2027-02-01T00:00:00Z"],
    ...["--auto-disable-after", "4", "--keep-failed", "90"],
  ];
  const given = {
    baseRetryDelaySeconds: 2,
    maxRetryDelaySeconds: 60,
    retryBudgetSeconds: 600,
    retryRules: [
      { error: "*ValidationError", action: "fail" },
      { error: "HttpError", action: "retry" },
      { error: "Timeout*", action: "retry" },
    ],
    misfirePolicy: "FireAll",
    misfireLimit: 7,
    runLimit: 12,
    startAt: "2027-01-01T00:00:00Z",
    endAt: "2027-02-01T00:00:00Z",
  };
  assertEquals((await desk.run(["jobs", "create", ...flags])).code, 0);
  assertEquals(JSON.parse(desk.last.body), {
    ...given,
    autoDisable: { failures: 4 },
    retention: { failedDays: 90 },
  });

  assertEquals((await desk.run(["jobs", "update", JOB.id, ...flags])).code, 0);
  const sent = JSON.parse(desk.last.body);
  for (const [field, value] of Object.entries(given)) assertEquals(sent[field], value, field);
  assertEquals(sent.autoDisable, { ...kept.autoDisable, failures: 4 });
  assertEquals(sent.retention, { completedDays: 1, failedDays: 90, keepLast: 3 });

  assertEquals((await desk.run(["jobs", "create", "--auto-disable", "off"])).code, 0);
  assertEquals(JSON.parse(desk.last.body), { autoDisable: { isEnabled: false } });
  assertEquals((await desk.run(["jobs", "create", "--misfire", "Never"])).code, 64);
});
