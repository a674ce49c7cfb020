/**
 * Moves an embedded store into an empty PostgreSQL store: `milvaion migrate --from ./milvaion-data`.
 *
 * The data folder is locked for as long as it takes, so nobody writes to it. All rows go over in one transaction, in
 * batches; what was counted on one side is counted on the other before it commits, so that a move is whole or did not
 * happen. The store keeps its id, and the folder stays as it was.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { OCCURRENCE_STATUSES, statusNumber } from "../../actors/domain/occurrence.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import { lockDataFolder } from "../embedded/data_folder.ts";
import { LOG_MIGRATIONS, STORE_MIGRATIONS } from "../embedded/schema.ts";
import { type ConnectionOptions, Database, openingFault, type Session } from "./database.ts";
import { dayOf } from "./day.ts";
import { PostgresError } from "./fault.ts";
import { numbers, texts, time } from "./literal.ts";
import { migrate } from "./migration.ts";
import { Partitions } from "./partitions.ts";

export interface ImportOptions extends ConnectionOptions {
  /** The data folder of the embedded store. */
  readonly folder: string;
  readonly clock: Clock;
  /** Called after each batch. */
  readonly onProgress?: (progress: ImportProgress) => void;
}

export interface ImportProgress {
  readonly table: string;
  readonly done: number;
  readonly total: number;
}

const BATCH = 5000;
const DEADLINE_MS = 24 * 3_600_000;

/** How a column goes over: `time` from epoch milliseconds, `flag` from 0 and 1, else as its PostgreSQL type. */
type ColumnKind = "time" | "flag" | "bigint" | "integer" | "smallint" | "float8" | "text" | "uuid";

interface Move {
  readonly table: string;
  readonly file: "milvaion.db" | "logs.db";
  /** In the order of the key, so that pages follow each other. */
  readonly from: string;
  readonly columns: Readonly<Record<string, ColumnKind>>;
}

const COMPLETED = statusNumber("Completed");

const MOVES: readonly Move[] = [
  {
    table: "payloads",
    file: "milvaion.db",
    from: "SELECT seq, data FROM payloads",
    columns: { seq: "bigint", data: "text" },
  },
  {
    table: "jobs",
    file: "milvaion.db",
    from:
      `SELECT seq, id, version, next_due_at, decided_until, open_range, is_leaving, is_active, pause, job_type,
      definition, payload, run_count, skipped_due_time, last_catch_up_at, auto_disabled FROM jobs`,
    columns: {
      seq: "bigint",
      id: "uuid",
      version: "integer",
      next_due_at: "time",
      decided_until: "time",
      open_range: "time",
      is_leaving: "flag",
      is_active: "flag",
      pause: "text",
      job_type: "text",
      definition: "text",
      payload: "bigint",
      run_count: "integer",
      skipped_due_time: "text",
      last_catch_up_at: "time",
      auto_disabled: "text",
    },
  },
  {
    table: "terms",
    file: "milvaion.db",
    from: `SELECT seq, job, job_version, job_type, pool, max_attempts, base_retry_delay_seconds,
      execution_timeout_seconds, payload, rules FROM terms`,
    columns: {
      seq: "bigint",
      job: "bigint",
      job_version: "integer",
      job_type: "text",
      pool: "text",
      max_attempts: "integer",
      base_retry_delay_seconds: "float8",
      execution_timeout_seconds: "float8",
      payload: "bigint",
      rules: "text",
    },
  },
  {
    table: "failure_streaks",
    file: "milvaion.db",
    from: "SELECT job, failures FROM failure_streaks",
    columns: { job: "bigint", failures: "text" },
  },
  {
    table: "instances",
    file: "milvaion.db",
    from: "SELECT seq, worker_id, instance_id FROM instances",
    columns: { seq: "bigint", worker_id: "text", instance_id: "text" },
  },
  {
    table: "occurrences",
    file: "milvaion.db",
    from: `SELECT o.seq, o.id, o.job, o.terms, o.origin, o.twin, o.status,
      CASE WHEN o.ended_at IS NOT NULL AND o.status <> ${COMPLETED} THEN o.status END AS not_completed,
      o.scheduled_for, o.created_at, o.ended_at, o.token, o.attempt, o.holds_job, o.lost, o.ready_at,
      CASE WHEN o.status = 1 THEN o.lease_until ELSE o.next_action_at END AS next_action_at, o.looks, o.started_at,
      o.lease_until, o.duration_ms, o.instance, o.progress_done, o.progress_total, b.id AS blocked_by,
      o.created_reason, o.reason, o.cancel, o.error, o.result, o.job_data, o.first_started_at,
      o.not_before, o.ending
      FROM occurrences o LEFT JOIN occurrences b ON b.seq = o.blocked_by`,
    columns: {
      seq: "bigint",
      id: "uuid",
      job: "bigint",
      terms: "bigint",
      origin: "smallint",
      twin: "bigint",
      status: "smallint",
      not_completed: "smallint",
      scheduled_for: "time",
      created_at: "time",
      ended_at: "time",
      token: "integer",
      attempt: "integer",
      holds_job: "flag",
      lost: "smallint",
      ready_at: "time",
      next_action_at: "time",
      looks: "integer",
      started_at: "time",
      lease_until: "time",
      duration_ms: "float8",
      instance: "bigint",
      progress_done: "float8",
      progress_total: "float8",
      blocked_by: "uuid",
      created_reason: "text",
      reason: "text",
      cancel: "text",
      error: "text",
      result: "text",
      job_data: "text",
      first_started_at: "time",
      not_before: "time",
      ending: "text",
    },
  },
  {
    table: "attempts",
    file: "milvaion.db",
    from:
      `SELECT a.occurrence, a.token, a.number, a.instance, o.scheduled_for, a.claimed_at, a.ended_at, a.duration_ms,
      a.outcome, a.error, a.reason, a.progress_done, a.progress_total
      FROM attempts a JOIN occurrences o ON o.seq = a.occurrence`,
    columns: {
      occurrence: "bigint",
      token: "integer",
      number: "integer",
      instance: "bigint",
      scheduled_for: "time",
      claimed_at: "time",
      ended_at: "time",
      duration_ms: "float8",
      outcome: "text",
      error: "text",
      reason: "text",
      progress_done: "float8",
      progress_total: "float8",
    },
  },
  {
    table: "failed_occurrences",
    file: "milvaion.db",
    from:
      `SELECT seq, id, job, job_type, job_version, kind, scheduled_for, failed_at, attempts, fingerprint, error,
      reason, last_output, job_data, resolved_at, resolution FROM failed_occurrences`,
    columns: {
      seq: "bigint",
      id: "uuid",
      job: "bigint",
      job_type: "text",
      job_version: "integer",
      kind: "smallint",
      scheduled_for: "time",
      failed_at: "time",
      attempts: "integer",
      fingerprint: "text",
      error: "text",
      reason: "text",
      last_output: "text",
      job_data: "text",
      resolved_at: "time",
      resolution: "text",
    },
  },
  {
    table: "replays",
    file: "milvaion.db",
    from: "SELECT occurrence_id, failed_id, job, scheduled_for, action_id FROM replays",
    columns: {
      occurrence_id: "uuid",
      failed_id: "uuid",
      job: "bigint",
      scheduled_for: "time",
      action_id: "uuid",
    },
  },
  {
    table: "bulk_actions",
    file: "milvaion.db",
    from:
      `SELECT seq, id, kind, state, options, selection, total, state_reason, created_at, changed_at, ended_at,
      is_settled FROM bulk_actions`,
    columns: {
      seq: "bigint",
      id: "uuid",
      kind: "text",
      state: "text",
      options: "text",
      selection: "text",
      total: "bigint",
      state_reason: "text",
      created_at: "time",
      changed_at: "time",
      ended_at: "time",
      is_settled: "flag",
    },
  },
  {
    table: "bulk_items",
    file: "milvaion.db",
    // An item of a cancellation names the due time of its occurrence here from the beginning.
    from: `SELECT i.action, i.target, i.position, i.state, i.not_before, i.occurrence_id,
      coalesce(i.scheduled_for, CASE WHEN a.kind = 'cancel' THEN o.scheduled_for END) AS scheduled_for, i.reason
      FROM bulk_items i JOIN bulk_actions a ON a.seq = i.action LEFT JOIN occurrences o ON o.id = i.target`,
    columns: {
      action: "bigint",
      target: "uuid",
      position: "bigint",
      state: "smallint",
      not_before: "time",
      occurrence_id: "uuid",
      scheduled_for: "time",
      reason: "text",
    },
  },
  {
    table: "late_reports",
    file: "milvaion.db",
    from: "SELECT occurrence_id, token, ended_at, recorded_at, report FROM late_reports",
    columns: {
      occurrence_id: "uuid",
      token: "integer",
      ended_at: "time",
      recorded_at: "time",
      report: "text",
    },
  },
  {
    table: "verdict_ranges",
    file: "milvaion.db",
    from:
      "SELECT job, from_at, to_at, job_version, count, reason, decided_by, decided_at, note FROM verdict_ranges",
    columns: {
      job: "bigint",
      from_at: "time",
      to_at: "time",
      job_version: "integer",
      count: "bigint",
      reason: "text",
      decided_by: "text",
      decided_at: "time",
      note: "text",
    },
  },
  {
    table: "epochs",
    file: "milvaion.db",
    from: "SELECT epoch, holder, since, lease_until, ended_at, refused_writes FROM epochs",
    columns: {
      epoch: "bigint",
      holder: "text",
      since: "time",
      lease_until: "time",
      ended_at: "time",
      refused_writes: "bigint",
    },
  },
  {
    table: "idempotency",
    file: "milvaion.db",
    from: "SELECT key, request_hash, created_at, occurrence_ids FROM idempotency",
    columns: { key: "text", request_hash: "text", created_at: "time", occurrence_ids: "text" },
  },
  {
    table: "lines",
    file: "logs.db",
    from: "SELECT occurrence_id, token, sequence, scheduled_for, at, level, message, fields FROM lines",
    columns: {
      occurrence_id: "uuid",
      token: "integer",
      sequence: "integer",
      scheduled_for: "time",
      at: "time",
      level: "smallint",
      message: "text",
      fields: "text",
    },
  },
];

/** Moves the store. Gives a sentence for people. Throws `DataFolderError` or `PostgresError`. */
export async function importEmbedded(options: ImportOptions): Promise<string> {
  if (!existsSync(join(options.folder, "milvaion.db"))) {
    throw new PostgresError(
      "refused",
      `${options.folder} holds no embedded store: there is no milvaion.db in it`,
    );
  }
  const folder = lockDataFolder(options.folder);
  const database = new Database({ ...options, maxConnections: 2 });
  const files = new Map<string, DatabaseSync>();
  try {
    for (const name of ["milvaion.db", "logs.db"]) {
      const path = join(folder.path, name);
      if (existsSync(path)) files.set(name, new DatabaseSync(path));
    }
    requireNewest(folder.path, files);
    await migrate(database, options.clock.now());
    await makePartitions(database, files, options);
    const counts = await database.transaction(
      "move the embedded store",
      (session) => moveAll(session, database, files, options),
      { deadlineMs: DEADLINE_MS },
    );
    const said = [...counts].map(([table, count]) => `${count} ${table.replaceAll("_", " ")}`).join(", ");
    return `${folder.path} moved to ${database.name}: ${said}. The counts of both sides agree.`;
  } catch (error) {
    throw error instanceof PostgresError ? error : openingFault(database.name, error);
  } finally {
    for (const file of files.values()) file.close();
    await database.close();
    folder.release();
  }
}

/** The tables are read as this program knows them. */
function requireNewest(folder: string, files: ReadonlyMap<string, DatabaseSync>): void {
  const newest = new Map([["milvaion.db", STORE_MIGRATIONS.length], ["logs.db", LOG_MIGRATIONS.length]]);
  for (const [name, file] of files) {
    const version = Number(file.prepare("PRAGMA user_version").get()?.["user_version"]);
    if (version === newest.get(name)) continue;
    throw new PostgresError(
      "schema_version",
      `${join(folder, name)} has schema version ${version}, and this program moves version ${
        newest.get(name)
      }. ` +
        "Bring it up to date first: deno task migrate, without DATABASE_URL",
    );
  }
}

/** Before the rows, for afterwards it is too late. */
async function makePartitions(
  database: Database,
  files: ReadonlyMap<string, DatabaseSync>,
  { clock, log }: ImportOptions,
): Promise<void> {
  const partitions = new Partitions(database, clock, log);
  for (const { file, table } of MOVES) {
    if (table !== "occurrences" && table !== "lines") continue;
    const rows = files.get(file)?.prepare(`SELECT DISTINCT scheduled_for / 86400000 AS day FROM ${table}`)
      .all();
    const days = (rows ?? []).map((row) => Number(row["day"])).filter((day) =>
      day <= dayOf(clock.now()) + 366
    );
    await partitions.ready(days.map((day) => day * 86_400_000));
  }
}

async function moveAll(
  session: Session,
  database: Database,
  files: ReadonlyMap<string, DatabaseSync>,
  { onProgress }: ImportOptions,
): Promise<ReadonlyMap<string, number>> {
  await session.rows("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0");
  await session.rows("LOCK TABLE jobs, facts IN EXCLUSIVE MODE");
  await requireEmpty(session, database);
  const counts = new Map<string, number>();
  for (const move of MOVES) {
    const source = files.get(move.file);
    if (source === undefined) continue;
    const moved = await moveTable(session, source, move, onProgress);
    const [row] = await session.rows(`SELECT count(*) FROM ${move.table}`);
    if (Number(row?.[0]) !== moved) {
      throw new Error(`${move.table}: ${moved} rows were sent and ${row?.[0]} arrived; nothing was kept`);
    }
    counts.set(move.table, moved);
  }
  await deriveRest(session);
  await keepStoreId(session, files);
  return counts;
}

async function requireEmpty(session: Session, database: Database): Promise<void> {
  const [row] = await session.rows(
    "SELECT EXISTS (SELECT 1 FROM jobs), EXISTS (SELECT 1 FROM occurrences), EXISTS (SELECT 1 FROM epochs)",
  );
  if (row?.some((isThere) => isThere === true)) {
    throw new PostgresError(
      "not_empty",
      `${database.name} holds a store already. An embedded store moves into an empty database only: name another one.`,
    );
  }
}

async function moveTable(
  session: Session,
  source: DatabaseSync,
  move: Move,
  onProgress: ImportOptions["onProgress"],
): Promise<number> {
  const [first] = source.prepare(`SELECT count(*) AS total FROM ${move.table}`).all();
  const total = Number(first?.["total"]);
  const columns = Object.entries(move.columns);
  const insert = insertOf(move);
  let done = 0;
  let batch: Record<string, unknown>[] = [];
  const send = async () => {
    if (batch.length === 0) return;
    const rows = batch;
    batch = [];
    await session.rows(insert, columns.map(([name, kind]) => column(rows, name, kind)));
    done += rows.length;
    onProgress?.({ table: move.table, done, total });
  };
  for (const row of source.prepare(move.from).iterate()) {
    batch.push(row as Record<string, unknown>);
    if (batch.length === BATCH) await send();
  }
  await send();
  if (done !== total) throw new Error(`${move.table}: ${total} rows are there and ${done} could be read`);
  return done;
}

function insertOf({ table, columns }: Move): string {
  const names = Object.keys(columns);
  const value = (name: string) => columns[name] === "time" ? time(`u.${name}`) : `u.${name}`;
  const arrays = Object.values(columns).map((kind, index) => `$${index + 1}::${arrayType(kind)}[]`);
  return `INSERT INTO ${table} (${names.join(", ")}) SELECT ${names.map(value).join(", ")}
    FROM unnest(${arrays.join(", ")}) AS u (${names.join(", ")})`;
}

function arrayType(kind: ColumnKind): string {
  if (kind === "time") return "float8";
  return kind === "flag" ? "boolean" : kind;
}

function column(rows: readonly Record<string, unknown>[], name: string, kind: ColumnKind): string {
  const values = rows.map((row) => row[name] ?? null);
  if (kind === "text" || kind === "uuid") {
    return texts(values.map((value) => value === null ? null : String(value)));
  }
  if (kind === "flag") return `{${values.map((value) => Number(value) === 1).join(",")}}`;
  return numbers(values.map((value) => value === null ? null : Number(value)));
}

/** What the embedded store keeps in other ways, or not at all. */
async function deriveRest(session: Session): Promise<void> {
  await session.rows(
    `INSERT INTO holds (job, scheduled_for, seq, id, is_waiting)
     SELECT job, scheduled_for, seq, id, status = 0 AND ready_at IS NULL FROM occurrences
      WHERE holds_job AND ended_at IS NULL`,
  );
  await session.rows(
    `UPDATE leadership SET epoch = e.epoch, is_ended = e.ended_at IS NOT NULL
       FROM (SELECT epoch, ended_at FROM epochs ORDER BY epoch DESC LIMIT 1) AS e`,
  );
  const statuses = OCCURRENCE_STATUSES.map((_, number) => `count(*) FILTER (WHERE status = ${number})`);
  await session.rows("DELETE FROM count_changes");
  await session.rows("DELETE FROM counters");
  await session.rows(
    `INSERT INTO count_changes (${OCCURRENCE_STATUSES.map((_, number) => `status_${number}`).join(", ")})
     SELECT ${statuses.join(", ")} FROM occurrences`,
  );
  await session.rows(
    `INSERT INTO count_changes (jobs, active_jobs)
     SELECT count(*), count(*) FILTER (WHERE is_active) FROM jobs WHERE NOT is_leaving`,
  );
  for (const table of ["payloads", "jobs", "terms", "instances", "failed_occurrences", "bulk_actions"]) {
    await session.rows(
      `SELECT setval('${table}_seq_seq', (SELECT coalesce(max(seq), 0) + 1 FROM ${table}), false)`,
    );
  }
  await session.rows(
    "SELECT setval('occurrence_numbers', (SELECT coalesce(max(seq), 0) + 1 FROM occurrences), false)",
  );
}

async function keepStoreId(session: Session, files: ReadonlyMap<string, DatabaseSync>): Promise<void> {
  const row = files.get("milvaion.db")?.prepare("SELECT value FROM facts WHERE name = 'storeId'").get();
  if (row === undefined) return;
  await session.rows(
    `INSERT INTO facts (name, value) VALUES ('storeId', $1::text)
     ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
    [String(row["value"])],
  );
}
