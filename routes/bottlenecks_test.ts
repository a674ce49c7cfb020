/** The advisor over HTTP: findings with their proof, the baseline, evenness and time-outs. */
import { assertEquals, assertMatch } from "@std/assert";
import type { Evidence } from "../actors/domain/bottleneck_evidence.ts";
import { noEvidence, START, withApi } from "../tests/support/api.ts";

const BUSY: Evidence = {
  ...noEvidence(START),
  looks: 13,
  windowSeconds: 60,
  api: {
    instanceId: "api-1",
    hostName: "machine-1",
    cpuShare: 0.95,
    machineShare: null,
    machinePeak: null,
    rssBytes: 1000,
    memoryLimitBytes: 100_000,
    eventLoopDelay: null,
    requestsPerSecond: 400,
    routes: [{ route: "GET /api/v1/occurrences", isPoll: true, perSecond: 390, inProgress: 0.9 }],
    liveClients: 0,
  },
  store: { createdPerSecond: 12, completedPerSecond: 11.5, sync: null },
};

Deno.test("bottlenecks are named with the numbers that prove them, the cause and the change", () =>
  withApi(async (api) => {
    const { body } = await api.get("/api/v1/bottlenecks");
    const [found] = body.bottlenecks;
    assertEquals([found.code, found.severity, found.place], ["api-cpu", "critical", "api-1"]);
    assertEquals(found.proof[0], { name: "cpuShare", value: 0.95, unit: "processors", limit: 0.7 });
    assertMatch(found.cause, /Too many polls: 390 of 400/);
    assertMatch(found.changes[0], /\/api\/v1\/live/);
    assertMatch(found.changes[1], /--replicas=3/);
    assertEquals(body.resources[0].resource, "cpu");
    assertEquals([body.createdPerSecond, body.completedPerSecond], [12, 11.5]);
  }, { evidence: { read: () => Promise.resolve(BUSY) } }));

Deno.test("an instance that has not looked yet names no bottleneck", () =>
  withApi(async (api) => {
    const { status, body } = await api.get("/api/v1/bottlenecks");
    assertEquals([status, body.bottlenecks, body.looks], [200, [], 0]);
  }));

Deno.test("the baseline is kept with its date; a bottleneck that it does not name is new", () => {
  let evidence: Evidence = { ...BUSY, api: null };
  return withApi(async (api) => {
    assertEquals((await api.get("/api/v1/scaling")).body.baseline, null);
    const { status, body } = await api.post("/api/v1/scaling/baseline");
    assertEquals([status, body.completedPerSecond, body.bottlenecks], [201, 11.5, []]);
    evidence = BUSY;
    const after = (await api.get("/api/v1/scaling")).body;
    assertEquals(after.baseline, body);
    assertEquals(after.baseline.recordedAt, new Date(START).toISOString());
    assertEquals(after.newBottlenecks.map((one: { code: string }) => one.code), ["api-cpu"]);
    await api.post("/api/v1/scaling/baseline");
    assertEquals((await api.get("/api/v1/scaling")).body.newBottlenecks, [], "it is known now");
  }, { evidence: { read: () => Promise.resolve(evidence) } });
});

Deno.test("a baseline that cannot be read counts as none", () =>
  withApi(async (api) => {
    await api.adapters.store.facts.write("throughputBaseline", '{"from":"another version"}');
    assertEquals((await api.get("/api/v1/scaling")).body.baseline, null);
    await api.adapters.store.facts.write("throughputBaseline", "no JSON");
    assertEquals((await api.get("/api/v1/scaling")).body.baseline, null);
  }));

Deno.test("runs that timed out before the baseline do not count after it", () => {
  const at = { now: START };
  return withApi(async (api) => {
    const job = await api.createJob();
    const timeOut = async () =>
      await api.run(await api.trigger(job), { kind: "timedOut", rung: "signal", limitMs: 10 });
    await timeOut();
    at.now = api.clock.now();
    assertEquals((await api.get("/api/v1/scaling")).body.timeouts[0].timedOut, 1);
    await api.clock.advance(60_000);
    at.now = api.clock.now();
    await api.post("/api/v1/scaling/baseline");
    assertEquals((await api.get("/api/v1/scaling")).body.timeouts[0]?.timedOut ?? 0, 0);
    await timeOut();
    assertEquals((await api.get("/api/v1/scaling")).body.timeouts[0].timedOut, 1);
    await api.clock.advance(3_600_000);
    at.now = api.clock.now();
    assertEquals((await api.get("/api/v1/scaling")).body.timeouts[0].timedOut, 1, "also when it is long ago");
  }, { evidence: { read: () => Promise.resolve({ ...BUSY, at: at.now }) } });
});

Deno.test("a run that came near its limit before the baseline does not count after it", () => {
  const at = { now: START };
  return withApi(async (api) => {
    const job = await api.createJob({ executionTimeoutSeconds: 1 });
    const near = async () => {
      await api.run(await api.trigger(job), { kind: "completed", result: null }, { durationMs: 900 });
      at.now = api.clock.now();
    };
    const standing = async () => {
      const { body } = await api.get("/api/v1/scaling");
      return [body.timeouts[0]?.runs ?? 0, body.timeouts[0]?.nearLimit ?? 0];
    };
    await near();
    assertEquals(await standing(), [1, 1]);
    await api.clock.advance(60_000);
    at.now = api.clock.now();
    const { body: baseline } = await api.post("/api/v1/scaling/baseline");
    assertEquals(await standing(), [0, 0]);
    assertEquals((await api.get("/api/v1/scaling")).body.timeoutsFrom, baseline.recordedAt);
    await near();
    assertEquals(await standing(), [1, 1]);
  }, { evidence: { read: () => Promise.resolve({ ...BUSY, at: at.now }) } });
});

Deno.test("throughput is compared with the baseline: it fell only where runs wait", () => {
  let evidence: Evidence = BUSY;
  return withApi(async (api) => {
    const verdict = async () => {
      const { body } = await api.get("/api/v1/scaling");
      return [body.throughput, body.waiting];
    };
    assertEquals(await verdict(), [null, 0]);
    await api.post("/api/v1/scaling/baseline");
    assertEquals(await verdict(), ["as-before", 0]);
    evidence = { ...BUSY, store: { createdPerSecond: 4, completedPerSecond: 4, sync: null } };
    assertEquals(await verdict(), ["less-demand", 0]);
    const queue = {
      jobType: "SampleJob",
      pool: null,
      ready: 120,
      growthPerSecond: 1,
      risingShare: 1,
      workers: 1,
      lanes: 4,
      lanesBusy: 4,
      fullShare: 1,
      wanted: null,
    };
    evidence = { ...evidence, queues: [queue] };
    assertEquals(await verdict(), ["fell", 120]);
  }, { evidence: { read: () => Promise.resolve(evidence) } });
});

Deno.test("an endpoint that takes no body refuses one, and names each field", () =>
  withApi(async (api) => {
    const { status, body } = await api.post("/api/v1/scaling/baseline", { x: 1 });
    assertEquals([status, body.errors?.[0]?.field, body.errors?.[0]?.code], [422, "x", "unknown_field"]);
    assertEquals((await api.get("/api/v1/scaling")).body.baseline, null, "nothing was recorded");
    assertEquals((await api.post("/api/v1/scaling/baseline", {})).status, 201);
    const job = await api.createJob();
    const resume = await api.post(`/api/v1/jobs/${job}/resume`, { untill: "noon" });
    assertEquals([resume.status, resume.body.errors?.[0]?.field], [422, "untill"]);
  }, { evidence: { read: () => Promise.resolve(BUSY) } }));
