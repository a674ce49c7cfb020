/** What recovery looks for: occurrences to be published, and running attempts whose lease has ended. */
import { statusNumber } from "../../actors/domain/occurrence.ts";
import type { Postponed, Recoverable, SilentAttempt } from "../../actors/ports/store.ts";
import type { Database, Session } from "./database.ts";
import { byDay, isStorableTime, onDay } from "./day.ts";
import { type JobMessages, MESSAGE_COLUMNS } from "./job_messages.ts";
import { asTime, asTimeOrNull, isUuid, millis, numbers, storable, texts, time, uuids } from "./literal.ts";
import type { TermsBook } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const RUNNING = statusNumber("Running");

export class RecoveryRows {
  constructor(
    private readonly database: Database,
    private readonly messages: JobMessages,
    private readonly terms: TermsBook,
  ) {}

  /** Running attempts whose lease ends before, first those that end first. */
  silent(before: number, limit: number): Promise<readonly SilentAttempt[]> {
    return this.database.call("read silent attempts", async (session) => {
      // A lease ends no earlier than its row wants a look, so the one index serves both.
      const rows = await session.rows(
        `SELECT id, ${millis("scheduled_for")}, terms, token, instance, ${
          millis("lease_until")
        } FROM occurrences
          WHERE ended_at IS NULL AND next_action_at < ${time("$1::float8")} AND status = ${RUNNING}
            AND lease_until < ${time("$1::float8")} ORDER BY lease_until LIMIT $2::bigint`,
        [before, limit],
      );
      const terms = await this.terms.load(session, new Set(rows.map((row) => Number(row[2]))));
      const instances = await this.terms.instances(session, new Set(rows.map((row) => Number(row[4]))));
      return rows.map((row) => ({
        occurrenceId: String(row[0]),
        scheduledFor: asTime(row[1]),
        jobId: terms.get(Number(row[2]))?.jobId ?? "",
        token: Number(row[3]),
        instanceId: instances.get(Number(row[4]))?.instanceId ?? "",
        leaseUntil: asTime(row[5]),
      }));
    });
  }

  /** Queued ones whose time to be looked at has come, the longest ago first. */
  recoverable(now: number, limit: number): Promise<readonly Recoverable[]> {
    return this.database.call("read what wants publishing", async (session) => {
      const rows = await session.rows(
        `SELECT ${MESSAGE_COLUMNS}, ${millis("o.ready_at")}, o.looks FROM occurrences o
          WHERE o.ended_at IS NULL AND o.status = ${QUEUED} AND o.next_action_at <= ${time("$1::float8")}
          ORDER BY o.next_action_at, o.seq LIMIT $2::bigint`,
        [now, limit],
      );
      const messages = await this.messages.of(session, rows);
      return rows.flatMap((row, index) => {
        const message = messages[index];
        return message === undefined ? [] : [{ message, readyAt: asTime(row[7]), looks: Number(row[8]) }];
      });
    });
  }

  /** When the next one wants a look, or null. */
  nextLook(): Promise<number | null> {
    return this.database.call("read when something wants a look", async (session) => {
      const [row] = await session.rows(
        `SELECT ${millis("next_action_at")} FROM occurrences
          WHERE ended_at IS NULL AND status = ${QUEUED} AND next_action_at IS NOT NULL
          ORDER BY next_action_at LIMIT 1`,
      );
      return asTimeOrNull(row?.[0]);
    });
  }
}

/** Looks at these again later. */
export async function postpone(session: Session, items: readonly Postponed[]): Promise<void> {
  const known = items.filter((one) => isUuid(one.occurrenceId) && isStorableTime(one.scheduledFor))
    .toSorted((left, right) => left.occurrenceId < right.occurrenceId ? -1 : 1);
  for (const [day, rows] of byDay(known, (one) => one.scheduledFor)) {
    await session.rows(
      `UPDATE occurrences o SET next_action_at = ${time("u.until")}, looks = o.looks + 1,
         reason = coalesce(u.reason, o.reason)
         FROM unnest($1::uuid[], $2::float8[], $3::float8[], $4::text[]) AS u (id, at, until, reason)
        WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
          AND o.status = ${QUEUED} AND o.next_action_at IS NOT NULL`,
      [
        uuids(rows.map((one) => one.occurrenceId)),
        numbers(rows.map((one) => one.scheduledFor)),
        numbers(rows.map((one) => one.until)),
        texts(rows.map((one) => one.reason ?? null)),
      ],
    );
  }
}

/** Gives how many rows it changed; fewer than `limit` when it is done. */
export async function wantPublishing(
  session: Session,
  jobType: string | null,
  now: number,
  limit: number,
): Promise<number> {
  const ofType = jobType === null ? "" : "AND terms IN (SELECT seq FROM terms WHERE job_type = $3::text)";
  const rows = await session.rows(
    `WITH wanted AS (
       SELECT id, scheduled_for FROM occurrences WHERE ended_at IS NULL AND status = ${QUEUED}
         AND next_action_at > ${time("$1::float8")} AND ready_at <= ${time("$1::float8")} ${ofType}
       ORDER BY id LIMIT $2::bigint FOR UPDATE
     )
     UPDATE occurrences o SET next_action_at = ${time("$1::float8")}, looks = 0 FROM wanted w
      WHERE o.id = w.id AND o.scheduled_for = w.scheduled_for RETURNING 1`,
    [now, limit, ...(jobType === null ? [] : [storable(jobType)])],
  );
  return rows.length;
}
