/** Deletes a job with its history, in batches. Until the last one the job is there, marked as leaving, and unseen. */
import { CountChange } from "./counters.ts";
import type { Database, Session } from "./database.ts";
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
    for (
      const table of ["terms", "verdict_ranges", "holds", "failure_streaks", "failed_occurrences", "replays"]
    ) {
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
    await deleteOccurrences(
      session,
      rows.map((row) => ({
        seq: Number(row[0]),
        id: String(row[1]),
        status: Number(row[2]),
        scheduledFor: asTime(row[3]),
      })),
    );
    return rows.length;
  });
}

/** An occurrence that is to go. */
export interface LeavingOccurrence {
  readonly seq: number;
  readonly id: string;
  readonly status: number;
  readonly scheduledFor: number;
}

/** Deletes these with their attempts, lines and late reports; the totals follow. Part of the transaction. */
export async function deleteOccurrences(
  session: Session,
  leaving: readonly LeavingOccurrence[],
): Promise<void> {
  if (leaving.length === 0) return;
  const ids = uuids(leaving.map((one) => one.id));
  const moments = leaving.map((one) => one.scheduledFor);
  const times = numbers(moments);
  const bounds = [Math.min(...moments), Math.max(...moments)];
  await session.rows(
    `DELETE FROM lines WHERE occurrence_id = ANY($1::uuid[])
       AND scheduled_for >= ${time("$2::float8")} AND scheduled_for <= ${time("$3::float8")}`,
    [ids, ...bounds],
  );
  await session.rows("DELETE FROM late_reports WHERE occurrence_id = ANY($1::uuid[])", [ids]);
  const within = `scheduled_for >= ${time("$3::float8")} AND scheduled_for <= ${time("$4::float8")}`;
  await session.rows(
    `DELETE FROM attempts a USING unnest($1::bigint[], $2::float8[]) AS u (seq, at)
      WHERE a.occurrence = u.seq AND a.scheduled_for = ${time("u.at")} AND ${within}`,
    [numbers(leaving.map((one) => one.seq)), times, ...bounds],
  );
  await session.rows(
    `DELETE FROM occurrences o USING unnest($1::uuid[], $2::float8[]) AS u (id, at)
      WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${within}`,
    [ids, times, ...bounds],
  );
  const count = new CountChange();
  for (const { status } of leaving) count.add(status, -1);
  await count.write(session);
}
