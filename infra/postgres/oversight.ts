/** What the watchdog compares: the `Oversight` port. */
import type { DecidedDueTimes, WatchedJob } from "../../actors/domain/expectation.ts";
import { type DueSpan, type Overdue, OVERDUE_COUNTED, type Oversight } from "../../actors/ports/oversight.ts";
import type { Page } from "../../actors/ports/store.ts";
import type { Database } from "./database.ts";
import { dayOf, dayStart } from "./day.ts";
import { JOB_COLUMNS, toJob } from "./job_rows.ts";
import { asTime, isUuid, millis, numbers, time, uuids } from "./literal.ts";

const SPANS =
  "unnest($1::uuid[], $2::float8[], $3::float8[]) AS u (id, first, last) JOIN jobs j ON j.id = u.id";

export class PostgresOversight implements Oversight {
  constructor(private readonly database: Database) {}

  overdue(before: number, limit: number): Promise<Overdue> {
    return this.database.call("look for overdue jobs", async (session) => {
      const overdue = `FROM jobs WHERE next_due_at <= ${time("$1::float8")} AND NOT is_leaving`;
      const [counted] = await session.rows(
        `SELECT count(*) FROM (SELECT 1 ${overdue} LIMIT ${OVERDUE_COUNTED + 1}) AS counted`,
        [before],
      );
      const rows = await session.rows(
        `SELECT id, ${millis("next_due_at")} ${overdue} ORDER BY next_due_at LIMIT $2::bigint`,
        [before, limit],
      );
      return {
        count: Number(counted?.[0]),
        entries: rows.map(([id, dueAt]) => ({ jobId: String(id), dueAt: asTime(dueAt) })),
      };
    });
  }

  jobs(limit: number, after: string | null): Promise<Page<WatchedJob>> {
    return this.database.call("read jobs", async (session) => {
      // Payloads may be large, and are not compared.
      const columns = JOB_COLUMNS.replace("p.data", "'{}'");
      const rows = await session.rows(
        `SELECT ${columns} FROM jobs j WHERE j.seq > $1::bigint AND NOT j.is_leaving
          ORDER BY j.seq LIMIT $2::bigint`,
        [after === null ? 0 : Number(after), limit],
      );
      return { items: rows.map(toJob), next: rows.length < limit ? null : String(rows.at(-1)?.[0] ?? "") };
    });
  }

  async decided(spans: readonly DueSpan[]): Promise<readonly (DecidedDueTimes | null)[]> {
    const asked = spans.filter(({ jobId }) => isUuid(jobId));
    if (asked.length === 0) return spans.map(() => null);
    const found = await this.database.call("read what was decided", async (session) => {
      const parameters = [
        uuids(asked.map(({ jobId }) => jobId)),
        numbers(asked.map(({ from }) => from)),
        numbers(asked.map(({ to }) => to)),
      ];
      // Written out, not bound: a plan for these very days looks at their partitions only.
      const days = `o.scheduled_for >= ${dayStart(dayOf(Math.min(...asked.map(({ from }) => from))))}
        AND o.scheduled_for < ${dayStart(dayOf(Math.max(...asked.map(({ to }) => to))) + 1)}`;
      const occurrences = await session.rows(
        `SELECT u.id, ${
          millis("o.scheduled_for")
        } FROM ${SPANS} JOIN occurrences o ON o.job = j.seq AND o.twin = 0
           AND o.scheduled_for >= ${time("u.first")} AND o.scheduled_for <= ${time("u.last")} AND ${days}`,
        parameters,
      );
      const ranges = await session.rows(
        `SELECT u.id, ${millis("r.from_at")}, ${millis("r.to_at")} FROM ${SPANS}
           JOIN verdict_ranges r ON r.job = j.seq AND r.from_at <= ${time("u.last")} AND r.to_at >= ${
          time("u.first")
        }`,
        parameters,
      );
      // Asked last: the history of a job that is still there now was there before.
      const there = await session.rows("SELECT id FROM jobs WHERE id = ANY($1::uuid[]) AND NOT is_leaving", [
        uuids(asked.map(({ jobId }) => jobId)),
      ]);
      return { occurrences, ranges, there };
    });
    // A job may have been asked about twice, for different stretches.
    const there = new Set(found.there.map(([id]) => String(id)));
    const ran = Map.groupBy(found.occurrences, ([id]) => String(id));
    const ranges = Map.groupBy(found.ranges, ([id]) => String(id));
    return spans.map(({ jobId, from, to }) =>
      !there.has(jobId) ? null : {
        occurrences: (ran.get(jobId) ?? []).map((row) => asTime(row[1])).filter((at) =>
          from <= at && at <= to
        ),
        ranges: (ranges.get(jobId) ?? []).map((row) => ({ from: asTime(row[1]), to: asTime(row[2]) }))
          .filter((range) => range.from <= to && range.to >= from),
      }
    );
  }
}
