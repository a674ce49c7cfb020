/**
 * The role of workers that reach the database: it may claim and renew, and see nothing that a claim does not need; no
 * job, no job data, no result. What is too large for messages it gets and gives through two functions, for attempts
 * that it has claimed. The statements of `attempts.ts` are all it can do.
 */
import { type ConnectionOptions, Database, openingFault, type Session } from "./database.ts";
import { PostgresError } from "./fault.ts";
import { quoteName } from "./migration.ts";

/** What a claim or a renewal reads of an occurrence. */
const READ = [
  "id",
  "scheduled_for",
  "status",
  "token",
  "attempt",
  "ready_at",
  "next_action_at",
  "lease_until",
  "started_at",
  "instance",
  "cancel",
];

/** What a claim or a renewal writes of an occurrence. */
const WRITTEN = [
  "status",
  "token",
  "attempt",
  "next_action_at",
  "started_at",
  "lease_until",
  "instance",
  "duration_ms",
  "reason",
  "error",
  "progress_done",
  "progress_total",
];

/** The functions by which it has job data, and gives results. */
export const CLAIMED_JOB_DATA = "claimed_job_data(uuid, timestamptz, integer, bigint)";
export const KEEP_RESULT = "keep_result(uuid, timestamptz, integer, bigint, text)";

/** Where the tables are unless said otherwise. */
const USUAL_SCHEMA = "public";

/** The statements that give a role the right to claim and renew. `schema` holds the tables. */
export function workerGrants(role: string, schema = USUAL_SCHEMA): readonly string[] {
  const to = quoteName(role);
  const within = quoteName(schema);
  return [
    `GRANT USAGE ON SCHEMA ${within} TO ${to}`,
    `GRANT SELECT ON ${within}.schema_versions, ${within}.facts TO ${to}`,
    `GRANT SELECT, INSERT ON ${within}.instances TO ${to}`,
    `GRANT INSERT ON ${within}.count_changes TO ${to}`,
    `GRANT SELECT (${READ.join(", ")}), UPDATE (${WRITTEN.join(", ")}) ON ${within}.occurrences TO ${to}`,
    `GRANT EXECUTE ON FUNCTION ${within}.${CLAIMED_JOB_DATA}, ${within}.${KEEP_RESULT} TO ${to}`,
  ];
}

/**
 * Gives an existing role the right to claim and renew, or only says what that would do. Gives a sentence for people.
 * Throws `PostgresError`, also when who connects does not own the tables.
 */
export async function grantWorker(
  options: ConnectionOptions,
  role: string,
  { dryRun }: { readonly dryRun: boolean },
): Promise<string> {
  const database = new Database({ ...options, maxConnections: 1 });
  try {
    const grants = workerGrants(role, options.schema);
    if (dryRun) return `${database.name}: would be run:\n${grants.join(";\n")};`;
    await database.transaction("grant a worker its rights", async (session) => {
      await requireOwner(session, database.name, options.schema);
      for (const grant of grants) await session.rows(grant);
    });
    return `${database.name}: the role ${role} may claim and renew, have the job data of what it claimed, and nothing else`;
  } catch (error) {
    throw openingFault(database.name, error);
  } finally {
    await database.close();
  }
}

/** PostgreSQL only warns of a grant that is not one's own to give, and gives nothing. */
async function requireOwner(session: Session, name: string, schema = USUAL_SCHEMA): Promise<void> {
  const [row] = await session.rows(
    "SELECT pg_has_role(relowner, 'USAGE'), current_user::text FROM pg_class WHERE oid = to_regclass($1::text)",
    [`${quoteName(schema)}.occurrences`],
  );
  if (row?.[0] === true) return;
  throw new PostgresError(
    "refused",
    `${name} belongs to another role than ${row?.[1] ?? "this one"}. ` +
      "Name in DATABASE_URL the role that migrated first: only it can grant.",
  );
}
