/** What recovery looks for: occurrences to be published, and running attempts whose lease has ended. */
import { statusNumber } from "../../actors/domain/occurrence.ts";
import type { Postponed, Recoverable, SilentAttempt } from "../../actors/ports/store.ts";
import type { Database, Statement } from "./database.ts";
import { type JobMessages, MESSAGE_COLUMNS } from "./job_messages.ts";
import type { TermsBook } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const RUNNING = statusNumber("Running");

export class RecoveryRows {
  readonly #silent: Statement;
  readonly #toLookAt: Statement;
  readonly #nextLook: Statement;
  readonly #postpone: Statement;
  readonly #wantPublishing: Statement;
  readonly #wantPublishingOfType: Statement;

  constructor(
    database: Database,
    private readonly messages: JobMessages,
    private readonly terms: TermsBook,
  ) {
    const prepare = (sql: string) => database.prepare(sql);
    this.#silent = prepare(
      `SELECT id, scheduled_for, terms, token, instance, lease_until FROM occurrences
        WHERE status = ${RUNNING} AND lease_until < ? ORDER BY lease_until LIMIT ?`,
    );
    this.#toLookAt = prepare(
      `SELECT ${MESSAGE_COLUMNS}, ready_at, looks FROM occurrences WHERE status = ${QUEUED}
        AND next_action_at IS NOT NULL AND next_action_at <= ? ORDER BY next_action_at, seq LIMIT ?`,
    );
    this.#nextLook = prepare(
      `SELECT min(next_action_at) FROM occurrences WHERE status = ${QUEUED} AND next_action_at IS NOT NULL`,
    );
    this.#postpone = prepare(
      `UPDATE OR FAIL occurrences SET next_action_at = ?, looks = looks + 1, reason = coalesce(?, reason)
        WHERE id = ? AND status = ${QUEUED} AND next_action_at IS NOT NULL`,
    );
    const want = (more: string) =>
      `UPDATE OR FAIL occurrences SET next_action_at = ?1, looks = 0 WHERE seq IN (SELECT seq FROM occurrences
         WHERE status = ${QUEUED} AND next_action_at > ?1 AND ready_at <= ?1 ${more} LIMIT ?2)`;
    this.#wantPublishing = prepare(want(""));
    this.#wantPublishingOfType = prepare(want("AND terms IN (SELECT seq FROM terms WHERE job_type = ?3)"));
  }

  /** Running attempts whose lease ended before, the longest ago first. */
  silent(before: number, limit: number): readonly SilentAttempt[] {
    return this.#silent.rows(Math.min(before, Number.MAX_SAFE_INTEGER), limit).map((row) => ({
      occurrenceId: String(row[0]),
      scheduledFor: Number(row[1]),
      jobId: this.terms.get(Number(row[2])).jobId,
      token: Number(row[3]),
      instanceId: this.terms.instance(Number(row[4])).instanceId,
      leaseUntil: Number(row[5]),
    }));
  }

  /** Queued ones whose time to be looked at has come, the longest ago first. */
  recoverable(now: number, limit: number): readonly Recoverable[] {
    return this.#toLookAt.rows(now, limit).map((row) => ({
      message: this.messages.of(row),
      readyAt: Number(row[7]),
      looks: Number(row[8]),
    }));
  }

  /** When the next one wants a look, or null. */
  nextLook(): number | null {
    const at = this.#nextLook.row()?.[0];
    return typeof at === "number" ? at : null;
  }

  /** Looks at it again later. */
  postpone({ occurrenceId, until, reason }: Postponed): void {
    this.#postpone.execute(until, reason ?? null, occurrenceId);
  }

  /** Gives how many rows it changed; fewer than `limit` when it is done. */
  wantPublishing(jobType: string | null, now: number, limit: number): number {
    return jobType === null
      ? this.#wantPublishing.change(now, limit)
      : this.#wantPublishingOfType.change(now, limit, jobType);
  }
}
