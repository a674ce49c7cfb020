import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { withApi } from "../tests/support/api.ts";
import { userOf } from "./user.ts";

Deno.test("who says to be behind a request is kept with what it did", () =>
  withApi(async (api) => {
    const by = { "x-milvaion-user": "J%C3%B6rg M." };
    const id = await api.createJob({ triggerOnly: false, cronExpression: "0 * * * *" });
    const skip = await api.post(`/api/v1/jobs/${id}/skip-next`, {}, by);
    assertEquals(skip.body.by, "J\u00f6rg M.");
    await api.post(`/api/v1/jobs/${id}/pause`, { reason: "snow" }, by);
    assertEquals((await api.get(`/api/v1/jobs/${id}`)).body.pause.by, "J\u00f6rg M.");
    const { occurrenceId } = (await api.post(`/api/v1/jobs/${id}/trigger`, {}, by)).body;
    const changes = async () => (await api.get(`/api/v1/occurrences/${occurrenceId}`)).body.stateChanges;
    assertMatch((await changes())[0].reason, /^Triggered by J\u00f6rg M\.$/);
    const many = await api.post("/api/v1/occurrences/cancel", { ids: [occurrenceId] }, by);
    assertEquals(many.body.by, "J\u00f6rg M.");
    await api.post(`/api/v1/occurrences/${occurrenceId}/cancel`, {}, by);
    assertMatch((await api.get(`/api/v1/occurrences/${occurrenceId}`)).body.reason, /J\u00f6rg M\./);
    const second = await api.trigger(id);
    await api.run(second, { kind: "timedOut", rung: "killed", limitMs: 2500 });
    const resolution = { action: "Fixed", note: "salt" };
    const resolved = await api.post(`/api/v1/failed-occurrences/${second}/resolve`, resolution, by);
    assertEquals(resolved.body.resolution.by, "J\u00f6rg M.");
    const unnamed = await api.post(`/api/v1/jobs/${id}/pause`);
    assertEquals(unnamed.body.pause.by, "api");
    const bad = await api.post(`/api/v1/jobs/${id}/trigger`, {}, { "x-milvaion-user": "a%0Ab" });
    assertEquals([bad.status, bad.body.code], [400, "user_invalid"]);
  }));

Deno.test("a name that is empty, too long, badly encoded or holds control characters is refused", () => {
  assertEquals(userOf(new Headers()), "api");
  assertEquals(userOf(new Headers({ "x-milvaion-user": "a".repeat(100) })), "a".repeat(100));
  for (const given of ["", "%20", "a".repeat(101), "%", "%ff", "a%00", "a%1Bb", "%E2%80%AEa"]) {
    assertThrows(
      () => userOf(new Headers({ "x-milvaion-user": given })),
      Error,
      "X-Milvaion-User has 1 to 100",
    );
  }
});
