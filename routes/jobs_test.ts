import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { SAMPLE, START, type TestApi, withApi } from "../tests/support/api.ts";
import { offer } from "../tests/support/in_process_pool.ts";

const HELLO = {
  displayName: "Hello",
  jobType: "SampleJob",
  cronExpression: "*/5 * * * * *",
  concurrentExecutionPolicy: 0,
  jobData: { message: "hi" },
};

async function read(api: TestApi, id: string) {
  return (await api.get(`/api/v1/jobs/${id}`)).body;
}

Deno.test("a job is created as the README says, with defaults, its next due time, Location and ETag", () =>
  withApi(async (api) => {
    const { status, body, headers } = await api.post("/api/v1/jobs", HELLO);
    assertEquals(status, 201);
    assertEquals(headers.get("location"), `/api/v1/jobs/${body.id}`);
    assertEquals(headers.get("etag"), '"1"');
    assertEquals(body.concurrentExecutionPolicy, "Skip");
    assertEquals(body.jobData, { message: "hi" });
    assertEquals([body.timeZone, body.isActive, body.maxRetries, body.warnings], ["UTC", true, null, []]);
    assertEquals(body.createdAt, "2026-11-24T10:00:00.000Z");
    assertEquals(body.nextDueAt, "2026-11-24T10:00:05.000Z");
    assertEquals(await read(api, body.id), body);
  }));

Deno.test("a saved job is in the due index, and the dispatcher is told", () =>
  withApi(async (api) => {
    const told: string[] = [];
    const stop = api.adapters.events.subscribe(["jobChanged"], (events) => {
      for (const event of events) if (event.type === "jobChanged") told.push(event.jobId);
    });
    const id = await api.createJob({ triggerOnly: false, cronExpression: "0 0 12 * * *" });
    assertEquals(await api.adapters.dueIndex.nextAt(), START + 2 * 3_600_000);
    await api.send("DELETE", `/api/v1/jobs/${id}`);
    assertEquals(await api.adapters.dueIndex.nextAt(), null);
    assertEquals(told, [id, id]);
    stop();
  }));

Deno.test("a job is replaced by whoever read its version, and by nobody else", () =>
  withApi(async (api) => {
    const id = await api.createJob({ tags: ["a"] });
    const change = { ...SAMPLE, displayName: "Changed" };
    const first = await api.send("PUT", `/api/v1/jobs/${id}`, change, { "if-match": '"1"' });
    assertEquals([first.status, first.headers.get("etag"), first.body.version], [200, '"2"', 2]);
    assertEquals([first.body.displayName, first.body.tags], ["Changed", []]);
    const second = await api.send("PUT", `/api/v1/jobs/${id}`, change, { "if-match": '"1"' });
    assertEquals([second.status, second.body.code], [409, "version_conflict"]);
    assertEquals(second.body.current.version, 2);
    const forced = await api.send("PUT", `/api/v1/jobs/${id}`, change, { "if-match": "*" });
    assertEquals(forced.body.version, 3);
  }));

Deno.test("a job that was read can be written back, and a one-shot job whose moment has passed as well", () =>
  withApi(async (api) => {
    const id = await api.createJob({ triggerOnly: false, executeAt: "2026-11-24T10:00:01+00:00" });
    await api.clock.advance(10_000);
    const { displayName, jobType, executeAt, maxRetries, jobData } = await read(api, id);
    const again = { displayName, jobType, executeAt, maxRetries, jobData };
    const answer = await api.send("PUT", `/api/v1/jobs/${id}`, again, { "if-match": '"1"' });
    assertEquals(answer.status, 200, JSON.stringify(answer.body));
  }));

Deno.test("a pause is kept beside the definition and survives its change", () =>
  withApi(async (api) => {
    const id = await api.createJob();
    const until = "2026-11-25T10:00:00.000Z";
    const paused = await api.post(`/api/v1/jobs/${id}/pause`, { reason: "maintenance", until });
    assertEquals(paused.body.pause, {
      reason: "maintenance",
      by: "api",
      since: "2026-11-24T10:00:00.000Z",
      until,
    });
    assertEquals(paused.body.version, 1);
    await api.send("PUT", `/api/v1/jobs/${id}`, SAMPLE, { "if-match": '"1"' });
    assertEquals((await read(api, id)).pause.reason, "maintenance");
    assertEquals((await api.get("/api/v1/jobs?isPaused=true")).body.items.length, 1);
    const resumed = await api.post(`/api/v1/jobs/${id}/resume`);
    assertEquals([resumed.status, resumed.body.pause], [200, null]);
  }));

Deno.test("a job with a run that is queued is not deleted, and its answer names the run", () =>
  withApi(async (api) => {
    const id = await api.createJob();
    const occurrenceId = await api.trigger(id);
    const refused = await api.send("DELETE", `/api/v1/jobs/${id}`);
    assertEquals([refused.status, refused.body.code, refused.body.occurrenceId], [
      409,
      "job_in_use",
      occurrenceId,
    ]);
    await api.run(occurrenceId);
    assertEquals((await api.send("DELETE", `/api/v1/jobs/${id}`)).status, 204);
    assertEquals((await api.get(`/api/v1/jobs/${id}`)).status, 404);
  }));

Deno.test("lists of jobs filter, and go on where a page ends", () =>
  withApi(async (api) => {
    for (const name of ["a", "b", "c%", "c_"]) await api.createJob({ displayName: name, tags: [name] });
    const first = await api.get("/api/v1/jobs?limit=3");
    assertEquals(first.body.items.map((job: { displayName: string }) => job.displayName), ["c_", "c%", "b"]);
    const second = await api.get(`/api/v1/jobs?limit=3&cursor=${first.body.nextCursor}`);
    assertEquals(second.body.items.map((job: { displayName: string }) => job.displayName), ["a"]);
    assertEquals(second.body.nextCursor, null);
    assertEquals((await api.get("/api/v1/jobs?tag=b")).body.items.length, 1);
    assertEquals((await api.get("/api/v1/jobs?jobType=SendEmailJob")).body.items.length, 0);
    const elsewhere = await api.get(`/api/v1/jobs?limit=3&tag=b&cursor=${first.body.nextCursor}`);
    assertEquals(elsewhere.body.code, "cursor_invalid");
  }));

Deno.test("an unknown job type is refused with the nearest names, and accepted with a visible warning when asked", () =>
  withApi(async (api) => {
    const unknown = { ...SAMPLE, jobType: "SmapleJob" };
    const refused = await api.post("/api/v1/jobs", unknown);
    assertEquals([refused.status, refused.body.code], [422, "job_type_unknown"]);
    assertEquals(refused.body.errors[0].allowed, ["SampleJob"]);
    const accepted = await api.post("/api/v1/jobs?allowUnknownType=true", unknown);
    assertEquals(accepted.status, 201);
    assertEquals(accepted.body.warnings[0].code, "no_worker_for_type");
    assertEquals((await read(api, accepted.body.id)).warnings[0].code, "no_worker_for_type");
  }));

Deno.test("a job saved before the first worker has spoken waits for it, two seconds at most", () =>
  withApi(async (api) => {
    const early = api.post("/api/v1/jobs", SAMPLE);
    await settled();
    await api.announce([offer("SampleJob")]);
    assertEquals((await early).status, 201);
  }, { offers: [] }));

Deno.test("a job for which no worker comes is refused after two seconds", () =>
  withApi(async (api) => {
    const early = api.post("/api/v1/jobs", SAMPLE);
    await settled();
    await api.clock.advance(2000);
    const { status, body } = await early;
    assertEquals([status, body.code], [422, "job_type_unknown"]);
    assertStringIncludes(body.detail, "No worker is there");
  }, { offers: [] }));

Deno.test("runs that could bury a server are a warning, not a refusal", () =>
  withApi(async (api) => {
    const { status, body } = await api.post("/api/v1/jobs", {
      ...HELLO,
      cronExpression: "* * * * * *",
      concurrentExecutionPolicy: "Allow",
      executionTimeoutSeconds: 3600,
    });
    assertEquals([status, body.warnings[0].code], [201, "too_frequent"]);
    assertMatch(body.warnings[0].message, /3600 runs/);
  }));

Deno.test("a job is found by a part of its name, letter for letter", () =>
  withApi(async (api) => {
    for (const displayName of ["100% sure", "100x sure", "a_b", "axb"]) await api.createJob({ displayName });
    const found = async (search: string) => {
      const { body } = await api.get(`/api/v1/jobs?search=${encodeURIComponent(search)}`);
      return body.items.map((job: { displayName: string }) => job.displayName);
    };
    assertEquals(await found("0%"), ["100% sure"]);
    assertEquals(await found("a_"), ["a_b"]);
    assertEquals(await found("'); DROP TABLE jobs; --"), []);
    assert((await found("sure")).length === 2);
  }));

/** Until what was started waits for the clock or an event. */
async function settled(): Promise<void> {
  for (let round = 0; round < 20; round++) await new Promise((resolve) => setImmediate(resolve));
}

Deno.test("a pause that has ended is shown as none, and its end is kept for what is not decided yet", () =>
  withApi(async (api) => {
    const id = await api.createJob();
    await api.post(`/api/v1/jobs/${id}/pause`, { until: "2026-11-24T10:01:00Z" });
    await api.clock.advance(60_000);
    assertEquals((await read(api, id)).pause, null);
    assertEquals((await api.get("/api/v1/jobs?isPaused=true")).body.items, []);
    assertEquals((await api.adapters.store.jobs.get(id))?.pause?.until, api.clock.now());
  }));
