/**
 * Who holds a job whose policy lets no run beside another (Skip, Queue), and who comes next. A run holds its job
 * from its creation to its end, retries included; those that wait for it (policy Queue, runs that catch up) have no `ready_at`.
 */
import { MAX_WAITING } from "../../actors/domain/concurrency.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Database, Statement } from "./database.ts";
import { type JobMessages, MESSAGE_COLUMNS } from "./job_messages.ts";

/** Who commits also publishes; recovery looks after this long whether that happened, milliseconds. */
export const PUBLISHED_WITHIN_MS = 10_000;

const ACTIVE = "job = ? AND holds_job = 1 AND ended_at IS NULL";
const WAITS = "status = 0 AND ready_at IS NULL";

export class JobHold {
  readonly #holder: Statement;
  readonly #count: Statement;
  readonly #countFromNow: Statement;
  readonly #firstWaiting: Statement;
  readonly #ready: Statement;

  constructor(database: Database, private readonly messages: JobMessages) {
    this.#holder = database.prepare(
      `SELECT seq, id FROM occurrences WHERE ${ACTIVE} AND NOT (${WAITS}) ORDER BY scheduled_for, seq LIMIT 1`,
    );
    this.#count = database.prepare(
      `SELECT count(*) FROM (SELECT 1 FROM occurrences WHERE ${ACTIVE} LIMIT ${MAX_WAITING + 1})`,
    );
    this.#countFromNow = database.prepare(
      `UPDATE OR FAIL occurrences INDEXED BY occurrences_of_job SET holds_job = 1
        WHERE job = ? AND ended_at IS NULL`,
    );
    this.#firstWaiting = database.prepare(
      `SELECT ${MESSAGE_COLUMNS} FROM occurrences WHERE ${ACTIVE} AND ${WAITS} ORDER BY scheduled_for, seq LIMIT 1`,
    );
    this.#ready = database.prepare(
      `UPDATE OR FAIL occurrences SET ready_at = max(?1, coalesce(not_before, 0)),
         next_action_at = CASE WHEN not_before > ?1 THEN not_before ELSE ?2 END, looks = 0, reason = NULL
        WHERE seq = ?3 RETURNING ready_at`,
    );
  }

  /** The run that holds the job, or null. */
  holder(job: number): { readonly seq: number; readonly id: string } | null {
    const row = this.#holder.row(job);
    return row === undefined ? null : { seq: Number(row[0]), id: String(row[1]) };
  }

  /** How many runs of the job are on or wait, counted up to one more than may wait. */
  count(job: number): number {
    return Number(this.#count.row(job)?.[0]);
  }

  /** The job's policy lets no run beside another from now on: what is on counts, whatever it was before. */
  countFromNow(job: number): void {
    this.#countFromNow.execute(job);
  }

  /**
   * When nothing holds the job, the waiting one that is due first may run: now, or at `readyAt` when it is a catch-up
   * run that comes later. Gives its message, or null.
   */
  releaseNext(job: number, now: number): { readonly message: JobMessage; readonly readyAt: number } | null {
    const row = this.#firstWaiting.row(job);
    if (row === undefined || this.#holder.row(job) !== undefined) return null;
    const ready = this.#ready.row(now, now + PUBLISHED_WITHIN_MS, Number(row[0]));
    return { message: this.messages.of(row), readyAt: Number(ready?.[0]) };
  }
}
