/**
 * One file of an outbox: reports, and batches of log lines, that wait for the broker. SQLite in WAL mode with one
 * writer; a promise settles when what it wrote is on the disk.
 */
import type { LogLine, Outcome, Report } from "../../actors/domain/message.ts";
import type { RunningAttempt } from "../../actors/ports/presence.ts";
import { type Database, type Migration, openDatabase, type Statement } from "../embedded/database.ts";
import { GroupCommit } from "../embedded/group_commit.ts";

/** Whose reports these are. */
export interface Origin {
  /** Of the store that knows their occurrences. */
  readonly storeId: string;
  /** Of the instance that wrote them. */
  readonly instanceId: string;
  /** Epoch milliseconds: files are sent in this order. */
  readonly madeAt: number;
}

/** Some of what waits, oldest first. */
export interface Page<T> {
  /** For `remove`. */
  readonly rows: readonly number[];
  readonly items: readonly T[];
}

/** What is in memory of a report. */
interface Mark {
  readonly attempt: RunningAttempt;
  readonly hasEnded: boolean;
}

const HANDED_BACK = "handedBack" satisfies Outcome["kind"];

/** Each step is a version of the file. */
export const OUTBOX_MIGRATIONS: readonly Migration[] = [`
  CREATE TABLE origin (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    store_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    made_at INTEGER NOT NULL
  ) STRICT;
  -- A number is never given twice: a row that could not be removed in time must not name a younger one.
  CREATE TABLE reports (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    occurrence_id TEXT NOT NULL,
    scheduled_for INTEGER NOT NULL,
    token INTEGER NOT NULL,
    content TEXT NOT NULL
  ) STRICT;
  CREATE TABLE line_batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    lines INTEGER NOT NULL,
    content TEXT NOT NULL
  ) STRICT;
`];

export class HeldFile {
  readonly #database: Database;
  readonly #commits: GroupCommit;
  readonly #insertReport: Statement;
  readonly #insertLines: Statement;
  readonly #reports: Rows<Mark>;
  readonly #lines: Rows<number>;
  #lineCount = 0;

  /** Null for a file whose writer ended before it wrote anything. */
  readonly origin: Origin | null;
  /** Reports that cannot be read back. They are left where they are, for somebody to look at. */
  readonly unreadable: number;

  /** Opens the file, or makes it. Throws `DataFolderError`. */
  constructor(readonly path: string, origin: Origin | null) {
    // SQLite would let everybody read it: reports hold results and errors of jobs.
    Deno.openSync(path, { write: true, create: true, mode: 0o600 }).close();
    const database = openDatabase(path, OUTBOX_MIGRATIONS);
    this.#database = database;
    this.#commits = new GroupCommit(database);
    if (origin !== null) {
      database.prepare(
        "INSERT OR IGNORE INTO origin (id, store_id, instance_id, made_at) VALUES (1, ?, ?, ?)",
      ).execute(origin.storeId, origin.instanceId, origin.madeAt);
    }
    this.#insertReport = database.prepare(
      "INSERT INTO reports (occurrence_id, scheduled_for, token, content) VALUES (?, ?, ?, ?) RETURNING number",
    );
    this.#insertLines = database.prepare(
      "INSERT INTO line_batches (lines, content) VALUES (?, ?) RETURNING number",
    );
    this.#reports = new Rows(database, this.#commits, "reports");
    this.#lines = new Rows(database, this.#commits, "line_batches");

    const from = database.prepare("SELECT store_id, instance_id, made_at FROM origin").row();
    this.origin = from === undefined
      ? null
      : { storeId: String(from[0]), instanceId: String(from[1]), madeAt: Number(from[2]) };
    for (
      const row of database.prepare(
        `SELECT number, occurrence_id, scheduled_for, token, json_extract(content, '$.outcome.kind') FROM reports
          WHERE json_valid(content) ORDER BY number`,
      ).rows()
    ) {
      this.#reports.waiting.set(Number(row[0]), {
        attempt: { occurrenceId: String(row[1]), scheduledFor: Number(row[2]), token: Number(row[3]) },
        hasEnded: row[4] !== HANDED_BACK,
      });
    }
    this.unreadable = Number(
      database.prepare("SELECT count(*) FROM reports WHERE NOT json_valid(content)").row()?.[0],
    );
    for (
      const row of database.prepare(
        "SELECT number, lines FROM line_batches WHERE json_valid(content) ORDER BY number",
      ).rows()
    ) {
      this.#lines.waiting.set(Number(row[0]), Number(row[1]));
      this.#lineCount += Number(row[1]);
    }
  }

  /** Reports that wait. */
  get count(): number {
    return this.#reports.waiting.size;
  }

  /** Log lines that wait. */
  get lineCount(): number {
    return this.#lineCount;
  }

  /** Attempts that came to their end and whose reports wait, oldest first. */
  ended(): Iterable<RunningAttempt> {
    return this.#reports.waiting.values().filter(({ hasEnded }) => hasEnded).map(({ attempt }) => attempt);
  }

  /** Settles with their rows when they are on the disk; rejects when they are not. */
  async append(reports: readonly Report[]): Promise<readonly number[]> {
    const rows = await this.#commits.write(() =>
      reports.map((one) =>
        Number(
          this.#insertReport.row(one.occurrenceId, one.scheduledFor, one.token, JSON.stringify(one))?.[0],
        )
      )
    );
    reports.forEach(({ occurrenceId, scheduledFor, token, outcome }, index) => {
      this.#reports.waiting.set(rows[index] ?? 0, {
        attempt: { occurrenceId, scheduledFor, token },
        hasEnded: outcome.kind !== HANDED_BACK,
      });
    });
    return rows;
  }

  async appendLines(lines: readonly LogLine[]): Promise<void> {
    const row = await this.#commits.write(() =>
      Number(this.#insertLines.row(lines.length, JSON.stringify(lines))?.[0])
    );
    this.#lines.waiting.set(row, lines.length);
    this.#lineCount += lines.length;
  }

  /** The oldest reports, at most so many. */
  page(atMost: number): Page<Report> {
    return this.#reports.page(atMost);
  }

  /** The oldest batches of lines, at most so many. */
  linePage(atMost: number): Page<readonly LogLine[]> {
    return this.#lines.page(atMost);
  }

  /**
   * They wait no more. Settles when they have left the file, which is not waited for to be on the disk: what a
   * crash brings back is sent once more. Rejects when the file cannot be written; the next call tries again.
   */
  remove(rows: readonly number[]): Promise<void> {
    return this.#reports.remove(rows);
  }

  removeLines(rows: readonly number[]): Promise<void> {
    for (const row of rows) this.#lineCount -= this.#lines.waiting.get(row) ?? 0;
    return this.#lines.remove(rows);
  }

  /** Settles, when what was being written is on the disk, with whether the file holds nothing. */
  async close(): Promise<{ readonly isEmpty: boolean }> {
    // What could not be removed when it was sent is tried once more.
    await Promise.allSettled([this.#reports.remove([]), this.#lines.remove([])]);
    await this.#commits.close();
    try {
      const isEmpty = this.#database.prepare(
        "SELECT NOT EXISTS (SELECT 1 FROM reports) AND NOT EXISTS (SELECT 1 FROM line_batches)",
      ).row()?.[0] === 1;
      return { isEmpty };
    } finally {
      this.#database.close();
    }
  }
}

/** The rows of one table that wait, by number. */
class Rows<Kept> {
  /** In order. */
  readonly waiting = new Map<number, Kept>();
  readonly #content: Statement;
  readonly #delete: Statement;
  /** Sent, and still in the file. */
  #left: number[] = [];

  constructor(database: Database, private readonly commits: GroupCommit, table: "reports" | "line_batches") {
    this.#content = database.prepare(`SELECT content FROM ${table} WHERE number = ?`);
    this.#delete = database.prepare(`DELETE FROM ${table} WHERE number = ?`);
  }

  page<T>(atMost: number): Page<T> {
    const rows = this.waiting.keys().take(atMost).toArray();
    return { rows, items: rows.map((row): T => JSON.parse(String(this.#content.row(row)?.[0]))) };
  }

  async remove(rows: readonly number[]): Promise<void> {
    for (const row of rows) this.waiting.delete(row);
    const left = this.#left.concat(rows);
    if (left.length === 0) return;
    this.#left = [];
    try {
      await this.commits.write(() => {
        for (const row of left) this.#delete.execute(row);
      });
    } catch (error) {
      this.#left = left.concat(this.#left);
      throw error;
    }
  }
}
