/** What the doctor says of PostgreSQL and its replicas: well ones, badly set up ones, and a role that may too little. */
import { assert, assertEquals } from "@std/assert";
import postgres from "postgres";
import { asOwner, checkOf, examine, migrate, postgresAt, statesOf } from "../support/doctor.ts";
import { PostgresServer } from "../support/postgres_server.ts";
import { newJob, openStore } from "../support/postgres_world.ts";
import { until } from "../support/program.ts";
import { serverTest, temporaryDatabase } from "../support/servers.ts";

serverTest(
  ["postgres"],
  "doctor: PostgreSQL is well once it is migrated, and a newer schema fails",
  async () => {
    await using database = await temporaryDatabase();
    const { url } = database;
    const before = await examine({ postgres: postgresAt(url) });
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
    const after = await examine({ postgres: postgresAt(url), workers: 1000 });
    assertEquals([
      checkOf(after, "PostgreSQL", "schema").state,
      checkOf(after, "PostgreSQL", "permission").state,
    ], [
      "ok",
      "ok",
    ]);
    assert(
      checkOf(after, "PostgreSQL", "connections").message.includes(
        "1000 workers × 2 + 0 API instances × 10 = 2000",
      ),
    );
    assert(checkOf(after, "PostgreSQL", "connections").nextStep?.includes("max_connections = 2503"));

    await asOwner(url, "INSERT INTO schema_versions (version, applied_at) VALUES (999, to_timestamp(0))");
    assertEquals(
      checkOf(await examine({ postgres: postgresAt(url) }), "PostgreSQL", "schema").state,
      "failed",
    );
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
      checkOf(await examine({ postgres: postgresAt(url.href) }), "PostgreSQL", "permission");
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

serverTest(
  ["initdb"],
  "doctor: a replica shows its lag, is warned of when it is behind, and fails when it is none or away",
  async () => {
    await using primary = await PostgresServer.start();
    await migrate(primary.url);
    await using store = await openStore(primary.url);
    await using replica = await PostgresServer.replicaOf(primary);
    const subject = `Replica 127.0.0.1:${replica.port}`;
    const look = () => examine({ postgres: postgresAt(primary.url, [replica.url]) });
    assertEquals(statesOf(await look(), subject), {
      reachable: "ok",
      role: "ok",
      store: "ok",
      lag: "ok",
      encryption: "ok",
    });
    await replica.sql("SELECT pg_wal_replay_pause()");
    await store.store.jobs.insert([newJob()]);
    await until(
      async () => checkOf(await look(), subject, "lag").state === "warning",
      "the lag is warned of",
    );
    assert(
      /^It lacks [\d,]+ bytes, for .* from the primary\.$/.test(
        checkOf(await look(), subject, "lag").message,
      ),
    );
    await replica.sql("SELECT pg_wal_replay_resume()");

    const itself = await examine({ postgres: postgresAt(primary.url, [primary.url]) });
    assertEquals(checkOf(itself, `Replica 127.0.0.1:${primary.port}`, "role").state, "failed");
    await replica.kill();
    const away = checkOf(await look(), subject, "reachable");
    assertEquals(away.state, "failed");
    assert(away.nextStep?.endsWith("and DATABASE_READ_URLS."), away.nextStep ?? "");
  },
);
