/**
 * Jobs that fail: their streaks of final failures, and whether they are disabled by them. A job that works has no row in
 * `failure_streaks`, and a disabled one has a row as long as it is. Both are written under the job's own lock only, and
 * read after it was taken: so each failure is counted once, in one order.
 */
import {
  afterRun,
  type AutoDisableChange,
  autoDisabledText,
  enabled,
  type EndedRun,
  type Failing,
  isDisabledNow,
  readAutoDisabled,
} from "../../actors/domain/auto_disable.ts";
import type { AutoDisabled } from "../../actors/domain/job.ts";
import type { Session } from "./database.ts";
import { numbers, texts, time } from "./literal.ts";
import type { Terms } from "./terms.ts";

/** What a transaction makes of the failures of jobs that it has locked. */
export class FailureChanges {
  readonly news: AutoDisableChange[] = [];
  readonly #jobs = new Map<number, { readonly first: Failing; now: Failing }>();

  /** A run has ended; `failing` is how its job stood when it was locked, null when it was not. */
  ended(
    one: { readonly job: number; readonly terms: Terms; readonly failing: Failing | null },
    run: EndedRun,
    now: number,
  ): void {
    if (one.failing === null) return;
    const known = this.#jobs.get(one.job) ?? { first: one.failing, now: one.failing };
    this.#jobs.set(one.job, known);
    const { change, ...after } = afterRun(known.now, run, one.terms.rules.autoDisable, now);
    known.now = after;
    if (change === null || after.disabled === null) return;
    this.news.push({ jobId: one.terms.jobId, kind: change, state: after.disabled });
  }

  async write(session: Session): Promise<void> {
    const jobs = [...this.#jobs].sort(([left], [right]) => left - right);
    const streaks = jobs.filter(([, { first, now }]) => first.streak !== now.streak);
    const states = jobs.filter(([, { first, now }]) => first.disabled !== now.disabled);
    await keepStreaks(session, streaks.map(([job, { now }]) => [job, now.streak]));
    await keepStates(session, states.map(([job, { now }]) => [job, now.disabled]));
  }
}

/** Writes states, unless they concern no due time any more. The jobs are locked. */
export async function keepStates(
  session: Session,
  states: readonly (readonly [job: number, state: AutoDisabled | null])[],
): Promise<void> {
  if (states.length === 0) return;
  await session.rows(
    `UPDATE jobs j SET auto_disabled = CASE
         WHEN u.until IS NOT NULL AND coalesce(j.next_due_at >= ${
      time("u.until")
    }, true) THEN NULL ELSE u.state END
       FROM unnest($1::bigint[], $2::text[], $3::float8[]) AS u (seq, state, until) WHERE j.seq = u.seq`,
    [
      numbers(states.map(([job]) => job)),
      texts(states.map(([, state]) => autoDisabledText(state))),
      numbers(states.map(([, state]) => state?.until ?? null)),
    ],
  );
}

/** Somebody enables a job, whose row is locked. */
export async function enableJob(session: Session, job: number, stored: unknown, now: number): Promise<void> {
  const state = readAutoDisabled(stored);
  if (!isDisabledNow(state)) return;
  await keepStreaks(session, [[job, []]]);
  await keepStates(session, [[job, enabled(state, now)]]);
}

async function keepStreaks(
  session: Session,
  streaks: readonly (readonly [job: number, streak: readonly number[]])[],
): Promise<void> {
  const kept = streaks.filter(([, streak]) => streak.length > 0);
  const ended = streaks.filter(([, streak]) => streak.length === 0);
  if (kept.length > 0) {
    await session.rows(
      `INSERT INTO failure_streaks (job, failures) SELECT * FROM unnest($1::bigint[], $2::text[])
       ON CONFLICT (job) DO UPDATE SET failures = excluded.failures`,
      [numbers(kept.map(([job]) => job)), texts(kept.map(([, streak]) => JSON.stringify(streak)))],
    );
  }
  if (ended.length > 0) {
    await session.rows("DELETE FROM failure_streaks WHERE job = ANY($1::bigint[])", [
      numbers(ended.map(([job]) => job)),
    ]);
  }
}
