/** What the watchdog compares: the `Oversight` port. */
import type { DecidedDueTimes, WatchedJob } from "../../actors/domain/expectation.ts";
import { type DueSpan, type Overdue, OVERDUE_COUNTED, type Oversight } from "../../actors/ports/oversight.ts";
import type { Page } from "../../actors/ports/store.ts";
import type { Database, Statement } from "./database.ts";
import type { GroupCommit } from "./group_commit.ts";
import { JOB_COLUMNS, toJob } from "./job_rows.ts";

export class EmbeddedOversight implements Oversight {
  readonly #overdue: Statement;
  readonly #count: Statement;
  readonly #jobs: Statement;
  readonly #seq: Statement;
  readonly #occurrences: Statement;
  readonly #ranges: Statement;

  constructor(database: Database, private readonly group: GroupCommit) {
    this.#overdue = database.prepare(
      "SELECT id, next_due_at FROM jobs WHERE next_due_at <= ? AND is_leaving = 0 ORDER BY next_due_at LIMIT ?",
    );
    this.#count = database.prepare(
      `SELECT count(*) FROM (SELECT 1 FROM jobs WHERE next_due_at <= ? AND is_leaving = 0 LIMIT ${
        OVERDUE_COUNTED + 1
      })`,
    );
    // Payloads may be large, and are not compared.
    this.#jobs = database.prepare(
      `SELECT ${
        JOB_COLUMNS.replace("p.data", "'{}'")
      } FROM jobs j WHERE j.seq > ? AND j.is_leaving = 0 ORDER BY j.seq LIMIT ?`,
    );
    this.#seq = database.prepare("SELECT seq FROM jobs WHERE id = ? AND is_leaving = 0");
    this.#occurrences = database.prepare(
      "SELECT scheduled_for FROM occurrences WHERE job = ? AND scheduled_for BETWEEN ? AND ? AND twin = 0",
    );
    this.#ranges = database.prepare(
      "SELECT from_at, to_at FROM verdict_ranges WHERE job = ? AND from_at <= ? AND to_at >= ?",
    );
  }

  overdue(before: number, limit: number): Promise<Overdue> {
    return this.group.read(() => ({
      count: Number(this.#count.row(before)?.[0]),
      entries: this.#overdue.rows(before, limit).map(([id, dueAt]) => ({
        jobId: String(id),
        dueAt: Number(dueAt),
      })),
    }));
  }

  jobs(limit: number, after: string | null): Promise<Page<WatchedJob>> {
    return this.group.read(() => {
      const rows = this.#jobs.rows(after === null ? 0 : Number(after), limit);
      return { items: rows.map(toJob), next: rows.length < limit ? null : String(rows.at(-1)?.[0] ?? "") };
    });
  }

  decided(spans: readonly DueSpan[]): Promise<readonly (DecidedDueTimes | null)[]> {
    return this.group.read(() => spans.map((span) => this.#decided(span)));
  }

  #decided({ jobId, from, to }: DueSpan): DecidedDueTimes | null {
    const seq = this.#seq.row(jobId)?.[0];
    if (seq === undefined) return null;
    return {
      occurrences: this.#occurrences.rows(Number(seq), from, to).map(([at]) => Number(at)),
      ranges: this.#ranges.rows(Number(seq), to, from).map((row) => ({
        from: Number(row[0]),
        to: Number(row[1]),
      })),
    };
  }
}
