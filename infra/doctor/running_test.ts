/** What the doctor makes of a running installation: each line of the guide's checklist, well and not. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { JsonObject } from "../cli/api_client.ts";
import { CommandFailure, EXIT } from "../cli/exit_code.ts";
import { systemClock } from "../clock.ts";
import { type CheckResult, examine } from "./check.ts";
import { redisDisk, redisRoom } from "./disk.ts";
import { hasFailed } from "./format.ts";
import { liveResults, runningExamination } from "./running.ts";

const CPU = { resource: "cpu", place: "API instance a", used: 0.4, limit: 1, unit: "processors", share: 0.4 };
const NETWORK = { resource: "network", place: "way to Redis", used: 2, limit: 20, unit: "ms", share: 0.1 };
const BASELINE = {
  recordedAt: "2026-11-26T10:00:00.000Z",
  windowSeconds: 60,
  completedPerSecond: 15.04,
  createdPerSecond: 15.1,
  workers: 3,
  bottlenecks: [],
  nearest: null,
};
const FOUND = {
  code: "api-cpu",
  severity: "critical",
  place: "a",
  symptom: "High API CPU.",
  proof: [{ name: "cpuShare", value: 0.95, unit: "processors", limit: 0.7 }],
  cause: "Too many polls.",
  changes: ["Listen.", "Add replicas."],
};
const POOL = {
  workerId: "email",
  instances: [{ instanceId: "x", completed: 50 }, { instanceId: "y", completed: 48 }],
  variation: 0.02,
  chance: 0.14,
  isEven: true,
};
const TYPE = {
  jobType: "SendEmailJob",
  runs: 98,
  timedOut: 0,
  nearLimit: 0,
  longestMs: 500,
  limitSeconds: 60,
};
const SCALING = {
  at: "2026-11-26T11:00:00.000Z",
  windowSeconds: 60,
  looks: 13,
  completedPerSecond: 30,
  createdPerSecond: 30,
  workers: 6,
  waiting: 0,
  baseline: BASELINE,
  throughput: "as-before",
  resources: [CPU, NETWORK],
  bottlenecks: [],
  newBottlenecks: [],
  pools: [POOL],
  timeoutsFrom: BASELINE.recordedAt,
  timeouts: [TYPE],
};

const asked = (answers: Readonly<Record<string, JsonObject>>) => {
  const requests: string[] = [];
  return {
    requests,
    ask: (method: string, path: string) => {
      requests.push(`${method} ${path}`);
      return Promise.resolve(answers[path] ?? {});
    },
  };
};

async function stage(
  stage: "before-scaling" | "after-scaling",
  change: Partial<Record<string, unknown>> = {},
  options: { readonly replacesBaseline?: boolean } = {},
) {
  const { ask, requests } = asked({ scaling: { ...SCALING, ...change }, "scaling/baseline": BASELINE });
  const results = await examine(runningExamination(stage, ask, options), systemClock);
  return {
    requests,
    of: (check: string) => results.find((one) => one.check === check) as CheckResult,
    results,
  };
}

Deno.test("before scaling: what is nearest to its limit is named, each kind with its numbers", async () => {
  const { of } = await stage("before-scaling");
  assertEquals(of("bottleneck").state, "ok");
  assertMatch(
    of("bottleneck").message,
    /Nearest to its limit: cpu of API instance a: 0.4 of 1 processors, 40 %/,
  );
  const machine = { resource: "cpu", place: "machine m", used: 41.7, limit: 100, unit: "%", share: 0.417 };
  const memory = {
    resource: "memory",
    place: "worker w",
    used: 125e6,
    limit: 25.3e9,
    unit: "bytes",
    share: 0.00494,
  };
  assertMatch(
    (await stage("before-scaling", { resources: [machine, memory] })).of("bottleneck").message,
    /cpu of machine m: 41.7 %; memory of worker w: 125 MB of 25.3 GB, 0.494 %/,
  );
  assertMatch(of("bottleneck").message, /network of way to Redis: 2 of 20 ms, 10 %/);
  const near = (await stage("before-scaling", { resources: [{ ...CPU, share: 0.9 }] })).of("bottleneck");
  assertEquals(near.state, "warning");
  const named = (await stage("before-scaling", { bottlenecks: [FOUND] })).of("bottleneck");
  assertEquals([named.state, named.nextStep], ["warning", "Listen. Add replicas."]);
});

Deno.test("before scaling: the throughput is recorded and shown with its date, beside the one that it replaces", async () => {
  const { of, requests } = await stage("before-scaling");
  assertEquals(requests, ["GET scaling", "POST scaling/baseline"]);
  assertMatch(
    of("throughput").message,
    /Baseline recorded: 15 runs completed a second .* 2026-11-26T10:00:00.000Z/,
  );
  assertMatch(of("throughput").message, /It takes the place of 15 runs/);
});

Deno.test("before scaling: a good baseline is kept while next to nothing is done, unless it is to be replaced", async () => {
  const idle = { completedPerSecond: 0, createdPerSecond: 0, throughput: "idle" };
  const { of, requests } = await stage("before-scaling", idle);
  assertEquals(requests, ["GET scaling"]);
  assertEquals(of("throughput").state, "warning");
  assertMatch(
    of("throughput").message,
    /^0 runs completed a second .* too little to compare with later, so the baseline stays: 15 runs .* 2026-11-26T10/,
  );
  assertMatch(of("throughput").nextStep ?? "", /under load.*--replace-baseline/);
  const asked = await stage("before-scaling", idle, { replacesBaseline: true });
  assertEquals(asked.requests, ["GET scaling", "POST scaling/baseline"]);
});

Deno.test("before scaling: an instance that has hardly looked records nothing", async () => {
  const { of, requests } = await stage("before-scaling", { looks: 1, windowSeconds: 0 });
  assertEquals([of("bottleneck").state, of("throughput").state], ["unknown", "unknown"]);
  assertEquals(requests, ["GET scaling"]);
});

Deno.test("after scaling: all is well, or each line says what is not", async () => {
  const well = await stage("after-scaling");
  assertEquals(well.results.map(({ check, state }) => [check, state]), [
    ["load", "ok"],
    ["bottlenecks", "ok"],
    ["throughput", "ok"],
    ["timeouts", "ok"],
  ]);
  assertMatch(well.of("throughput").message, /^30 runs completed .* Baseline: 15 runs/);
  const uneven = (await stage("after-scaling", { pools: [{ ...POOL, isEven: false, variation: 0.9 }] })).of(
    "load",
  );
  assertEquals(uneven.state, "warning");
  assertMatch(uneven.message, /email: variation 90 % \(x 50, y 48\)/);
  const fresh = await stage("after-scaling", { newBottlenecks: [FOUND] });
  assertEquals(fresh.of("bottlenecks").state, "failed");
  assertMatch(
    fresh.of("bottlenecks").message,
    /New since 2026-11-26T10.*cpuShare 0.95 processors, limit 0.7/,
  );
  assert(hasFailed(fresh.results));
  const late = (await stage("after-scaling", { timeouts: [{ ...TYPE, timedOut: 2, nearLimit: 5 }] })).of(
    "timeouts",
  );
  assertMatch(
    late.message,
    /SendEmailJob: 2 timed out, 5 took four fifths of 60 s or more \(since the baseline\)/,
  );
  assertMatch(late.nextStep ?? "", /JobConsumers__SendEmailJob__ExecutionTimeoutSeconds/);
});

Deno.test("after scaling: throughput that fell while runs wait is a warning with both numbers; less demand is not", async () => {
  const of = async (changes: Partial<Record<string, unknown>>) =>
    (await stage("after-scaling", changes)).of("throughput");
  const fell = await of({ completedPerSecond: 7, workers: 6, waiting: 120, throughput: "fell" });
  assertEquals(fell.state, "warning");
  assertMatch(fell.message, /^Less is done while 120 runs wait: 7 runs completed .* Baseline: 15 runs/);
  assert(fell.nextStep !== null);
  const each = await of({ completedPerSecond: 20, workers: 6, waiting: 120, throughput: "fell-per-worker" });
  assertEquals(each.state, "warning");
  assertMatch(each.message, /^Each worker does less while 120 runs wait: 3.33 a second, 5.01 before/);
  for (const throughput of ["less-demand", "idle"]) {
    const less = await of({ completedPerSecond: 1, throughput });
    assertEquals(less.state, "ok");
    assertMatch(less.message, /^Less comes, and nothing is held back: 1 runs .* Baseline: 15 runs/);
  }
  const empty = await of({ throughput: null, baseline: { ...BASELINE, completedPerSecond: 0 } });
  assertEquals(empty.state, "unknown");
});

Deno.test("after scaling: runs near their limit are said to be of the time that was looked at", async () => {
  const of = async (changes: Partial<Record<string, unknown>>) =>
    (await stage("after-scaling", changes)).of("timeouts").message;
  assertEquals(await of({}), "Of 98 runs since the baseline none timed out, and none came near its limit.");
  const from = "2026-11-26T10:50:00.000Z";
  assertEquals(
    await of({ timeoutsFrom: from }),
    "None timed out since the baseline; of 98 runs of the last ten minutes none came near its limit.",
  );
  assertEquals(
    await of({ timeoutsFrom: from, baseline: null }),
    "Of 98 runs of the last ten minutes none timed out, and none came near its limit.",
  );
});

Deno.test("after scaling without a baseline: what cannot be compared is unknown and fails nothing", async () => {
  const { results, of } = await stage("after-scaling", { baseline: null, pools: [] });
  assertEquals([of("load").state, of("bottlenecks").state, of("throughput").state], [
    "unknown",
    "unknown",
    "unknown",
  ]);
  assertMatch(of("bottlenecks").nextStep ?? "", /--before-scaling/);
  assertEquals(hasFailed(results), false);
});

Deno.test("live: a line for each bottleneck; a critical one fails, a warning does not", async () => {
  const bottlenecks = (found: readonly unknown[]) =>
    liveResults(
      asked({ bottlenecks: { looks: 13, windowSeconds: 60, resources: [CPU], bottlenecks: found } }).ask,
    );
  const critical = await bottlenecks([FOUND, { ...FOUND, severity: "warning" }]);
  assertEquals(critical.map(({ check, state }) => [check, state]), [["api-cpu", "failed"], [
    "api-cpu",
    "warning",
  ]]);
  assertEquals((await bottlenecks([])).map(({ state }) => state), ["ok"]);
  const early = await liveResults(
    asked({ bottlenecks: { looks: 2, windowSeconds: 5, bottlenecks: [] } }).ask,
  );
  assertEquals(early.map(({ state }) => state), ["unknown"]);
});

Deno.test("an installation that does not answer is one failed line, with the hint of the client", async () => {
  const ask = () => Promise.reject(new CommandFailure(EXIT.unavailable, "Nobody answers", "Start it."));
  const [live] = await liveResults(ask);
  const [after] = await examine(runningExamination("after-scaling", ask), systemClock);
  for (const one of [live, after]) {
    assertEquals([one?.check, one?.state, one?.nextStep], ["reachable", "failed", "Start it."]);
  }
});

Deno.test("Redis: room for twice as much, and writes that reached the disk", () => {
  const info = (values: Readonly<Record<string, string>>) => (name: string) => values[name] ?? null;
  const mib = (count: number) => String(count * 1024 * 1024);
  assertEquals(redisRoom(info({ used_memory: mib(49), maxmemory: mib(100) })).state, "ok");
  assertEquals(redisRoom(info({ used_memory: mib(50), maxmemory: mib(100) })).state, "warning");
  assertEquals(redisRoom(info({ used_memory: mib(50), maxmemory: "0" })).state, "ok");
  assertEquals(redisDisk(info({ aof_last_write_status: "ok", rdb_last_bgsave_status: "ok" })).state, "ok");
  assertEquals(
    redisDisk(info({ aof_last_write_status: "err", rdb_last_bgsave_status: "ok" })).state,
    "warning",
  );
  assertEquals(redisDisk(info({})).state, "unknown");
});
