/**
 * Brings a database to the schema of this program. Steps run in one transaction under an advisory lock, so that of
 * many instances started at once one migrates and the others find it done. The version table keeps one row a step,
 * with the oldest version of the program that still works with the schema after it: so instances of the version before
 * go on, and may be started again, while a cluster is brought to the next one instance by instance.
 */
import { type ConnectionOptions, Database, openingFault, type Session } from "./database.ts";
import { PostgresError } from "./fault.ts";
import { MIGRATIONS } from "./schema.ts";

/** PostgreSQL 15, as `server_version_num` writes it. */
const OLDEST_SERVER = 150_000;
/** Key of the advisory lock, "milv" in ASCII; one a database is enough. */
const LOCK = 0x6d696c76;
const DEADLINE_MS = 600_000;

/** Where the schema of a database stands. */
export interface SchemaState {
  /** 0: there is none. */
  readonly version: number;
  readonly newest: number;
}

/**
 * Brings the database to the newest schema, or only says what that would do. Gives a sentence for people.
 * Throws `PostgresError`.
 */
export async function migratePostgres(
  options: ConnectionOptions,
  { dryRun, now }: { readonly dryRun: boolean; readonly now: number },
): Promise<string> {
  const database = new Database({ ...options, maxConnections: 1 });
  try {
    const { version, newest } = dryRun ? await readSchema(database) : await migrate(database, now);
    if (version === newest) return `${database.name}: schema version ${version} is the newest`;
    if (version > newest) {
      return `${database.name}: schema version ${version} is of a newer program, and this one works with it`;
    }
    const verb = dryRun ? "would be brought" : "brought";
    return `${database.name}: ${verb} from schema version ${version} to ${newest}`;
  } catch (error) {
    throw openingFault(database.name, error);
  } finally {
    await database.close();
  }
}

/** Runs the steps that are missing. Gives where the schema stood before. */
export async function migrate(database: Database, now: number): Promise<SchemaState> {
  const before = await readSchema(database);
  if (before.version >= before.newest) return before;
  return await database.transaction("migrate", async (session) => {
    // Others may migrate for minutes: waiting for them is no fault.
    await session.rows("SET LOCAL lock_timeout = 0");
    await session.rows("SET LOCAL statement_timeout = 0");
    await session.rows("SELECT pg_advisory_xact_lock($1::bigint)", [LOCK]);
    if (database.options.schema !== undefined) {
      await session.rows(`CREATE SCHEMA IF NOT EXISTS ${quoteName(database.options.schema)}`);
    }
    await session.rows(
      `CREATE TABLE IF NOT EXISTS schema_versions (version integer PRIMARY KEY, applied_at timestamptz NOT NULL,
         readable_by integer)`,
    );
    const version = await versionWithin(session, database);
    for (const [index, step] of MIGRATIONS.entries()) {
      if (index < version) continue;
      await session.rows(step.sql);
      await session.rows(
        `INSERT INTO schema_versions (version, applied_at, readable_by)
         VALUES ($1::integer, to_timestamp($2::float8 / 1000), $3::integer)`,
        [index + 1, now, step.readableBy],
      );
    }
    return { version, newest: MIGRATIONS.length };
  }, { deadlineMs: DEADLINE_MS });
}

/** Throws `PostgresError` when the schema is older than this program needs. */
export async function requireSchema(database: Database): Promise<void> {
  const { version, newest } = await readSchema(database);
  if (version < newest) {
    throw new PostgresError(
      "schema_version",
      `${database.name} has schema version ${version}, and this program needs ${newest}. Run: deno task migrate`,
    );
  }
}

/** Reads versions of server and schema. Throws `PostgresError` when either does not fit this program. */
export function readSchema(database: Database): Promise<SchemaState> {
  return database.call("read the schema version", async (session) => {
    const [server] = await session.rows("SELECT current_setting('server_version_num'), version()");
    if (Number(server?.[0]) < OLDEST_SERVER) {
      throw new PostgresError(
        "too_old",
        `${database.name} is ${
          String(server?.[1]).split(" ", 2).join(" ")
        }; PostgreSQL 15 or newer is needed`,
      );
    }
    return { version: await versionWithin(session, database), newest: MIGRATIONS.length };
  });
}

async function versionWithin(session: Session, database: Database): Promise<number> {
  const [known] = await session.rows("SELECT to_regclass('schema_versions') IS NOT NULL");
  if (known?.[0] !== true) return 0;
  const [row] = await session.rows(
    "SELECT coalesce(max(version), 0), coalesce(max(coalesce(readable_by, version)), 0) FROM schema_versions",
  );
  const version = Number(row?.[0]);
  if (Number(row?.[1]) > MIGRATIONS.length) {
    throw new PostgresError(
      "schema_version",
      `${database.name} has schema version ${version}, and this program knows versions up to ${MIGRATIONS.length}. ` +
        "Use the program that wrote it, or a newer one.",
    );
  }
  return version;
}

/** A name as SQL writes it. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
