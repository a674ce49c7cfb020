import { assertEquals, assertStringIncludes } from "@std/assert";
import { withApi } from "../tests/support/api.ts";

Deno.test("the next due times of a schedule are shown before it is saved, with zone and coming clock changes", () =>
  withApi(async (api) => {
    const { status, body } = await api.post("/api/v1/schedules/next-runs", {
      cronExpression: "30 2 * * *",
      timeZone: "Europe/Berlin",
      count: 3,
    });
    assertEquals(status, 200);
    assertEquals(body.items[0], {
      at: "2026-11-25T01:30:00.000Z",
      localTime: "2026-11-25T02:30:00",
      offset: "+01:00",
      note: null,
    });
    assertEquals(body.items.length, 3);
    assertEquals(body.clockChanges[0].kind, "gap");
    assertEquals(body.clockChanges[0].at, "2027-03-28T01:00:00.000Z");
  }));

Deno.test("the next due times of a job respect its window", () =>
  withApi(async (api) => {
    const id = await api.createJob({
      triggerOnly: false,
      cronExpression: "0 0 * * * *",
      startAt: "2026-11-25T00:00:00Z",
      endAt: "2026-11-25T02:00:00Z",
    });
    const { body } = await api.get(`/api/v1/jobs/${id}/next-runs?count=5`);
    assertEquals(body.items.map(({ at }: { at: string }) => at), [
      "2026-11-25T00:00:00.000Z",
      "2026-11-25T01:00:00.000Z",
    ]);
  }));

Deno.test("a moment at which nothing was due is explained, with the due times around it", () =>
  withApi(async (api) => {
    const id = await api.createJob({ triggerOnly: false, cronExpression: "0 0 12 * * *" });
    const { status, body } = await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-24T15:00:00Z`);
    assertEquals([status, body.verdict], [200, "not-due"]);
    assertEquals(body.nearest.after, "2026-11-25T12:00:00.000Z");
    const before = await api.get(`/api/v1/jobs/${id}/explain?at=2026-11-23T12:00:00Z`);
    assertEquals(before.body.verdict, "before-job");
    assertStringIncludes(before.body.sentence, "before the job");
  }));
