/**
 * Each symptom of the advisor brought about for real: it is silent before, and names it while it lasts. Looks are
 * taken each second, so that a window is 13 s long.
 */
import { assert, assertMatch } from "@std/assert";
import { Redis } from "ioredis";
import postgres from "postgres";
import { findBottlenecks } from "../../actors/domain/bottleneck.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import { REAL_PACE } from "../../infra/embedded/pace.ts";
import { Survey } from "../../infra/evidence/survey.ts";
import { createMetrics } from "../../infra/metrics.ts";
import {
  bottlenecks,
  found,
  type Get,
  LOOKS,
  pause,
  preferredProgram,
  proves,
  silent,
} from "../support/advisor.ts";
import { Cluster } from "../support/cluster.ts";
import { ClusterProcess } from "../support/cluster_process.ts";
import { PostgresServer } from "../support/postgres_server.ts";
import { until } from "../support/program.ts";
import { KeptLog } from "../support/quiet.ts";
import { serverTest } from "../support/servers.ts";
import { needsOf, TestServers } from "../support/test_servers.ts";

const ANY_DATA = new URL("../support/jobs", import.meta.url).pathname;
const MIB = 1024 * 1024;

Deno.test("a flood of polls is named as the cause of high API CPU, and a frozen process as a late event loop", async () => {
  await using program = await preferredProgram();
  const get: Get = (path) => program.get(path);
  const { body: job } = await program.post("/api/v1/jobs", {
    displayName: "Polled",
    jobType: "SampleJob",
    triggerOnly: true,
    concurrentExecutionPolicy: "Allow",
    jobData: { message: "x" },
  });
  for (let count = 0; count < 3; count++) {
    await program.post(`/api/v1/jobs/${job.id}/trigger-many`, {
      items: Array.from({ length: 1000 }, () => ({})),
    });
  }
  await silent(get, "api-cpu", "api-event-loop");

  let isOver = false;
  const poll = async () => {
    // Much to look through and nothing to answer: the work is the server's, not the test's.
    while (!isOver) {
      await (await fetch(`${program.url}/api/v1/occurrences?jobType=SendEmailJob`)).body?.cancel();
    }
  };
  const polling = Array.from({ length: 12 }, poll);
  const polls = /Too many polls: .* GET \/api\/v1\/occurrences/;
  const cpu = await found(get, { codes: ["api-cpu"], cause: polls }, () => pause(200)).finally(() => {
    isOver = true;
    return Promise.all(polling);
  });
  proves(cpu);

  const late = await found(get, { codes: ["api-event-loop"] }, async () => {
    program.child.kill("SIGSTOP");
    await pause(400);
    program.child.kill("SIGCONT");
    await pause(300);
  });
  proves(late);
});

Deno.test("a slow disk under the embedded store is named, a fast one is not", async () => {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-slow-" });
  const { meter, reader } = createMetrics();
  let slowMs = 0;
  const { store } = await openEmbeddedStore({
    folder,
    clock: systemClock,
    random: systemRandom,
    log: new KeptLog(),
    meter,
    pace: { ...REAL_PACE, sync: async (database) => (await pause(slowMs), await REAL_PACE.sync(database)) },
  });
  const survey = new Survey({
    instanceId: "api-1",
    hostName: "here",
    // Ten slow syncs and more lie in a window: of a machine that is full now and then their median counts.
    intervalMs: 200,
    clock: systemClock,
    reader,
    load: () => ({ rssBytes: 1, memoryLimitBytes: null, eventLoopDelayMs: 0, cpu: null }),
    counts: () => store.history.counts(),
    depths: () => Promise.resolve([]),
    workers: () => Promise.resolve([]),
    copies: () => [],
    servers: null,
  });
  const named = async () => findBottlenecks(await survey.read()).find(({ code }) => code === "store-sync");
  const write = () => store.facts.write("at", String(systemClock.now()));
  try {
    await until(async () => {
      for (let count = 0; count < 5; count++) await write();
      const { looks, store: seen } = await survey.read();
      return looks >= 5 && (seen?.sync?.count ?? 0) >= 10 && await named() === undefined;
    }, "a fast disk is not named");
    slowMs = 120;
    const slow = await until(async () => (await write(), await named()), "the slow disk is named");
    assert((slow.proof[0]?.value ?? 0) >= 100);
    assertMatch(slow.changes.join(" "), /migrate --from/);
  } finally {
    survey.stop();
    await store.close();
    await Deno.remove(folder, { recursive: true });
  }
});

serverTest(
  needsOf(["redis"]),
  "on a cluster each symptom of the guide's table is named while it lasts, with its numbers, and not before",
  async (test) => {
    await using servers = await TestServers.start({ own: ["redis"] });
    // What it replays, it replays a minute late.
    await using replica = await PostgresServer.replicaOf(servers.postgres, {
      settings: { recovery_min_apply_delay: "60s" },
    });
    const replicaUrl = new URL(servers.forCluster.servers.postgres);
    replicaUrl.port = String(replica.port);
    await using cluster = await Cluster.start({
      ...servers.forCluster,
      apis: 1,
      workers: 1,
      hasProxies: true,
      workerArgs: ["--jobs", ANY_DATA],
      env: { ...LOOKS, Worker__MaxParallelJobs: "4", DATABASE_READ_URLS: replicaUrl.href },
    });
    const [api] = cluster.apis;
    const [worker] = cluster.workers;
    assert(api !== undefined && worker !== undefined && api.proxies !== null);
    const { proxies } = api;
    const get: Get = (path) => cluster.request("GET", path, undefined, { deadlineMs: 20_000 });
    const jobOf = (jobType: string, jobData: unknown, change = {}) =>
      cluster.createJob({
        displayName: jobType,
        jobType,
        jobData,
        triggerOnly: true,
        concurrentExecutionPolicy: "Allow",
        ...change,
      });
    const trigger = (job: string, count: number) =>
      cluster.request("POST", `/api/v1/jobs/${job}/trigger-many`, {
        items: Array.from({ length: count }, () => ({})),
      }, { deadlineMs: 20_000 });
    const short = await jobOf("SampleJob", { message: "x" });

    await test.step("a healthy load: nothing is named", async () => {
      const codes = [
        "api-cpu",
        "queue-growing",
        "lanes-full",
        "postgres-latency",
        "postgres-load",
        "postgres-connections",
        "redis-latency",
        "redis-zset",
        "redis-memory",
        "replica-lag",
        "payload-size",
        "worker-memory",
        "worker-cpu",
        "slow-statement",
      ];
      // Event loops and the machine's processors are left out: on a busy machine they are late, and full.
      await until(async () => {
        await trigger(short, 5);
        const { looks, bottlenecks: named } = await bottlenecks(get);
        return looks >= 5 && !named.some(({ code }) => codes.includes(code));
      }, "nothing is named");
    });

    await test.step("Redis high latency, by the way to it", async () => {
      // The median counts on a busy machine: it must be beyond what such a machine itself makes of it.
      proxies.redis.latency(120);
      const late = await found(get, { codes: ["redis-latency"] }, () => pause(200));
      proxies.redis.clear();
      proves(late);
      assertMatch(late.cause, /^Not the sorted sets/);
      assertMatch(late.changes.join(" "), /redis\+cluster:/);
    });

    await test.step("ZSET operations take much of Redis, and late answers are laid on them; Redis full", async () => {
      const client = new Redis(servers.redis.url);
      const flood = async (key: string, size: number) => {
        const members = Array.from({ length: size }, (_, at) => [String(at), `member ${at}`]).flat();
        await client.zadd(key, ...members);
        return (count: number) =>
          Promise.all(
            Array.from({ length: count }, (_, at) =>
              client.zunionstore("flooded", 2, key, key, "WEIGHTS", at, 1)),
          );
      };
      try {
        // Many small ones: each is quick, and together they keep the server at work.
        const small = await flood("small", 200);
        const busy = await found(get, { codes: ["redis-zset"] }, () => small(1000));
        proves(busy);
        assertMatch(busy.cause, /Too many ZSET operations/);
        assertMatch(busy.changes.join(" "), /redis\+cluster:/);
        await silent(get, "redis-zset");
        // Few large ones: whoever comes meanwhile waits.
        const large = await flood("large", 20_000);
        const late = await found(get, {
          codes: ["redis-latency"],
          cause: /Too many ZSET operations/,
        }, () => large(20));
        proves(late);
        assert(
          late.proof.some(({ name, value }) => name === "zsetShare" && value >= 0.1),
          JSON.stringify(late),
        );
        assertMatch(late.changes.join(" "), /redis\+cluster:/);
        await silent(get, "redis-memory");
        const used = Number(/used_memory:(\d+)/.exec(await client.info("memory"))?.[1]);
        await client.config("SET", "maxmemory", String(Math.round(used * 1.15)));
        proves(await found(get, { codes: ["redis-memory"] }, () => pause(200)));
        await client.config("SET", "maxmemory", "0");
      } finally {
        const ended = new Promise((resolve) => client.once("end", resolve));
        await client.quit();
        await ended;
      }
    });

    await test.step("queue depth growing and lanes full: workers too slow", async () => {
      const slow = await jobOf("LongRunningJob", { seconds: 1 });
      const growing = await found(
        get,
        { codes: ["queue-growing"] },
        () => Promise.all([trigger(slow, 12), pause(400)]),
      );
      proves(growing);
      assertMatch(growing.cause, /Workers too slow/);
      assertMatch(growing.changes.join(" "), /Add workers .*--replicas=/);
      const full = await found(get, { codes: ["lanes-full"] }, () => pause(300));
      assertMatch(full.symptom, /All 4 lanes for LongRunningJob/);
    });

    const sql = postgres(servers.forCluster.servers.postgres, { max: 72, onnotice: () => {} });
    try {
      await test.step("PostgreSQL is slow because somebody holds a lock", async () => {
        const locked = await found(get, { codes: ["postgres-latency"] }, () =>
          sql.begin(async (held) => {
            await held`LOCK TABLE occurrences IN ACCESS EXCLUSIVE MODE`;
            const waiting = Promise.all([1, 2, 3].map(() => trigger(short, 1)));
            await pause(1200);
            return { waiting };
          }).then(({ waiting }) => waiting));
        proves({ ...locked, proof: locked.proof.filter(({ name }) => name === "statementP99") });
        assertMatch(locked.cause, /Sessions wait for locks/);
      });

      await test.step("PostgreSQL is busy because of inserts; connections run out", async () => {
        let isOver = false;
        const sessions = Array.from({ length: 8 }, async (_, at) => {
          await sql.unsafe(`CREATE UNLOGGED TABLE flood_${at} (number integer)`);
          while (!isOver) await sql.unsafe(`INSERT INTO flood_${at} SELECT generate_series(1, 50000)`);
        });
        const busy = await found(
          get,
          { codes: ["postgres-load"], cause: /Too many inserts/ },
          () => pause(300),
        ).finally(() => {
          isOver = true;
          return Promise.all(sessions);
        });
        proves({ ...busy, proof: busy.proof.filter(({ name }) => name === "sessionsAtWork") });
        await silent(get, "postgres-connections");
        const crowded = await found(
          get,
          { codes: ["postgres-connections"] },
          () => Promise.all(Array.from({ length: 72 }, () => sql`SELECT pg_sleep(0.1)`)),
        );
        assert((crowded.proof[0]?.value ?? 0) >= 0.8 * (crowded.proof[0]?.limit ?? Infinity));
      });
    } finally {
      await sql.end();
    }

    await test.step("a replica lags", async () => {
      proves(await found(get, { codes: ["replica-lag"] }, () => trigger(short, 1)));
    });

    await test.step("worker high memory and large job data; a worker that gets no processor", async () => {
      const workers = async () => (await get("/api/v1/workers")).body as { items: { instanceId: string }[] };
      const before = new Set((await workers()).items.map(({ instanceId }) => instanceId));
      await using limited = new ClusterProcess({
        role: "worker",
        name: "limited",
        servers: servers.forCluster.servers,
        args: ["--jobs", ANY_DATA, "--types", "AnyDataJob"],
        env: {
          MilvaionConfig__Redis__KeyPrefix: servers.forCluster.redisPrefix,
          Worker__WorkerId: "limited",
          Worker__MaxParallelJobs: "8",
          Worker__Heartbeat__IntervalSeconds: "1",
          Worker__LeaseSeconds: "6",
          Worker__MemoryLimitMb: "480",
        },
        hasProxies: false,
        hasDatabase: true,
      });
      await limited.start();
      await until(
        async () => (await workers()).items.some(({ instanceId }) => !before.has(instanceId)),
        "it is known",
      );
      const small = await jobOf("AnyDataJob", {}, { workerId: "limited" });
      await trigger(small, 20);
      await silent(get, "payload-size", "worker-memory");
      const large = await jobOf("AnyDataJob", { text: "x".repeat(250 * 1024) }, { workerId: "limited" });
      const heavy = await found(
        get,
        { codes: ["worker-memory"] },
        () => Promise.all([trigger(large, 40), pause(300)]),
      );
      assert((heavy.proof[0]?.value ?? 0) >= 0.8 * 480 * MIB, JSON.stringify(heavy));
      assertMatch(heavy.cause, /Job data too large: up to 250 KiB in a run of AnyDataJob/);
      assert((await bottlenecks(get)).bottlenecks.some(({ code }) => code === "payload-size"));
      // Its processors are said with it.
      const { resources } = (await get("/api/v1/bottlenecks")).body as {
        resources: { resource: string; place: string; used: number }[];
      };
      const cpu = resources.find(({ resource, place }) =>
        resource === "cpu" && /^worker limited /.test(place)
      );
      assert(cpu !== undefined && cpu.used > 0, JSON.stringify(resources));

      proves(
        await found(get, { codes: ["worker-event-loop"] }, async () => {
          await limited.pause({ only: true });
          await pause(300);
          await limited.resume();
          await pause(100);
        }),
      );
    });
  },
);
