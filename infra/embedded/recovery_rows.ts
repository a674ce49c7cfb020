/** What recovery looks for: occurrences to be published, and running attempts whose lease has ended. */
import { ORIGINS, statusNumber } from "../../actors/domain/occurrence.ts";
import type { PassedOver, Postponed, Recoverable, SilentAttempt } from "../../actors/ports/store.ts";
import type { Database, Statement } from "./database.ts";
import { type JobMessages, MESSAGE_COLUMNS } from "./job_messages.ts";
import type { TermsBook } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const RUNNING = statusNumber("Running");

/** `looks` of a row whose message is known to be gone, as in PostgreSQL. */
const GONE = -1;

/** A part of all that waits, by the moments of its looks. */
interface Part {
  readonly now: number;
  /** Begins after this moment. */
  readonly after: number;
  /** Holds so many rows, and those of its last moment. */
  readonly limit: number;
}

export class RecoveryRows {
  readonly #silent: Statement;
  readonly #toLookAt: Statement;
  readonly #toLookAtBut: Statement;
  readonly #nextLook: Statement;
  readonly #plannedCatchUps: Statement;
  readonly #postpone: Statement;
  readonly #wantPublishing: Statement;
  readonly #wantPublishingOfType: Statement;
  readonly #shiftLeases: Statement;
  readonly #shiftWaiting: Statement;
  readonly #partEnd: Statement;
  readonly #shift: Statement;

  constructor(
    database: Database,
    private readonly messages: JobMessages,
    private readonly terms: TermsBook,
  ) {
    const prepare = (sql: string) => database.prepare(sql);
    this.#silent = prepare(
      `SELECT id, scheduled_for, terms, token, instance, lease_until, ready_at FROM occurrences
        WHERE status = ${RUNNING} AND lease_until < ? ORDER BY lease_until LIMIT ?`,
    );
    const toLookAt = (but: string) =>
      `SELECT ${MESSAGE_COLUMNS}, ready_at, looks, next_action_at <> ready_at FROM occurrences WHERE status = ${QUEUED}
        AND next_action_at IS NOT NULL AND next_action_at <= ?1 ${but} ORDER BY next_action_at, seq LIMIT ?2`;
    this.#toLookAt = prepare(toLookAt(""));
    this.#toLookAtBut = prepare(toLookAt(
      `AND next_action_at >= ?3 AND terms NOT IN (SELECT t.seq FROM json_each(?4) AS q, terms AS t
          WHERE t.job_type = q.value ->> 'jobType' AND t.pool IS q.value ->> 'pool')`,
    ));
    this.#nextLook = prepare(
      `SELECT min(next_action_at) FROM occurrences WHERE status = ${QUEUED} AND next_action_at IS NOT NULL`,
    );
    this.#plannedCatchUps = prepare(
      `SELECT ready_at FROM occurrences WHERE status = ${QUEUED} AND next_action_at > ?1 AND ready_at > ?1
        AND origin = ${ORIGINS.indexOf("catch-up")} ORDER BY next_action_at LIMIT ?2`,
    );
    this.#postpone = prepare(
      `UPDATE OR FAIL occurrences SET next_action_at = ?, looks = max(looks, 0) + 1, reason = coalesce(?, reason)
        WHERE id = ? AND token = ? AND status = ${QUEUED} AND next_action_at IS NOT NULL`,
    );
    const want = (more: string) =>
      `UPDATE OR FAIL occurrences SET next_action_at = min(next_action_at, ?1), looks = ${GONE}
        WHERE status = ${QUEUED} AND next_action_at > ?2 AND next_action_at <= ?3
          AND (looks > ${GONE} OR next_action_at > ?1) AND (ready_at <= ?1 OR ready_at <> next_action_at) ${more}`;
    this.#shiftLeases = prepare(
      `UPDATE OR FAIL occurrences SET lease_until = lease_until - ?2 WHERE status = ${RUNNING} AND lease_until > ?1`,
    );
    this.#shiftWaiting = prepare(
      `UPDATE OR FAIL occurrences SET not_before = not_before - ?2
        WHERE ended_at IS NULL AND status = ${QUEUED} AND ready_at IS NULL AND not_before > ?1`,
    );
    this.#partEnd = prepare(
      `SELECT next_action_at FROM occurrences WHERE status = ${QUEUED} AND next_action_at > ?
        ORDER BY next_action_at LIMIT 1 OFFSET ?`,
    );
    this.#shift = prepare(
      `UPDATE OR FAIL occurrences SET next_action_at = next_action_at - ?3,
         ready_at = CASE WHEN ready_at > ?4 THEN ready_at - ?3 ELSE ready_at END
        WHERE status = ${QUEUED} AND next_action_at > ?1 AND next_action_at <= ?2`,
    );
    this.#wantPublishing = prepare(want(""));
    this.#wantPublishingOfType = prepare(want("AND terms IN (SELECT seq FROM terms WHERE job_type = ?4)"));
  }

  /** Running attempts whose lease ended before, the longest ago first. */
  silent(before: number, limit: number): readonly SilentAttempt[] {
    return this.#silent.rows(Math.min(before, Number.MAX_SAFE_INTEGER), limit).map((row) => {
      const { jobId, jobType, pool } = this.terms.get(Number(row[2]));
      return {
        occurrenceId: String(row[0]),
        scheduledFor: Number(row[1]),
        jobId,
        jobType,
        pool,
        readyAt: Number(row[6]),
        token: Number(row[3]),
        instanceId: this.terms.instance(Number(row[4])).instanceId,
        leaseUntil: Number(row[5]),
      };
    });
  }

  /** Queued ones whose time to be looked at has come, the longest ago first. */
  recoverable(now: number, limit: number, passedOver: PassedOver | null): readonly Recoverable[] {
    const rows = passedOver === null ? this.#toLookAt.rows(now, limit) : this.#toLookAtBut.rows(
      now,
      limit,
      Math.max(0, passedOver.from),
      JSON.stringify(passedOver.queues),
    );
    return rows.map((row) => ({
      message: this.messages.of(row),
      readyAt: Number(row[7]),
      isReady: row[9] === 1 || Number(row[7]) <= now,
      looks: Math.max(0, Number(row[8])),
    }));
  }

  plannedCatchUps(now: number, limit: number): readonly number[] {
    return this.#plannedCatchUps.rows(now, limit).map((row) => Number(row[0]));
  }

  /** When the next one wants a look, or null. */
  nextLook(): number | null {
    const at = this.#nextLook.row()?.[0];
    return typeof at === "number" ? at : null;
  }

  /** Looks at it again later. */
  postpone({ occurrenceId, token, until, reason }: Postponed): void {
    this.#postpone.execute(until, reason ?? null, occurrenceId, token);
  }

  /**
   * Has what is looked at after `after` published now, the soonest first. Gives how many rows that were, and from where
   * to go on, or null when it is done.
   */
  wantPublishing(
    jobType: string | null,
    { now, after, limit }: Part,
  ): { readonly changed: number; readonly after: number | null } {
    const last = this.#endOfPart(after, limit);
    const until = last ?? Number.MAX_SAFE_INTEGER;
    const changed = jobType === null
      ? this.#wantPublishing.change(now, after, until)
      : this.#wantPublishingOfType.change(now, after, until, jobType);
    return { changed, after: last };
  }

  /** The wall clock was set back and says `now`: leases, and what waits behind another run, move with it. */
  shiftHolding(now: number, byMs: number): void {
    this.#shiftLeases.execute(now, byMs);
    this.#shiftWaiting.execute(now, byMs);
  }

  /**
   * The same for what is to be looked at after `after`, the soonest first, so that nothing is met twice. Gives from
   * where to go on, or null when it is done.
   */
  shiftLooks({ now, byMs, after, limit }: Part & { readonly byMs: number }): number | null {
    const last = this.#endOfPart(after, limit);
    this.#shift.execute(after, last ?? Number.MAX_SAFE_INTEGER, byMs, now);
    return last;
  }

  /** The moment of its last rows; null when nothing comes after them. */
  #endOfPart(after: number, limit: number): number | null {
    const end = this.#partEnd.row(after, limit - 1)?.[0];
    return typeof end === "number" ? end : null;
  }
}
