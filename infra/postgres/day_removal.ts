/** Whole days of history: which there are, and how one goes. */
import { CountChange } from "./counters.ts";
import type { Session } from "./database.ts";
import { dayOf, dayText } from "./day.ts";
import { numbers, time } from "./literal.ts";
import { PARTITIONED } from "./schema.ts";

/** A lock that is not had within this is left alone: whoever holds it has more urgent work. */
const LOCK_MS = 100;
/** Counting a day of millions takes seconds; nobody waits for it. */
const STATEMENT_MS = 100_000;

export type Partitioned = (typeof PARTITIONED)[number];

/** The days that have a partition of this table, oldest first. */
export async function listDays(session: Session, table: Partitioned): Promise<readonly number[]> {
  const rows = await session.rows(
    `SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = $1::text::regclass`,
    [table],
  );
  return rows.flatMap(([name]) => {
    const [, year, month, date] = /_(\d{4})(\d{2})(\d{2})$/.exec(String(name)) ?? [];
    return year === undefined ? [] : [dayOf(Date.UTC(Number(year), Number(month) - 1, Number(date)))];
  }).sort((left, right) => left - right);
}

/**
 * Drops the partitions of a day, but for these occurrences (`seq`), which go to the DEFAULT partition with what belongs
 * to them. Gives the number of occurrences that are gone; null when `mayWrite` says no. Part of the transaction, which
 * throws when a lock is not had at once, or when something there is not final after all.
 *
 * What takes long is done before the lock of the parent table is asked for.
 */
export async function dropDay(
  session: Session,
  { day, staying, mayWrite }: {
    readonly day: number;
    readonly staying: readonly number[];
    readonly mayWrite: () => Promise<boolean>;
  },
): Promise<number | null> {
  const occurrences = partitionOf("occurrences", day);
  await session.rows(
    `SELECT set_config('lock_timeout', '${LOCK_MS}', true), set_config('statement_timeout', '${STATEMENT_MS}', true),
       set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true)`,
  );
  await session.rows(`LOCK TABLE ${occurrences} IN SHARE MODE`);
  const stays = numbers(staying);
  const counted = await session.rows(
    `SELECT status, count(*), count(*) FILTER (WHERE ended_at IS NULL) FROM ${occurrences}
      WHERE NOT seq = ANY($1::bigint[]) GROUP BY status`,
    [stays],
  );
  if (counted.some((row) => Number(row[2]) > 0)) throw new Error("not all of its occurrences have ended");
  await session.rows(
    `DELETE FROM late_reports WHERE occurrence_id IN
       (SELECT o.id FROM late_reports l JOIN ${occurrences} o ON o.id = l.occurrence_id
         WHERE NOT o.seq = ANY($1::bigint[]))`,
    [stays],
  );
  if (!await mayWrite()) return null;
  for (const table of PARTITIONED) {
    await session.rows(`ALTER TABLE ${table} DETACH PARTITION ${partitionOf(table, day)}`);
  }
  if (staying.length > 0) await carryOver(session, day, stays);
  for (const table of PARTITIONED) await session.rows(`DROP TABLE ${partitionOf(table, day)}`);

  const count = new CountChange();
  let gone = 0;
  for (const [status, amount] of counted) {
    count.add(Number(status), -Number(amount));
    gone += Number(amount);
  }
  await count.write(session);
  return gone;
}

/** Removes the log lines of the days before one: at once where a day has a partition, else at most `limit`. */
export async function dropLines(session: Session, before: number, limit: number): Promise<void> {
  await session.rows(`SELECT set_config('lock_timeout', '${LOCK_MS}', true)`);
  for (const day of await listDays(session, "lines")) {
    if (day >= before) continue;
    const partition = partitionOf("lines", day);
    const [line] = await session.rows(`SELECT 1 FROM ${partition} LIMIT 1`);
    if (line !== undefined) await session.rows(`TRUNCATE ${partition}`);
  }
  await session.rows(
    `DELETE FROM lines_other WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM lines_other WHERE scheduled_for < ${time("$1::float8")} LIMIT $2::bigint))`,
    [before * 86_400_000, limit],
  );
}

async function carryOver(session: Session, day: number, stays: string): Promise<void> {
  const occurrences = partitionOf("occurrences", day);
  await session.rows(
    `INSERT INTO lines SELECT l.* FROM ${partitionOf("lines", day)} l
       JOIN ${occurrences} o ON o.id = l.occurrence_id WHERE o.seq = ANY($1::bigint[])`,
    [stays],
  );
  await session.rows(
    `INSERT INTO attempts SELECT * FROM ${partitionOf("attempts", day)} WHERE occurrence = ANY($1::bigint[])`,
    [stays],
  );
  await session.rows(`INSERT INTO occurrences SELECT * FROM ${occurrences} WHERE seq = ANY($1::bigint[])`, [
    stays,
  ]);
}

function partitionOf(table: Partitioned, day: number): string {
  return `${table}_${dayText(day).replaceAll("-", "")}`;
}
