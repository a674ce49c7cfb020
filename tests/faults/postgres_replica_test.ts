/** Lists are read from replicas that are near enough, and nobody misses what he has written himself. */
import type { Reader } from "../../actors/ports/reads.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { DEFAULTS } from "../contract/store_fixture.ts";
import { PostgresServer } from "../support/postgres_server.ts";
import { newJob, openStore } from "../support/postgres_world.ts";
import { until } from "../support/program.ts";
import { Cluster } from "../support/cluster.ts";
import type { ClusterProcess } from "../support/cluster_process.ts";
import { serverTest } from "../support/servers.ts";
import { needsOf, TestServers } from "../support/test_servers.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";

const DATABASE = "cluster";
/** The longest statement is seen whole. */
const WHOLE = { settings: { track_activity_query_size: "8kB" } };

/** A primary with replicas of it, and a store that knows them. */
async function replicated(count: number, maxLagSeconds: number) {
  await using stack = new AsyncDisposableStack();
  const primary = stack.use(await PostgresServer.start(WHOLE));
  const url = await primary.createDatabase(DATABASE);
  // The schema is there before the replicas are made.
  await (await openStore(url))[Symbol.asyncDispose]();
  const replicas: PostgresServer[] = [];
  for (let made = 0; made < count; made++) {
    replicas.push(stack.use(await PostgresServer.replicaOf(primary, WHOLE)));
  }
  const urls = replicas.map((replica) => replica.urlOf(DATABASE));
  const { store } = stack.use(await openStore(url, { replicas: { urls, maxLagSeconds } }));
  await areUsed(count);
  const kept = stack.move();

  function areUsed(wanted: number) {
    return until(
      () => Promise.resolve(store.reads.copies().filter(({ isUsed }) => isUsed).length === wanted),
      `${wanted} replicas are used`,
    );
  }

  return {
    primary,
    replicas,
    store,
    url,
    areUsed,
    /** Writes a job, as an API instance does. */
    async write() {
      const job = newJob();
      await store.jobs.insert([job]);
      return { id: job.id, position: await store.reads.written() };
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function jobIds({ jobs }: Reader): Promise<readonly string[]> {
  return (await jobs.list({}, 200, null)).items.map(({ id }) => id);
}

const pause = (replica: PostgresServer) => replica.sql("SELECT pg_wal_replay_pause()");
const resume = (replica: PostgresServer) => replica.sql("SELECT pg_wal_replay_resume()");

serverTest(
  ["initdb"],
  "a list comes from the replica, except for who has written what the replica has not replayed",
  async () => {
    await using world = await replicated(1, 600);
    const { store, url, write } = world;
    const [replica] = world.replicas;
    assert(replica !== undefined);
    // Another API instance: it knows nothing of what is written through the first.
    await using other = await openStore(url, {
      replicas: { urls: [replica.urlOf(DATABASE)], maxLagSeconds: 600 },
    });
    const reads = other.store.reads;
    await until(() => Promise.resolve(reads.copies()[0]?.isUsed), "the other instance uses it too");

    const before = await write();
    assert(before.position !== null);
    assert((await jobIds(reads.reader(before.position))).includes(before.id));

    await pause(replica);
    await until(
      async () =>
        (await replica.sql("SELECT pg_get_wal_replay_pause_state() AS state"))[0]?.["state"] === "paused",
      "replay is paused",
    );
    const after = await write();
    // What is missing proves that it came from the replica.
    assertEquals((await jobIds(reads.reader(null))).includes(after.id), false);
    assert((await jobIds(reads.reader(after.position))).includes(after.id), "shown with its position");
    assert((await jobIds(reads.reader("latest"))).includes(after.id), "the store itself");
    assert((await jobIds(store.reads.reader(null))).includes(after.id), "the instance that wrote it");
    assertEquals(
      (await reads.reader(null).history.counts()).jobs + 1,
      (await other.store.history.counts()).jobs,
    );
    // Who wrote before the pause goes on reading the replica.
    assertEquals((await jobIds(reads.reader(before.position))).includes(after.id), false);

    await resume(replica);
    await until(async () => (await jobIds(reads.reader(null))).includes(after.id), "it has been replayed");
    assert((await jobIds(reads.reader(after.position))).includes(after.id));
  },
);

serverTest(
  ["initdb"],
  "a replica that lags is measured and left out, one that dies is never noticed, and both are used again",
  async () => {
    await using world = await replicated(1, 1);
    const { store, write, areUsed } = world;
    const [replica] = world.replicas;
    assert(replica !== undefined);
    const state = () => store.reads.copies()[0];

    await pause(replica);
    const lagging = await write();
    await until(() => Promise.resolve(state()?.isUsed === false), "it is left out");
    assertMatch(state()?.problem ?? "", /^it lags more than 1 s$/);
    assert((state()?.lagBytes ?? 0) > 0, JSON.stringify(state()));
    assert((state()?.lagSeconds ?? 0) > 1, JSON.stringify(state()));
    assert((await jobIds(store.reads.reader(null))).includes(lagging.id));
    await resume(replica);
    await areUsed(1);
    assertEquals(state()?.lagBytes, 0);
    assertEquals(state()?.lagSeconds, 0);

    await replica.kill();
    // Nobody has looked yet: the list is read again, on the primary.
    assert((await jobIds(store.reads.reader(null))).includes(lagging.id));
    await areUsed(0);
    assertMatch(state()?.problem ?? "", /refused|closed/);
    assertEquals(state()?.lagSeconds, null);
    await replica.start();
    await areUsed(1);

    await replica.pause();
    assert((await jobIds(store.reads.reader(null))).includes(lagging.id), "a frozen one is given up");
    await areUsed(0);
    await replica.resume();
    await areUsed(1);
  },
);

serverTest(
  ["initdb"],
  "reads are spread over replicas, and a server that is none is not read from",
  async () => {
    await using world = await replicated(2, 10);
    const { store, primary, replicas, url } = world;
    const listed = async (server: PostgresServer) => {
      const [row] = await server.sql(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%FROM jobs%ORDER BY%'",
      );
      return Number(row?.["n"]);
    };
    const [first, second] = replicas;
    assert(first !== undefined && second !== undefined);
    await Promise.all(Array.from({ length: 8 }, () => jobIds(store.reads.reader(null))));
    assert(await listed(first) > 0 && await listed(second) > 0, "both have been asked");
    assertEquals(await listed(primary), 0, "and nobody else");

    await using wrong = await openStore(url, { replicas: { urls: [url], maxLagSeconds: 10 } });
    await until(
      () =>
        Promise.resolve(
          wrong.store.reads.copies()[0]?.problem === "it is no replica: it takes writes itself",
        ),
      "the primary is not taken for a replica",
    );
    const another = await primary.createDatabase("another");
    await using stranger = await openStore(another, {
      replicas: { urls: [first.urlOf(DATABASE)], maxLagSeconds: 10 },
    });
    await until(
      () => Promise.resolve(stranger.store.reads.copies()[0]?.problem === "it holds another store"),
      "the replica of another store is not read from",
    );
  },
);

serverTest(["initdb"], "lists are read from a replica while the primary is away", async () => {
  await using world = await replicated(1, 10);
  const { store, primary, write } = world;
  const { id, position } = await write();
  await until(async () => (await jobIds(store.reads.reader(position))).includes(id), "it is there");
  await primary.kill();
  assert((await jobIds(store.reads.reader(position))).includes(id));
  await primary.start();
});

serverTest(
  ["initdb"],
  "a list over one day looks at that day's partition alone, on the primary and on a replica",
  async () => {
    await using world = await replicated(1, 600);
    const { store, primary } = world;
    const [replica] = world.replicas;
    assert(replica !== undefined);
    const job = newJob({ jobType: "SampleJob" });
    await store.jobs.insert([job]);
    const day = 86_400_000;
    const today = Math.floor(systemClock.now() / day) * day;
    for (const offset of [-2, -1, 0]) {
      await store.outcomes.trigger({
        jobId: job.id,
        at: today + offset * day + 1000,
        items: [{ occurrenceId: systemRandom.uuid(), jobData: null }],
        force: false,
        reason: null,
        by: "test",
        idempotency: null,
        defaultsOf: () => DEFAULTS,
      });
    }
    const position = await store.reads.written();
    const reader = store.reads.reader(position);
    const yesterday = { from: today - day, to: today };
    await until(
      async () => (await reader.history.occurrences(yesterday, 10, null)).items.length === 1,
      "the replica has them",
    );
    const name = new Date(yesterday.from).toISOString().slice(0, 10).replaceAll("-", "");
    for (const [server, after] of [[primary, "latest"], [replica, position]] as const) {
      // The statement as the store has just made it.
      const made = await until(async () => {
        await store.reads.reader(after).history.occurrences(yesterday, 10, null);
        const [row] = await server.sql(
          `SELECT query FROM pg_stat_activity
            WHERE pid <> pg_backend_pid() AND query LIKE '%FROM occurrences WHERE seq > 0%'`,
        );
        return row?.["query"];
      }, "the list is seen in the server");
      const plan = (await server.sql(`EXPLAIN ${made}`, DATABASE)).map((row) => String(row["QUERY PLAN"]))
        .join("\n");
      const partitions = new Set(plan.match(/\bon (occurrences_\w+)/g)?.map((found) => found.slice(3)));
      assertEquals([...partitions].filter((partition) => partition.includes(name)).length, 1, plan);
      assertEquals([...partitions].filter((partition) => !partition.includes(name)), [], plan);
    }
  },
);

serverTest(
  needsOf(),
  "two API instances on a replica: a caller sees its write through either of them, and never sees the replica die",
  async () => {
    await using servers = await TestServers.start();
    const { postgres } = servers;
    await using replica = await PostgresServer.replicaOf(postgres);
    await using cluster = await Cluster.start({
      ...servers.forCluster,
      apis: 2,
      workers: 1,
      env: {
        DATABASE_READ_URLS: replica.urlOf(DATABASE),
        MilvaionConfig__Postgres__MaxReplicaLagSeconds: "600",
      },
    });
    const [first, second] = cluster.apis;
    assert(first !== undefined && second !== undefined);
    const areUsed = (wanted: boolean) =>
      until(async () => {
        const abouts = await Promise.all(
          cluster.apis.map((api) => cluster.request("GET", "/api/v1/about", undefined, { api })),
        );
        return abouts.every(({ body }) => body.readReplicas[0].isUsed === wanted);
      }, `the replica is ${wanted ? "" : "not "}used by both`);
    const listed = async (api: ClusterProcess, headers: Record<string, string> = {}) => {
      const { status, body } = await cluster.request("GET", "/api/v1/jobs", undefined, { api, headers });
      assertEquals(status, 200);
      return body.items.map(({ id }: { readonly id: string }) => id);
    };
    await areUsed(true);
    await pause(replica);
    const made = await cluster.request("POST", "/api/v1/jobs", {
      displayName: "A",
      jobType: "RecorderJob",
      triggerOnly: true,
      jobData: { file: "/dev/null", workMs: 1 },
    }, { api: first });
    assertEquals(made.status, 201, made.text);
    const { id } = made.body;
    const position = made.headers.get("milvaion-position") ?? "";
    const cookie = made.headers.get("set-cookie")?.split(";")[0] ?? "";
    assertEquals((await listed(second)).includes(id), false, "the other instance reads the replica");
    assert((await listed(first)).includes(id), "the instance that wrote");
    assert((await listed(second, { "milvaion-position": position })).includes(id), "with the position");
    assert((await listed(second, { cookie })).includes(id), "with the cookie of a browser");
    await until(async () => {
      const { text } = await cluster.request("GET", "/metrics", undefined, { api: second });
      return /^milvaion_replica_lag_bytes\{replica="[^"]+"\} [1-9]/m.test(text);
    }, "the lag is among the figures");

    await replica.kill();
    for (const api of cluster.apis) assert((await listed(api)).includes(id), "read from the primary");
    await areUsed(false);
    await replica.start();
    await areUsed(true);
    await until(async () => (await listed(second)).includes(id), "what it had missed is there");
  },
);
