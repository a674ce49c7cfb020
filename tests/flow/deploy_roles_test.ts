/** The roles of compose.yaml on a PostgreSQL of their own: what the scripts and `migrate` make of an empty server. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import postgres from "postgres";
import { systemClock } from "../../infra/clock.ts";
import { migratePostgres } from "../../infra/postgres/migration.ts";
import { openPostgresAttempts } from "../../infra/postgres/store.ts";
import { grantWorker } from "../../infra/postgres/worker_role.ts";
import { openStore, storeOptions } from "../support/postgres_world.ts";
import { PostgresServer } from "../support/postgres_server.ts";
import { shell } from "../support/processes.ts";
import { serverTest } from "../support/servers.ts";

const DEPLOY = new URL("../../infra/deploy/", import.meta.url).pathname;

/** Does what PostgreSQL's image does once with the script, as the server's administrator. */
async function makeRoles(server: PostgresServer): Promise<void> {
  const secrets = await Deno.makeTempDir({ prefix: "milvaion-secrets-" });
  try {
    await shell('sh "$1/make_secrets.sh" "$2"', DEPLOY, secrets);
    await shell(
      'export PGHOST=127.0.0.1 PGPORT="$1" MILVAION_PASSWORD_FILE="$3/postgres_password"; ' +
        'MILVAION_WORKER_PASSWORD_FILE="$3/postgres_worker_password" sh "$2/postgres_role.sh"',
      String(server.port),
      DEPLOY,
      secrets,
    );
  } finally {
    await Deno.remove(secrets, { recursive: true });
  }
}

function urlAs(server: PostgresServer, role: string): string {
  const url = new URL(server.urlOf("milvaion"));
  url.username = role;
  return url.href;
}

async function ask(url: string, text: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await sql.unsafe(text);
  } finally {
    await sql.end();
  }
}

serverTest(
  ["initdb", "psql"],
  "the database's owner makes the schema and serves; the workers' role enters, claims, and can do no more",
  async () => {
    await using server = await PostgresServer.start();
    await makeRoles(server);
    const owner = storeOptions(urlAs(server, "milvaion"));
    const worker = storeOptions(urlAs(server, "milvaion_worker"));
    for (const _ of ["at the first start", "at each later one"]) {
      await migratePostgres(owner, { dryRun: false, now: systemClock.now() });
      await grantWorker(owner, "milvaion_worker", { dryRun: false });
    }
    await using opened = await openStore(owner.url);
    const claiming = await openPostgresAttempts(worker);
    assertEquals(claiming.storeId, opened.store.storeId);
    await claiming.close();

    const refused = [
      "SELECT * FROM jobs",
      "DELETE FROM occurrences",
      "CREATE TABLE mine ()",
      "CREATE TEMPORARY TABLE mine ()",
      "CREATE ROLE mine",
      "ALTER ROLE milvaion PASSWORD 'mine'",
    ];
    for (const statement of refused) {
      const error = await assertRejects(() => ask(worker.url, statement), Error);
      assertMatch(error.message, /permission denied|must be superuser|privilege/, statement);
    }
    await server.sql("CREATE ROLE other LOGIN");
    const stranger = await assertRejects(() => ask(urlAs(server, "other"), "SELECT 1"), Error);
    assertMatch(stranger.message, /permission denied for database/);
  },
);
