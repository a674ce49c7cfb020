import type { Position, Reads } from "../actors/ports/reads.ts";
import type { Store } from "../actors/ports/store.ts";
import { withApi } from "../tests/support/api.ts";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";

/** Reads of a store with a copy; notes how new each read had to be. */
function copied(asked: (Position | null)[], written: () => Position | null) {
  return (store: Store): Reads => ({
    reader: (after) => {
      asked.push(after);
      return store.reads.reader(after);
    },
    written: () => Promise.resolve(written()),
    copies: () => [
      { name: "replica:5432/jobs", isUsed: true, lagBytes: 128, lagSeconds: 0.25, problem: null },
      {
        name: "away:5432/jobs",
        isUsed: false,
        lagBytes: null,
        lagSeconds: null,
        problem: "connection refused",
      },
    ],
  });
}

Deno.test("the answer to a write carries a position, as a header and as a cookie; others carry none", async () => {
  const asked: (Position | null)[] = [];
  let position: Position | null = "0/16B3748";
  await withApi(async (api) => {
    const made = await api.post("/api/v1/jobs", {
      displayName: "A",
      jobType: "SampleJob",
      triggerOnly: true,
    });
    assertEquals([made.status, made.headers.get("milvaion-position")], [201, "0/16B3748"]);
    assertEquals(
      made.headers.get("set-cookie"),
      "milvaion_position=0%2F16B3748; Max-Age=3600; Path=/; HttpOnly; SameSite=Strict",
    );
    const refused = await api.post("/api/v1/jobs", {});
    assertEquals([refused.status, refused.headers.get("milvaion-position")], [422, null]);
    assertEquals((await api.get("/api/v1/jobs")).headers.get("milvaion-position"), null);
    position = null;
    const unknown = await api.post(`/api/v1/jobs/${made.body.id}/trigger`);
    assertEquals([unknown.status, unknown.headers.get("milvaion-position")], [202, null]);
  }, { reads: copied(asked, () => position) });
});

Deno.test("lists, log lines and totals are read as new as the header or the cookie says", async () => {
  const asked: (Position | null)[] = [];
  await withApi(async (api) => {
    const id = await api.trigger(await api.createJob());
    asked.length = 0;
    for (
      const path of ["/api/v1/jobs", "/api/v1/occurrences", `/api/v1/occurrences/${id}/logs`, "/api/v1/about"]
    ) {
      assertEquals((await api.get(path)).status, 200);
      assertEquals((await api.get(path, { "milvaion-position": "A/1" })).status, 200);
      assertEquals((await api.get(path, { "milvaion-position": "latest" })).status, 200);
      assertEquals((await api.get(path, { cookie: "milvaion_position=B%2F2" })).status, 200);
      const both = { cookie: "milvaion_position=B%2F2", "milvaion-position": "C/3" };
      assertEquals((await api.get(path, both)).status, 200);
      assertEquals((await api.get(path, { cookie: "milvaion_position=nonsense" })).status, 200);
      assertEquals(asked.splice(0), [null, "A/1", "latest", "B/2", "C/3", null], path);
    }
    const wrong = await api.get("/api/v1/jobs", { "milvaion-position": "yesterday" });
    assertEquals([wrong.status, wrong.body.code, wrong.body.errors[0].field], [
      400,
      "format",
      "milvaion-position",
    ]);
  }, { reads: copied(asked, () => "0/1") });
});

Deno.test("a store without copies answers no position, and takes any", () =>
  withApi(async (api) => {
    const { headers } = await api.post("/api/v1/jobs", {
      displayName: "A",
      jobType: "SampleJob",
      triggerOnly: true,
    });
    assertEquals([headers.get("milvaion-position"), headers.get("set-cookie")], [null, null]);
    assertEquals((await api.get("/api/v1/jobs", { "milvaion-position": "0/16B3748" })).body.items.length, 1);
    assertEquals((await api.get("/api/v1/about")).body.readReplicas, []);
  }));

Deno.test("replicas show what they lag; a figure that nobody knows is left out", async () => {
  await withApi(async (api) => {
    const { body } = await api.get("/api/v1/about");
    assertEquals(body.readReplicas[0], {
      name: "replica:5432/jobs",
      isUsed: true,
      lagBytes: 128,
      lagSeconds: 0.25,
      problem: null,
    });
    const metrics = (await api.get("/metrics")).body;
    assertStringIncludes(metrics, 'milvaion_replica_lag_seconds{replica="replica:5432/jobs"} 0.25');
    assertStringIncludes(metrics, 'milvaion_replica_used{replica="away:5432/jobs"} 0');
    assert(!metrics.includes('milvaion_replica_lag_seconds{replica="away:5432/jobs"}'), metrics);
  }, { reads: copied([], () => null) });
});
