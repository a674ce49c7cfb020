import { assertEquals, assertStringIncludes } from "@std/assert";
import { withApi } from "../tests/support/api.ts";

const NEXT = "2026-11-24T11:00:00.000Z";
const HOURLY = { triggerOnly: false, cronExpression: "0 0 * * * *" };

Deno.test("skip-next of a job that would not run anyway is refused, and uses nothing up", () =>
  withApi(async (api) => {
    const cron = { triggerOnly: false, cronExpression: "0 * * * *" };
    const paused = await api.createJob(cron);
    const inactive = await api.createJob({ ...cron, isActive: false });
    assertEquals((await api.post(`/api/v1/jobs/${paused}/pause`)).status, 200);
    for (const [id, state] of [[paused, "paused"], [inactive, "inactive"]] as const) {
      const { status, body } = await api.post(`/api/v1/jobs/${id}/skip-next`);
      assertEquals([status, body.code, body.state], [409, "state_conflict", state]);
      assertEquals((await api.get(`/api/v1/jobs/${id}`)).body.skippedDueTime, null);
    }
    assertEquals((await api.post(`/api/v1/jobs/${paused}/resume`)).status, 200);
    const until = new Date(api.clock.now() + 60_000).toISOString();
    assertEquals((await api.post(`/api/v1/jobs/${paused}/pause`, { until })).status, 200);
    const after = await api.post(`/api/v1/jobs/${paused}/skip-next`);
    assertEquals([after.status, after.body.isNew], [200, true], "the pause is over by then");
  }));

Deno.test("the next due time is left out once, and asking again names the same one", () =>
  withApi(async (api) => {
    const id = await api.createJob(HOURLY);
    const path = `/api/v1/jobs/${id}/skip-next`;
    const first = await api.post(path, { reason: "bank holiday" });
    assertEquals([first.status, first.body.dueAt, first.body.isNew], [200, NEXT, true]);
    assertEquals(first.body.thenDueAt, "2026-11-24T12:00:00.000Z");
    const again = await api.post(path, { reason: "another reason" });
    assertEquals([again.body.dueAt, again.body.isNew, again.body.reason], [NEXT, false, "bank holiday"]);
    assertEquals((await api.get(`/api/v1/jobs/${id}`)).body.skippedDueTime.dueAt, NEXT);
  }));

Deno.test("what is left out is told by next-runs and explain before it comes", () =>
  withApi(async (api) => {
    const id = await api.createJob(HOURLY);
    await api.post(`/api/v1/jobs/${id}/skip-next`, { reason: "bank holiday" });
    const { items } = (await api.get(`/api/v1/jobs/${id}/next-runs?count=2`)).body;
    assertEquals(items.map(({ note }: { note: string | null }) => note), [
      'left out: skipped by api, "bank holiday"',
      null,
    ]);
    const { body } = await api.get(`/api/v1/jobs/${id}/explain?at=${NEXT}`);
    assertEquals(body.verdict, "skipped-once");
    assertStringIncludes(body.sentence, 'api left it out, "bank holiday"');
  }));

Deno.test("a skip is taken back, and taking back none changes nothing", () =>
  withApi(async (api) => {
    const id = await api.createJob(HOURLY);
    const path = `/api/v1/jobs/${id}/skip-next`;
    await api.post(path);
    assertEquals((await api.send("DELETE", path)).body, { jobId: id, dueAt: NEXT });
    assertEquals((await api.send("DELETE", path)).body, { jobId: id, dueAt: null });
    assertEquals((await api.get(`/api/v1/jobs/${id}`)).body.skippedDueTime, null);
  }));

Deno.test("a job without a due time to come has nothing to leave out", () =>
  withApi(async (api) => {
    const id = await api.createJob();
    const refused = await api.post(`/api/v1/jobs/${id}/skip-next`);
    assertEquals([refused.status, refused.body.code], [409, "state_conflict"]);
    const unknown = await api.post("/api/v1/jobs/019aaf3e-0000-7000-8000-000000000000/skip-next");
    assertEquals(unknown.body.code, "not_found");
  }));

Deno.test("a skip survives a change of the definition, but not of the schedule, which the log tells", () =>
  withApi(async (api) => {
    const id = await api.createJob(HOURLY);
    await api.post(`/api/v1/jobs/${id}/skip-next`);
    const put = (change: Record<string, unknown>) =>
      api.send("PUT", `/api/v1/jobs/${id}`, { displayName: "S", jobType: "SampleJob", ...change }, {
        "if-match": "*",
      });
    const same = await put({ cronExpression: "0 0 * * * *" });
    assertEquals(same.body.skippedDueTime.dueAt, NEXT);
    const other = await put({ cronExpression: "0 30 * * * *" });
    assertEquals([other.status, other.body.skippedDueTime], [200, null]);
    assertEquals(api.log.lines.filter((one) => one.message.includes("is forgotten")).length, 1);
  }));

Deno.test("a run limit shortens what is due next, and ends it", () =>
  withApi(async (api) => {
    const id = await api.createJob({ ...HOURLY, runLimit: 2 });
    assertEquals((await api.get(`/api/v1/jobs/${id}/next-runs?count=5`)).body.items.length, 2);
    const { body } = await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-24T13:00:00Z`);
    assertEquals(body.verdict, "run-limit-reached");
  }));
