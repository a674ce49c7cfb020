/**
 * History that has reached its age. Walks the jobs in the order of their numbers; of each, what is older than its
 * newest rows that are always kept. Lines have an age of their own: a mark says how far they are removed.
 */
import { agedBefore, type RetentionRules, ruleOf } from "../../actors/domain/retention.ts";
import { isFinal, OCCURRENCE_STATUSES, statusNumber } from "../../actors/domain/occurrence.ts";
import { type Definition, readDefinition } from "../../actors/domain/job.ts";
import type { Retention, Swept } from "../../actors/ports/retention.ts";
import type { Database, Statement } from "./database.ts";
import type { Epochs } from "./epochs.ts";
import type { GroupCommit } from "./group_commit.ts";
import type { Removal, RemovedOccurrence } from "./removal.ts";

/** Jobs looked at in one step, and rows removed in one: some milliseconds of the event loop. */
const JOBS_A_STEP = 200;
const ROWS_A_STEP = 500;
/** Past epochs that stay to be looked at. */
const EPOCHS_KEPT = 1000;

const GOOD = [statusNumber("Completed"), statusNumber("Skipped")];
const BAD = OCCURRENCE_STATUSES.filter((status) => isFinal(status)).map(statusNumber)
  .filter((number) => !GOOD.includes(number));
const AGED = `(status IN (${GOOD}) AND scheduled_for < ? OR status IN (${BAD}) AND scheduled_for < ?)`;

export interface RetentionParts {
  readonly group: GroupCommit;
  readonly epochs: Epochs;
  readonly removal: Removal;
  readonly removeLines: (occurrenceIds: readonly string[]) => Promise<void>;
}

type Place = { readonly stage: "lines" } | { readonly stage: "jobs"; readonly after: number } | {
  readonly stage: "rest";
};

const START: Place = { stage: "lines" };
const NOTHING: Swept = { occurrences: 0, records: 0, days: [], isDone: false };

export class EmbeddedRetention implements Retention {
  #place: Place = START;
  readonly #jobs: Statement;
  readonly #lastKept: Statement;
  readonly #aged: Statement;
  readonly #agedBeyond: Statement;
  readonly #mark: Statement;
  readonly #setMark: Statement;
  readonly #withLines: Statement;
  readonly #ranges: Statement;
  readonly #failed: Statement;
  readonly #replays: Statement;
  readonly #bulkItems: Statement;
  readonly #bulkActions: Statement;
  readonly #pastEpochs: Statement;

  constructor(database: Database, private readonly parts: RetentionParts) {
    this.#jobs = database.prepare(
      "SELECT seq, definition FROM jobs WHERE seq > ? AND is_leaving = 0 ORDER BY seq LIMIT ?",
    );
    const rows = "SELECT seq, id, status FROM occurrences WHERE job = ?";
    this.#lastKept = database.prepare(
      "SELECT scheduled_for, twin FROM occurrences WHERE job = ? ORDER BY scheduled_for DESC, twin DESC LIMIT 1 OFFSET ?",
    );
    this.#aged = database.prepare(`${rows} AND ${AGED} ORDER BY scheduled_for, twin LIMIT ?`);
    this.#agedBeyond = database.prepare(
      `${rows} AND ${AGED} AND (scheduled_for, twin) < (?, ?) ORDER BY scheduled_for, twin LIMIT ?`,
    );
    this.#mark = database.prepare("SELECT value FROM facts WHERE name = 'linesRemovedBefore'");
    this.#setMark = database.prepare(
      `INSERT INTO facts (name, value) VALUES ('linesRemovedBefore', ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
    );
    this.#withLines = database.prepare(
      `SELECT id, scheduled_for FROM occurrences WHERE scheduled_for >= ? AND scheduled_for < ?
        ORDER BY scheduled_for LIMIT ?`,
    );
    this.#ranges = database.prepare(
      `DELETE FROM verdict_ranges WHERE (job, from_at) IN (
         SELECT r.job, r.from_at FROM verdict_ranges r JOIN jobs j ON j.seq = r.job
          WHERE r.to_at < ? AND j.open_range IS NOT r.from_at LIMIT ?)`,
    );
    const agedFailures =
      "FROM failed_occurrences WHERE failed_at < ?1 AND (resolved_at < ?1 OR failed_at < ?2) " +
      "ORDER BY failed_at LIMIT ?3";
    this.#failed = database.prepare(
      `DELETE FROM failed_occurrences WHERE seq IN (SELECT seq ${agedFailures})`,
    );
    this.#replays = database.prepare(`DELETE FROM replays WHERE failed_id IN (SELECT id ${agedFailures})`);
    const agedActions = "SELECT seq FROM bulk_actions WHERE is_settled = 1 AND changed_at < ?1";
    this.#bulkItems = database.prepare(
      `DELETE FROM bulk_items WHERE (action, target) IN (
         SELECT action, target FROM bulk_items WHERE action IN (${agedActions}) LIMIT ?2)`,
    );
    this.#bulkActions = database.prepare(`DELETE FROM bulk_actions WHERE seq IN (${agedActions})`);
    this.#pastEpochs = database.prepare(
      "DELETE FROM epochs WHERE epoch <= (SELECT max(epoch) FROM epochs) - ?",
    );
  }

  async sweep(epoch: number, rules: RetentionRules, now: number): Promise<Swept | null> {
    const isCurrent = await this.parts.group.write(() => this.#isCurrent(epoch));
    if (!isCurrent) {
      this.#place = START;
      return null;
    }
    switch (this.#place.stage) {
      case "lines":
        return await this.#sweepLines(agedBefore(now, rules.lineDays));
      case "jobs":
        return await this.#sweepJobs(this.#place.after, rules, now);
      case "rest":
        return await this.#sweepRest(rules, now);
    }
  }

  async #sweepLines(before: number): Promise<Swept> {
    const { group, removeLines } = this.parts;
    const rows = await group.read(() =>
      this.#withLines.rows(Number(this.#mark.row()?.[0] ?? 0), before, ROWS_A_STEP)
    );
    const isLast = rows.length < ROWS_A_STEP;
    await removeLines(rows.map((row) => String(row[0])));
    // One moment may have more rows than a step: then the next step takes that moment whole.
    const last = Number(rows.at(-1)?.[1]);
    const isStuck = !isLast && last === Number(rows[0]?.[1]);
    const until = isLast ? before : isStuck ? last + 1 : last;
    if (isStuck) {
      const all = await group.read(() => this.#withLines.rows(last, last + 1, -1));
      await removeLines(all.map((row) => String(row[0])));
    }
    if (rows.length > 0) await group.write(() => this.#setMark.execute(String(until)));
    if (isLast) this.#place = { stage: "jobs", after: 0 };
    return NOTHING;
  }

  async #sweepJobs(after: number, rules: RetentionRules, now: number): Promise<Swept> {
    const { group, removal, removeLines } = this.parts;
    const found = await group.read(() => this.#agedOf(after, rules, now));
    if (found.aged.length > 0) {
      await removeLines(found.aged.map((one) => one.id));
      await group.write(() => removal.delete(found.aged));
    }
    this.#place = found.isLast ? { stage: "rest" } : { stage: "jobs", after: found.after };
    return { ...NOTHING, occurrences: found.aged.length };
  }

  async #sweepRest(rules: RetentionRules, now: number): Promise<Swept> {
    const failed = agedBefore(now, rules.failedDays);
    const unresolved = agedBefore(now, rules.unresolvedDays);
    const longest = agedBefore(now, Math.max(rules.completedDays, rules.failedDays));
    const removed = await this.parts.group.write(() => {
      this.#replays.execute(failed, unresolved, ROWS_A_STEP);
      const items = this.#bulkItems.change(failed, ROWS_A_STEP);
      if (items < ROWS_A_STEP) this.#bulkActions.execute(failed);
      return [
        this.#ranges.change(longest, ROWS_A_STEP),
        this.#failed.change(failed, unresolved, ROWS_A_STEP),
        items,
        this.#pastEpochs.change(EPOCHS_KEPT),
      ];
    });
    const isDone = removed.every((count) => count < ROWS_A_STEP);
    if (isDone) this.#place = START;
    return { ...NOTHING, records: removed.reduce((sum, count) => sum + count, 0), isDone };
  }

  /** What may go of the next jobs; a job with more than a step's rows is looked at again. */
  #agedOf(after: number, rules: RetentionRules, now: number) {
    const jobs = this.#jobs.rows(after, JOBS_A_STEP);
    const aged: RemovedOccurrence[] = [];
    let done = after;
    for (const [seq, text] of jobs) {
      const room = ROWS_A_STEP - aged.length;
      const rows = this.#agedOfJob(Number(seq), readDefinition(String(text)), { rules, now, room });
      aged.push(...rows);
      if (rows.length === room) return { aged, after: done, isLast: false };
      done = Number(seq);
    }
    return { aged, after: done, isLast: jobs.length < JOBS_A_STEP };
  }

  #agedOfJob(
    job: number,
    definition: Definition,
    { rules, now, room }: { readonly rules: RetentionRules; readonly now: number; readonly room: number },
  ): readonly RemovedOccurrence[] {
    const rule = ruleOf(definition.retention, rules);
    const cuts = [agedBefore(now, rule.completedDays), agedBefore(now, rule.failedDays)] as const;
    const last = rule.keepLast === 0 ? null : this.#lastKept.row(job, rule.keepLast - 1);
    if (last === undefined) return [];
    const rows = last === null
      ? this.#aged.rows(job, ...cuts, room)
      : this.#agedBeyond.rows(job, ...cuts, Number(last[0]), Number(last[1]), room);
    return rows.map(([seq, id, status]) => ({ seq: Number(seq), id: String(id), status: Number(status) }));
  }

  #isCurrent(epoch: number): boolean {
    if (this.parts.epochs.isCurrent(epoch)) return true;
    this.parts.epochs.countRefusedWrite(epoch);
    return false;
  }
}
