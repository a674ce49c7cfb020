/**
 * The role of workers that reach the database: it may claim and renew, and see nothing that a claim does not need; no
 * job, no job data, no result. The statements of `attempts.ts` are all it can do.
 */
import { type ConnectionOptions, Database, openingFault } from "./database.ts";
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

/** The statements that give a role the right to claim and renew. `schema` holds the tables. */
export function workerGrants(role: string, schema = "public"): readonly string[] {
  const to = quoteName(role);
  const within = quoteName(schema);
  return [
    `GRANT USAGE ON SCHEMA ${within} TO ${to}`,
    `GRANT SELECT ON ${within}.schema_versions, ${within}.facts TO ${to}`,
    `GRANT SELECT, INSERT ON ${within}.instances TO ${to}`,
    `GRANT INSERT ON ${within}.count_changes TO ${to}`,
    `GRANT SELECT (${READ.join(", ")}), UPDATE (${WRITTEN.join(", ")}) ON ${within}.occurrences TO ${to}`,
  ];
}

/**
 * Gives an existing role the right to claim and renew, or only says what that would do. Gives a sentence for people.
 * Throws `PostgresError`.
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
      for (const grant of grants) await session.rows(grant);
    });
    return `${database.name}: the role ${role} may claim and renew, and nothing else`;
  } catch (error) {
    throw openingFault(database.name, error);
  } finally {
    await database.close();
  }
}
