/**
 * History that has reached its age.
 *
 * A day past the longest age is dropped as a whole: its partitions are detached, what has to stay (the newest
 * occurrences of jobs that come rarely) goes to the DEFAULT partition, and the rest is gone without a row being
 * deleted. A day past the shortest age, and what lies in DEFAULT, is walked job by job, newest first, and what may go
 * is deleted in small transactions.
 *
 * Each step is short. A day is detached only when its lock is had at once; else the next sweep tries again.
 */
import {
  agedBefore,
  agesOf,
  isAged,
  type RetentionRule,
  type RetentionRules,
  ruleOf,
} from "../../actors/domain/retention.ts";
import { statusOf } from "../../actors/domain/occurrence.ts";
import type { RetentionSettings } from "../../actors/domain/job.ts";
import type { Retention, Swept } from "../../actors/ports/retention.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Database, Row, Session } from "./database.ts";
import { dayOf, dayText, onDay } from "./day.ts";
import { dropDay, dropLines, listDays } from "./day_removal.ts";
import { type Epochs, readFence } from "./epochs.ts";
import { wordsOf } from "./fault.ts";
import { asTime, millis, numbers, time, uuids } from "./literal.ts";
import { deleteOccurrences, type LeavingOccurrence } from "./removal.ts";

/** Rows looked at in one step, and jobs asked about in one. */
const ROWS_A_STEP = 1000;
/** More than these are not carried over to DEFAULT: then the rest of the day is deleted. */
const CARRIED_AT_MOST = 10_000;
const EPOCHS_KEPT = 1000;

/** SQL of jobs with ages of their own. JSON writes a quote inside a text with a backslash, so this is the field. */
const HAS_OWN = `definition LIKE '%"retention":{%'`;

/** Where a walk over rows goes on: below this key, in falling order. */
interface Key {
  readonly job: number;
  readonly scheduledFor: number;
  readonly twin: number;
}

/** A day, or null for the DEFAULT partition. */
interface Walk {
  readonly day: number | null;
  readonly before: Key;
  /** How many rows of the job at `before` were seen in this walk. */
  readonly seen: number;
}

interface Sweep {
  readonly ages: { readonly shortestDays: number; readonly longestDays: number };
  /** Days still to be looked at, oldest first; null is DEFAULT. */
  readonly days: (number | null)[];
  walk: Walk | null;
}

const TOP: Key = { job: Number.MAX_SAFE_INTEGER, scheduledFor: 0, twin: 0 };
const NOTHING: Swept = { occurrences: 0, records: 0, days: [], isDone: false };

export class PostgresRetention implements Retention {
  #sweep: Sweep | null = null;

  constructor(
    private readonly database: Database,
    private readonly epochs: Epochs,
    private readonly log: Log,
  ) {}

  async sweep(epoch: number, rules: RetentionRules, now: number): Promise<Swept | null> {
    const sweep = this.#sweep ??= await this.#begin(rules, now);
    const swept = await this.#step(sweep, { epoch, rules, now });
    if (swept === null || swept.isDone) this.#sweep = null;
    return swept;
  }

  async #begin(rules: RetentionRules, now: number): Promise<Sweep> {
    return await this.database.call("look for old history", async (session) => {
      const own = await session.rows(
        `SELECT DISTINCT (definition::jsonb -> 'retention')::text FROM jobs WHERE ${HAS_OWN}`,
      );
      const all = [rules, ...own.map((row) => ruleOf(JSON.parse(String(row[0])), rules))];
      const ages = agesOf(all);
      const last = dayOf(agedBefore(now, ages.shortestDays)) - 1;
      const days = (await listDays(session, "occurrences")).filter((day) => day <= last);
      return { ages, days: [...days, null], walk: null };
    });
  }

  async #step(sweep: Sweep, at: StepContext): Promise<Swept | null> {
    if (sweep.walk !== null) return await this.#walk(sweep, sweep.walk, at);
    const day = sweep.days.shift();
    if (day === undefined) return await this.#sweepRest(sweep, at);
    sweep.walk = { day, before: TOP, seen: 0 };
    if (day === null || day >= dayOf(agedBefore(at.now, sweep.ages.longestDays))) return NOTHING;
    const dropped = await this.#drop(day, at);
    if (dropped === null) return null;
    if (dropped === "kept") return NOTHING;
    sweep.walk = null;
    return { ...NOTHING, occurrences: dropped, days: [dayText(day)] };
  }

  /** Occurrences that went with the day; kept: it has to be walked. */
  async #drop(day: number, { epoch, rules }: StepContext): Promise<number | "kept" | null> {
    const staying = await this.#staying(day, rules);
    if (staying === null) return "kept";
    try {
      return await this.database.transaction(
        "drop an old day",
        (session) => dropDay(session, { day, staying, mayWrite: () => this.#holds(session, epoch) }),
        { deadlineMs: 120_000 },
      );
    } catch (error) {
      this.log.info(`${dayText(day)} is not dropped now: ${wordsOf(error)}`);
      return "kept";
    }
  }

  /** `seq` of what has to stay of a day; null when that is too much to carry, or something there is not final. */
  async #staying(day: number, rules: RetentionRules): Promise<readonly number[] | null> {
    return await this.database.call("look at an old day", async (session) => {
      const [active] = await session.rows(
        `SELECT 1 FROM occurrences WHERE ended_at IS NULL AND ${onDay(day, "scheduled_for")} LIMIT 1`,
      );
      if (active !== undefined) return null;
      const staying: number[] = [];
      let after = 0;
      while (true) {
        const jobs = await jobsOf(session, day, after);
        if (jobs.length === 0) return staying;
        after = jobs.at(-1) ?? after;
        const kept = await keptOf(session, jobs, day, rules);
        for (const { job, left } of kept) {
          const rows = await session.rows(
            `SELECT seq FROM occurrences WHERE job = $1::bigint AND ${onDay(day, "scheduled_for")}
              ORDER BY scheduled_for DESC, twin DESC LIMIT $2::bigint`,
            [job, left],
          );
          for (const [seq] of rows) staying.push(Number(seq));
          if (staying.length > CARRIED_AT_MOST) return null;
        }
      }
    });
  }

  /** One chunk of a day, or of DEFAULT. */
  async #walk(sweep: Sweep, walk: Walk, { epoch, rules, now }: StepContext): Promise<Swept | null> {
    const before = agedBefore(now, sweep.ages.shortestDays);
    const rows = await this.database.call("look for old history", (session) =>
      session.rows(
        `SELECT seq, id, job, status, ${millis("scheduled_for")}, twin FROM ${
          walk.day === null ? "occurrences_other" : "occurrences"
        } WHERE (job, scheduled_for, twin) < ($1::bigint, ${time("$2::float8")}, $3::bigint)
            AND scheduled_for < ${time("$4::float8")}
            ${walk.day === null ? "" : `AND ${onDay(walk.day, "scheduled_for")}`}
          ORDER BY job DESC, scheduled_for DESC, twin DESC LIMIT ${ROWS_A_STEP}`,
        [walk.before.job, walk.before.scheduledFor, walk.before.twin, before],
      ));
    const judged = await this.#judge(rows, walk, rules);
    const leaving = judged.flatMap(({ one, rule, isKept }) => {
      const aged = { status: statusOf(one.status), scheduledFor: one.scheduledFor };
      return !isKept && isAged(aged, rule, now) ? [one] : [];
    });
    if (leaving.length > 0) {
      const isDone = await this.database.transaction("remove old history", async (session) => {
        if (!await this.#holds(session, epoch)) return false;
        await deleteOccurrences(session, leaving);
        return true;
      });
      if (!isDone) return null;
    }
    const last = rows.at(-1);
    sweep.walk = rows.length < ROWS_A_STEP || last === undefined ? null : {
      day: walk.day,
      before: { job: Number(last[2]), scheduledFor: asTime(last[4]), twin: Number(last[5]) },
      seen: seenOf(rows, walk),
    };
    return { ...NOTHING, occurrences: leaving.length };
  }

  /** Of each row its job's rule, and whether it is among the newest that are kept. */
  async #judge(rows: readonly Row[], walk: Walk, rules: RetentionRules) {
    const jobs = [...new Set(rows.map((row) => Number(row[2])))];
    const { own, newer } = await this.database.call("read the ages of jobs", async (session) => {
      const own = await ownRules(session, jobs);
      const most = mostKept(jobs, own, rules);
      // Newer than the day; what is newer within the day is counted on the way. In DEFAULT days are mixed.
      const places = rows.map((row) => ({
        job: Number(row[2]),
        since: walk.day === null ? asTime(row[4]) + 1 : endOf(walk.day),
      }));
      return { own, newer: await newerOf(session, places, most) };
    });
    let seen = walk.seen;
    let job = walk.before.job;
    return rows.map((row, index) => {
      if (Number(row[2]) !== job) seen = 0;
      job = Number(row[2]);
      const rule = ruleOf(own.get(job) ?? null, rules);
      const place = (newer[index] ?? 0) + (walk.day === null ? 0 : seen);
      seen += 1;
      return { one: toLeaving(row), rule, isKept: place < rule.keepLast };
    });
  }

  async #sweepRest(sweep: Sweep, { epoch, rules, now }: StepContext): Promise<Swept | null> {
    const removed = await this.database.transaction("remove old records", async (session) => {
      if (!await this.#holds(session, epoch)) return null;
      await dropLines(session, dayOf(agedBefore(now, rules.lineDays)), ROWS_A_STEP);
      return await removeRecords(session, {
        longest: agedBefore(now, sweep.ages.longestDays),
        failed: agedBefore(now, rules.failedDays),
        unresolved: agedBefore(now, rules.unresolvedDays),
      });
    });
    if (removed === null) return null;
    const records = removed.reduce((sum, count) => sum + count, 0);
    return { ...NOTHING, records, isDone: removed.every((count) => count < ROWS_A_STEP) };
  }

  async #holds(session: Session, epoch: number): Promise<boolean> {
    const { isCurrent } = await readFence(session, epoch);
    if (!isCurrent) await this.epochs.countRefusedWrite(epoch);
    return isCurrent;
  }
}

/** A step's worth of each kind of record that is not a run; gives how many of each went. */
async function removeRecords(
  session: Session,
  before: { readonly longest: number; readonly failed: number; readonly unresolved: number },
): Promise<readonly number[]> {
  const count = async (text: string, parameters: readonly number[] = []) =>
    (await session.rows(`${text} RETURNING 1`, parameters)).length;
  const ranges = await count(
    `DELETE FROM verdict_ranges WHERE ctid = ANY (ARRAY(
       SELECT r.ctid FROM verdict_ranges r JOIN jobs j ON j.seq = r.job
        WHERE r.to_at < ${time("$1::float8")} AND j.open_range IS DISTINCT FROM r.from_at
        LIMIT ${ROWS_A_STEP}))`,
    [before.longest],
  );
  const failures = await session.rows(
    `DELETE FROM failed_occurrences WHERE seq = ANY (ARRAY(
       SELECT seq FROM failed_occurrences
        WHERE failed_at < ${time("$1::float8")}
          AND (resolved_at < ${time("$1::float8")} OR failed_at < ${time("$2::float8")})
        ORDER BY failed_at LIMIT ${ROWS_A_STEP})) RETURNING id`,
    [before.failed, before.unresolved],
  );
  if (failures.length > 0) {
    await session.rows("DELETE FROM replays WHERE failed_id = ANY($1::uuid[])", [
      uuids(failures.map((row) => String(row[0]))),
    ]);
  }
  const aged = `SELECT seq FROM bulk_actions WHERE is_settled AND changed_at < ${time("$1::float8")}`;
  const items = await count(
    `DELETE FROM bulk_items WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM bulk_items WHERE action IN (${aged}) LIMIT ${ROWS_A_STEP}))`,
    [before.failed],
  );
  if (items < ROWS_A_STEP) await count(`DELETE FROM bulk_actions WHERE seq IN (${aged})`, [before.failed]);
  const epochs = await count(
    `DELETE FROM epochs WHERE epoch <= (SELECT max(epoch) FROM epochs) - ${EPOCHS_KEPT}`,
  );
  return [ranges, failures.length, items, epochs];
}

interface StepContext {
  readonly epoch: number;
  readonly rules: RetentionRules;
  readonly now: number;
}

/** The next jobs with rows on a day: one look a job, however many rows it has. */
async function jobsOf(session: Session, day: number, after: number): Promise<readonly number[]> {
  const next = (beyond: string) =>
    `SELECT job FROM occurrences WHERE job > ${beyond} AND ${
      onDay(day, "scheduled_for")
    } ORDER BY job LIMIT 1`;
  const rows = await session.rows(
    `WITH RECURSIVE j AS (
       SELECT (${next("$1::bigint")}) AS job, 1 AS place
       UNION ALL SELECT (${
      next("j.job")
    }), place + 1 FROM j WHERE j.job IS NOT NULL AND place < ${ROWS_A_STEP}
     ) SELECT job FROM j WHERE job IS NOT NULL`,
    [after],
  );
  return rows.map((row) => Number(row[0]));
}

/** Of these jobs those that keep some of the day, and how many. */
async function keptOf(
  session: Session,
  jobs: readonly number[],
  day: number,
  rules: RetentionRules,
): Promise<readonly { readonly job: number; readonly left: number }[]> {
  const own = await ownRules(session, jobs);
  const places = jobs.map((job) => ({ job, since: endOf(day) }));
  const newer = await newerOf(session, places, mostKept(jobs, own, rules));
  return jobs.map((job, index) => ({
    job,
    left: ruleOf(own.get(job) ?? null, rules).keepLast - (newer[index] ?? 0),
  })).filter(({ left }) => left > 0);
}

async function ownRules(
  session: Session,
  jobs: readonly number[],
): Promise<ReadonlyMap<number, RetentionSettings>> {
  if (jobs.length === 0) return new Map();
  const rows = await session.rows(
    `SELECT seq, (definition::jsonb -> 'retention')::text FROM jobs WHERE seq = ANY($1::bigint[]) AND ${HAS_OWN}`,
    [numbers(jobs)],
  );
  return new Map(rows.map((row) => [Number(row[0]), JSON.parse(String(row[1])) as RetentionSettings]));
}

function mostKept(
  jobs: readonly number[],
  own: ReadonlyMap<number, RetentionSettings>,
  rules: RetentionRule,
): number {
  return Math.max(0, ...jobs.map((job) => ruleOf(own.get(job) ?? null, rules).keepLast));
}

/** How many occurrences of a job were due since a moment, counted up to `most`; in the order of the places. */
async function newerOf(
  session: Session,
  places: readonly { readonly job: number; readonly since: number }[],
  most: number,
): Promise<readonly number[]> {
  if (most === 0 || places.length === 0) return places.map(() => 0);
  const known = new Map<string, number>();
  const keyOf = ({ job, since }: (typeof places)[number]) => `${job} ${since}`;
  const distinct = [...new Map(places.map((place) => [keyOf(place), place])).values()];
  const rows = await session.rows(
    `SELECT (SELECT count(*) FROM (
         SELECT 1 FROM occurrences o WHERE o.job = w.job AND o.scheduled_for >= ${time("w.since")}
          LIMIT $3::bigint) AS n)
       FROM unnest($1::bigint[], $2::float8[]) WITH ORDINALITY AS w (job, since, place) ORDER BY place`,
    [numbers(distinct.map(({ job }) => job)), numbers(distinct.map(({ since }) => since)), most],
  );
  for (const [index, place] of distinct.entries()) known.set(keyOf(place), Number(rows[index]?.[0] ?? 0));
  return places.map((place) => known.get(keyOf(place)) ?? 0);
}

/** How many rows of the last row's job a walk has seen after these. */
function seenOf(rows: readonly Row[], walk: Walk): number {
  const job = Number(rows.at(-1)?.[2]);
  const here = rows.filter((row) => Number(row[2]) === job).length;
  return here === rows.length && job === walk.before.job ? walk.seen + here : here;
}

/** The end of a day, epoch milliseconds. */
function endOf(day: number): number {
  return (day + 1) * 86_400_000;
}

function toLeaving(row: Row): LeavingOccurrence {
  return { seq: Number(row[0]), id: String(row[1]), status: Number(row[3]), scheduledFor: asTime(row[4]) };
}
