import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Unavailable } from "../actors/ports/unavailable.ts";
import { SAMPLE, START, type TestApi, withApi } from "../tests/support/api.ts";
import { offer } from "../tests/support/in_process_pool.ts";

const HOURLY = { triggerOnly: false, cronExpression: "0 0 * * * *" };

// deno-lint-ignore no-explicit-any -- answers are read by tests that know them
function codesOf(body: any): readonly string[] {
  return body.causes.map((cause: { code: string }) => cause.code);
}

async function leads(api: TestApi): Promise<void> {
  await api.adapters.store.ledger.raiseEpoch("api-1", api.clock.now(), api.clock.now() + 3_600_000);
}

Deno.test("a job that nothing stands in the way of: its next due times, each with what would happen", () =>
  withApi(async (api) => {
    await leads(api);
    const id = await api.createJob({ ...HOURLY, endAt: "2026-11-24T14:00:00Z" });
    const { status, body } = await api.get(`/api/v1/jobs/${id}/explain`);
    assertEquals([status, body.tense, body.verdict, body.causes, body.last], [
      200,
      "now",
      "nothing",
      [],
      null,
    ]);
    assertEquals(body.next.map((one: { at: string; code: string }) => [one.at, one.code]), [
      ["2026-11-24T11:00:00.000Z", "will-run"],
      ["2026-11-24T12:00:00.000Z", "will-run"],
      ["2026-11-24T13:00:00.000Z", "will-run"],
    ]);
  }));

Deno.test("a paused job says who paused it, why and until when, and what becomes of the due times meanwhile", () =>
  withApi(async (api) => {
    await leads(api);
    const id = await api.createJob(HOURLY);
    await api.post(`/api/v1/jobs/${id}/pause`, { reason: "stocktaking", until: "2026-11-24T12:30:00Z" });
    const { body } = await api.get(`/api/v1/jobs/${id}/explain`);
    assertEquals([body.verdict, body.causes[0].until], ["paused", "2026-11-24T12:30:00.000Z"]);
    assertStringIncludes(
      body.sentence,
      "Paused by api since 2026-11-24T10:00:00+00:00 (UTC), until 2026-11-24T12:30",
    );
    assertStringIncludes(body.sentence, '"stocktaking"');
    assertEquals(
      body.next.map((one: { code: string }) => one.code),
      ["paused", "paused", "will-run", "will-run", "will-run"],
    );
    const coming = await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-24T12:00:00Z`);
    assertEquals([coming.body.tense, coming.body.verdict], ["future", "paused"]);
    const later = await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-24T13:00:00Z`);
    assertEquals([later.body.tense, later.body.verdict], ["future", "will-run"]);
  }));

Deno.test("a moment to come that is no due time says so, with those around it", () =>
  withApi(async (api) => {
    const id = await api.createJob(HOURLY);
    const { body } = await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-24T12:30:00Z`);
    assertEquals([body.tense, body.verdict, body.nearest.after], [
      "future",
      "not-due",
      "2026-11-24T13:00:00.000Z",
    ]);
  }));

Deno.test("a due time that nobody decided says that nobody leads", () =>
  withApi(async (api) => {
    const id = await api.createJob(HOURLY);
    await api.clock.advance(3_600_000 + 30_000);
    const past = await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-24T11:00:00Z`);
    assertEquals([past.body.tense, past.body.verdict, codesOf(past.body)], ["past", "undecided", [
      "no-leader",
    ]]);
    await leads(api);
    const now = await api.get(`/api/v1/jobs/${id}/explain`);
    assertEquals(now.body.verdict, "leader-behind");
    assertEquals(now.body.causes[0].evidence[0], { kind: "due-time", id, at: "2026-11-24T11:00:00.000Z" });
  }));

Deno.test("a due time that a leader which stands still has not decided is not foretold to run", () =>
  withApi(async (api) => {
    const id = await api.createJob(HOURLY);
    await api.clock.advance(3_600_000 + 7000);
    await leads(api);
    await api.announce([offer("SampleJob")]);
    const { body } = await api.get(`/api/v1/jobs/${id}/explain`);
    assertEquals([body.verdict, body.causes], ["undecided", []]);
    assertStringIncludes(body.sentence, "It was due at 2026-11-24T11:00:00.000Z, 7 s ago");
    assertStringIncludes(body.sentence, "api-1, which leads (epoch 1) and holds its lock until");
    const past = await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-24T11:00:00Z`);
    assertEquals(past.body.verdict, "undecided");
    assertStringIncludes(past.body.sentence, "It was due at 2026-11-24T11:00:00.000Z, 7 s ago");
  }));

Deno.test("a due time to come of a type that no worker offers is foretold to wait, also when it is asked about alone", () =>
  withApi(async (api) => {
    await leads(api);
    const missing = { ...SAMPLE, ...HOURLY, jobType: "MissingJob" };
    const { id } = (await api.post("/api/v1/jobs?allowUnknownType=true", missing)).body;
    const { body } = await api.get(`/api/v1/jobs/${id}/explain`);
    assertEquals([body.verdict, body.next[0].code], ["no-worker", "would-wait"]);
    const coming = await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-24T12:00:00Z`);
    assertEquals([coming.body.tense, coming.body.verdict], ["future", "would-wait"]);
    assertStringIncludes(coming.body.sentence, "wait. No worker offers MissingJob");
  }));

Deno.test("a queued occurrence is explained by itself and by its job; then how it ended is", () =>
  withApi(async (api) => {
    await leads(api);
    const missing = { ...SAMPLE, jobType: "MissingJob" };
    const { id } = (await api.post("/api/v1/jobs?allowUnknownType=true", missing)).body;
    const occurrence = await api.trigger(id);
    const waits = await api.get(`/api/v1/occurrences/${occurrence}/explain`);
    assertEquals([waits.status, waits.body.status, codesOf(waits.body)], [200, "Queued", ["no-worker"]]);
    assertEquals(codesOf((await api.get(`/api/v1/jobs/${id}/explain`)).body), [
      "trigger-only",
      "no-worker",
      "overlap",
    ]);
    await api.announce([offer("MissingJob")]);
    await api.run(occurrence);
    const ended = await api.get(`/api/v1/occurrences/${occurrence}/explain`);
    assertEquals([ended.body.verdict, ended.body.causes], ["Completed", []]);
    const { body } = await api.get(`/api/v1/jobs/${id}/explain`);
    assertEquals([body.verdict, body.last.occurrenceId, body.last.status], [
      "trigger-only",
      occurrence,
      "Completed",
    ]);
  }));

Deno.test("runs that wait behind the one that is on name it, its worker and how many wait", () =>
  withApi(async (api) => {
    await leads(api);
    const id = await api.createJob({ concurrentExecutionPolicy: "Queue" });
    const [first, second, third] = [await api.trigger(id), await api.trigger(id), await api.trigger(id)];
    await api.claim(first);
    const { body } = await api.get(`/api/v1/occurrences/${third}/explain`);
    assertEquals(body.verdict, "waiting-turn");
    assertStringIncludes(body.sentence, `occurrence ${first} (Running on worker-1) holds the job`);
    assertStringIncludes(body.sentence, "2 occurrences wait behind that");
    const job = await api.get(`/api/v1/jobs/${id}/explain`);
    const overlap = job.body.causes.find((cause: { code: string }) => cause.code === "overlap");
    assertStringIncludes(overlap.sentence, "further ones wait behind it (2 now)");
    assert(codesOf(job.body).includes("waiting-turn"));
    assertEquals((await api.get(`/api/v1/occurrences/${second}/explain`)).body.verdict, "waiting-turn");
  }));

Deno.test("with the database away the present is explained by that, and the past is refused for now", () =>
  withApi(async (api) => {
    const id = await api.createJob(HOURLY);
    const { jobs } = api.adapters.store;
    jobs.get = () => Promise.reject(new Unavailable("the server is gone"));
    const now = await api.get(`/api/v1/jobs/${id}/explain`);
    assertEquals([now.status, now.body.verdict, codesOf(now.body)], [200, "database-down", [
      "database-down",
    ]]);
    assertEquals((await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-24T11:00:00Z`)).status, 503);
  }));

Deno.test("an explanation of what is not there is refused, and so is a moment that is none", () =>
  withApi(async (api) => {
    const missing = "019aaf3e-0000-7000-8000-000000000000";
    assertEquals((await api.get(`/api/v1/jobs/${missing}/explain`)).status, 404);
    assertEquals((await api.get(`/api/v1/occurrences/${missing}/explain`)).status, 404);
    const id = await api.createJob();
    assertEquals((await api.get(`/api/v1/jobs/${id}/explain?at=yesterday`)).body.errors[0].field, "at");
    assert(api.clock.now() >= START);
  }));
