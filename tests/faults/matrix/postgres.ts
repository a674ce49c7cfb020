/** PostgreSQL restarted, full of connections, locked, slow, without room, frozen. */
import { delay } from "@std/async";
import postgres from "postgres";
import type { PostgresServer } from "../../support/postgres_server.ts";
import { recovers } from "../../support/recovery.ts";
import { faultTest } from "../../support/under_load.ts";

const FAULT_MS = 10_000;
/** The way there and the way back. */
const LATENCY_MS = 1000;
const MAX_CONNECTIONS = 60;

faultTest(
  "PostgreSQL restarted in order, its connections exhausted, its table locked and frozen for 10 s each: nothing is lost or doubled",
  {
    servers: { postgres: { settings: { max_connections: String(MAX_CONNECTIONS) } } },
    cluster: { apis: 2, workers: 1 },
  },
  async (ground) => {
    const { servers, load } = ground;

    await recovers(ground, "restarted in order", async () => {
      await servers.postgres.stop("fast");
      await servers.postgres.start();
    });
    await load.progress(40);

    await recovers(ground, "connections exhausted for 10 s", async () => {
      await exhausted(servers.postgres, FAULT_MS);
    });
    await load.progress(40);

    await recovers(ground, "occurrences locked for 10 s", async () => {
      await servers.postgres.sql(
        `BEGIN; LOCK TABLE occurrences IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(${FAULT_MS / 1000}); COMMIT`,
        "cluster",
      );
    });
    await load.progress(40);

    await recovers(ground, "frozen for 10 s", async () => {
      await servers.postgres.pause();
      await delay(FAULT_MS);
      await servers.postgres.resume();
    });
    await load.progress(40);
  },
);

faultTest(
  "PostgreSQL 2 s late with each answer, and without room on its disk, for 10 s each: nothing is lost or doubled",
  { cluster: { apis: 2, workers: 1, hasProxies: true } },
  async (ground) => {
    const { servers, cluster, load } = ground;
    const proxies = [...cluster.apis, ...cluster.workers].flatMap((one) => one.proxies?.postgres ?? []);
    await recovers(ground, "each answer 2 s late for 10 s", async () => {
      for (const proxy of proxies) proxy.latency(LATENCY_MS);
      await delay(FAULT_MS);
      for (const proxy of proxies) proxy.clear();
    });
    await load.progress(40);

    const disk = await fullDisk(servers.postgres);
    await recovers(ground, "disk full for 10 s", async () => {
      await disk.fill();
      await delay(FAULT_MS);
      await disk.free();
    });
    await load.progress(40);
  },
);

/** Takes each connection that is free, ends those of the cluster, and takes theirs as well. */
async function exhausted(server: PostgresServer, ms: number): Promise<void> {
  const over = performance.now() + ms;
  const held: postgres.Sql[] = [];
  const hold = async () => {
    const sql = postgres(server.urlOf("postgres"), { max: 1, onnotice: () => {}, connect_timeout: 5 });
    try {
      await sql`SELECT 1`;
      held.push(sql);
      return true;
    } catch {
      await sql.end({ timeout: 0 });
      return false;
    }
  };
  try {
    while (performance.now() < over) {
      while (await hold());
      await held[0]?.unsafe(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cluster'",
      );
    }
  } finally {
    await Promise.all(held.map((sql) => sql.end({ timeout: 5 })));
  }
}

/** What a full disk answers to each write of the program, as long as it is full. */
async function fullDisk(server: PostgresServer): Promise<{ fill(): Promise<void>; free(): Promise<void> }> {
  await server.sql(
    `CREATE SCHEMA disk;
     CREATE TABLE disk.is_full ();
     GRANT USAGE ON SCHEMA disk TO PUBLIC;
     CREATE FUNCTION disk.refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
       IF EXISTS (SELECT FROM disk.is_full) THEN
         RAISE EXCEPTION 'could not extend file "base/16384/16444": No space left on device' USING ERRCODE = '53100';
       END IF;
       RETURN NULL;
     END $$`,
    "cluster",
  );
  for (const table of ["occurrences", "attempts", "jobs", "epochs", "leadership", "verdict_ranges"]) {
    await server.sql(
      `CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION disk.refuse()`,
      "cluster",
    );
  }
  return {
    fill: async () => void await server.sql("INSERT INTO disk.is_full DEFAULT VALUES", "cluster"),
    free: async () => void await server.sql("DELETE FROM disk.is_full", "cluster"),
  };
}
