/** Deletes a job with its history, in batches. Until the last one the job is there, marked as leaving, and unseen. */
import { CountChange } from "./counters.ts";
import type { Database } from "./database.ts";
import { asTime, millis, numbers, time, uuids } from "./literal.ts";

/** Occurrences deleted in one transaction. */
const CHUNK = 1000;

/** Deletes what there is of a job that is leaving. Doing it again, or from two instances, is fine. */
export async function removeHistory(database: Database, job: number): Promise<void> {
  while (await removeChunk(database, job) === CHUNK);
  await database.transaction("remove a job", async (session) => {
    await session.rows(
      `DELETE FROM payloads WHERE seq IN (SELECT payload FROM terms WHERE job = $1::bigint
         UNION SELECT payload FROM jobs WHERE seq = $1::bigint)`,
      [job],
    );
    for (const table of ["terms", "verdict_ranges", "holds"]) {
      await session.rows(`DELETE FROM ${table} WHERE job = $1::bigint`, [job]);
    }
    await session.rows("DELETE FROM jobs WHERE seq = $1::bigint", [job]);
  });
}

/** Goes on with removals that a crash cut short. */
export async function finishRemovals(database: Database): Promise<void> {
  const leaving = await database.call(
    "read jobs that are leaving",
    (session) => session.rows("SELECT seq FROM jobs WHERE is_leaving"),
  );
  for (const [seq] of leaving) await removeHistory(database, Number(seq));
}

function removeChunk(database: Database, job: number): Promise<number> {
  return database.transaction("remove the history of a job", async (session) => {
    const rows = await session.rows(
      `SELECT seq, id, status, ${millis("scheduled_for")} FROM occurrences WHERE job = $1::bigint
        ORDER BY scheduled_for, twin LIMIT ${CHUNK} FOR UPDATE`,
      [job],
    );
    if (rows.length === 0) return 0;
    const ids = uuids(rows.map((row) => String(row[1])));
    const times = numbers(rows.map((row) => asTime(row[3])));
    const bounds = [
      Math.min(...rows.map((row) => asTime(row[3]))),
      Math.max(...rows.map((row) => asTime(row[3]))),
    ];
    await session.rows("DELETE FROM lines WHERE occurrence_id = ANY($1::uuid[])", [ids]);
    await session.rows("DELETE FROM late_reports WHERE occurrence_id = ANY($1::uuid[])", [ids]);
    const within = `scheduled_for >= ${time("$3::float8")} AND scheduled_for <= ${time("$4::float8")}`;
    await session.rows(
      `DELETE FROM attempts a USING unnest($1::bigint[], $2::float8[]) AS u (seq, at)
        WHERE a.occurrence = u.seq AND a.scheduled_for = ${time("u.at")} AND ${within}`,
      [numbers(rows.map((row) => Number(row[0]))), times, ...bounds],
    );
    await session.rows(
      `DELETE FROM occurrences o USING unnest($1::uuid[], $2::float8[]) AS u (id, at)
        WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${within}`,
      [ids, times, ...bounds],
    );
    const count = new CountChange();
    for (const row of rows) count.add(Number(row[2]), -1);
    await count.write(session);
    return rows.length;
  });
}
