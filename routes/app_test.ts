import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { withApi } from "../tests/support/api.ts";

Deno.test("what does not exist is a problem document, with the request's id in body and header", () =>
  withApi(async (api) => {
    const { status, body, headers } = await api.get("/api/v1/nothing");
    assertEquals([status, body.code, body.status], [404, "not_found", 404]);
    assertEquals(headers.get("content-type"), "application/problem+json");
    assertEquals(headers.get("x-request-id"), body.requestId);
  }));

Deno.test("a method that is not possible is answered with those that are", () =>
  withApi(async (api) => {
    const { status, headers, body } = await api.send("PATCH", "/api/v1/jobs");
    assertEquals([status, headers.get("allow"), body.code], [
      405,
      "GET, POST, HEAD, OPTIONS",
      "method_not_allowed",
    ]);
    const options = await api.send("OPTIONS", "/api/v1/jobs");
    assertEquals([options.status, options.headers.get("allow")], [204, "GET, POST, HEAD, OPTIONS"]);
    assertEquals(options.headers.get("access-control-allow-origin"), null);
    const head = await api.send("HEAD", "/api/v1/jobs");
    assertEquals([head.status, head.body], [200, ""]);
  }));

Deno.test("each answer forbids sniffing, framing, caching, and scripts from elsewhere", () =>
  withApi(async (api) => {
    for (const path of ["/", "/api/v1/jobs", "/api/v1/nothing", "/assets/home.js"]) {
      const { headers } = await api.get(path);
      assertEquals(headers.get("x-content-type-options"), "nosniff", path);
      assertEquals(headers.get("cache-control"), "no-store", path);
      const policy = headers.get("content-security-policy") ?? "";
      assertStringIncludes(policy, "default-src 'none'");
      assertStringIncludes(policy, "frame-ancestors 'none'");
      assert(!policy.includes("unsafe"), policy);
    }
  }));

Deno.test("a fault on this side is a 500 that says no more than where to look, and is logged once", () =>
  withApi(async (api) => {
    await api.adapters.store.close();
    const { status, body } = await api.get("/api/v1/jobs");
    assertEquals([status, body.code], [500, "internal_error"]);
    assert(!/sqlite|database|SELECT|\/tmp|at /i.test(JSON.stringify(body)), JSON.stringify(body));
    assertEquals(api.log.lines.filter(({ fields }) => fields["requestId"] === body.requestId).length, 1);
  }));

Deno.test("health: the process is alive, and ready as long as the store can be read and written", () =>
  withApi(async (api) => {
    for (const path of ["/livez", "/readyz", "/api/v1/healthcheck/live", "/api/v1/healthcheck/ready"]) {
      assertEquals((await api.get(path)).status, 200, path);
    }
    await api.adapters.store.close();
    assertEquals((await api.get("/livez")).status, 200);
    const { status, body } = await api.get("/readyz");
    assertEquals([status, body.code], [503, "not_ready"]);
  }));

Deno.test("workers show what they offer, with schemas and lanes", () =>
  withApi(async (api) => {
    const { body } = await api.get("/api/v1/workers");
    const [worker] = body.items;
    assertEquals([worker.workerId, worker.lanesBusy, worker.lanesFree], ["local", 2, 14]);
    assertEquals(worker.jobTypes.map(({ name }: { name: string }) => name), ["SampleJob", "SendEmailJob"]);
    assertEquals(body.nextCursor, null);
  }));

Deno.test("leadership names the holder, its epoch, and those before", () =>
  withApi(async (api) => {
    const nobody = await api.get("/api/v1/leadership");
    assertEquals([nobody.body.holder, nobody.body.history], [null, []]);
    const now = api.clock.now();
    await api.adapters.store.ledger.raiseEpoch("api-0", now, now + 15_000);
    await api.adapters.store.ledger.raiseEpoch("api-1", now + 1000, now + 15_000);
    const { body } = await api.get("/api/v1/leadership");
    assertEquals([body.isLeader, body.holder, body.epoch], [true, "api-1", 2]);
    assertEquals(body.since, "2026-11-24T10:00:01.000Z");
    assertEquals(body.history.map(({ holder }: { holder: string }) => holder), ["api-1", "api-0"]);
  }));

Deno.test("queues show how much waits, and about tells what runs here", () =>
  withApi(async (api) => {
    const id = await api.createJob({ concurrentExecutionPolicy: "Allow" });
    await api.trigger(id);
    assertEquals((await api.get("/api/v1/queues")).status, 200);
    const { body } = await api.get("/api/v1/about");
    assertEquals([body.jobs, body.occurrences.Queued, body.address], [1, 1, "http://127.0.0.1:5000"]);
  }));

Deno.test("metrics show this program's figures in Prometheus' format", () =>
  withApi(async (api) => {
    await api.trigger(await api.createJob());
    const { body, headers } = await api.get("/metrics");
    assertMatch(headers.get("content-type") ?? "", /^text\/plain/);
    for (const line of ["milvaion_jobs 1", 'milvaion_occurrences{status="Queued"} 1', "milvaion_leader 1"]) {
      assertStringIncludes(body, line);
    }
    assertStringIncludes(body, 'milvaion_lanes{pool="local",state="busy"} 2');
  }));

Deno.test("the documentation describes every endpoint, and refers to nothing that is missing", () =>
  withApi(async (api) => {
    const { body } = await api.get("/api/v1/openapi.json");
    assertEquals(body.openapi, "3.1.0");
    const ids = new Set<string>();
    for (const endpoint of api.api.endpoints) {
      const operation = body.paths[endpoint.path]?.[endpoint.method.toLowerCase()];
      assert(operation !== undefined, endpoint.path);
      assert(!ids.has(operation.operationId), operation.operationId);
      ids.add(operation.operationId);
    }
    for (const [, name] of JSON.stringify(body).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      assert(name !== undefined && body.components.schemas[name] !== undefined, name);
    }
    assert(!JSON.stringify(body).includes("$defs"));
    const create = body.paths["/api/v1/jobs"].post.requestBody.content["application/json"].schema;
    assertEquals(create.required, ["displayName", "jobType"]);
    assertEquals(create.additionalProperties, false);
  }));

Deno.test("the pages hold no inline script or style, load nothing from elsewhere, and find all their parts", () =>
  withApi(async (api) => {
    for (const path of ["/", "/docs"]) {
      const { status, body, headers } = await api.get(path);
      assertEquals([status, headers.get("content-type")], [200, "text/html; charset=utf-8"], path);
      assert(!/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/.test(body), path);
      for (const [, target = ""] of body.matchAll(/(?:src|href)="([^"]+)"/g)) {
        if (target === "data:,") continue;
        assertMatch(target, /^\/(?!\/)/, "nothing from elsewhere");
        assertEquals((await api.get(target)).status, 200, target);
      }
    }
    for (const script of ["home.js", "docs.js", "client.js"]) {
      const { body } = await api.get(`/assets/${script}`);
      assert(!/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b/.test(body), script);
    }
  }));
