/**
 * How many connections a cluster with 50 workers has on each server, counted by the servers. The workers are opened by
 * the program's own code, all in this process: what a process of its own would add is memory, no connection.
 */
import { loadConfig } from "../../infra/config.ts";
import { openCluster } from "../../infra/cluster.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { runDoctor } from "../../infra/doctor/doctor.ts";
import { CONNECTIONS_A_WORKER } from "../../infra/postgres/application_name.ts";
import { until } from "../support/program.ts";
import { KeptLog } from "../support/quiet.ts";
import { RedisServer } from "../support/redis_server.ts";
import { serverTest, temporaryVhost } from "../support/servers.ts";
import { PostgresServer } from "../support/postgres_server.ts";
import { shell } from "../support/processes.ts";
import { assert, assertEquals } from "@std/assert";

const WORKERS = 50;
const APIS = 2;
/** The scaling guide's limits: what the servers allow unless somebody changes it. */
const USUAL = { postgres: 100, redis: 10_000, rabbitmq: 65_535 } as const;
/** What the documentation says of a process. */
const OF_A_PROCESS = { redis: 3, rabbitmq: 2 } as const;

serverTest(
  ["initdb", "redis-server", "rabbitmq", "rabbitmqctl"],
  "50 workers and 2 API instances keep to the connections that are documented, and doctor warns before PostgreSQL runs out",
  async () => {
    await using stack = new AsyncDisposableStack();
    const postgres = stack.use(
      await PostgresServer.start({ settings: { max_connections: String(USUAL.postgres + WORKERS) } }),
    );
    const redis = stack.use(await RedisServer.start());
    const vhost = stack.use(await temporaryVhost());
    const urls = { database: await postgres.createDatabase("cluster"), redis: redis.url, amqp: vhost.url };
    const loaded = await loadConfig({
      file: null,
      env: {},
      flags: [],
      readTextFile: () => Promise.reject(new Deno.errors.NotFound()),
      machine: { cores: 2 },
    });
    assert(loaded.ok);
    const folder = await Deno.makeTempDir({ prefix: "milvaion-connections-" });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    const { config } = loaded;
    const open = async (role: "api" | "worker", number: number) => {
      const cluster = await openCluster({
        urls,
        config: { ...config, Worker: { ...config.Worker, OutboxDir: `${folder}/${role}-${number}` } },
        role,
        instanceId: `${role}-${systemRandom.uuid()}`,
        patternOf: (jobType) => `${jobType.toLowerCase()}.*`,
        knownTypes: () => [],
        waitsFor: () => {},
        signal: new AbortController().signal,
        clock: systemClock,
        random: systemRandom,
        meter: { count: () => {}, observe: () => {} },
        log: new KeptLog(),
      });
      stack.defer(() => cluster.close());
      return cluster;
    };
    await open("api", 1);
    await open("api", 2);
    const workers = [];
    for (let number = 1; number <= WORKERS; number++) workers.push(await open("worker", number));

    // Every worker claims, renews and announces itself as fast as it can, so that no pool stays half empty.
    await Promise.all(workers.map(async ({ attempts, presence, clock }, index) => {
      const instanceId = `worker-${index}`;
      const occurrence = () => ({ occurrenceId: systemRandom.uuid(), scheduledFor: clock.now(), token: 0 });
      await Promise.all([
        presence.announce({
          workerId: "pool",
          instanceId,
          hostName: "test",
          version: "0.0.0",
          startedAt: clock.now(),
          maxParallelJobs: 1,
          jobTypes: [],
          running: [],
          reportsHeldBack: 0,
          load: null,
          isStopping: false,
        }),
        ...Array.from(
          { length: 20 },
          () => attempts.claim([{ message: occurrence(), workerId: "pool", instanceId }], 15_000),
        ),
        ...Array.from({ length: 20 }, () => attempts.renew([occurrence()], 15_000)),
      ]);
    }));

    const [row] = await postgres.sql(
      `SELECT count(*) FILTER (WHERE application_name LIKE 'milvaion worker %') AS workers,
         count(DISTINCT application_name) FILTER (WHERE application_name LIKE 'milvaion worker %') AS names,
         count(*) FILTER (WHERE application_name LIKE 'milvaion api %') AS apis FROM pg_stat_activity`,
    );
    const [most] = await postgres.sql(
      `SELECT max(n) AS n FROM (SELECT count(*) AS n FROM pg_stat_activity
         WHERE application_name LIKE 'milvaion worker %' GROUP BY application_name) AS each`,
    );
    assertEquals(Number(row?.["names"]), WORKERS, "each worker has connections of its own name");
    assertEquals(Number(most?.["n"]), CONNECTIONS_A_WORKER, "the busiest worker on PostgreSQL");
    assert(Number(row?.["workers"]) <= WORKERS * CONNECTIONS_A_WORKER);
    assert(Number(row?.["apis"]) <= APIS * config.MilvaionConfig.Postgres.MaxConnections);

    const clients = (await redis.cli("client", "list")).split("\n").filter((line) =>
      line.includes("name=milvaion")
    );
    assert(clients.length <= (WORKERS + APIS) * OF_A_PROCESS.redis, `${clients.length} on Redis`);
    assert(clients.length < USUAL.redis / 10);

    const broker = await until(async () => {
      const found = (await shell("rabbitmqctl --quiet list_connections vhost")).split("\n")
        .filter((line) => line.trim() === vhost.name).length;
      return found >= (WORKERS + APIS) && found;
    }, "RabbitMQ counts its connections");
    assertEquals(broker, (WORKERS + APIS) * OF_A_PROCESS.rabbitmq);
    assert(broker < USUAL.rabbitmq / 10);
    console.log(
      "figures: " +
        JSON.stringify({
          workers: WORKERS,
          apis: APIS,
          postgres: row,
          redis: clients.length,
          rabbitmq: broker,
        }),
    );

    const look = async () => {
      const results = await runDoctor({
        dataDir: null,
        outboxDir: null,
        api: null,
        postgres: { url: urls.database, apiConnections: 10, readUrls: [], maxReplicaLagSeconds: 10 },
        redis: { url: urls.redis, keyPrefix: config.MilvaionConfig.Redis.KeyPrefix },
        rabbitmq: null,
        workers: null,
        clock: systemClock,
        random: systemRandom,
      });
      const found = results.find(({ subject, check }) => subject === "PostgreSQL" && check === "connections");
      assert(found !== undefined);
      return found;
    };
    const warned = await look();
    assertEquals(warned.state, "warning", warned.message);
    assert(
      warned.message.includes(`${WORKERS} workers × 2 + ${APIS} API instances × 10 = 120, of 147 to be had`),
    );
    assert(warned.nextStep?.startsWith("ALTER SYSTEM SET max_connections = 153"), warned.nextStep ?? "");
  },
);
