import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Outcome } from "../actors/domain/message.ts";
import { type TestApi, withApi } from "../tests/support/api.ts";
import { offer } from "../tests/support/in_process_pool.ts";

const FAILED: Outcome = {
  kind: "failed",
  error: { name: "TypeError", message: "Cannot reach 10.0.0.1", stack: null, causes: [] },
  permanent: true,
  retryAfterMs: null,
  cause: "error",
};
const PATH = "/api/v1/failed-occurrences";

async function failedOne(api: TestApi, jobId: string): Promise<string> {
  const id = await api.trigger(jobId);
  await api.run(id, FAILED);
  return id;
}

Deno.test("a failed occurrence is listed, grouped and read with all that is kept of it", () =>
  withApi(async (api) => {
    const jobId = await api.createJob({ jobData: { to: "a" } });
    const id = await failedOne(api, jobId);
    const list = await api.get(`${PATH}?jobId=${jobId}&kind=failed,suspect&resolved=false&jobType=SampleJob`);
    const [item] = list.body.items;
    assertEquals(
      [list.status, item.id, item.occurrenceId, item.errorName, item.errorMessage, item.attempts],
      [
        200,
        id,
        id,
        "TypeError",
        "Cannot reach 10.0.0.1",
        1,
      ],
    );
    const groups = await api.get(`${PATH}/groups`);
    assertEquals([groups.body.items[0].count, groups.body.items[0].sample.id], [1, id]);
    const one = await api.get(`${PATH}/${id}`);
    assertEquals([one.body.jobData, one.body.replays, one.body.replayOf, one.body.error.name], [
      { to: "a" },
      [],
      null,
      "TypeError",
    ]);
    assertEquals((await api.get(`${PATH}?fingerprint=${item.fingerprint}`)).body.items.length, 1);
    assertEquals((await api.get(`${PATH}?from=2030-01-01T00:00:00Z`)).body.items, []);
    const missing = await api.get(`${PATH}/019aaf3e-0000-7000-8000-000000000001`);
    assertEquals([missing.status, missing.body.code], [404, "not_found"]);
    const metrics = await api.get("/metrics");
    assertMatch(String(metrics.body), /milvaion_failed_occurrences_unresolved\{kind="failed"\} 1/);
  }));

Deno.test("pages of failed occurrences follow each other, and a cursor of another filter is refused", () =>
  withApi(async (api) => {
    const jobId = await api.createJob();
    for (let index = 0; index < 3; index += 1) await failedOne(api, jobId);
    const first = await api.get(`${PATH}?limit=2`);
    const second = await api.get(`${PATH}?limit=2&cursor=${first.body.nextCursor}`);
    assertEquals([first.body.items.length, second.body.items.length, second.body.nextCursor], [2, 1, null]);
    const other = await api.get(`${PATH}?limit=2&kind=suspect&cursor=${first.body.nextCursor}`);
    assertEquals([other.status, other.body.code], [400, "cursor_invalid"]);
  }));

Deno.test("bad filters of failed occurrences are refused by their field, with what would be right", () =>
  withApi(async (api) => {
    for (
      const [query, field, code] of [
        ["kind=late", "kind", "choice_unknown"],
        ["fingerprint=xyz", "fingerprint", "fingerprint_invalid"],
        ["jobId=7", "jobId", "id_invalid"],
        ["from=yesterday", "from", "instant_invalid"],
        ["resolved=yes", "resolved", "type"],
        ["jobtype=A", "jobtype", "field_unknown"],
        ["limit=0", "limit", "out_of_range"],
      ] as const
    ) {
      for (const path of [PATH, `${PATH}/groups`]) {
        const answer = await api.get(`${path}?${query}`);
        assertEquals([answer.status, answer.body.errors[0].field], [400, field], query);
        if (code !== "instant_invalid") assertEquals(answer.body.errors[0].code, code, query);
      }
    }
  }));

Deno.test("a failed occurrence is resolved with action and note, once, and reopened", () =>
  withApi(async (api) => {
    const heard: unknown[] = [];
    const end = api.adapters.events.subscribe(["failedOccurrenceChanged"], (events) => heard.push(...events));
    const id = await failedOne(api, await api.createJob());
    const body = { action: "Fixed", note: "The server is back" };
    const first = await api.post(`${PATH}/${id}/resolve`, body);
    assertEquals([first.status, first.body.resolution.action, first.body.resolution.by], [
      200,
      "Fixed",
      "api",
    ]);
    assertEquals((await api.post(`${PATH}/${id}/resolve`, { ...body, action: 0 })).status, 200);
    const other = await api.post(`${PATH}/${id}/resolve`, { action: "Ignored", note: "no" });
    assertEquals([other.status, other.body.code, other.body.resolution.action], [
      409,
      "state_conflict",
      "Fixed",
    ]);
    assertEquals((await api.post(`${PATH}/${id}/reopen`)).body.resolution, null);
    assertEquals((await api.post(`${PATH}/${id}/resolve`, { action: "Ignored", note: "no" })).status, 200);
    assertEquals(heard.length, 3, "news of each change, none of what changed nothing");
    end();
  }));

Deno.test("a resolution without action or note, or with another action, is refused by its field", () =>
  withApi(async (api) => {
    const id = await failedOne(api, await api.createJob());
    for (
      const [body, field] of [
        [{ note: "n" }, "action"],
        [{ action: "Superseded", note: "n" }, "action"],
        [{ action: "Fixed" }, "note"],
        [{ action: "Fixed", note: "  " }, "note"],
        [{ action: "Fixed", note: "n", by: "me" }, "by"],
      ] as const
    ) {
      const answer = await api.post(`${PATH}/${id}/resolve`, body);
      assertEquals([answer.status, answer.body.errors[0].field], [422, field], JSON.stringify(body));
    }
    const gone = await api.post(`${PATH}/019aaf3e-0000-7000-8000-000000000001/resolve`, {
      action: 0,
      note: "n",
    });
    assertEquals(gone.status, 404);
  }));

Deno.test("a replay is a new occurrence, linked both ways, and its completion resolves", () =>
  withApi(async (api) => {
    const id = await failedOne(api, await api.createJob({ jobData: { to: "a" } }));
    const answer = await api.post(`${PATH}/${id}/replay`, { reason: "again" });
    assertEquals([answer.status, answer.body.failedOccurrenceId, answer.body.replayed], [202, id, false]);
    const { occurrenceId } = answer.body;
    assertEquals(answer.headers.get("location"), `/api/v1/occurrences/${occurrenceId}`);
    const one = (await api.get(`/api/v1/occurrences/${occurrenceId}`)).body;
    assertEquals([one.origin, one.replayOf, one.jobData], ["replay", id, { to: "a" }]);
    const failed = (await api.get(`/api/v1/occurrences/${id}`)).body;
    assertEquals([failed.status, failed.replays[0].occurrenceId], ["Failed", occurrenceId]);
    const twice = await api.post(`${PATH}/${id}/replay`);
    assertEquals([twice.status, twice.body.code, twice.body.occurrenceId], [
      409,
      "already_running",
      occurrenceId,
    ]);
    await api.run(occurrenceId);
    const after = (await api.get(`${PATH}/${id}`)).body;
    assertEquals([after.resolution.action, after.resolution.occurrenceId, after.replays[0].status], [
      "Replayed",
      occurrenceId,
      "Completed",
    ]);
  }));

Deno.test("an edited payload is held against the schema of its type", () =>
  withApi(async (api) => {
    const id = await failedOne(api, await api.createJob({ jobData: { to: "a@b.c" } }));
    const bad = await api.post(`${PATH}/${id}/replay`, { jobData: { to: 7 } });
    assertEquals([bad.status, bad.body.errors[0].field, bad.body.errors[0].pointer], [
      422,
      "jobData.to",
      "/jobData/to",
    ]);
    const good = await api.post(`${PATH}/${id}/replay`, { jobData: { to: "x@b.c" } });
    const one = (await api.get(`/api/v1/occurrences/${good.body.occurrenceId}`)).body;
    assertEquals(one.jobData, { to: "x@b.c" });
  }, {
    offers: [offer("SampleJob", {
      schema: { type: "object", properties: { to: { type: "string" } }, required: ["to"] },
    })],
  }));

Deno.test("the same idempotency key gives the first replay again, another request with it is refused", () =>
  withApi(async (api) => {
    const id = await failedOne(api, await api.createJob());
    const headers = { "idempotency-key": "k1" };
    const first = await api.post(`${PATH}/${id}/replay`, {}, headers);
    const second = await api.post(`${PATH}/${id}/replay`, {}, headers);
    assertEquals([second.status, second.body.occurrenceId, second.body.replayed], [
      202,
      first.body.occurrenceId,
      true,
    ]);
    const other = await api.post(`${PATH}/${id}/replay`, { force: true }, headers);
    assertEquals([other.status, other.body.code], [409, "idempotency_mismatch"]);
  }));

Deno.test("a replay that the job's policy or state does not let run is refused with what stands in its way", () =>
  withApi(async (api) => {
    const jobId = await api.createJob({ concurrentExecutionPolicy: "Skip" });
    const id = await failedOne(api, jobId);
    const running = await api.trigger(jobId);
    const refused = await api.post(`${PATH}/${id}/replay`);
    assertEquals([refused.status, refused.body.code, refused.body.occurrenceId], [
      409,
      "already_running",
      running,
    ]);
    assertEquals((await api.post(`${PATH}/${id}/replay`, { force: true })).status, 202);
    const off = await api.createJob();
    const other = await failedOne(api, off);
    const job = await api.get(`/api/v1/jobs/${off}`);
    const { displayName, jobType } = job.body;
    const changed = await api.send(
      "PUT",
      `/api/v1/jobs/${off}`,
      { displayName, jobType, triggerOnly: true, isActive: false },
      { "if-match": '"1"' },
    );
    assertEquals(changed.status, 200, JSON.stringify(changed.body));
    const inactive = await api.post(`${PATH}/${other}/replay`);
    assertEquals([inactive.status, inactive.body.state], [409, "inactive"]);
    assert((await api.get(`${PATH}/${other}`)).body.replays.length === 0);
  }));
