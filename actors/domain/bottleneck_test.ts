/** Each rule at its limit and just below it, and what none of them may do without evidence. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import {
  API,
  calls,
  GB,
  POSTGRES,
  QUEUE,
  REDIS,
  WELL,
  WORKER,
} from "../../tests/support/well_installation.ts";
import { findBottlenecks } from "./bottleneck.ts";
import { API_CPU, EVENT_LOOP_DELAY_MS, POLLS_IN_PROGRESS, POLLS_PER_SECOND } from "./bottleneck_api.ts";
import type {
  ApiEvidence,
  Evidence,
  PostgresEvidence,
  QueueEvidence,
  RedisServerEvidence,
  WorkerEvidence,
} from "./bottleneck_evidence.ts";
import { BOTTLENECK_CODES } from "./bottleneck_finding.ts";
import { MACHINE_CPU } from "./bottleneck_observer.ts";
import { WORKER_CPU } from "./bottleneck_processors.ts";
import {
  CONNECTIONS_SHARE,
  INSERTS_PER_SECOND,
  REDIS_CALL_MS,
  REDIS_MEMORY,
  REPLICA_LAG_SECONDS,
  STATEMENT_MS,
  SYNC_MS,
  WORKING_SESSIONS,
  ZSET_SHARE,
} from "./bottleneck_servers.ts";
import { SLOW_STATEMENT_MS, SLOW_STATEMENT_SHARE } from "./bottleneck_statements.ts";
import {
  LANES_FULL_SHARE,
  PAYLOAD_BYTES,
  QUEUE_GROWTH,
  QUEUE_LEAST,
  WORKER_MEMORY,
} from "./bottleneck_workers.ts";
import { resourceUses, UNPROVEN } from "./resource_use.ts";

const api = (change: Partial<ApiEvidence>): Evidence => ({ ...WELL, api: { ...API, ...change } });
const queue = (change: Partial<QueueEvidence>): Evidence => ({ ...WELL, queues: [{ ...QUEUE, ...change }] });
const worker = (change: Partial<WorkerEvidence>): Evidence => ({
  ...WELL,
  workers: [{ ...WORKER, ...change }],
});
const postgres = (change: Partial<PostgresEvidence>): Evidence => ({
  ...WELL,
  postgres: { ...POSTGRES, ...change },
});
const redis = (change: Partial<RedisServerEvidence>, call = calls(2)): Evidence => ({
  ...WELL,
  redis: { call, servers: [{ ...REDIS, ...change }] },
});
const replica = (lagSeconds: number | null) =>
  postgres({ replicas: [{ name: "replica:5432/m", isUsed: false, lagSeconds }] });
const working = (used: number, machineShare: number | null) =>
  worker({ cpu: { used, processors: 2, machineShare } });
const statement = (meanMs: number, share: number) =>
  postgres({ slowStatements: [{ text: "SELECT pg_sleep($1)", calls: 5, meanMs, share }] });
const sync = (p99Ms: number) => ({
  ...WELL,
  store: { createdPerSecond: 0, completedPerSecond: 0, sync: calls(p99Ms) },
});
const growing = { ready: QUEUE_LEAST, risingShare: 0.9 };

function codes(evidence: Evidence): readonly string[] {
  return findBottlenecks(evidence).map(({ code }) => code);
}

Deno.test("an installation that is well has no bottleneck", () => assertEquals(codes(WELL), []));

const AT_LIMITS: Readonly<Record<string, readonly [at: Evidence, below: Evidence]>> = {
  "api-cpu": [api({ cpuShare: API_CPU.warning }), api({ cpuShare: API_CPU.warning - 0.01 })],
  "api-event-loop": [
    api({ eventLoopDelay: calls(EVENT_LOOP_DELAY_MS.warning, 600) }),
    api({ eventLoopDelay: calls(EVENT_LOOP_DELAY_MS.warning - 1, 600) }),
  ],
  "machine-cpu": [
    api({ machineShare: MACHINE_CPU.warning }),
    api({ machineShare: MACHINE_CPU.warning - 0.01 }),
  ],
  "worker-cpu": [working(WORKER_CPU.warning * 2, null), working(WORKER_CPU.warning * 2 - 0.01, null)],
  "slow-statement": [
    statement(SLOW_STATEMENT_MS.warning, SLOW_STATEMENT_SHARE),
    statement(SLOW_STATEMENT_MS.warning - 1, 1),
  ],
  "redis-latency": [redis({}, calls(REDIS_CALL_MS.warning)), redis({}, calls(REDIS_CALL_MS.warning - 1))],
  "redis-zset": [redis({ zsetShare: ZSET_SHARE.warning }), redis({ zsetShare: ZSET_SHARE.warning - 0.01 })],
  "redis-memory": [
    redis({ usedBytes: REDIS_MEMORY.warning * GB }),
    redis({ usedBytes: REDIS_MEMORY.warning * GB - 10 }),
  ],
  "queue-growing": [
    queue({ ...growing, growthPerSecond: QUEUE_GROWTH.warning }),
    queue({ ...growing, growthPerSecond: QUEUE_GROWTH.warning - 0.1 }),
  ],
  "lanes-full": [
    queue({ ready: 5, lanesBusy: 20, fullShare: LANES_FULL_SHARE }),
    queue({ ready: 5, lanesBusy: 20, fullShare: LANES_FULL_SHARE - 0.1 }),
  ],
  "postgres-latency": [
    postgres({ statement: calls(STATEMENT_MS.warning) }),
    postgres({ statement: calls(STATEMENT_MS.warning - 1) }),
  ],
  "postgres-load": [
    postgres({ working: WORKING_SESSIONS.warning }),
    postgres({ working: WORKING_SESSIONS.warning - 0.1 }),
  ],
  "postgres-connections": [
    postgres({ connections: 97 * CONNECTIONS_SHARE.warning }),
    postgres({ connections: 77 }),
  ],
  "replica-lag": [replica(REPLICA_LAG_SECONDS.warning), replica(REPLICA_LAG_SECONDS.warning - 1)],
  "store-sync": [sync(SYNC_MS.warning), sync(SYNC_MS.warning - 1)],
  "worker-memory": [
    worker({ rssBytes: WORKER_MEMORY.warning * GB }),
    worker({ rssBytes: WORKER_MEMORY.warning * GB - 10 }),
  ],
  "worker-event-loop": [
    worker({ eventLoopDelayMs: EVENT_LOOP_DELAY_MS.warning }),
    worker({ eventLoopDelayMs: EVENT_LOOP_DELAY_MS.warning - 1 }),
  ],
  "payload-size": [
    worker({ largestPayload: { jobType: "SampleJob", bytes: PAYLOAD_BYTES } }),
    worker({ largestPayload: { jobType: "SampleJob", bytes: PAYLOAD_BYTES - 1 } }),
  ],
};

for (const code of BOTTLENECK_CODES) {
  Deno.test(`${code} is found at its limit, alone, and not below it`, () => {
    const [at, below] = AT_LIMITS[code] ?? [WELL, WELL];
    assertEquals(codes(at), [code]);
    assertEquals(codes(below), []);
  });
}

Deno.test("API CPU is laid on polls only where reads are many or take long, and are most of the requests", () => {
  const causeOf = (perSecond: number, requestsPerSecond: number, inProgress = 0) => {
    const routes = [{ route: "GET /api/v1/occurrences", isPoll: true, perSecond, inProgress }];
    return findBottlenecks(api({ cpuShare: 0.95, requestsPerSecond, routes }))[0]?.cause ?? "";
  };
  assertStringIncludes(causeOf(POLLS_PER_SECOND, POLLS_PER_SECOND), "Too many polls");
  assertStringIncludes(causeOf(POLLS_PER_SECOND - 1, POLLS_PER_SECOND), "Work other than polls");
  assertStringIncludes(causeOf(POLLS_PER_SECOND, POLLS_PER_SECOND * 3), "Work other than polls");
  // Few that take long: a list over much history.
  assertStringIncludes(causeOf(4, 5, POLLS_IN_PROGRESS), "Too many polls");
  assertStringIncludes(causeOf(4, 5, POLLS_IN_PROGRESS - 0.1), "Work other than polls");
});

Deno.test("late answers of a server are not laid on it where this process itself is as late", () => {
  const late = { ...API, eventLoopDelay: calls(200, 600) };
  assertEquals(codes({ ...redis({}, calls(210)), api: late }), ["api-event-loop"]);
  assertEquals(codes({ ...postgres({ statement: calls(210) }), api: late }), ["api-event-loop"]);
  assertEquals(codes({ ...redis({}, calls(500)), api: late }), ["redis-latency", "api-event-loop"]);
});

Deno.test("a slow statement that runs once in a while is no bottleneck", () => {
  assertEquals(codes(statement(SLOW_STATEMENT_MS.critical, SLOW_STATEMENT_SHARE - 0.01)), []);
});

Deno.test("without pg_stat_statements nothing is said of statements but what is missing", () => {
  const late = postgres({ statement: calls(STATEMENT_MS.warning) });
  const [found] = findBottlenecks(late);
  assertEquals(found?.code, "postgres-latency");
  assert(found?.changes.some((one) => one.includes("CREATE EXTENSION pg_stat_statements")));
  const noteOf = (evidence: Evidence) =>
    resourceUses(evidence).find(({ resource, place }) => resource === "cpu" && place === "PostgreSQL")?.note;
  assertStringIncludes(noteOf(WELL) ?? "", "CREATE EXTENSION pg_stat_statements");
  assert(!noteOf(postgres({ slowStatements: [] }))?.includes("CREATE EXTENSION"));
});

Deno.test("each kind of process has its processors among the resources; PostgreSQL's are named for what they are", () => {
  const cpu = resourceUses(WELL).filter(({ resource }) => resource === "cpu");
  assertEquals(cpu.map(({ place }) => place).toSorted(), [
    "API instance api-1",
    "PostgreSQL",
    "Redis redis:6379",
    "machine machine-1",
    "machine machine-2",
    "worker local worker-1",
  ]);
  const server = cpu.find(({ place }) => place === "PostgreSQL");
  assertEquals([server?.used, server?.limit, server?.unit], [0.5, 4, "sessions on processors"]);
  assertStringIncludes(server?.note ?? "", "not to be had over SQL");
});

Deno.test("the cause of slow statements goes by the numbers: locks, inserts, the disk, or none of them", () => {
  const slow = { statement: calls(STATEMENT_MS.critical) };
  const causeOf = (change: Partial<PostgresEvidence>) => findBottlenecks(postgres({ ...slow, ...change }))[0];
  assertStringIncludes(causeOf({ waitingForLocks: 1 })?.cause ?? "", "locks");
  const inserts = causeOf({ insertedPerSecond: INSERTS_PER_SECOND, replicas: [] });
  assertStringIncludes(inserts?.cause ?? "", "Too many inserts");
  assertStringIncludes(inserts?.changes[0] ?? "", "DATABASE_READ_URLS");
  assertStringIncludes(causeOf({ waitingForDisk: 1 })?.cause ?? "", "disk");
  assertStringIncludes(causeOf({})?.cause ?? "", "Neither inserts nor locks");
});

Deno.test("how many workers are wanted is said where the planner knows, and only when it is more than there are", () => {
  const changeFor = (wanted: QueueEvidence["wanted"], pool: string | null = null) =>
    findBottlenecks(queue({ ...growing, growthPerSecond: 5, wanted, pool }))[0]?.changes[0] ?? "";
  assertStringIncludes(
    changeFor({ pool: "email", workers: 5, present: 2 }),
    "Add workers to email: 5 would do what comes now, there are 2",
  );
  assertStringIncludes(changeFor({ pool: "email", workers: 5, present: 2 }), "deployment email --replicas=5");
  assertStringIncludes(
    changeFor({ pool: "email", workers: 2, present: 2 }),
    "deployment <pool> --replicas=<n>",
  );
  // Another pool that offers the type as well is no reason to add none to this one.
  assertStringIncludes(
    changeFor({ pool: "email", workers: 2, present: 1 }),
    "Add workers to email: 2 would do what comes now, there is 1",
  );
  assertStringIncludes(changeFor(null, "email_pool"), "deployment email-pool --replicas=<n>");
});

Deno.test("job data that were accepted are never more than a warning", () => {
  const [found] = findBottlenecks(worker({ largestPayload: { jobType: "SampleJob", bytes: 200_000 } }));
  assertEquals([found?.code, found?.severity], ["payload-size", "warning"]);
});

Deno.test("a queue that jumped once, or is nearly empty, does not grow", () => {
  assertEquals(codes(queue({ ready: 500, growthPerSecond: 50, risingShare: 0.1 })), []);
  assertEquals(codes(queue({ ready: QUEUE_LEAST - 1, growthPerSecond: 50, risingShare: 1 })), []);
});

const share = fc.double({ min: 0, max: 100, noNaN: true });
const latency = fc.record({
  count: fc.nat(1000),
  p50Ms: share,
  p99Ms: fc.double({ min: 0, max: 1e4, noNaN: true }),
});
const anyApi = fc.record({
  instanceId: fc.string(),
  hostName: fc.constantFrom("a", "b"),
  cpuShare: share,
  machineShare: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: null }),
  machinePeak: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: null }),
  rssBytes: fc.nat(),
  memoryLimitBytes: fc.option(fc.nat(), { nil: null }),
  eventLoopDelay: fc.option(latency, { nil: null }),
  requestsPerSecond: share,
  routes: fc.array(
    fc.record({ route: fc.string(), isPoll: fc.boolean(), perSecond: share, inProgress: share }),
  ),
  liveClients: fc.nat(),
});
const anyQueue = fc.record({
  jobType: fc.string(),
  pool: fc.option(fc.string(), { nil: null }),
  ready: fc.nat(),
  growthPerSecond: fc.double({ min: -1000, max: 1000, noNaN: true }),
  risingShare: fc.double({ min: 0, max: 1, noNaN: true }),
  workers: fc.nat(10),
  lanes: fc.nat(100),
  lanesBusy: fc.nat(100),
  fullShare: fc.double({ min: 0, max: 1, noNaN: true }),
  wanted: fc.option(fc.record({ pool: fc.string(), workers: fc.nat(100), present: fc.nat(100) }), {
    nil: null,
  }),
});
const anyWorker = fc.record({
  workerId: fc.string(),
  instanceId: fc.string(),
  hostName: fc.constantFrom("a", "b"),
  cpu: fc.option(
    fc.record({
      used: share,
      processors: fc.nat(64),
      machineShare: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: null }),
    }),
    { nil: null },
  ),
  rssBytes: fc.nat(),
  memoryLimitBytes: fc.option(fc.nat(), { nil: null }),
  eventLoopDelayMs: fc.nat(5000),
  largestPayload: fc.option(fc.record({ jobType: fc.string(), bytes: fc.nat() }), { nil: null }),
});
const anyEvidence: fc.Arbitrary<Evidence> = fc.record({
  at: fc.nat(),
  windowSeconds: fc.nat(60),
  looks: fc.nat(13),
  api: fc.option(anyApi, { nil: null }),
  store: fc.option(
    fc.record({
      createdPerSecond: share,
      completedPerSecond: share,
      sync: fc.option(latency, { nil: null }),
    }),
    { nil: null },
  ),
  queues: fc.array(anyQueue),
  workers: fc.array(anyWorker),
  redis: fc.constant(null),
  postgres: fc.constant(null),
});

Deno.test("property: without evidence there is no finding, and each finding has its proof, cause and change", () => {
  fc.assert(fc.property(anyEvidence, (evidence) => {
    const nothing = { api: null, store: null, queues: [], workers: [], redis: null, postgres: null };
    assertEquals(codes({ ...evidence, ...nothing }), []);
    if (evidence.looks < 3) assertEquals(codes(evidence), []);
    const found = findBottlenecks(evidence);
    for (const { symptom, proof, cause, changes } of found) {
      assert(symptom !== "" && cause !== "" && changes.length > 0 && changes.every((one) => one !== ""));
      const [first] = proof;
      assert(first !== undefined && first.limit !== null && Number.isFinite(first.value));
    }
    if (evidence.api === null) assert(!found.some(({ code }) => code.startsWith("api")));
    if (evidence.queues.length === 0) assert(!found.some(({ code }) => /queue|lanes/.test(code)));
    if (evidence.workers.length === 0) assert(!found.some(({ code }) => /worker|payload/.test(code)));
    const severities = found.map(({ severity }) => severity);
    assertEquals(severities, severities.toSorted(), "the worst first");
  }));
});

Deno.test("property: what stands nearest to its limit comes first, and limits are never zero", () => {
  fc.assert(fc.property(anyEvidence, (evidence) => {
    const uses = resourceUses(evidence);
    for (const [index, one] of uses.entries()) {
      assert(one.limit > 0 && Number.isFinite(one.share));
      const before = uses[index - 1];
      if (before !== undefined && (before.note === UNPROVEN) === (one.note === UNPROVEN)) {
        assert(one.share <= before.share);
      }
      assert(before?.note !== UNPROVEN || one.note === UNPROVEN, "what proves nothing comes last");
    }
  }));
});
