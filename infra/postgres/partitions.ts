/**
 * A partition for each day that rows are due on, made ahead of time and, for other days, before the first row.
 *
 * A day gets its partition before its first row, never after: PostgreSQL refuses one whose rows lie in the DEFAULT
 * partition already. When it cannot be made (a lock held too long, rows in DEFAULT, a day far away), rows go to
 * DEFAULT, and everything works as before, a little slower.
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Database } from "./database.ts";
import { dayOf, dayText } from "./day.ts";
import { wordsOf } from "./fault.ts";
import { createDay } from "./schema.ts";

/** Days made ahead, today not counted. */
const AHEAD = 3;
/** Days further away than this have no partition of their own: a row may name any year. */
const NEAR = 366;
/** Key of the advisory lock, "milp" in ASCII. */
const LOCK = 0x6d696c70;
/** Days remembered. */
const KNOWN_AT_MOST = 5000;

export class Partitions {
  /** Days that have a partition, or never will. */
  readonly #known = new Set<number>();
  readonly #making = new Map<number, Promise<void>>();

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** Sees to it that the days of these moments are ready for rows. Never throws. */
  ready(moments: readonly number[]): Promise<void> | void {
    let missing: Set<number> | null = null;
    let last = Number.NaN;
    for (const moment of moments) {
      const day = dayOf(moment);
      if (day === last) continue;
      last = day;
      if (!this.#known.has(day)) (missing ??= new Set()).add(day);
    }
    if (missing !== null) return this.#makeAll([...missing]);
  }

  /** Makes today and the days after it. Never throws. */
  async readyAhead(): Promise<void> {
    const today = dayOf(this.clock.now());
    await this.#makeAll(Array.from({ length: AHEAD + 1 }, (_, index) => today + index));
  }

  async #makeAll(days: readonly number[]): Promise<void> {
    for (const day of days.toSorted((a, b) => a - b)) {
      if (this.#known.has(day)) continue;
      const making = this.#making.get(day) ?? this.#make(day);
      this.#making.set(day, making);
      await making;
      this.#making.delete(day);
    }
  }

  async #make(day: number): Promise<void> {
    if (this.#known.size > KNOWN_AT_MOST) this.#known.clear();
    if (Math.abs(day - dayOf(this.clock.now())) > NEAR) {
      this.#known.add(day);
      return;
    }
    try {
      await this.database.transaction("make a partition", async (session) => {
        await session.rows("SELECT pg_advisory_xact_lock($1::bigint)", [LOCK]);
        const name = `occurrences_${dayText(day).replaceAll("-", "")}`;
        const [row] = await session.rows("SELECT to_regclass($1::text) IS NOT NULL", [name]);
        if (row?.[0] !== true) await session.rows(createDay(day));
      });
    } catch (error) {
      this.log.warn(`No partition for ${dayText(day)}, its rows go to the default one: ${wordsOf(error)}`);
    }
    this.#known.add(day);
  }
}
