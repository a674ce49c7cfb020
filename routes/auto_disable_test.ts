import { assertEquals, assertMatch } from "@std/assert";
import type { Outcome } from "../actors/domain/message.ts";
import type { LiveEvent } from "../actors/ports/events.ts";
import { withApi } from "../tests/support/api.ts";

const FAILED: Outcome = {
  kind: "failed",
  error: { name: "HttpError", message: "503", stack: null, causes: [] },
  permanent: true,
  retryAfterMs: null,
  cause: "error",
};
const RULE = { autoDisable: { isEnabled: true, failures: 2, windowMinutes: 10, cooldownMinutes: 5 } };

Deno.test("a job that keeps failing is shown as disabled, found by the list, and enabled by hand with news of it", () =>
  withApi(async (api) => {
    const id = await api.createJob(RULE);
    for (let index = 0; index < 2; index++) await api.run(await api.trigger(id), FAILED);
    const path = `/api/v1/jobs/${id}`;
    const { autoDisabled, version } = (await api.get(path)).body;
    assertEquals([
      autoDisabled.failures,
      autoDisabled.probeAt,
      autoDisabled.until,
      autoDisabled.cooldownSeconds,
    ], [
      2,
      "2026-11-24T10:05:00.000Z",
      null,
      300,
    ]);
    assertMatch(autoDisabled.reason, /^2 failures in a row within 10 min\. The last: .*HttpError: 503/);
    const listed = async () => (await api.get("/api/v1/jobs?isAutoDisabled=true")).body.items.length;
    assertEquals(await listed(), 1);

    const told: LiveEvent[] = [];
    const stop = api.adapters.events.subscribe(["jobAutoDisabled"], (events) => told.push(...events));
    const enable = () => api.post(`${path}/enable`, { reason: "the server is back" });
    const { status, body } = await enable();
    assertEquals([status, body.autoDisabled, body.version], [200, null, version]);
    assertEquals((await enable()).status, 200);
    stop();
    assertEquals(told.map((event) => "change" in event && [event.change, event.reason]), [
      ["enabled", "Enabled by api: the server is back"],
    ]);
    assertEquals(await listed(), 0);
    const nobody = "0198c2d4-5b6e-7f00-8a9b-0c1d2e3f4a5b";
    assertEquals((await api.post(`/api/v1/jobs/${nobody}/enable`)).status, 404);
  }));

Deno.test("a disabled job is triggered one run at a time; the refusal names the probe and the ways out", () =>
  withApi(async (api) => {
    const id = await api.createJob({ ...RULE, concurrentExecutionPolicy: "Allow" });
    for (let index = 0; index < 2; index++) await api.run(await api.trigger(id), FAILED);
    const many = await api.post(`/api/v1/jobs/${id}/trigger-many`, { items: [{}, {}] });
    assertEquals([many.status, many.body.state, many.body.occurrenceId], [409, "auto-disabled", null]);
    const probe = await api.trigger(id);
    const refused = await api.post(`/api/v1/jobs/${id}/trigger`);
    assertEquals([refused.status, refused.body.code, refused.body.occurrenceId], [
      409,
      "state_conflict",
      probe,
    ]);
    assertMatch(refused.body.detail, /enable.*force: true/);
    assertEquals((await api.post(`/api/v1/jobs/${id}/trigger`, { force: true })).status, 202);
    assertEquals((await api.get(`/api/v1/jobs/${id}`)).body.autoDisabled.probeId, probe);
    await api.run(probe);
    assertEquals((await api.get(`/api/v1/jobs/${id}`)).body.autoDisabled, null);
  }));
