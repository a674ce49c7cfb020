/** Deletes occurrences with what belongs to them, and jobs with their history; lines lie in a file of their own. */
import type { Counters } from "./counters.ts";
import type { Database, Statement } from "./database.ts";

export interface RemovedOccurrence {
  readonly seq: number;
  readonly id: string;
  readonly status: number;
}

/** The statements. */
export class Removal {
  readonly #next: Statement;
  readonly #ofOccurrence: readonly Statement[];
  readonly #lateReports: Statement;
  readonly #ofJob: readonly Statement[];

  constructor(database: Database, private readonly counters: Counters) {
    this.#next = database.prepare("SELECT seq, id, status FROM occurrences WHERE job = ? LIMIT ?");
    this.#ofOccurrence = [
      "DELETE FROM attempts WHERE occurrence = ?",
      "DELETE FROM occurrences WHERE seq = ?",
    ]
      .map((sql) => database.prepare(sql));
    this.#lateReports = database.prepare("DELETE FROM late_reports WHERE occurrence_id = ?");
    this.#ofJob = [
      "DELETE FROM payloads WHERE seq IN (SELECT payload FROM terms WHERE job = ?1 UNION SELECT payload FROM jobs WHERE seq = ?1)",
      "DELETE FROM terms WHERE job = ?",
      "DELETE FROM verdict_ranges WHERE job = ?",
      "DELETE FROM failed_occurrences WHERE job = ?",
      "DELETE FROM replays WHERE job = ?",
      "DELETE FROM failure_streaks WHERE job = ?",
      "DELETE FROM jobs WHERE seq = ?",
    ].map((sql) => database.prepare(sql));
  }

  next(job: number, limit: number): readonly RemovedOccurrence[] {
    return this.#next.rows(job, limit).map(([seq, id, status]) => ({
      seq: Number(seq),
      id: String(id),
      status: Number(status),
    }));
  }

  delete(occurrences: readonly RemovedOccurrence[]): void {
    for (const { seq, id, status } of occurrences) {
      for (const statement of this.#ofOccurrence) statement.execute(seq);
      this.#lateReports.execute(id);
      this.counters.add(`status.${status}`, -1);
    }
  }

  deleteJob(job: number): void {
    for (const statement of this.#ofJob) statement.execute(job);
  }
}
