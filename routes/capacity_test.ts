import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { START, type TestApi, withApi } from "../tests/support/api.ts";
import { offer } from "../tests/support/in_process_pool.ts";

const TYPED = "jobType=SendEmailJob";

/** A run that took so long, by the test's worker in pool `local`. */
async function ran(api: TestApi, jobId: string, durationMs: number): Promise<void> {
  const occurrenceId = await api.trigger(jobId);
  const token = await api.claim(occurrenceId);
  const detail = await api.adapters.store.history.occurrence(occurrenceId);
  const { scheduledFor = 0 } = detail?.occurrence ?? {};
  await api.adapters.store.outcomes.record(
    [{
      occurrenceId,
      scheduledFor,
      jobId,
      token,
      workerId: "local",
      instanceId: "worker-1",
      startedAt: api.clock.now(),
      endedAt: api.clock.now(),
      durationMs,
      outcome: { kind: "completed", result: null },
    }],
    api.clock.now(),
    0,
  );
}

/** The worker is there; presence lasts 15 s. */
const here = (api: TestApi) => api.announce([offer("SampleJob"), offer("SendEmailJob")]);

// deno-lint-ignore no-explicit-any -- answers are read by tests that know them
function typeOf(body: any, jobType: string): any {
  // deno-lint-ignore no-explicit-any -- as above
  return body.pools.flatMap((pool: any) => pool.types).find((type: any) => type.jobType === jobType);
}

const busyApi = (work: (api: TestApi, jobId: string) => Promise<void>) =>
  withApi(async (api) => {
    const id = await api.createJob({ concurrentExecutionPolicy: "Allow" });
    for (let count = 0; count < 30; count += 1) {
      await ran(api, id, 2000);
      await api.clock.advance(10_000);
    }
    await here(api);
    await work(api, id);
  });

Deno.test("capacity is the guide's formula with measured durations and arrivals", () =>
  busyApi(async (api) => {
    const { status, body } = await api.get("/api/v1/capacity");
    assertEquals(status, 200);
    const type = typeOf(body, "SampleJob");
    const { maxParallelJobs } = offer("SampleJob");
    assertEquals([type.workers, type.maxParallelJobs, type.averageSeconds, type.measuredRuns], [
      1,
      maxParallelJobs,
      2,
      30,
    ]);
    assertEquals([type.jobsPerSecond, type.jobsPerMinute], [maxParallelJobs / 2, maxParallelJobs * 30]);
    assert(Math.abs(type.demandPerSecond - 0.1) < 1e-9, `${type.demandPerSecond}`);
    assertEquals(type.utilisation, type.demandPerSecond * 2 / type.lanes);
    assertEquals(type.backlog, 0);
    assertEquals(body.pools[0].manifest.commands[1], "docker compose up -d --scale local=1");
    assertEquals(body.measured, {
      from: "2026-11-24T10:00:00.000Z",
      until: "2026-11-24T10:05:00.000Z",
      runs: 30,
      isCut: false,
      isBacklogCut: false,
    });
    assertEquals(body.sizing.scheduledJobs, 1);
    assertEquals(body.connections, [], "an embedded installation has no servers to connect to");
  }));

Deno.test("what if: load, lanes, workers, duration, a rate and a wait change what follows from them", () =>
  busyApi(async (api) => {
    const ask = async (what: string) =>
      typeOf((await api.get(`/api/v1/capacity?jobType=SampleJob&${what}`)).body, "SampleJob");
    const now = await ask("");
    const twice = await ask("load=2");
    assertEquals(twice.demandPerSecond, now.demandPerSecond * 2);
    assertEquals(twice.utilisation, now.utilisation * 2);
    assertEquals((await ask("maxParallelJobs=20")).jobsPerSecond, 10);
    assertEquals((await ask("workers=3&maxParallelJobs=10")).jobsPerSecond, 15);
    assertEquals((await ask("averageSeconds=0.5&maxParallelJobs=10")).jobsPerSecond, 20);
    assertEquals((await ask("targetRate=15&maxParallelJobs=10")).workersFor.targetRate, 3);
    assertEquals((await ask("targetWaitSeconds=0.5&maxParallelJobs=10")).workersFor.targetWait, 1);
    const drains = await ask("backlog=1000&maxParallelJobs=10");
    assertEquals(drains.drainSeconds, 1000 / (drains.jobsPerSecond - drains.demandPerSecond));
    const { body } = await api.get("/api/v1/capacity?jobType=SampleJob&workers=4&maxParallelJobs=20");
    assertEquals(body.pools[0].manifest.environment, {
      Worker__MaxParallelJobs: "20",
      JobConsumers__SampleJob__MaxParallelJobs: "20",
    });
    assertStringIncludes(body.pools[0].manifest.kubernetesPatch, "replicas: 4");
  }));

Deno.test("what is asked of a type that two pools offer is shared by their lanes, unless one of them is named", () =>
  withApi(async (api) => {
    await api.announce([offer("SampleJob", { maxParallelJobs: 3 })], "large");
    await api.announce([offer("SampleJob", { maxParallelJobs: 1 })], "small");
    const path = "/api/v1/capacity?jobType=SampleJob&averageSeconds=1&targetRate=12&backlog=4000";
    const asked = async (more: string) => {
      const { body } = await api.get(path + more);
      // deno-lint-ignore no-explicit-any -- as above
      return body.pools.map(({ pool, types: [type] }: any) => [
        pool,
        type.backlog,
        type.workersFor.targetRate,
      ]);
    };
    assertEquals(await asked(""), [["large", 3000, 3], ["small", 1000, 3]]);
    assertEquals(await asked("&pool=small"), [["small", 4000, 12]]);
  }, { offers: [] }));

Deno.test("the guide's example can be asked before anything ran: 15 a second, 900 a minute", () =>
  withApi(async (api) => {
    const { status, body } = await api.get(
      `/api/v1/capacity?${TYPED}&workers=3&maxParallelJobs=10&averageSeconds=2`,
    );
    assertEquals(status, 200);
    assertEquals([typeOf(body, "SendEmailJob").jobsPerSecond, typeOf(body, "SendEmailJob").jobsPerMinute], [
      15,
      900,
    ]);
    assertStringIncludes(body.sentences[0], "3 workers × 10 lanes ÷ 2 s = 15 a second, 900 a minute");
  }, { offers: [] }));

Deno.test("sizing takes what it is asked about: 10,000 jobs, 100,000 messages", () =>
  withApi(async (api) => {
    const { body } = await api.get("/api/v1/capacity?scheduledJobs=10000&backlog=100000&historyDays=7");
    assertEquals(body.sizing.rabbitmq.disk.guideBytes, 50_000_000);
    assertEquals(Math.round(body.sizing.redis.memory.guideBytes / 1e6), 10);
    assertEquals([body.sizing.redis.workload, body.sizing.historyDays], ["Small", 7]);
    const { body: more } = await api.get("/api/v1/capacity?scheduledJobs=1000000&backlog=1000000");
    assertEquals(more.sizing.postgres.memory.measuredBytes, 2_020_000_000);
  }));

Deno.test("what schedules promise counts before it has come", () =>
  withApi(async (api) => {
    await api.createJob({ triggerOnly: false, cronExpression: "* * * * * *" });
    const type = typeOf((await api.get("/api/v1/capacity")).body, "SampleJob");
    assertEquals([type.demandFrom, type.arrivalsPerSecond], ["schedules", 0]);
    assert(Math.abs(type.promisedPerHour - 3600) < 180, `${type.promisedPerHour}`);
    assert(Math.abs(type.demandPerSecond - 1) < 0.05, `${type.demandPerSecond}`);
    assertStringIncludes(type.sentences[0], "No run of SampleJob was measured");
  }));

Deno.test("each parameter that is wrong is named, with what would be right", () =>
  withApi(async (api) => {
    const cases: readonly (readonly [query: string, field: string, code: string])[] = [
      ["load=much", "load", "type"],
      ["load=-1", "load", "out_of_range"],
      ["load=1001", "load", "out_of_range"],
      ["maxParallelJobs=0", "maxParallelJobs", "out_of_range"],
      ["maxParallelJobs=2.5", "maxParallelJobs", "type"],
      ["workers=-1", "workers", "out_of_range"],
      ["workers=ten", "workers", "type"],
      [`${TYPED}&averageSeconds=0`, "averageSeconds", "out_of_range"],
      ["averageSeconds=2", "averageSeconds", "job_type_required"],
      [`${TYPED}&targetRate=0`, "targetRate", "out_of_range"],
      ["targetRate=5", "targetRate", "job_type_required"],
      ["targetWaitSeconds=-1", "targetWaitSeconds", "out_of_range"],
      ["targetWaitSeconds=1e3", "targetWaitSeconds", "type"],
      ["windowSeconds=59", "windowSeconds", "out_of_range"],
      ["scheduledJobs=many", "scheduledJobs", "type"],
      ["backlog=-1", "backlog", "out_of_range"],
      ["historyDays=0", "historyDays", "out_of_range"],
      ["pool=", "pool", "too_short"],
      ["jobType=%20a", "jobType", "untrimmed"],
      ["worker=3", "worker", "field_unknown"],
    ];
    for (const [query, field, code] of cases) {
      const { status, body } = await api.get(`/api/v1/capacity?${query}`);
      assertEquals([status, body.errors?.[0].field, body.errors?.[0].code], [400, field, code], query);
    }
  }));

Deno.test("a type or pool that nobody knows is 404, with the name that was meant", () =>
  withApi(async (api) => {
    const type = await api.get("/api/v1/capacity?jobType=SendEmialJob");
    assertEquals([type.status, type.body.code], [404, "not_found"]);
    assertStringIncludes(type.body.detail, "SendEmailJob");
    const pool = await api.get("/api/v1/capacity?pool=locl");
    assertEquals(pool.status, 404);
    assertStringIncludes(pool.body.detail, "Did you mean local?");
  }));

Deno.test("figures are kept for two seconds", () =>
  withApi(async (api) => {
    const id = await api.createJob();
    const waiting = async () => (await api.get("/api/v1/pools/local/scaling")).body.waiting;
    assertEquals(await waiting(), 0);
    await api.trigger(id);
    assertEquals(await waiting(), 0);
    await api.clock.advance(2000);
    assertEquals(await waiting(), 1);
  }));

Deno.test("scaling: wanted replicas, and how it came to it", () =>
  busyApi(async (api, id) => {
    const path = "/api/v1/pools/local/scaling";
    const idle = await api.get(`${path}?minimum=0`);
    assertEquals([idle.status, idle.body.wantedReplicas, idle.body.currentReplicas], [200, 1, 1]);
    const lanes = offer("SampleJob").maxParallelJobs;
    const items = Array.from({ length: 50 * lanes }, () => ({}));
    assertEquals((await api.post(`/api/v1/jobs/${id}/trigger-many`, { items })).status, 202);
    await api.clock.advance(2000);
    const { body } = await api.get(`${path}?targetWaitSeconds=20`);
    // 50 × lanes runs of 2 s within 20 s, and what came in the last minute.
    const [backlog] = body.needs;
    assertEquals([backlog.code, body.wantedReplicas, body.waiting], [
      "backlog",
      backlog.replicas,
      50 * lanes,
    ]);
    assert(body.wantedReplicas > 5 && body.wantedReplicas <= 50, `${body.wantedReplicas}`);
    assertEquals(body.oldestWaitSeconds, 2);
    assertStringIncludes(body.sentence, `${50 * lanes} runs of SampleJob wait`);
    const held = await api.get(`${path}?targetWaitSeconds=20&maximum=3`);
    assertEquals([held.body.wantedReplicas, held.body.boundBy], [3, "maximum"]);
  }));

Deno.test("scaling: a pool whose workers have left wants one for waiting work, and none without", () =>
  busyApi(async (api, id) => {
    const path = "/api/v1/pools/local/scaling";
    await api.get(path);
    await api.adapters.presence.leave("worker-1");
    await api.clock.advance(3_600_000);
    const idle = await api.get(path);
    assertEquals([idle.body.wantedReplicas, idle.body.currentReplicas], [0, 0]);
    await api.trigger(id);
    await api.clock.advance(2000);
    const { body } = await api.get(path);
    assertEquals([body.wantedReplicas, body.waiting], [1, 1]);
  }));

Deno.test("scaling: a pool that no worker was ever in, but a job is pinned to it, wants one", () =>
  withApi(async (api) => {
    assertEquals((await api.get("/api/v1/pools/email-worker/scaling")).status, 404);
    const id = await api.createJob({ workerId: "email-worker" });
    await api.trigger(id);
    await api.clock.advance(2000);
    const { status, body } = await api.get("/api/v1/pools/email-worker/scaling");
    assertEquals([status, body.wantedReplicas], [200, 1]);
  }));

Deno.test("scaling: while nobody can say which workers are there it is 503, not a wish for none", () =>
  busyApi(async (api) => {
    Object.assign(api.adapters.presence, { list: () => Promise.reject(new Error("connection refused")) });
    const answer = await api.get("/api/v1/pools/local/scaling");
    assertEquals([answer.status, answer.body.code], [503, "unavailable"]);
    // A page is better with what was known last.
    assertEquals((await api.get("/api/v1/capacity", { "milvaion-position": "latest" })).status, 200);
  }));

Deno.test("scaling: a pool that nobody ever heard of is 404; a wrong parameter is named", () =>
  withApi(async (api) => {
    const unknown = await api.get("/api/v1/pools/locale/scaling");
    assertEquals([unknown.status, unknown.body.code], [404, "not_found"]);
    assertStringIncludes(unknown.body.detail, "Did you mean local?");
    const cases: readonly (readonly [path: string, field: string, code: string])[] = [
      ["a%20b/scaling", "workerId", "format"],
      ["local/scaling?minimum=-1", "minimum", "out_of_range"],
      ["local/scaling?maximum=0", "maximum", "out_of_range"],
      ["local/scaling?minimum=5&maximum=3", "maximum", "out_of_range"],
      ["local/scaling?targetWaitSeconds=0", "targetWaitSeconds", "out_of_range"],
      ["local/scaling?windowSeconds=soon", "windowSeconds", "type"],
      ["local/scaling?max=3", "max", "field_unknown"],
    ];
    for (const [path, field, code] of cases) {
      const { status, body } = await api.get(`/api/v1/pools/${path}`);
      assertEquals([status, body.errors?.[0].field, body.errors?.[0].code], [400, field, code], path);
    }
  }));

Deno.test("more than is read within a minute counts all the same: arrivals, for the planner and for a scaler", () =>
  withApi(async (api) => {
    const id = await api.createJob({ concurrentExecutionPolicy: "Allow" });
    const items = Array.from({ length: 1000 }, () => ({}));
    for (let round = 0; round < 3; round += 1) {
      assertEquals((await api.post(`/api/v1/jobs/${id}/trigger-many`, { items })).status, 202);
      await api.clock.advance(15_000);
    }
    await here(api);
    const type = typeOf((await api.get("/api/v1/capacity")).body, "SampleJob");
    const { body } = await api.get("/api/v1/pools/local/scaling");
    const scaled = body.types.find(({ jobType }: { jobType: string }) => jobType === "SampleJob");
    assertEquals([type.arrivalsPerSecond, scaled.recentPerSecond], [50, 50]);
  }));

Deno.test("a backlog longer than what is read hides neither run times nor itself", () =>
  withApi(async (api) => {
    const id = await api.createJob({ concurrentExecutionPolicy: "Allow" });
    await ran(api, id, 500);
    await api.clock.advance(60_000);
    for (let round = 0; round < 3; round += 1) {
      const items = Array.from({ length: 1000 }, () => ({}));
      assertEquals((await api.post(`/api/v1/jobs/${id}/trigger-many`, { items })).status, 202);
    }
    await api.clock.advance(2000);
    const { body } = await api.get("/api/v1/capacity");
    const type = typeOf(body, "SampleJob");
    assertEquals([type.averageSeconds, type.backlog, body.measured.isCut], [0.5, 3000, true]);
    assert(api.clock.now() > START);
  }));
