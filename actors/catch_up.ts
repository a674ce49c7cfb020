/**
 * Catching up without a rush: when the runs that make up for missed due times start, over all jobs, and what is said
 * of them before they do.
 */
import { listText } from "./domain/explanation.ts";
import type { Job } from "./domain/job.ts";
import { catchUpsBehind, type Decision } from "./domain/plan.ts";
import type { Log } from "./ports/log.ts";

/**
 * Moments for catch-up runs, so many a second over all jobs. Each gets the first free one at or after the moment it
 * asks for. A new leader tells it what was planned before.
 */
export class CatchUpPace {
  readonly #everyMs: number;
  /** For each moment that is taken, the first after it that may be free. */
  readonly #next = new Map<number, number>();

  constructor(perSecond: number) {
    this.#everyMs = 1000 / perSecond;
  }

  /** The first free moment at or after this one, epoch milliseconds; it is taken now. */
  take(earliest: number): number {
    const place = this.#free(Math.floor(earliest / this.#everyMs));
    this.#next.set(place, place + 1);
    return Math.max(earliest, Math.ceil(place * this.#everyMs));
  }

  /** What lies before this moment is not asked for again. */
  forget(before: number): void {
    const first = Math.floor(before / this.#everyMs);
    for (const place of this.#next.keys()) if (place < first) this.#next.delete(place);
  }

  #free(from: number): number {
    let free = from;
    for (let next = this.#next.get(free); next !== undefined; next = this.#next.get(free)) free = next;
    // Whoever asks next does not walk this way again.
    for (let place = from; place < free;) {
      const next = this.#next.get(place) ?? free;
      this.#next.set(place, free);
      place = next;
    }
    return free;
  }
}

/** Most jobs that are named one by one. */
const NAMED_AT_MOST = 20;

/** What is caught up on of one job: how many due times were missed, which, and how many of them run when. */
interface CatchUpPlan {
  readonly missed: number;
  /** The first and the last of the missed due times. Epoch milliseconds. */
  readonly from: number;
  readonly to: number;
  readonly runs: number;
  /** When the first and the last of the runs may start; null without runs. */
  readonly firstAt: number | null;
  readonly lastAt: number | null;
  readonly spacingMs: number;
}

/** A job of which more was missed than one pass decides. */
interface Part {
  /** Of the passes so far. */
  readonly missed: number;
  readonly from: number;
  readonly to: number;
  readonly isTold: boolean;
}

/**
 * Says what is caught up on before it is written down, once for each job and whole. What a downtime left is decided a
 * part at a time, and the runs are the newest of it: so the plan is told in the pass that holds the first of them, when
 * what lies before is counted and what lies behind can be. A job that catches up on nothing is told of in its last pass.
 */
export class CatchUpPlans {
  readonly #parts = new Map<string, Part>();

  constructor(
    private readonly log: Log,
    private readonly options: { readonly spacingMs: number; readonly misfireThresholdMs: number },
  ) {}

  /** Before the commit. What was told of stays so when the commit fails and is made again. */
  tell(jobs: readonly Job[], decisions: readonly Decision[], now: number): void {
    const found = new Map(jobs.map((job) => [job.id, job]));
    const plans: (readonly [Job, CatchUpPlan])[] = [];
    const begun: Job[] = [];
    for (const decision of decisions) {
      const job = found.get(decision.jobId);
      const part = this.#parts.get(decision.jobId) ?? null;
      if (job === undefined || part?.isTold === true) continue;
      const plan = this.#planOf(job, decision, part, now);
      if (plan === null) continue;
      const isWhole = plan.runs > 0 || !goesOn(job, decision, now);
      if (isWhole) plans.push([job, plan]);
      else if (part === null) begun.push(job);
      this.#parts.set(job.id, {
        missed: part?.missed ?? 0,
        from: plan.from,
        to: plan.to,
        isTold: isWhole,
      });
    }
    this.#logBegun(begun);
    this.#logPlans(plans);
  }

  /**
   * After the commit. Jobs whose decisions were refused have been changed meanwhile: what they then miss is told anew.
   */
  settle(decided: readonly Decision[], refused: ReadonlySet<string>, now: number): void {
    for (const jobId of refused) this.#parts.delete(jobId);
    for (const decision of decided) {
      const part = this.#parts.get(decision.jobId);
      if (part === undefined) continue;
      if (!isCutOff(decision, now)) this.#parts.delete(decision.jobId);
      else this.#parts.set(decision.jobId, { ...part, missed: part.missed + missedIn(decision).count });
    }
  }

  /** Null while nothing was missed. */
  #planOf(job: Job, decision: Decision, part: Part | null, now: number): CatchUpPlan | null {
    const here = missedIn(decision);
    if (here.count === 0 && part === null) return null;
    const { misfireThresholdMs } = this.options;
    const spacingMs = job.catchUpSpacingSeconds === null
      ? this.options.spacingMs
      : job.catchUpSpacingSeconds * 1000;
    const behind = catchUpsBehind(job, decision, now, misfireThresholdMs);
    const { starts } = here;
    return {
      missed: (part?.missed ?? 0) + here.count + behind.count,
      from: part?.from ?? here.from,
      to: behind.last ?? (here.count > 0 ? here.to : part?.to ?? here.to),
      runs: starts.length + behind.count,
      firstAt: starts.length === 0 ? null : Math.min(...starts),
      lastAt: starts.length === 0 ? null : Math.max(...starts) + behind.count * spacingMs,
      spacingMs,
    };
  }

  #logBegun(jobs: readonly Job[]): void {
    if (jobs.length === 0) return;
    this.log.info(
      "Deciding what was missed, a part at a time: what is caught up on is told when it is known",
      {
        jobs: jobs.length,
        jobIds: listText(jobs.map(({ id }) => id), NAMED_AT_MOST),
      },
    );
  }

  #logPlans(plans: readonly (readonly [Job, CatchUpPlan])[]): void {
    if (plans.length === 0) return;
    const all = plans.map(([, plan]) => plan);
    this.log.info("Catching up on missed due times", {
      jobs: plans.length,
      dueTimesMissed: all.reduce((sum, { missed }) => sum + missed, 0),
      runs: all.reduce((sum, { runs }) => sum + runs, 0),
      ...spanOf(all),
    });
    // Those of which something runs come first.
    const named = plans.toSorted(([, left], [, right]) => Number(right.runs > 0) - Number(left.runs > 0));
    for (const [job, plan] of named.slice(0, NAMED_AT_MOST)) {
      const message = plan.runs > 0
        ? "Catching up on a job"
        : "A job missed due times, and none of them runs";
      this.log.info(message, {
        jobId: job.id,
        displayName: job.displayName,
        misfirePolicy: job.misfirePolicy,
        dueTimesMissed: plan.missed,
        from: new Date(plan.from).toISOString(),
        to: new Date(plan.to).toISOString(),
        runs: plan.runs,
        ...(plan.runs > 0 ? { spacingSeconds: plan.spacingMs / 1000 } : {}),
        ...spanOf([plan]),
      });
    }
    if (named.length > NAMED_AT_MOST) {
      this.log.info("Catching up on further jobs, not named here", { jobs: named.length - NAMED_AT_MOST });
    }
  }
}

function isCutOff({ nextDueAt }: Decision, now: number): boolean {
  return nextDueAt !== null && nextDueAt <= now;
}

/** Whether there is a pass after this one: not when it holds the last run that the job's limit leaves. */
function goesOn({ runLimit, runCount }: Job, decision: Decision, now: number): boolean {
  return isCutOff(decision, now) && (runLimit === null || runCount + decision.slots.length < runLimit);
}

/** What one pass found missed of a job; `starts` are those of its runs. */
function missedIn(
  { slots, ranges }: Decision,
): {
  readonly count: number;
  readonly from: number;
  readonly to: number;
  readonly starts: readonly number[];
} {
  const runs = slots.filter(({ origin }) => origin === "catch-up");
  const left = ranges.filter(({ reason }) => reason === "missed");
  return {
    count: left.reduce((sum, { count }) => sum + count, runs.length),
    from: Math.min(...runs.map(({ dueAt }) => dueAt), ...left.map(({ from }) => from)),
    to: Math.max(...runs.map(({ dueAt }) => dueAt), ...left.map(({ to }) => to)),
    starts: runs.map(({ dueAt, notBefore }) => notBefore ?? dueAt),
  };
}

function spanOf(plans: readonly Pick<CatchUpPlan, "firstAt" | "lastAt">[]): Record<string, string | number> {
  const firsts = plans.flatMap(({ firstAt }) => firstAt ?? []);
  if (firsts.length === 0) return {};
  const first = firsts.reduce((least, one) => Math.min(least, one));
  const last = plans.flatMap(({ lastAt }) => lastAt ?? []).reduce((most, one) => Math.max(most, one));
  return {
    firstAt: new Date(first).toISOString(),
    lastAt: new Date(last).toISOString(),
    overSeconds: Math.round((last - first) / 1000),
  };
}
