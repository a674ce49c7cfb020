/**
 * Totals that would take a walk over all rows to count. Each transaction appends what it changed (`count_changes`),
 * so that none waits for another; from time to time the changes are folded into `counters`.
 */
import { OCCURRENCE_STATUSES, type OccurrenceStatus, statusNumber } from "../../actors/domain/occurrence.ts";
import type { StatusCounts } from "../../actors/ports/store.ts";
import type { Database, Session } from "./database.ts";
import { numbers, texts } from "./literal.ts";

const STATUS_COLUMNS = OCCURRENCE_STATUSES.map((_, number) => `status_${number}`);
const COLUMNS = ["jobs", "active_jobs", ...STATUS_COLUMNS];
const SUMS = COLUMNS.map((column) => `coalesce(sum(${column}), 0)`).join(", ");

/** Key of the advisory lock, "milc" in ASCII. */
const LOCK = 0x6d696c63;

/** Changes of the totals, gathered in a transaction. */
export class CountChange {
  jobs = 0;
  activeJobs = 0;
  readonly #statuses = OCCURRENCE_STATUSES.map(() => 0);

  moved(from: number, to: number): void {
    this.add(from, -1);
    this.add(to, 1);
  }

  add(status: number, amount: number): void {
    this.#statuses[status] = (this.#statuses[status] ?? 0) + amount;
  }

  /** Part of the transaction. */
  async write(session: Session): Promise<void> {
    const amounts = [this.jobs, this.activeJobs, ...this.#statuses];
    if (amounts.every((amount) => amount === 0)) return;
    await session.rows(
      `INSERT INTO count_changes (${COLUMNS.join(", ")})
       VALUES (${COLUMNS.map((_, index) => `$${index + 1}::bigint`).join(", ")})`,
      amounts,
    );
  }
}

/** SQL of a clause that counts rows of `from` as having gone from one status to another. */
export function countMoved(from: string, before: OccurrenceStatus, after: OccurrenceStatus): string {
  return `INSERT INTO count_changes (status_${statusNumber(before)}, status_${statusNumber(after)})
    SELECT -count(*), count(*) FROM ${from} HAVING count(*) > 0`;
}

/** The committed totals. */
export function readCounts(database: Database): Promise<StatusCounts> {
  return database.call("read the counts", async (session) => {
    // One statement: changes and totals as they were at the same moment.
    const rows = await session.rows(
      `SELECT name, count FROM counters
       UNION ALL SELECT u.name, u.count FROM (SELECT ${SUMS} FROM count_changes) AS c (${COLUMNS.join(", ")}),
         LATERAL (VALUES ${
        COLUMNS.map((column) => `('${column}', c.${column})`).join(", ")
      }) AS u (name, count)`,
    );
    const totals = new Map<string, number>();
    for (const [name, count] of rows) {
      totals.set(String(name), (totals.get(String(name)) ?? 0) + Number(count));
    }
    const total = (name: string) => totals.get(name) ?? 0;
    const byStatus = Object.fromEntries(
      OCCURRENCE_STATUSES.map((status, number) => [status, total(`status_${number}`)]),
    );
    return {
      jobs: total("jobs"),
      activeJobs: total("active_jobs"),
      byStatus: byStatus as Record<OccurrenceStatus, number>,
    };
  });
}

/** Folds the changes into the totals, unless another instance is at it. */
export function foldCounts(database: Database): Promise<void> {
  return database.transaction("fold the counts", async (session) => {
    const [lock] = await session.rows("SELECT pg_try_advisory_xact_lock($1::bigint)", [LOCK]);
    if (lock?.[0] !== true) return;
    const [sums] = await session.rows(
      `WITH folded AS (DELETE FROM count_changes RETURNING *) SELECT ${SUMS} FROM folded`,
    );
    await session.rows(
      `INSERT INTO counters (name, count) SELECT * FROM unnest($1::text[], $2::bigint[])
       ON CONFLICT (name) DO UPDATE SET count = counters.count + excluded.count`,
      [texts(COLUMNS), numbers((sums ?? []).map(Number))],
    );
  });
}
