/** What recovery looks for: occurrences to be published, and running attempts whose lease has ended. */
import { ORIGINS, statusNumber } from "../../actors/domain/occurrence.ts";
import type { PassedOver, Postponed, Recoverable, SilentAttempt } from "../../actors/ports/store.ts";
import type { Database, Session } from "./database.ts";
import { byDay, isStorableTime, onDay } from "./day.ts";
import { type JobMessages, MESSAGE_COLUMNS } from "./job_messages.ts";
import { asTime, asTimeOrNull, isUuid, millis, numbers, storable, texts, time, uuids } from "./literal.ts";
import type { TermsBook } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const RUNNING = statusNumber("Running");

/**
 * `looks` of a row whose message is known to be gone. Not 0, which an instance turns into 1 when it writes down what it
 * noted before (`published.ts`). A leader of 0.3.0 beside takes it for published, puts it off for 15 s, and publishes it
 * then.
 */
const GONE = -1;

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
        `SELECT id, ${millis("scheduled_for")}, terms, token, instance, ${millis("lease_until")},
            ${millis("ready_at")} FROM occurrences
          WHERE ended_at IS NULL AND next_action_at < ${time("$1::float8")} AND status = ${RUNNING}
            AND lease_until < ${time("$1::float8")} ORDER BY lease_until LIMIT $2::bigint`,
        [before, limit],
      );
      const terms = await this.terms.load(session, new Set(rows.map((row) => Number(row[2]))));
      const instances = await this.terms.instances(session, new Set(rows.map((row) => Number(row[4]))));
      return rows.map((row) => {
        const of = terms.get(Number(row[2]));
        return {
          occurrenceId: String(row[0]),
          scheduledFor: asTime(row[1]),
          jobId: of?.jobId ?? "",
          jobType: of?.jobType ?? "",
          pool: of?.pool ?? null,
          readyAt: asTime(row[6]),
          token: Number(row[3]),
          instanceId: instances.get(Number(row[4]))?.instanceId ?? "",
          leaseUntil: asTime(row[5]),
        };
      });
    });
  }

  /** Queued ones whose time to be looked at has come, the longest ago first. */
  recoverable(now: number, limit: number, passedOver: PassedOver | null): Promise<readonly Recoverable[]> {
    const but = passedOver === null ? "" : `AND o.next_action_at >= ${time("$3::float8")}
            AND o.terms NOT IN (SELECT t.seq FROM unnest($4::text[], $5::text[]) AS q (job_type, pool), terms t
              WHERE t.job_type = q.job_type AND t.pool IS NOT DISTINCT FROM q.pool)`;
    return this.database.call("read what wants publishing", async (session) => {
      const rows = await session.rows(
        `SELECT ${MESSAGE_COLUMNS}, ${millis("o.ready_at")}, o.looks,
            o.next_action_at <> o.ready_at FROM occurrences o
          WHERE o.ended_at IS NULL AND o.status = ${QUEUED} AND o.next_action_at <= ${
          time("$1::float8")
        } ${but}
          ORDER BY o.next_action_at, o.seq LIMIT $2::bigint`,
        passedOver === null ? [now, limit] : [
          now,
          limit,
          Math.max(0, passedOver.from),
          texts(passedOver.queues.map(({ jobType }) => jobType)),
          texts(passedOver.queues.map(({ pool }) => pool)),
        ],
      );
      const messages = await this.messages.of(session, rows);
      return rows.flatMap((row, index) => {
        const message = messages[index];
        if (message === undefined) return [];
        const readyAt = asTime(row[7]);
        const looks = Math.max(0, Number(row[8]));
        return [{ message, readyAt, isReady: row[9] === true || readyAt <= now, looks }];
      });
    });
  }

  /** When catch-up runs that are decided already will start. */
  plannedCatchUps(now: number, limit: number): Promise<readonly number[]> {
    return this.database.call("read planned catch-up runs", async (session) => {
      const rows = await session.rows(
        `SELECT ${millis("ready_at")} FROM occurrences
          WHERE ended_at IS NULL AND status = ${QUEUED} AND next_action_at > ${time("$1::float8")}
            AND ready_at > ${time("$1::float8")} AND origin = ${ORIGINS.indexOf("catch-up")}
          ORDER BY next_action_at LIMIT $2::bigint`,
        [now, limit],
      );
      return rows.map((row) => asTime(row[0]));
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
      `UPDATE occurrences o SET next_action_at = ${time("u.until")}, looks = greatest(o.looks, 0) + 1,
         reason = coalesce(u.reason, o.reason)
         FROM unnest($1::uuid[], $2::float8[], $3::float8[], $4::text[], $5::bigint[])
           AS u (id, at, until, reason, token)
        WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
          AND o.token = u.token AND o.status = ${QUEUED} AND o.next_action_at IS NOT NULL`,
      [
        uuids(rows.map((one) => one.occurrenceId)),
        numbers(rows.map((one) => one.scheduledFor)),
        numbers(rows.map((one) => one.until)),
        texts(rows.map((one) => one.reason ?? null)),
        numbers(rows.map((one) => one.token)),
      ],
    );
  }
}

/** A part of all that waits, by the moments of its looks. */
interface Part {
  readonly now: number;
  /** Begins after this moment. */
  readonly after: number;
  /** Holds so many rows, and those of its last moment. */
  readonly limit: number;
}

/**
 * Has what is looked at after `after` published now, the soonest first. Gives how many rows that were, and from where
 * to go on, or null when it is done.
 */
export async function wantPublishing(
  session: Session,
  jobType: string | null,
  { now, after, limit }: Part,
): Promise<{ readonly changed: number; readonly after: number | null }> {
  const last = await endOfPart(session, after, limit);
  const ofType = jobType === null ? "" : "AND terms IN (SELECT seq FROM terms WHERE job_type = $4::text)";
  const rows = await session.rows(
    `WITH wanted AS (
       SELECT id, scheduled_for FROM occurrences WHERE ended_at IS NULL AND status = ${QUEUED}
         AND next_action_at > ${time("$2::float8")}
         AND ($3::float8 IS NULL OR next_action_at <= ${time("$3::float8")})
         AND (looks > ${GONE} OR next_action_at > ${time("$1::float8")})
         AND (ready_at <= ${time("$1::float8")} OR ready_at <> next_action_at) ${ofType}
       ORDER BY id FOR UPDATE
     )
     UPDATE occurrences o SET next_action_at = least(o.next_action_at, ${time("$1::float8")}), looks = ${GONE}
       FROM wanted w WHERE o.id = w.id AND o.scheduled_for = w.scheduled_for RETURNING 1`,
    [now, after, last, ...(jobType === null ? [] : [storable(jobType)])],
  );
  return { changed: rows.length, after: last };
}

/** The wall clock was set back and says `now`: leases, and what waits behind another run, move with it. */
export async function shiftHolding(session: Session, now: number, byMs: number): Promise<void> {
  const shifted = (column: string) => `CASE WHEN ${column} > ${time("$1::float8")} THEN ${back(column)} END`;
  await session.rows(
    `WITH moved AS (
       SELECT id, scheduled_for FROM occurrences WHERE ended_at IS NULL
         AND (status = ${RUNNING} AND lease_until > ${time("$1::float8")}
           AND next_action_at <= ${time("$1::float8")}
           OR status = ${QUEUED} AND ready_at IS NULL AND not_before > ${time("$1::float8")})
       ORDER BY id FOR UPDATE
     )
     UPDATE occurrences o SET lease_until = coalesce(${shifted("o.lease_until")}, o.lease_until),
         not_before = coalesce(${shifted("o.not_before")}, o.not_before) FROM moved m
      WHERE o.id = m.id AND o.scheduled_for = m.scheduled_for`,
    [now, byMs],
  );
}

/**
 * The same for what is to be looked at after `after`, the soonest first, so that nothing is met twice. Gives from where
 * to go on, or null when it is done.
 */
export async function shiftLooks(
  session: Session,
  { now, byMs, after, limit }: Part & { readonly byMs: number },
): Promise<number | null> {
  const last = await endOfPart(session, after, limit);
  const shifted = (column: string) =>
    `CASE WHEN ${column} > ${time("$1::float8")} THEN ${back(column)} ELSE ${column} END`;
  await session.rows(
    `WITH moved AS (
       SELECT id, scheduled_for FROM occurrences WHERE ended_at IS NULL
         AND next_action_at > ${time("$3::float8")}
         AND ($4::float8 IS NULL OR next_action_at <= ${time("$4::float8")})
       ORDER BY id FOR UPDATE
     )
     UPDATE occurrences o SET next_action_at = ${back("o.next_action_at")},
         ready_at = ${shifted("o.ready_at")}, lease_until = ${shifted("o.lease_until")} FROM moved m
      WHERE o.id = m.id AND o.scheduled_for = m.scheduled_for`,
    [now, byMs, after, last],
  );
  return last;
}

/** The moment of its last rows; null when nothing comes after them. */
async function endOfPart(session: Session, after: number, limit: number): Promise<number | null> {
  const [end] = await session.rows(
    `SELECT ${millis("next_action_at")} FROM occurrences
      WHERE ended_at IS NULL AND next_action_at > ${time("$1::float8")}
      ORDER BY next_action_at LIMIT 1 OFFSET $2::bigint`,
    [after, limit - 1],
  );
  return asTimeOrNull(end?.[0]);
}

/** `$2` milliseconds before. */
function back(column: string): string {
  return `${column} - make_interval(secs => $2::float8 / 1000)`;
}
