/**
 * Jobs that fail: their streaks of final failures, and whether they are disabled by them. A job that works has no row
 * here, and a disabled one has a row as long as it is.
 */
import {
  afterRun,
  type AutoDisableChange,
  autoDisabledText,
  enabled,
  type EndedRun,
  isDisabledNow,
  isOver,
  readAutoDisabled,
  readStreak,
} from "../../actors/domain/auto_disable.ts";
import type { AutoDisabled } from "../../actors/domain/job.ts";
import type { Database, Statement } from "./database.ts";
import type { Participant } from "./group_commit.ts";
import type { Terms } from "./terms.ts";

export class FailingJobs implements Participant {
  /** Jobs with a streak: the end of a run of any other is none of this file's business. */
  readonly #known = new Set<number>();
  readonly #all: Statement;
  readonly #streak: Statement;
  readonly #keepStreak: Statement;
  readonly #forgetStreak: Statement;
  readonly #state: Statement;
  readonly #keepState: Statement;

  constructor(database: Database) {
    this.#all = database.prepare("SELECT job FROM failure_streaks");
    this.#streak = database.prepare("SELECT failures FROM failure_streaks WHERE job = ?");
    this.#keepStreak = database.prepare(
      `INSERT INTO failure_streaks (job, failures) VALUES (?, ?)
         ON CONFLICT (job) DO UPDATE SET failures = excluded.failures`,
    );
    this.#forgetStreak = database.prepare("DELETE FROM failure_streaks WHERE job = ?");
    this.#state = database.prepare("SELECT auto_disabled, next_due_at FROM jobs WHERE seq = ?");
    this.#keepState = database.prepare("UPDATE jobs SET auto_disabled = ? WHERE seq = ?");
    this.rolledBack();
  }

  /** A run has ended: counts it, inside the transaction that ends it. Gives the news about its job, or null. */
  ended({ job, jobId, rules }: Terms, run: EndedRun, now: number): AutoDisableChange | null {
    const isFailure = run.status === "Failed" || run.status === "TimedOut";
    // A job that works is the common case: nothing to count, nothing to end.
    if (!this.#known.has(job) && (!isFailure || rules.autoDisable === null)) return null;
    const [state, nextDueAt] = this.#state.row(job) ?? [];
    const before = { streak: readStreak(this.#streak.row(job)?.[0]), disabled: readAutoDisabled(state) };
    const after = afterRun(before, run, rules.autoDisable, now);
    if (after.streak !== before.streak) this.#keep(job, after.streak);
    if (after.disabled !== before.disabled) {
      this.keep(job, after.disabled, typeof nextDueAt === "number" ? nextDueAt : null);
    }
    return after.change === null || after.disabled === null
      ? null
      : { jobId, kind: after.change, state: after.disabled };
  }

  /** Somebody enables the job. */
  enable(job: number, now: number): void {
    const [text, nextDueAt] = this.#state.row(job) ?? [];
    const state = readAutoDisabled(text);
    if (!isDisabledNow(state)) return;
    this.#keep(job, []);
    this.keep(job, enabled(state, now), typeof nextDueAt === "number" ? nextDueAt : null);
  }

  /** Writes the state, unless it concerns no due time any more. */
  keep(job: number, state: AutoDisabled | null, nextDueAt: number | null): void {
    const isDropped = state !== null && isOver(state, nextDueAt);
    this.#keepState.execute(isDropped ? null : autoDisabledText(state), job);
  }

  beforeCommit(): void {}

  rolledBack(): void {
    this.#known.clear();
    for (const [job] of this.#all.rows()) this.#known.add(Number(job));
  }

  #keep(job: number, streak: readonly number[]): void {
    if (streak.length === 0) {
      this.#forgetStreak.execute(job);
      this.#known.delete(job);
    } else {
      this.#keepStreak.execute(job, JSON.stringify(streak));
      this.#known.add(job);
    }
  }
}
