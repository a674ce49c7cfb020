/**
 * One SQLite file: opened for this process alone and brought to the newest schema.
 *
 * Syncing. `synchronous = FULL` would sync the write-ahead log inside each COMMIT and hold the event loop for it.
 * So COMMIT only writes (NORMAL: SQLite still syncs around its checkpoints and new log headers, which keeps the file
 * whole), and whoever commits awaits `sync` before it tells anybody: the promise of FULL, off the event loop.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { DataFolderError } from "./data_folder.ts";

/** A step of a schema: runs once, in a transaction. Its position, from 1, is the version it leads to. */
export type Migration = string;

/** A value that can be bound to a statement. */
export type Bindable = string | number | null;

/** A row as SQLite gives it: the columns in the order of the select list. */
export type Row = readonly Bindable[];

/** Deno has this method of Node's, its types do not yet. */
type ArrayStatement = StatementSync & { setReturnArrays(enabled: boolean): void };

/** Files up to this size are checked as a whole when they are opened: about 50 ms. */
const CHECK_UP_TO_BYTES = 16 * 1024 * 1024;

/** Result codes of SQLite that say that the file is damaged. */
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;
const SQLITE_CONSTRAINT = 19;

/** The primary result code of an error of SQLite, or null for any other error. */
export function sqliteCode(error: unknown): number | null {
  const code = (error as { readonly errcode?: unknown }).errcode;
  return typeof code === "number" ? code & 0xff : null;
}

/** True when a row was refused by a constraint or trigger: the statement's fault, not the disk's. */
export function isRefusedRow(error: unknown): boolean {
  const code = sqliteCode(error);
  return code === null || code === SQLITE_CONSTRAINT;
}

/** Errors of `exec` carry no code in Deno, only SQLite's sentence. */
function isDamage(error: Error): boolean {
  const code = sqliteCode(error);
  return code === SQLITE_CORRUPT || code === SQLITE_NOTADB ||
    error.message === "file is not a database" || error.message === "database disk image is malformed";
}

/** Opens the file and migrates it. Throws `DataFolderError`. */
export function openDatabase(path: string, migrations: readonly Migration[]): Database {
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(path);
    prepare(database, path);
    migrate(database, path, migrations);
    return new Database(path, database);
  } catch (error) {
    database?.close();
    throw explained(path, error);
  }
}

/** The schema version of a file, without changing it. Throws `DataFolderError`. */
export function schemaVersion(path: string): number {
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(path);
    return versionOf(database);
  } catch (error) {
    throw explained(path, error);
  } finally {
    database?.close();
  }
}

function versionOf(database: DatabaseSync): number {
  return Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
}

function prepare(database: DatabaseSync, path: string): void {
  // Exclusive: no shared memory file, and a sqlite3 shell beside the running program is told that it is locked.
  database.exec(`
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA foreign_keys = OFF;
    PRAGMA trusted_schema = OFF;
    PRAGMA cache_size = -32000;
    PRAGMA temp_store = MEMORY;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA wal_autocheckpoint = 1000;
  `);
  if (Deno.statSync(path).size > CHECK_UP_TO_BYTES) return;
  const found = database.prepare("PRAGMA quick_check(1)").get();
  if (found?.["quick_check"] !== "ok") throw corrupt(path, String(found?.["quick_check"]));
}

function migrate(database: DatabaseSync, path: string, migrations: readonly Migration[]): void {
  const version = versionOf(database);
  if (version > migrations.length) {
    throw new DataFolderError(
      "schema_version",
      `${path} has schema version ${version}, and this program knows versions up to ${migrations.length}. ` +
        "Use the program that wrote it, or a newer one.",
    );
  }
  for (const [index, migration] of migrations.entries()) {
    if (index < version) continue;
    database.exec("BEGIN EXCLUSIVE");
    try {
      database.exec(migration);
      database.exec(`PRAGMA user_version = ${index + 1}`);
      database.exec("COMMIT");
    } catch (error) {
      rollBack(database);
      throw error;
    }
  }
}

/** After some faults (a full disk) SQLite has rolled back by itself, and a second time is an error. */
function rollBack(database: DatabaseSync): void {
  try {
    database.exec("ROLLBACK");
  } catch {
    // Nothing is open any more, which is what was wanted.
  }
}

function corrupt(path: string, detail: string, cause?: unknown): DataFolderError {
  return new DataFolderError(
    "corrupt",
    `${path} is damaged (${detail}). Nothing was changed. To save what can be read: copy the folder, then run ` +
      `sqlite3 ${path} ".recover" | sqlite3 recovered.db, and put recovered.db in its place.`,
    { cause },
  );
}

function explained(path: string, error: unknown): unknown {
  if (error instanceof DataFolderError || !(error instanceof Error)) return error;
  if (isDamage(error)) return corrupt(path, error.message, error);
  return new DataFolderError("not_writable", `Cannot open ${path}: ${error.message}`, { cause: error });
}

/** The connection to one file. Statements are prepared once and kept by whoever uses them. */
export class Database {
  readonly #writeAheadLog: Deno.FsFile;

  constructor(readonly path: string, private readonly database: DatabaseSync) {
    // SQLite keeps this one file as long as the connection lives: it is rewound, never replaced.
    this.#writeAheadLog = Deno.openSync(`${path}-wal`);
  }

  /** A statement whose rows come as arrays. */
  prepare(sql: string): Statement {
    const statement = this.database.prepare(sql) as ArrayStatement;
    statement.setReturnArrays(true);
    return new Statement(statement);
  }

  begin(): void {
    this.database.exec("BEGIN IMMEDIATE");
  }

  /** Durable once a `sync` that began afterwards has settled. */
  commit(): void {
    this.database.exec("COMMIT");
  }

  /** Settles when everything that was committed before the call is on the disk. */
  sync(): Promise<void> {
    return this.#writeAheadLog.syncData();
  }

  /** Fine when nothing is open. */
  rollBack(): void {
    rollBack(this.database);
  }

  /** Moves the write-ahead log into the file and closes it. */
  close(): void {
    try {
      this.database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } finally {
      this.#writeAheadLog.close();
      this.database.close();
    }
  }
}

/** A prepared statement. `execute` is what the busy paths use: it makes no object for its answer. */
export class Statement {
  constructor(private readonly statement: StatementSync) {}

  /** The first row, or undefined. */
  row(...values: Bindable[]): Row | undefined {
    return this.statement.get(...values) as unknown as Row | undefined;
  }

  rows(...values: Bindable[]): readonly Row[] {
    return this.statement.all(...values) as unknown as readonly Row[];
  }

  execute(...values: Bindable[]): void {
    this.statement.get(...values);
  }

  /** Executes and counts the rows that were inserted, changed or deleted. */
  change(...values: Bindable[]): number {
    return Number(this.statement.run(...values).changes);
  }
}
