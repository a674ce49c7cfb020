import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Outcome } from "../actors/domain/message.ts";
import { type TestApi, withApi } from "../tests/support/api.ts";

const TIMED_OUT: Outcome = { kind: "timedOut", rung: "killed", limitMs: 2500 };
const REPLAY = "/api/v1/failed-occurrences/replay";
const CANCEL = "/api/v1/occurrences/cancel";
const STRANGER = "019aaf3e-0000-7000-8000-000000000001";

async function failedMany(api: TestApi, jobId: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const id = await api.trigger(jobId);
    await api.run(id, TIMED_OUT);
    ids.push(id);
  }
  return ids;
}

Deno.test("a dry run counts exactly and shows the first, and makes nothing", () =>
  withApi(async (api) => {
    const jobId = await api.createJob();
    const ids = await failedMany(api, jobId, 3);
    const answer = await api.post(REPLAY, { filter: { jobId }, dryRun: true });
    assertEquals([answer.status, answer.body.count], [200, 3]);
    assertEquals(answer.body.sample.map((one: { id: string }) => one.id), ids);
    const queued = await api.trigger(jobId);
    const cancel = await api.post(CANCEL, { filter: { jobId }, dryRun: true });
    assertEquals([cancel.body.count, cancel.body.sample[0].id], [1, queued]);
    assertEquals((await api.get("/api/v1/bulk-actions")).body.items, []);
  }));

Deno.test("an empty filter, none at all, or both filter and ids are refused by name", () =>
  withApi(async (api) => {
    for (
      const [path, body, code] of [
        [REPLAY, { filter: {} }, "filter_empty"],
        [REPLAY, { filter: { resolved: false } }, "filter_empty"],
        [REPLAY, { filter: { from: "1970-01-01T00:00:00Z" } }, "filter_empty"],
        [REPLAY, { filter: { to: "9999-01-01T00:00:00Z" } }, "filter_empty"],
        [REPLAY, { filter: { kinds: ["failed", "timed-out", "suspect"] } }, "filter_empty"],
        [CANCEL, { filter: { statuses: ["Queued", "Running", "Unknown"] } }, "filter_empty"],
        [CANCEL, { filter: { from: "2000-01-01T00:00:00Z", statuses: [0, 1, 6] } }, "filter_empty"],
        [CANCEL, { filter: {} }, "filter_empty"],
        [REPLAY, {}, "selection_missing"],
        [CANCEL, { reason: "all" }, "selection_missing"],
        [REPLAY, { filter: { jobType: "A" }, ids: [STRANGER] }, "selection_doubled"],
      ] as const
    ) {
      const answer = await api.post(path, body);
      assertEquals([answer.status, answer.body.code], [422, code], JSON.stringify(body));
      assert(answer.body.errors[0].message.length > 20);
    }
    const { errors } = (await api.post(REPLAY, { filter: {} })).body;
    assertEquals(errors[0].field, "filter");
    assertMatch(errors[0].message, /jobId, jobType, fingerprint/);
  }));

Deno.test("a filter that more than 100 match is carried out when its exact count is said", () =>
  withApi(async (api) => {
    const jobId = await api.createJob({ concurrentExecutionPolicy: "Allow" });
    const items = Array.from({ length: 101 }, () => ({}));
    const { body: { occurrenceIds } } = await api.post(`/api/v1/jobs/${jobId}/trigger-many`, { items });
    const blind = await api.post(CANCEL, { filter: { jobId } });
    assertEquals([blind.status, blind.body.state, blind.body.count], [409, "expected-count-missing", 101]);
    assertMatch(blind.body.detail, /101 match.*expectedCount: 101.*--expect 101/);
    assertEquals((await api.get("/api/v1/bulk-actions")).body.items, []);
    assertEquals(
      (await api.post(CANCEL, { ids: occurrenceIds })).status,
      202,
      "ids are a count of their own",
    );
    assertEquals((await api.post(CANCEL, { filter: { jobId }, expectedCount: 101 })).status, 202);
  }));

Deno.test("failed occurrences are resolved many at once, by a filter or ids, with who, why and how many", () =>
  withApi(async (api) => {
    const resolveAll = "/api/v1/failed-occurrences/resolve";
    const jobId = await api.createJob();
    const ids = await failedMany(api, jobId, 3);
    const how = { action: "Ignored", note: "storm" };
    assertEquals((await api.post(resolveAll, { filter: {}, ...how })).body.code, "filter_empty");
    assertEquals((await api.post(resolveAll, { ids: [ids[0]], action: "Fixed" })).status, 422);
    const other = await api.post(resolveAll, { filter: { jobId }, expectedCount: 2, ...how });
    assertEquals([other.status, other.body.count], [409, 3]);
    const one = await api.post(resolveAll, { ids: [ids[0], ids[0]], ...how }, { "x-milvaion-user": "ann" });
    assertEquals([one.status, one.body], [200, { count: 1 }]);
    const rest = await api.post(resolveAll, { filter: { jobId }, expectedCount: 2, ...how });
    assertEquals([rest.status, rest.body], [200, { count: 2 }]);
    const { resolution } = (await api.get(`/api/v1/failed-occurrences/${ids[0]}`)).body;
    assertEquals([resolution.action, resolution.note, resolution.by], ["Ignored", "storm", "ann"]);
    assertEquals((await api.post(resolveAll, { filter: { jobId }, ...how })).status, 409);
  }));

Deno.test("a span that ends before it begins is refused with both moments", () =>
  withApi(async (api) => {
    const [from, to] = ["2026-11-25T00:00:00.000Z", "2026-11-24T00:00:00.000Z"];
    for (const path of [REPLAY, CANCEL]) {
      const { status, body } = await api.post(path, { filter: { from, to } });
      assertEquals([status, body.code, body.errors[0].field], [422, "range_reversed", "filter.from"]);
      assert(body.errors[0].message.includes(from) && body.errors[0].message.includes(to));
    }
    for (const path of ["occurrences", "failed-occurrences", "failed-occurrences/groups"]) {
      const { status, body } = await api.get(`/api/v1/${path}?from=${from}&to=${to}`);
      assertEquals([status, body.code, body.errors[0].field], [400, "range_reversed", "from"]);
    }
  }));

Deno.test("bad fields of a bulk request are refused one by one", () =>
  withApi(async (api) => {
    for (
      const [path, body, field] of [
        [REPLAY, { filter: { jobId: "x" } }, "filter.jobId"],
        [REPLAY, { filter: { kinds: ["late"] } }, "filter.kinds.0"],
        [REPLAY, { filter: { jobtype: "A" } }, "filter.jobtype"],
        [REPLAY, { filter: { fingerprint: "abc" } }, "filter.fingerprint"],
        [CANCEL, { filter: { statuses: ["Completed"] } }, "filter.statuses.0"],
        [CANCEL, { filter: { statuses: [2] } }, "filter.statuses.0"],
        [CANCEL, { filter: { from: "soon" } }, "filter.from"],
        [CANCEL, { filter: { jobType: "A" }, canary: true }, "canary"],
        [REPLAY, { ids: ["x"] }, "ids.0"],
        [REPLAY, { ids: [] }, "ids"],
        [REPLAY, { ids: [STRANGER], ratePerSecond: 0 }, "ratePerSecond"],
        [REPLAY, { ids: [STRANGER], ratePerSecond: 1001 }, "ratePerSecond"],
        [REPLAY, { ids: [STRANGER] }, "ids.0"],
        [CANCEL, { ids: [STRANGER] }, "ids.0"],
      ] as const
    ) {
      const answer = await api.post(path, body);
      assertEquals([answer.status, answer.body.errors?.[0].field], [422, field], JSON.stringify(body));
    }
    const none = await api.post(REPLAY, { filter: { jobType: "SampleJob" } });
    assertEquals([none.status, none.body.code, none.body.count], [409, "state_conflict", 0]);
  }));

Deno.test("a bulk action is made over exactly what matches, shown, and steered", () =>
  withApi(async (api) => {
    const jobId = await api.createJob();
    const [first = "", second = ""] = await failedMany(api, jobId, 2);
    const from = new Date(api.clock.now() - 60_000).toISOString();
    const unexpected = await api.post(REPLAY, { filter: { jobId }, expectedCount: 5 });
    assertEquals([unexpected.status, unexpected.body.count], [409, 2]);
    assertMatch(unexpected.body.detail, /2 match now, and expectedCount says 5/);
    const answer = await api.post(REPLAY, {
      filter: { jobId, from },
      expectedCount: 2,
      reason: "server is back",
    });
    assertEquals([answer.status, answer.body.total, answer.body.state, answer.body.canary], [
      202,
      2,
      "running",
      true,
    ]);
    assertEquals(answer.body.selection, { jobId, from, isResolved: false });
    assertEquals(answer.body.progress, {
      done: 0,
      succeeded: 0,
      failed: 0,
      skipped: 0,
      on: 0,
      remaining: 2,
    });
    const path = answer.headers.get("location") ?? "";
    assertEquals((await api.get(path)).body, answer.body);
    assertEquals((await api.get("/api/v1/bulk-actions")).body.items, [answer.body]);
    assertEquals((await api.post(`${path}/pause`)).body.state, "paused");
    assertEquals((await api.post(`${path}/pause`)).status, 200);
    assertEquals((await api.post(`${path}/resume`)).body.state, "running");
    const cancelled = await api.post(`${path}/cancel`);
    assertEquals([cancelled.body.state, cancelled.body.stateReason], ["cancelled", "Cancelled by api"]);
    const late = await api.post(`${path}/resume`);
    assertEquals([late.status, late.body.code, late.body.state], [409, "state_conflict", "cancelled"]);
    const byIds = await api.post(REPLAY, { ids: [second, first, first], canary: false, ratePerSecond: 2.5 });
    assertEquals([byIds.body.total, byIds.body.selection, byIds.body.ratePerSecond], [2, { ids: 2 }, 2.5]);
    assertEquals((await api.get(`/api/v1/bulk-actions/${STRANGER}`)).status, 404);
    assertEquals((await api.post(`/api/v1/bulk-actions/${STRANGER}/pause`)).status, 404);
  }));

Deno.test("the same idempotency key makes one bulk action", () =>
  withApi(async (api) => {
    const jobId = await api.createJob();
    const id = await api.trigger(jobId);
    const headers = { "idempotency-key": "k1" };
    const first = await api.post(CANCEL, { ids: [id] }, headers);
    const second = await api.post(CANCEL, { ids: [id] }, headers);
    assertEquals([first.status, second.status, second.body.id], [202, 202, first.body.id]);
    const other = await api.post(CANCEL, { filter: { jobId } }, headers);
    assertEquals([other.status, other.body.code], [409, "idempotency_mismatch"]);
  }));
