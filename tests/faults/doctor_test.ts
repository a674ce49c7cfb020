/** What the doctor says of real servers: well ones, badly set up ones, and ones that are not there. */
import { type CheckResult, type DoctorOptions, hasFailed, runDoctor } from "../../infra/doctor/doctor.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { openRedis } from "../../infra/redis/redis.ts";
import { migratePostgres } from "../../infra/postgres/migration.ts";
import { connect } from "amqplib";
import postgres from "postgres";
import { freePort } from "../support/program.ts";
import { KeptLog } from "../support/quiet.ts";
import { RabbitmqServer } from "../support/rabbitmq_server.ts";
import { RedisServer } from "../support/redis_server.ts";
import {
  SERVERS,
  serverTest,
  temporaryDatabase,
  temporaryPrefix,
  temporaryVhost,
} from "../support/servers.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { assert, assertEquals } from "@std/assert";

const NOTHING: DoctorOptions = {
  dataDir: null,
  api: null,
  postgres: null,
  redis: null,
  rabbitmq: null,
  workers: null,
  clock: systemClock,
  random: systemRandom,
};
/** No check takes longer, nor does reaching a server; with room for a busy machine. */
const AT_MOST_MS = 12_000;

const amqp = (url: string) => ({ url, queueType: "quorum" } as const);

async function migrate(url: string): Promise<void> {
  const log = new KeptLog();
  await migratePostgres({ url, maxConnections: 2, prepare: true, log }, {
    dryRun: false,
    now: systemClock.now(),
  });
}

async function asOwner(url: string, statement: string): Promise<void> {
  const sql = postgres(url, { max: 1 });
  await sql.unsafe(statement).finally(() => sql.end());
}

async function check(options: Partial<DoctorOptions>): Promise<readonly CheckResult[]> {
  const startedAt = performance.now();
  const results = await runDoctor({ ...NOTHING, ...options });
  assert(performance.now() - startedAt < AT_MOST_MS);
  return results.filter(({ subject }) => subject !== "Machine");
}

function find(results: readonly CheckResult[], subject: string, name: string): CheckResult {
  const found = results.find((one) => one.subject === subject && one.check === name);
  assert(found !== undefined, `no check ${subject} ${name}: ${JSON.stringify(results)}`);
  return found;
}

function statesOf(results: readonly CheckResult[], subject: string): Record<string, string> {
  return Object.fromEntries(
    results.filter((one) => one.subject === subject).map(({ check, state }) => [check, state]),
  );
}

serverTest(
  ["postgres"],
  "doctor: PostgreSQL is well once it is migrated, and a newer schema fails",
  async () => {
    await using database = await temporaryDatabase();
    const { url } = database;
    const before = await check({ postgres: { url } });
    assertEquals(statesOf(before, "PostgreSQL"), {
      reachable: "ok",
      version: "ok",
      schema: "warning",
      permission: "ok",
      clock: "ok",
      connections: "ok",
      encryption: "ok",
    });
    await migrate(database.url);
    const after = await check({ postgres: { url }, workers: 1000 });
    assertEquals([find(after, "PostgreSQL", "schema").state, find(after, "PostgreSQL", "permission").state], [
      "ok",
      "ok",
    ]);
    assert(find(after, "PostgreSQL", "connections").message.includes("1000 workers want 2000"));
    assert(find(after, "PostgreSQL", "connections").nextStep?.includes("max_connections = 2003"));

    await asOwner(url, "INSERT INTO schema_versions (version, applied_at) VALUES (999, to_timestamp(0))");
    assertEquals(find(await check({ postgres: { url } }), "PostgreSQL", "schema").state, "failed");
  },
);

serverTest(
  ["postgres"],
  "doctor: a role that may not make tables, may only claim, or may only read is told so",
  async () => {
    await using database = await temporaryDatabase();
    const role = `doctor_${database.name.slice(-12)}`;
    const url = new URL(database.url);
    url.username = role;
    const permission = async () =>
      find(await check({ postgres: { url: url.href } }), "PostgreSQL", "permission");
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    await sql.unsafe(`CREATE ROLE ${role} LOGIN`);
    try {
      const none = await permission();
      assertEquals(none.state, "failed");
      assertEquals(
        none.nextStep,
        `As the owner of the database: GRANT CREATE, USAGE ON SCHEMA public TO ${role}`,
      );
      await migrate(database.url);
      assertEquals((await permission()).state, "failed");
      await sql.unsafe(`GRANT SELECT, UPDATE ON occurrences TO ${role}`);
      const some = await permission();
      assertEquals(some.state, "warning");
      assert(some.message.includes("enough for workers"));
      await sql.unsafe(`ALTER ROLE ${role} SET default_transaction_read_only = on`);
      assert((await permission()).message.includes("may only read"));
    } finally {
      await sql.unsafe(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
      await sql.end();
    }
  },
);

serverTest(["redis"], "doctor: Redis is looked at under its prefix, and nothing is left there", async () => {
  await using space = temporaryPrefix();
  const { url, prefix } = space;
  const results = await check({ redis: { url, keyPrefix: prefix } });
  assertEquals(
    find(results, "Redis", "permission").message,
    `SET, GET, EVAL, PUBLISH and DEL work under ${prefix}.`,
  );
  assertEquals(hasFailed(results), false);
});

serverTest(
  ["redis-server"],
  "doctor: a Redis that evicts, forgets and takes few connections is warned of",
  async () => {
    await using server = await RedisServer.start({
      args: ["--maxmemory-policy", "allkeys-lru", "--maxclients", "50"],
    });
    const redis = { url: server.url, keyPrefix: "Milvaion:JobScheduler:" };
    const bad = await check({ redis });
    assertEquals(statesOf(bad, "Redis"), {
      reachable: "ok",
      version: "ok",
      permission: "ok",
      role: "ok",
      clock: "ok",
      connections: "warning",
      eviction: "warning",
      persistence: "warning",
      encryption: "ok",
    });
    assertEquals(await server.cli("dbsize"), "0");
    for (
      const [name, value] of [["maxmemory-policy", "noeviction"], ["maxclients", "10000"], [
        "appendonly",
        "yes",
      ]]
    ) {
      await server.cli("config", "set", name ?? "", value ?? "");
    }
    assertEquals(new Set(Object.values(statesOf(await check({ redis }), "Redis"))), new Set(["ok"]));
  },
);

serverTest(
  ["redis-server"],
  "doctor: a Redis user without the permissions is told which command is missing",
  async () => {
    await using server = await RedisServer.start();
    await server.cli("acl", "setuser", "some", "on", ">word", "~Milvaion:*", "&*", "+@all", "-publish");
    const url = server.url.replace("//", "//some:word@");
    const found = find(
      await check({ redis: { url, keyPrefix: "Milvaion:JobScheduler:" } }),
      "Redis",
      "permission",
    );
    assertEquals(found.state, "failed");
    assert(found.message.startsWith("PUBLISH under Milvaion:JobScheduler: is refused"));
    assert(found.nextStep?.includes("ACL SETUSER"));
  },
);

serverTest(
  ["rabbitmq", "rabbitmqctl"],
  "doctor: RabbitMQ is well, and a queue declared otherwise is named",
  async () => {
    await using vhost = await temporaryVhost();
    const well = await check({ rabbitmq: amqp(vhost.url) });
    assertEquals(statesOf(well, "RabbitMQ"), {
      reachable: "ok",
      version: "ok",
      permission: "ok",
      queues: "ok",
      alarms: "ok",
      connections: "unknown",
      credentials: "ok",
      encryption: "ok",
    });
    const model = await connect(vhost.url);
    const channel = await model.createChannel();
    await channel.assertQueue("milvaion.reports", { durable: true });
    await model.close();
    const otherwise = find(await check({ rabbitmq: amqp(vhost.url) }), "RabbitMQ", "queues");
    assertEquals(otherwise.state, "failed");
    assert(otherwise.message.startsWith("milvaion.reports: declared otherwise"), otherwise.message);
    assert(otherwise.nextStep?.includes(`rabbitmqctl delete_queue -p '${vhost.name}' milvaion.reports`));
  },
);

serverTest(
  ["postgres", "redis", "rabbitmq", "rabbitmqctl"],
  "doctor: the workers that announce themselves are counted, and their queues are looked at",
  async () => {
    await using database = await temporaryDatabase();
    await using space = temporaryPrefix();
    await using vhost = await temporaryVhost();
    const postgres = { url: database.url };
    await migrate(database.url);
    const storeId = "0199aaaa-0000-7000-8000-000000000001";
    await asOwner(database.url, `INSERT INTO facts (name, value) VALUES ('storeId', '${storeId}')`);
    const redis = await openRedis({
      ...space,
      storeId,
      instanceId: "w",
      clock: systemClock,
      log: new KeptLog(),
      lifetimeMs: 60_000,
    });
    await redis.presence.announce(WORKER);
    await redis.close();
    const model = await connect(vhost.url);
    const channel = await model.createChannel();
    await channel.assertQueue("jobs.sample.wildcard", { durable: true });
    await model.close();

    const results = await check({
      postgres,
      redis: { url: space.url, keyPrefix: space.prefix },
      rabbitmq: amqp(vhost.url),
    });
    assert(find(results, "PostgreSQL", "connections").message.endsWith("(1 announced now)."));
    const { state, message } = find(results, "RabbitMQ", "queues");
    assertEquals(state, "failed");
    assert(message.startsWith("jobs.sample.wildcard: declared otherwise"), message);
  },
);

serverTest(
  ["rabbitmq-server", "rabbitmqctl"],
  "doctor: a RabbitMQ with an alarm on is told from one without",
  async () => {
    await using server = await RabbitmqServer.start();
    const rabbitmq = { url: server.url, queueType: "classic" } as const;
    assertEquals(hasFailed(await check({ rabbitmq })), false);
    await server.ctl("set_vm_memory_high_watermark", "0.00001");
    const found = await check({ rabbitmq });
    assertEquals([find(found, "RabbitMQ", "alarms").state, find(found, "RabbitMQ", "permission").state], [
      "failed",
      "unknown",
    ]);
    assert(find(found, "RabbitMQ", "alarms").message.includes("memory"));
  },
);

serverTest(
  ["postgres", "redis"],
  "doctor: a machine whose clock is an hour wrong fails by the database's",
  async () => {
    await using database = await temporaryDatabase();
    const clock = { ...systemClock, now: () => systemClock.now() + 3_600_000 };
    await using space = temporaryPrefix();
    const results = await check({
      clock,
      postgres: { url: database.url },
      redis: { url: space.url, keyPrefix: space.prefix },
    });
    const { state, message } = find(results, "PostgreSQL", "clock");
    assertEquals(state, "failed");
    assert(/^The database's clock is 3\d{3}\.\d\d s behind this machine's\.$/.test(message), message);
    assertEquals(find(results, "Redis", "clock").state, "warning");
  },
);

serverTest(
  [],
  "doctor: servers that are not there fail with host and port, and without credentials",
  async () => {
    const [pg, redis, rabbit] = [freePort(), freePort(), freePort()];
    const results = await check({
      postgres: { url: `postgres://user:secret-word@127.0.0.1:${pg}/milvaion` },
      redis: { url: `redis://:secret-word@127.0.0.1:${redis}`, keyPrefix: "p" },
      rabbitmq: amqp(`amqp://user:secret-word@127.0.0.1:${rabbit}`),
    });
    assertEquals(results.map(({ subject, check, state }) => [subject, check, state]), [
      ["PostgreSQL", "reachable", "failed"],
      ["Redis", "reachable", "failed"],
      ["RabbitMQ", "reachable", "failed"],
    ]);
    [pg, redis, rabbit].forEach((port, index) => {
      assert(
        results[index]?.message.startsWith(`127.0.0.1:${port} cannot be reached`),
        results[index]?.message,
      );
    });
    assert(!JSON.stringify(results).includes("secret-word"));
  },
);

serverTest(
  ["redis-server"],
  "doctor: servers that take connections and say nothing are given up",
  async () => {
    await using server = await RedisServer.start();
    await using silent = TcpProxy.start(server.port);
    silent.blackhole();
    const address = `127.0.0.1:${silent.port}`;
    const results = await check({
      postgres: { url: `postgres://user@${address}/milvaion` },
      redis: { url: `redis://${address}`, keyPrefix: "p" },
      rabbitmq: amqp(`amqp://${address}`),
    });
    assertEquals(results.map(({ check, state }) => [check, state]), Array(3).fill(["reachable", "failed"]));
  },
);

serverTest(
  ["redis-server", "rabbitmq"],
  "doctor: wrong passwords are told from servers that are away",
  async () => {
    await using server = await RedisServer.start({ args: ["--requirepass", "right-word"] });
    const rabbit = new URL(SERVERS.amqp);
    rabbit.password = "wrong-word";
    const results = await check({
      redis: { url: server.url.replace("//", "//:wrong-word@"), keyPrefix: "p" },
      rabbitmq: amqp(rabbit.href),
    });
    for (const { message, state } of results) {
      assertEquals(state, "failed");
      assert(message.includes("refuses the user"), message);
      assert(!/wrong-word|right-word/.test(message));
    }
    const vhost = new URL(SERVERS.amqp);
    vhost.pathname = "/not-there";
    const [other] = await check({ rabbitmq: amqp(vhost.href) });
    assert(other?.nextStep?.startsWith("rabbitmqctl add_vhost 'not-there'"), JSON.stringify(other));
  },
);

const WORKER = {
  workerId: "pool",
  instanceId: "w",
  hostName: "host",
  version: "1",
  startedAt: 1,
  maxParallelJobs: 4,
  jobTypes: [{
    name: "SampleJob",
    description: "",
    schema: null,
    routingPattern: "sample.*",
    maxParallelJobs: 4,
    threads: 4,
    isolation: "lane",
    executionTimeoutSeconds: null,
    maxRetries: 3,
    baseRetryDelaySeconds: 1,
    lanesBusy: 0,
    lanesFree: 4,
  }],
  running: [],
  isStopping: false,
} as const;
