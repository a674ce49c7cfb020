/** What the database server says of its own load. One statement, answered from memory of the server. */
import type { Database } from "./database.ts";
import { codeOf } from "./fault.ts";

export interface PostgresLoad {
  /** Rows inserted into the database since the server counts. */
  readonly inserted: number;
  /** Sessions of this database that are active now and wait for nothing, this one left out. */
  readonly working: number;
  readonly waitingForLocks: number;
  readonly waitingForDisk: number;
  /** Of all databases: they share the limit. */
  readonly connections: number;
  readonly maxConnections: number;
}

/** Since the server counts. */
export interface StatementTotals {
  readonly id: string;
  readonly calls: number;
  /** From when the server has it until it has the answer, waits included. */
  readonly totalMs: number;
}

/** What is slow now has soon taken more than the others of an installation, which are some hundred. */
const STATEMENTS_COUNTED = 100;
/** The extension is in this database, and the server was started with its library. */
const IS_COUNTED = "SELECT to_regclass('pg_stat_statements') IS NOT NULL " +
  "AND current_setting('pg_stat_statements.max', true) IS NOT NULL";
/** Characters of a statement that are shown. */
const TEXT_AT_MOST = 160;

export async function readPostgresLoad(database: Database): Promise<PostgresLoad> {
  const [row = []] = await database.call("read the server's load", (session) =>
    session.rows(
      `SELECT
         (SELECT tup_inserted FROM pg_stat_database WHERE datname = current_database()),
         count(*) FILTER (WHERE is_own AND state = 'active' AND wait_event_type IS NULL),
         count(*) FILTER (WHERE is_own AND state = 'active' AND wait_event_type = 'Lock'),
         count(*) FILTER (WHERE is_own AND state = 'active' AND wait_event_type = 'IO'),
         count(*),
         current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
       FROM (SELECT state, wait_event_type, datname = current_database() AND pid <> pg_backend_pid() AS is_own
               FROM pg_stat_activity WHERE backend_type = 'client backend') AS sessions`,
    ));
  const [inserted, working, waitingForLocks, waitingForDisk, connections, maxConnections] = row.map(Number);
  return {
    inserted: inserted ?? 0,
    working: working ?? 0,
    waitingForLocks: waitingForLocks ?? 0,
    waitingForDisk: waitingForDisk ?? 0,
    connections: connections ?? 0,
    maxConnections: maxConnections ?? 0,
  };
}

/**
 * The statements that cost most, and what each took; null where `pg_stat_statements` is not loaded, not installed in
 * this database, or not to be read.
 */
export async function readStatementTotals(database: Database): Promise<readonly StatementTotals[] | null> {
  try {
    return await database.call("read what statements took", async (session) => {
      const [there] = await session.rows(IS_COUNTED);
      if (there?.[0] !== true) return null;
      // Without their texts, which the server would read from a file.
      const rows = await session.rows(
        `SELECT queryid::text, sum(calls), sum(total_exec_time) FROM pg_stat_statements(false)
          WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND toplevel AND queryid IS NOT NULL
          GROUP BY queryid ORDER BY sum(total_exec_time) DESC LIMIT ${STATEMENTS_COUNTED}`,
      );
      return rows.map(([id, calls, totalMs]) => ({
        id: String(id),
        calls: Number(calls),
        totalMs: Number(totalMs),
      }));
    });
  } catch (error) {
    // Not for this role, and other versions' columns.
    if (/^42/.test(codeOf((error as Error).cause ?? error))) return null;
    throw error;
  }
}

/** Without their values. */
export async function readStatementTexts(
  database: Database,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await database.call("read statements", (session) =>
    session.rows(
      `SELECT queryid::text, min(regexp_replace(query, '\\s+', ' ', 'g')) FROM pg_stat_statements
        WHERE queryid::text = ANY(string_to_array($1, ',')) GROUP BY queryid`,
      [ids.join(",")],
    ));
  return new Map(rows.map(([id, text]) => [String(id), String(text).slice(0, TEXT_AT_MOST)]));
}
