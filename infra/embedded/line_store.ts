/** Log lines in a file of their own. Append-only; the same line again is ignored. */
import { LINE_LEVELS, type LogLine } from "../../actors/domain/message.ts";
import type { LineStore, Page } from "../../actors/ports/store.ts";
import type { Database, Row, Statement } from "./database.ts";
import type { GroupCommit } from "./group_commit.ts";

export class EmbeddedLineStore implements LineStore {
  readonly #append: Statement;
  readonly #read: Statement;
  readonly #last: Statement;
  readonly #newest: Statement;
  readonly #remove: Statement;

  constructor(database: Database, private readonly group: GroupCommit) {
    this.#append = database.prepare(
      `INSERT INTO lines (occurrence_id, token, sequence, scheduled_for, at, level, message, fields)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
    );
    this.#read = database.prepare(
      `SELECT occurrence_id, token, sequence, scheduled_for, at, level, message, fields FROM lines
        WHERE occurrence_id = ? AND (token, sequence) > (?, ?) AND token <= ? ORDER BY token, sequence LIMIT ?`,
    );
    this.#last = database.prepare(
      `SELECT occurrence_id, token, sequence, scheduled_for, at, level, message, fields FROM lines
        WHERE occurrence_id = ? AND token = ? ORDER BY sequence DESC LIMIT ?`,
    );
    this.#newest = database.prepare(
      `SELECT occurrence_id, token, sequence, scheduled_for, at, level, message, fields FROM lines
        WHERE occurrence_id = ? ORDER BY token DESC, sequence DESC LIMIT ?`,
    );
    this.#remove = database.prepare("DELETE FROM lines WHERE occurrence_id = ?");
  }

  append(lines: readonly LogLine[]): Promise<void> {
    return this.group.write(() => {
      for (const line of lines) {
        this.#append.execute(
          line.occurrenceId,
          line.token,
          line.sequence,
          line.scheduledFor,
          line.at,
          LINE_LEVELS.indexOf(line.level),
          line.message,
          line.fields,
        );
      }
    });
  }

  read(
    occurrenceId: string,
    limit: number,
    after: string | null,
    token: number | null = null,
  ): Promise<Page<LogLine>> {
    return this.group.read(() => {
      const from = startOf(readKey(after), token);
      const rows = this.#read.rows(occurrenceId, ...from, token ?? Number.MAX_SAFE_INTEGER, limit + 1);
      const items = rows.slice(0, limit).map(toLine);
      const last = items.at(-1);
      const next = rows.length > limit && last !== undefined ? `${last.token}.${last.sequence}` : null;
      return { items, next };
    });
  }

  last(occurrenceId: string, token: number, limit: number): Promise<readonly LogLine[]> {
    return this.group.read(() => this.#last.rows(occurrenceId, token, limit).map(toLine).reverse());
  }

  /** The newest lines that are kept, oldest first. At once, for use inside the transaction of another file. */
  newest(occurrenceId: string, count: number): readonly LogLine[] {
    return this.#newest.rows(occurrenceId, count).map(toLine).reverse();
  }

  /** Removes all lines of these occurrences. */
  remove(occurrenceIds: readonly string[]): Promise<void> {
    return this.group.write(() => {
      for (const id of occurrenceIds) this.#remove.execute(id);
    });
  }
}

function toLine(row: Row): LogLine {
  const [occurrenceId, token, sequence, scheduledFor, at, level, message, fields] = row;
  return {
    occurrenceId: String(occurrenceId),
    scheduledFor: Number(scheduledFor),
    token: Number(token),
    sequence: Number(sequence),
    at: Number(at),
    level: LINE_LEVELS[Number(level)] ?? "info",
    message: String(message),
    fields: typeof fields === "string" ? fields : null,
  };
}

/** After which (token, sequence) a page begins. */
function startOf(
  [after, sequence]: readonly [number, number],
  token: number | null,
): readonly [number, number] {
  return token === null || after >= token ? [after, sequence] : [token, -1];
}

function readKey(key: string | null): readonly [number, number] {
  if (key === null) return [-1, -1];
  const [token, sequence] = key.split(".").map(Number);
  if (!Number.isSafeInteger(token) || !Number.isSafeInteger(sequence)) {
    throw new RangeError(`No page of this list begins after ${key}`);
  }
  return [token ?? 0, sequence ?? 0];
}
