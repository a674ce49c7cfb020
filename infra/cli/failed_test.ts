/** The verbs on dead letters and bulk actions against the real API: what they ask is what it understands. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Outcome } from "../../actors/domain/message.ts";
import { type TestApi, withApi } from "../../tests/support/api.ts";
import { runCommand } from "../../tests/support/cli_desk.ts";

const TIMED_OUT: Outcome = { kind: "timedOut", rung: "killed", limitMs: 2500 };

function run(api: TestApi, ...args: readonly string[]) {
  return answering(api, null, ...args);
}

/** At a terminal where a person types this line; null: no terminal. */
function answering(api: TestApi, line: string | null, ...args: readonly string[]) {
  const readable = line === null ? new ReadableStream<Uint8Array>() : new Response(`${line}\n`).body;
  assert(readable !== null);
  return runCommand(args, {
    standardInput: { isTerminal: () => line !== null, readable },
    canAsk: line !== null,
    env: { MILVAION_URL: "http://127.0.0.1:5000" },
    fetch: async (input, init) => await api.api.app.request(new Request(input, init)),
  });
}

async function failedOne(api: TestApi, jobId: string): Promise<string> {
  const id = await api.trigger(jobId);
  await api.run(id, TIMED_OUT);
  return id;
}

Deno.test("failed list, groups, show, resolve and reopen speak of the same failure", () =>
  withApi(async (api) => {
    const jobId = await api.createJob();
    const id = await failedOne(api, jobId);
    const list = await run(
      api,
      "failed",
      "list",
      "--job",
      jobId,
      "--kind",
      "timed-out",
      "--resolved",
      "false",
    );
    assertEquals(list.code, 0, list.error);
    assertMatch(list.out, new RegExp(`${id}.*SampleJob.*timed-out.*TimedOut: Ran longer`));
    assertMatch((await run(api, "failed", "groups")).out, /COUNT[\s\S]* 1 /);
    assertMatch((await run(api, "failed", "show", id)).out, /fingerprint/);
    const resolved = await run(api, "failed", "resolve", id, "--action", "Ignored", "--note", "slow day");
    assertEquals([resolved.code, resolved.out], [0, `Failed occurrence ${id} is resolved.\n`]);
    const other = await run(api, "failed", "resolve", id, "--action", "Fixed", "--note", "no");
    assertEquals(other.code, 1, "refused by the present state");
    assertEquals((await run(api, "failed", "resolve", id, "--note", "no action")).code, 64);
    assertEquals((await run(api, "failed", "resolve", id, "--action", "Shrug", "--note", "n")).code, 64);
    assertEquals((await run(api, "failed", "reopen", id)).code, 0);
    assertEquals((await run(api, "failed", "list", "--fingerprint", "zz")).code, 65);
    assertEquals((await run(api, "failed", "show", jobId)).code, 66);
  }));

Deno.test("failed resolve takes a filter as well, and says how many", () =>
  withApi(async (api) => {
    const jobId = await api.createJob();
    const id = await failedOne(api, jobId);
    await failedOne(api, jobId);
    const how = ["--action", "Ignored", "--note", "storm"];
    assertEquals((await run(api, "failed", "resolve", id, "--job", jobId, ...how)).code, 64);
    assertEquals((await run(api, "failed", "resolve", "--job", jobId, "--expect", "3", ...how)).code, 1);
    const all = await run(api, "failed", "resolve", "--job", jobId, "--expect", "2", ...how);
    assertEquals([all.code, all.out], [0, "2 failed occurrences are resolved.\n"]);
  }));

Deno.test("failed replay runs one, counts many, and makes a bulk action that bulk steers", () =>
  withApi(async (api) => {
    const jobId = await api.createJob();
    const id = await failedOne(api, jobId);
    await failedOne(api, jobId);
    const one = await run(api, "failed", "replay", id, "--data", '{"a":1}', "--reason", "again");
    assertEquals(one.code, 0, one.error);
    assertMatch(one.out, new RegExp(`^Occurrence .* replays ${id}`));
    assertEquals((await run(api, "failed", "replay", id)).code, 1, "it is being replayed");
    const dry = await run(
      api,
      "failed",
      "replay",
      "--type",
      "SampleJob",
      "--kind",
      "timed-out,failed",
      "--dry-run",
    );
    assertEquals(dry.code, 0, dry.error);
    assertMatch(dry.error, /2 match\. Nothing was done/);
    const asked = [
      "failed",
      "replay",
      "--job",
      jobId,
      "--expect",
      "2",
      "--rate",
      "5",
      "--no-canary",
      "-o",
      "json",
    ];
    const action = JSON.parse((await run(api, ...asked)).out);
    assertEquals([action.total, action.ratePerSecond, action.canary], [2, 5, false]);
    assertMatch((await run(api, "bulk", "list")).out, new RegExp(`${action.id}.*replay.*running.*0/2`));
    assertMatch((await run(api, "bulk", "show", action.id)).out, /progress/);
    assertEquals((await run(api, "bulk", "pause", action.id)).out, `Bulk action ${action.id} is paused.\n`);
    assertEquals((await run(api, "bulk", "resume", action.id)).code, 0);
    assertEquals((await run(api, "bulk", "cancel", action.id)).code, 0);
    assertEquals((await run(api, "bulk", "resume", action.id)).code, 1);
  }));

Deno.test("bulk verbs without a filter, or with one beside an id, are refused before anything is asked", () =>
  withApi(async (api) => {
    assertEquals((await run(api, "failed", "replay")).code, 64);
    assertEquals((await run(api, "occurrences", "cancel-many")).code, 64);
    const id = await failedOne(api, await api.createJob());
    assertEquals((await run(api, "failed", "replay", id, "--type", "SampleJob")).code, 64);
    assertEquals((await run(api, "failed", "replay", "--type", "A", "--data", "{}")).code, 64);
    assertEquals((await run(api, "failed", "replay", "--resolved", "false")).code, 65, "that is everything");
  }));

Deno.test("occurrences cancel-many counts, then cancels what matches", () =>
  withApi(async (api) => {
    const id = await api.trigger(await api.createJob());
    const dry = await run(api, "occurrences", "cancel-many", "--status", "Queued,Running", "--dry-run");
    assertEquals(dry.code, 0, dry.error);
    assertMatch(dry.out, new RegExp(id));
    const done = await run(api, "occurrences", "cancel-many", "--ids", id, "--reason", "not needed");
    assertMatch(done.out, /under way over 1/);
    assertEquals((await run(api, "occurrences", "cancel-many", "--status", "Completed")).code, 65);
  }));

Deno.test("at a terminal a bulk action shows exactly what matches, and asks before it begins", () =>
  withApi(async (api) => {
    const jobId = await api.createJob({ concurrentExecutionPolicy: "Allow" });
    const items = Array.from({ length: 101 }, () => ({}));
    await api.post(`/api/v1/jobs/${jobId}/trigger-many`, { items });
    const args = ["occurrences", "cancel-many", "--job", jobId];
    const blind = await run(api, ...args);
    assertEquals(blind.code, 1, "without a terminal the number has to be given");
    assertMatch(blind.error, /101 match, more than 100/);
    for (const line of ["", "n", "101"]) {
      const refused = await answering(api, line, ...args);
      assertEquals([refused.code, refused.out], [1, ""]);
      assertMatch(refused.error, /101 match\. Cancel them\? \[y\/N\] error: Nothing was done/);
    }
    assertEquals((await api.get("/api/v1/bulk-actions")).body.items, []);
    const done = await answering(api, "y", ...args, "--reason", "storm");
    assertEquals(done.code, 0, done.error);
    assertMatch(done.out, /under way over 101/);
    assertEquals((await answering(api, "n", "failed", "replay", "--job", jobId)).code, 1, "nothing matches");
  }));
