import { assertEquals, assertMatch } from "@std/assert";
import { START, type TestApi, withApi } from "../tests/support/api.ts";

function raise(api: TestApi, raisedBy: string): Promise<boolean> {
  const at = api.clock.now();
  return api.adapters.store.alerts.raise({
    id: api.adapters.store.storeId,
    kind: "no-leader",
    severity: "critical",
    sentence: "Nobody leads.",
    evidence: [{ kind: "epoch", id: "7", at }, { kind: "instance", id: "api-1", at: null }],
    raisedAt: at,
    raisedBy,
    seenAt: at,
  });
}

Deno.test("alerts are listed with what they were found by, and when they ended", () =>
  withApi(async (api) => {
    assertEquals((await api.get("/api/v1/alerts")).body, { items: [], nextCursor: null });
    await raise(api, "api-1");
    const [open] = (await api.get("/api/v1/alerts")).body.items;
    assertEquals([open.kind, open.severity, open.sentence, open.raisedBy, open.endedAt], [
      "no-leader",
      "critical",
      "Nobody leads.",
      "api-1",
      null,
    ]);
    assertEquals(open.evidence[0], { kind: "epoch", id: "7", at: "2026-11-24T10:00:00.000Z" });
    await api.adapters.store.alerts.end("no-leader", START + 1000);
    const [ended] = (await api.get("/api/v1/alerts")).body.items;
    assertEquals([ended.id, ended.endedAt], [open.id, "2026-11-24T10:00:01.000Z"]);
  }));

Deno.test("the figures tell how many due times are missing and when the watchdog looked last", () =>
  withApi(async (api) => {
    const { body } = await api.get("/metrics");
    assertMatch(body, /^milvaion_watchdog_missing_due_times 3$/m);
    assertMatch(body, /^milvaion_watchdog_looked_at_seconds 1795514400$/m);
    assertMatch(body, /^milvaion_watchdog_missing_due_times_total 0$/m);
    assertMatch(body, /^milvaion_watchdog_alerts_total 0$/m);
  }, { watchdog: { missingDueTimes: 3, lookedAt: START } }));
