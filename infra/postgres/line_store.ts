/** Log lines in a table of their own, cut into days. Append-only; the same line again is ignored. */
import { LINE_LEVELS, type LogLine } from "../../actors/domain/message.ts";
import type { LineStore, Page } from "../../actors/ports/store.ts";
import type { Database, Row } from "./database.ts";
import { isStorableTime } from "./day.ts";
import { Gather } from "./gather.ts";
import { asTime, isUuid, millis, numbers, texts, time, uuids } from "./literal.ts";
import type { Partitions } from "./partitions.ts";

/** Most lines in one statement. */
const GATHERED_AT_MOST = 2000;
/** The largest token that the column holds. */
const LARGEST = 2 ** 31 - 1;

const COLUMNS = `occurrence_id, token, sequence, ${millis("scheduled_for")}, ${
  millis("at")
}, level, message, fields`;

export class PostgresLineStore implements LineStore {
  readonly #gather: Gather<readonly LogLine[], void>;

  constructor(private readonly database: Database, private readonly partitions: Partitions) {
    this.#gather = new Gather({
      run: (calls) => this.#insert(calls),
      weigh: (lines) => lines.length,
      most: GATHERED_AT_MOST,
      lanes: 1,
    });
  }

  async append(lines: readonly LogLine[]): Promise<void> {
    if (lines.length > 0) await this.#gather.add(lines);
  }

  async read(
    occurrenceId: string,
    limit: number,
    after: string | null,
    token: number | null = null,
  ): Promise<Page<LogLine>> {
    const from = startOf(readKey(after), token);
    if (!isUuid(occurrenceId)) return { items: [], next: null };
    const rows = await this.database.call("read log lines", (session) =>
      session.rows(
        `SELECT ${COLUMNS} FROM lines
          WHERE occurrence_id = $1::uuid AND (token, sequence) > ($2::integer, $3::integer) AND token <= $4::integer
          ORDER BY token, sequence LIMIT $5::bigint`,
        [occurrenceId, ...from, token ?? LARGEST, limit + 1],
      ));
    const items = rows.slice(0, limit).map(toLine);
    const last = items.at(-1);
    const next = rows.length > limit && last !== undefined ? `${last.token}.${last.sequence}` : null;
    return { items, next };
  }

  async last(occurrenceId: string, token: number, limit: number): Promise<readonly LogLine[]> {
    if (!isUuid(occurrenceId)) return [];
    const rows = await this.database.call("read log lines", (session) =>
      session.rows(
        `SELECT ${COLUMNS} FROM lines WHERE occurrence_id = $1::uuid AND token = $2::integer
          ORDER BY sequence DESC LIMIT $3::bigint`,
        [occurrenceId, token, limit],
      ));
    return rows.map(toLine).reverse();
  }

  async #insert(calls: readonly (readonly LogLine[])[]): Promise<readonly void[]> {
    const lines = calls.flat().filter((line) =>
      isUuid(line.occurrenceId) && isStorableTime(line.scheduledFor) && isStorableTime(line.at)
    );
    await this.partitions.ready(lines.map((line) => line.scheduledFor));
    await this.database.call("append log lines", (session) =>
      session.rows(
        `INSERT INTO lines (occurrence_id, token, sequence, scheduled_for, at, level, message, fields)
         SELECT u.id, u.token, u.sequence, ${time("u.due")}, ${time("u.at")}, u.level, u.message, u.fields
           FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::float8[], $5::float8[], $6::smallint[],
             $7::text[], $8::text[]) AS u (id, token, sequence, due, at, level, message, fields)
         ON CONFLICT DO NOTHING`,
        [
          uuids(lines.map((line) => line.occurrenceId)),
          numbers(lines.map((line) => line.token)),
          numbers(lines.map((line) => line.sequence)),
          numbers(lines.map((line) => line.scheduledFor)),
          numbers(lines.map((line) => line.at)),
          numbers(lines.map((line) => LINE_LEVELS.indexOf(line.level))),
          texts(lines.map((line) => line.message)),
          texts(lines.map((line) => line.fields)),
        ],
      ));
    return calls.map(() => undefined);
  }
}

function toLine(row: Row): LogLine {
  const [occurrenceId, token, sequence, scheduledFor, at, level, message, fields] = row;
  return {
    occurrenceId: String(occurrenceId),
    scheduledFor: asTime(scheduledFor),
    token: Number(token),
    sequence: Number(sequence),
    at: asTime(at),
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
  if (!isInteger(token) || !isInteger(sequence)) {
    throw new RangeError(`No page of this list begins after ${key}`);
  }
  return [token, sequence];
}

/** Within what the columns hold. */
function isInteger(value: number | undefined): value is number {
  return Number.isInteger(value) && Math.abs(value ?? 0) < 2 ** 31;
}
