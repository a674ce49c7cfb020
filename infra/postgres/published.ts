/**
 * Which messages the queue has taken. An occurrence is created with a look 10 s ahead, in case nobody publishes it.
 * Most are claimed long before; those that wait in a backlog are marked here, seconds later and many at once, so that
 * recovery leaves them to the queue. What is lost with this process costs one message more. What recovery knows to be
 * gone from the queue (`looks` -1) is not marked: the note is older than the loss.
 */
import type { JobMessage } from "../../actors/domain/message.ts";
import { statusNumber } from "../../actors/domain/occurrence.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Database, Session } from "./database.ts";
import { byDay, onDay } from "./day.ts";
import { asTime, millis, numbers, time, uuids } from "./literal.ts";

const QUEUED = statusNumber("Queued");
/** Looks that come within this are put off. */
const AHEAD_MS = 8000;
/** Until then recovery leaves it to the queue; afterwards it looks at the queue's depth and goes on doubling. */
const LOOK_AGAIN_MS = 30_000;
/** Longer than a look lies ahead: later it has been marked, or claimed. */
const REMEMBERED_MS = 15_000;
const MARKED_AT_ONCE = 20_000;
const REMEMBERED_AT_MOST = 500_000;

interface Noted {
  readonly token: number;
  /** Monotonic milliseconds. */
  readonly at: number;
}

export class Published {
  /** In the order they came. */
  readonly #noted = new Map<string, Noted>();

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  note(messages: readonly Pick<JobMessage, "occurrenceId" | "token">[]): void {
    const at = this.clock.mono();
    for (const { occurrenceId, token } of messages) {
      this.#noted.delete(occurrenceId);
      this.#noted.set(occurrenceId, { token, at });
    }
    this.#forget(at);
  }

  /** Marks those that still wait. Never throws. */
  async flush(): Promise<void> {
    this.#forget(this.clock.mono());
    if (this.#noted.size === 0) return;
    try {
      await this.database.call("mark what was published", (session) => this.#mark(session));
    } catch (error) {
      this.log.debug((error as Error).message);
    }
  }

  async #mark(session: Session): Promise<void> {
    const now = this.clock.now();
    const waiting = await session.rows(
      `SELECT id, ${millis("scheduled_for")}, token FROM occurrences
        WHERE ended_at IS NULL AND status = ${QUEUED} AND looks = 0 AND next_action_at <= ${
        time("$1::float8")
      }
        ORDER BY next_action_at LIMIT ${MARKED_AT_ONCE}`,
      [now + AHEAD_MS],
    );
    const taken = waiting.map(([id, at, token]) => ({ id: String(id), at: asTime(at), token: Number(token) }))
      .filter((one) => this.#noted.get(one.id)?.token === one.token)
      .sort((left, right) => left.id < right.id ? -1 : 1);
    for (const [day, some] of byDay(taken, (one) => one.at)) {
      await session.rows(
        `UPDATE occurrences o SET looks = 1, next_action_at = ${time("$4::float8")}
           FROM unnest($1::uuid[], $2::float8[], $3::integer[]) AS u (id, at, token),
             (SELECT set_config('synchronous_commit', 'off', true) AS lax) AS c
          WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
            AND o.status = ${QUEUED} AND o.token = u.token AND o.looks = 0 AND c.lax IS NOT NULL`,
        [
          uuids(some.map((one) => one.id)),
          numbers(some.map((one) => one.at)),
          numbers(some.map((one) => one.token)),
          now + LOOK_AGAIN_MS,
        ],
      );
      for (const { id } of some) this.#noted.delete(id);
    }
  }

  #forget(now: number): void {
    for (const [id, { at }] of this.#noted) {
      if (now - at < REMEMBERED_MS && this.#noted.size <= REMEMBERED_AT_MOST) return;
      this.#noted.delete(id);
    }
  }
}
