/** PostgreSQL, looked at by reading only. */
import postgres from "postgres";
import { readFileSync } from "node:fs";
import type { Clock } from "../../actors/ports/clock.ts";
import { API_APPLICATION, CONNECTIONS_A_WORKER } from "../postgres/application_name.ts";
import { MIGRATIONS } from "../postgres/schema.ts";
import {
  CHECK_MS,
  CONNECT_MS,
  type Examination,
  failed,
  type Finding,
  ok,
  unknown,
  warning,
} from "./check.ts";
import { postgresDisk } from "./disk.ts";
import { encryption, judgeSkew, type ServerAddress, serverAddress, skewOf } from "./server_address.ts";

export interface PostgresProbe {
  /** The one row of a statement. */
  readonly row: (text: string) => Promise<Readonly<Record<string, unknown>>>;
  readonly end: () => Promise<void>;
}

export interface PostgresQuestions {
  readonly url: string;
  /** Most connections of one API instance: `MilvaionConfig.Postgres.MaxConnections`. */
  readonly apiConnections: number;
  readonly clock: Clock;
  /** Worker processes, as far as known; asked once. */
  readonly workers: () => Promise<number | null>;
  /** Whether its disk is looked at as well. */
  readonly hasDiskCheck?: boolean;
}

/** PostgreSQL 15, as `server_version_num` writes it. */
const OLDEST = 150_000;
const CROWDED = 0.8;

export function postgresExamination(questions: PostgresQuestions): Examination<PostgresProbe> {
  const { url, apiConnections, clock, workers } = questions;
  const address = serverAddress(url, 5432);
  return {
    subject: "PostgreSQL",
    reach: () => reachPostgres(url),
    explain: (error) => explainPostgresFailure(error, address, "DATABASE_URL"),
    checks: [
      { name: "reachable", look: () => ok(`${address.place} answers.`) },
      { name: "version", look: version },
      { name: "schema", look: schema },
      { name: "permission", look: permission },
      { name: "clock", look: (probe) => skew(probe, clock) },
      {
        name: "connections",
        look: async (probe) =>
          connections(await readConnections(probe), { workers: await workers(), apiConnections }),
      },
      ...(questions.hasDiskCheck === true ? [{ name: "disk", look: postgresDisk }] : []),
      { name: "encryption", look: (probe) => encrypted(probe, address) },
    ],
    leave: (probe) => probe.end(),
  };
}

/** Rejects when no connection can be made. */
export async function reachPostgres(url: string): Promise<PostgresProbe> {
  const { address, ssl } = withRootCertificate(url);
  const sql = postgres(address, {
    max: 2,
    connect_timeout: CONNECT_MS / 1000,
    backoff: () => 0,
    fetch_types: false,
    prepare: false,
    onnotice: () => {},
    connection: { application_name: "milvaion doctor", statement_timeout: CHECK_MS },
    ...(ssl === null ? {} : { ssl }),
  });
  const probe: PostgresProbe = {
    row: async (text) => (await sql.unsafe(text))[0] ?? {},
    end: () => sql.end({ timeout: 1 }),
  };
  try {
    await probe.row("SELECT 1");
    return probe;
  } catch (error) {
    await probe.end();
    throw error;
  }
}

/** The id of the store in this database, or null when there is none yet. */
export async function readStoreId(probe: PostgresProbe): Promise<string | null> {
  if ((await probe.row("SELECT to_regclass('facts') IS NOT NULL AS there"))["there"] !== true) return null;
  const { value } = await probe.row("SELECT value FROM facts WHERE name = 'storeId'");
  return typeof value === "string" ? value : null;
}

/** The certificate of an authority is read here: the client knows only `sslmode`. */
function withRootCertificate(url: string) {
  const parsed = URL.parse(url);
  const path = parsed?.searchParams.get("sslrootcert") ?? null;
  if (parsed === null || path === null || path === "system") return { address: url, ssl: null };
  parsed.searchParams.delete("sslrootcert");
  parsed.searchParams.delete("sslmode");
  return { address: parsed.href, ssl: { ca: readFileSync(path, "utf8"), rejectUnauthorized: true } };
}

/** `variable`: where the address comes from. */
export function explainPostgresFailure(
  error: Error & { readonly code?: unknown },
  { place }: ServerAddress,
  variable: string,
): Finding {
  switch (error.code) {
    case "28P01":
    case "28000":
      return failed(
        `${place} refuses the user: ${error.message}.`,
        `Check user and password of ${variable}.`,
      );
    case "3D000":
      return failed(
        `${place} has no such database: ${error.message}.`,
        `Create it (\`createdb\`), or name another in ${variable}.`,
      );
    case "53300":
      return failed(
        `${place} has no connection left: ${error.message}.`,
        "Raise max_connections, or lower MilvaionConfig.Postgres.MaxConnections of the instances.",
      );
    default:
      return failed(
        `${place} cannot be reached: ${error.message}.`,
        `Check that PostgreSQL runs there, that nothing stands between, and ${variable}.`,
      );
  }
}

async function version(probe: PostgresProbe): Promise<Finding> {
  const { num, text } = await probe.row(
    "SELECT current_setting('server_version_num')::int AS num, current_setting('server_version') AS text",
  );
  const words = `PostgreSQL ${String(text).split(" ")[0]}`;
  return Number(num) >= OLDEST
    ? ok(`${words}.`)
    : failed(`${words} is too old.`, "Move to PostgreSQL 15 or newer.");
}

async function schema(probe: PostgresProbe): Promise<Finding> {
  const newest = MIGRATIONS.length;
  const { found, readableBy } = await readSchemaVersion(probe);
  if (found === 0) {
    return warning(
      "The database has no schema yet.",
      "Run `milvaion migrate`; the first API instance does it too.",
    );
  }
  if (found < newest) {
    return warning(
      `The schema has version ${found}; this program's is ${newest}.`,
      "Run `milvaion migrate`; the next API instance that starts does it too.",
    );
  }
  if (found === newest) return ok(`The schema has version ${found}, the newest.`);
  if (readableBy <= newest) {
    return ok(`The schema has version ${found}, of a newer program; this one, ${newest}, works with it.`);
  }
  return failed(
    `The schema has version ${found}, and this program knows versions up to ${newest}.`,
    "Use the program that wrote it, or a newer one.",
  );
}

/** 0: there is none. `readableBy`: the oldest version whose program works with it. */
async function readSchemaVersion(
  probe: PostgresProbe,
): Promise<{ readonly found: number; readonly readableBy: number }> {
  if ((await probe.row("SELECT to_regclass('schema_versions') IS NOT NULL AS there"))["there"] !== true) {
    return { found: 0, readableBy: 0 };
  }
  const { version, readable_by: readableBy } = await probe.row(
    `SELECT coalesce(max(version), 0) AS version, coalesce(max(coalesce(readable_by, version)), 0) AS readable_by
       FROM schema_versions`,
  );
  return { found: Number(version), readableBy: Number(readableBy) };
}

/**
 * An API instance makes the tables, and one more for each day: it must own them. A worker that claims in the database
 * needs to read and write a few, no more.
 */
async function permission(probe: PostgresProbe): Promise<Finding> {
  const {
    role,
    schema_name: schemaName,
    is_replica: isReplica,
    read_only: readOnly,
    may_create: mayCreate,
    is_there: isThere,
    is_owner: isOwner,
    may_write: mayWrite,
  } = await probe.row(`
    SELECT current_user AS role, current_schema() AS schema_name, pg_is_in_recovery() AS is_replica,
      current_setting('transaction_read_only') = 'on' AS read_only,
      coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
      jobs.oid IS NOT NULL AS is_there,
      coalesce(pg_has_role(jobs.relowner, 'USAGE'), false) AS is_owner,
      coalesce(has_any_column_privilege(occurrences.oid, 'SELECT') AND
        has_any_column_privilege(occurrences.oid, 'UPDATE'),
        false) AS may_write
    FROM (SELECT 1) AS one
    LEFT JOIN pg_class jobs ON jobs.oid = to_regclass('jobs')
    LEFT JOIN pg_class occurrences ON occurrences.oid = to_regclass('occurrences')`);
  if (isReplica === true || readOnly === true) {
    return failed(
      isReplica === true ? "The server is a replica and takes no writes." : `Role ${role} may only read.`,
      isReplica === true
        ? "Name the primary in DATABASE_URL."
        : `As an administrator: ALTER ROLE ${role} SET default_transaction_read_only = off`,
    );
  }
  if (schemaName === null) {
    return failed(
      `Role ${role} has no schema to work in.`,
      `As an administrator: CREATE SCHEMA AUTHORIZATION ${role}`,
    );
  }
  const grantCreate = `As the owner of the database: GRANT CREATE, USAGE ON SCHEMA ${schemaName} TO ${role}`;
  if (isThere !== true) {
    return mayCreate === true
      ? ok(`Role ${role} may make the schema.`)
      : failed(`Role ${role} may not create tables in schema ${schemaName}.`, grantCreate);
  }
  if (isOwner === true && mayCreate === true) {
    return ok(`Role ${role} owns the tables and may add those of a new day.`);
  }
  if (isOwner === true) return failed(`Role ${role} may not add the tables of a new day.`, grantCreate);
  if (mayWrite === true) {
    return warning(
      `Role ${role} may claim and renew, and not lead: enough for workers, not for API instances.`,
      "For API instances name the role that migrated in DATABASE_URL.",
    );
  }
  return failed(
    `Role ${role} may not use the tables.`,
    `For workers, as the role that migrated: milvaion migrate --worker-role ${role}. For API instances name that role.`,
  );
}

async function skew(probe: PostgresProbe, clock: Clock): Promise<Finding> {
  const { state, words } = judgeSkew(
    await skewOf(
      clock,
      async () =>
        Number((await probe.row("SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now"))["now"]),
    ),
  );
  const message = `The database's clock ${words}.`;
  const remedy = "Run a time service (chrony, systemd-timesyncd) on both machines. " +
    "Due times go by the database's clock; log lines and certificates go by this machine's.";
  return state === "ok"
    ? ok(message)
    : state === "warning"
    ? warning(message, remedy)
    : failed(message, remedy);
}

export interface ConnectionFacts {
  readonly most: number;
  readonly reserved: number;
  readonly used: number;
  /** API instances that are connected to this database now. */
  readonly apis: number;
}

async function readConnections(probe: PostgresProbe): Promise<ConnectionFacts> {
  const { most, reserved, used, apis } = await probe.row(`
    SELECT current_setting('max_connections')::int AS most,
      current_setting('superuser_reserved_connections')::int AS reserved,
      (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
      (SELECT count(DISTINCT application_name) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE '${API_APPLICATION} %') AS apis`);
  return { most: Number(most), reserved: Number(reserved), used: Number(used), apis: Number(apis) };
}

/** What the cluster may want at most, beside what PostgreSQL allows. `workers` is null when nobody knows. */
export function connections(
  { most, reserved, used, apis }: ConnectionFacts,
  { workers, apiConnections }: { readonly workers: number | null; readonly apiConnections: number },
): Finding {
  const free = most - reserved;
  const wanted = (workers ?? 0) * CONNECTIONS_A_WORKER + apis * apiConnections;
  const sum = `${workers ?? "an unknown number of"} ${workers === 1 ? "worker" : "workers"} × ` +
    `${CONNECTIONS_A_WORKER} + ${apis} API ${apis === 1 ? "instance" : "instances"} × ${apiConnections} = ${
      workers === null ? "at least " : ""
    }${wanted}`;
  const words = `${used} of ${most} connections are in use; ${sum}, of ${free} to be had`;
  const raise = (to: number) =>
    `ALTER SYSTEM SET max_connections = ${to}, then restart PostgreSQL; or lower ` +
    "MilvaionConfig.Postgres.MaxConnections of the API instances.";
  if (wanted > free * CROWDED) {
    const much = wanted > free ? "too few" : "more than four fifths";
    return warning(`${words}: ${much}.`, raise(Math.max(100, Math.ceil(wanted / CROWDED) + reserved)));
  }
  if (used > free * CROWDED) return warning(`${words}: more than four fifths are in use.`, raise(most * 2));
  return ok(`${words}.`);
}

async function encrypted(probe: PostgresProbe, address: ServerAddress): Promise<Finding> {
  const { ssl } = await probe.row("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
  if (typeof ssl !== "boolean") {
    return unknown("The server does not say whether the connection is encrypted.");
  }
  return encryption(address, ssl, "Add ?sslmode=verify-full (or require) to DATABASE_URL.");
}
