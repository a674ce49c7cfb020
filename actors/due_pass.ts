/**
 * One look at what is due: taken from the due index, and on a poll from the store itself, planned job by job, decided
 * in one transaction under the leader's epoch; then the index is moved, after the commit and never before, so that it
 * only ever points at what is still to be decided.
 */
import { announceUnsent } from "./announce.ts";
import { AskedIndex, type IndexState } from "./asked_index.ts";
import { indexBuilder } from "./built_index.ts";
import { CatchUpPace, CatchUpPlans } from "./catch_up.ts";
import type { Job } from "./domain/job.ts";
import type { JobMessage } from "./domain/message.ts";
import { type Decision, MAX_DUE_TIMES, planDecision } from "./domain/plan.ts";
import type { JobTypes } from "./job_types.ts";
import type { Clock, Random } from "./ports/clock.ts";
import type { DueIndex } from "./ports/due_index.ts";
import type { Events } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { JobStore, Ledger } from "./ports/store.ts";

export interface DuePassDeps {
  readonly jobs: Pick<JobStore, "get">;
  readonly ledger: Ledger;
  readonly dueIndex: DueIndex;
  readonly events: Events;
  readonly jobTypes: JobTypes;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
}

export interface DuePassOptions {
  readonly epoch: number;
  readonly instanceId: string;
  /** `MilvaionConfig.JobDispatcher.MisfireThresholdSeconds`, in milliseconds. */
  readonly misfireThresholdMs: number;
  readonly catchUp: CatchUpOptions;
  /** Most jobs decided in one transaction. */
  readonly batchSize: number;
}

/** How fast missed due times are made up for. */
export interface CatchUpOptions {
  /** `MilvaionConfig.JobDispatcher.CatchUpSpacingSeconds`, in milliseconds: between two runs of one job. */
  readonly spacingMs: number;
  /** `MilvaionConfig.JobDispatcher.CatchUpPerSecond`: over all jobs. */
  readonly perSecond: number;
}

/** What one pass found and did. */
export interface DuePass {
  readonly stale: boolean;
  readonly messages: readonly JobMessage[];
  /** When to look again, epoch milliseconds; null when nothing is scheduled. */
  readonly nextAt: number | null;
  readonly more: boolean;
  /** It decided nothing, put nothing right, and what was due is due still. */
  readonly fruitless: boolean;
  readonly index: IndexState;
}

/** Catch-up runs of a leader before this one that are heeded. */
const PLANNED_BEFORE_AT_MOST = 50_000;
/** A job whose schedule cannot be computed is looked at again after this, milliseconds. */
const FAULTY_AGAIN_MS = 60_000;

export class DuePasses {
  /** Known since the first pass. */
  #pace: CatchUpPace | null = null;
  /** Entries of the index that the pass before put right: the same once more is no progress. */
  #correctedBefore: ReadonlySet<string> = new Set();

  readonly #plans: CatchUpPlans;

  constructor(private readonly deps: DuePassDeps, private readonly options: DuePassOptions) {
    const { misfireThresholdMs, catchUp: { spacingMs } } = options;
    this.#plans = new CatchUpPlans(deps.log, { spacingMs, misfireThresholdMs });
  }

  /** With `poll` the store itself is asked as well. */
  async pass(poll: boolean): Promise<DuePass> {
    const { deps, options } = this;
    const builder = indexBuilder(options.epoch);
    const now = deps.clock.now();
    const index = new AskedIndex(deps);
    if (poll) await index.checkBuilder(builder);
    const { jobs, more, corrected } = await this.#dueJobs(now, poll, index);
    const isNew = [...corrected].some((jobId) => !this.#correctedBefore.has(jobId));
    this.#correctedBefore = corrected;
    const nothing = { stale: false, messages: [], more: false };
    const isFruitless = (nextAt: number | null, more = false) =>
      !isNew && (more || (nextAt !== null && nextAt <= now));
    if (jobs.length === 0) {
      // Woken for what is not there: the index may have been emptied meanwhile.
      if (!poll) await index.checkBuilder(builder);
      const nextAt = await index.nextAt();
      return { ...nothing, more, nextAt, fruitless: isFruitless(nextAt, more), index: index.state };
    }

    await deps.jobTypes.refresh();
    const decisions = await this.#plan(jobs, now, index);
    this.#plans.tell(jobs, decisions, now);
    if (decisions.length === 0) {
      const nextAt = await index.nextAt();
      return { ...nothing, nextAt, fruitless: isFruitless(nextAt), index: index.state };
    }
    const startedAt = deps.clock.mono();
    const answer = await deps.ledger.decide(options.epoch, decisions, now);
    deps.meter.observe("store_batch_seconds", (deps.clock.mono() - startedAt) / 1000, {
      writer: "dispatcher",
    });
    if (!answer.ok) return { ...nothing, stale: true, nextAt: null, fruitless: false, index: index.state };

    // After the commit, never before: the index only ever points at what is still to be decided.
    const conflicts = new Set(answer.conflicts);
    const ended = new Set(answer.ended);
    const decided = decisions.filter((decision) => !conflicts.has(decision.jobId))
      .map((decision) => ended.has(decision.jobId) ? { ...decision, nextDueAt: null } : decision);
    this.#plans.settle(decided, conflicts, now);
    await index.move(decided);
    this.#countDecided(decided);
    this.#announceLater(decided, now);
    announceUnsent(deps, answer.unsent);
    for (const jobId of ended) deps.log.info("Run limit reached: the schedule of a job has ended", { jobId });
    const unfinished = decided.some((one) => one.nextDueAt !== null && one.nextDueAt <= now);
    return {
      stale: false,
      messages: answer.messages,
      more: more || unfinished || conflicts.size > 0,
      nextAt: await index.nextAt(),
      fruitless: !isNew && decided.length === 0,
      index: index.state,
    };
  }

  async #plan(jobs: readonly Job[], now: number, index: AskedIndex): Promise<readonly Decision[]> {
    const decisions: Decision[] = [];
    const starts = this.#pace ??= await this.#paceSoFar(now);
    starts.forget(now);
    for (const job of jobs) {
      const planned = planDecision(job, now, {
        misfireThresholdMs: this.options.misfireThresholdMs,
        maxDueTimes: MAX_DUE_TIMES,
        instanceId: this.options.instanceId,
        newId: () => this.deps.random.uuid(),
        defaults: this.deps.jobTypes.defaults(job.jobType),
        catchUpSpacingMs: this.options.catchUp.spacingMs,
        pace: (earliest) => starts.take(earliest),
      });
      if (planned.ok) decisions.push(planned.decision);
      else if (planned.reason === "schedule-fault") {
        // Its due times stay undecided and in sight; looked at again in a while, so that it cannot busy the leader.
        this.deps.log.error("Cannot compute the schedule of a job: " + planned.message, { jobId: job.id });
        await index.put([{ jobId: job.id, dueAt: now + FAULTY_AGAIN_MS }]);
      }
    }
    return decisions;
  }

  /** What the leader before planned keeps its places. */
  async #paceSoFar(now: number): Promise<CatchUpPace> {
    const pace = new CatchUpPace(this.options.catchUp.perSecond);
    for (const at of await this.deps.ledger.plannedCatchUps(now, PLANNED_BEFORE_AT_MOST)) pace.take(at);
    return pace;
  }

  /** Recovery publishes catch-up runs when their moment has come. */
  #announceLater(decided: readonly Decision[], now: number): void {
    let readyAt = Infinity;
    for (const { slots } of decided) {
      for (const { notBefore = now } of slots) if (notBefore > now) readyAt = Math.min(readyAt, notBefore);
    }
    if (readyAt < Infinity) this.deps.events.publish([{ type: "retryScheduled", readyAt }]);
  }

  /** Due jobs by the index, and on a poll by the store; index entries that are wrong are put right. */
  async #dueJobs(
    now: number,
    poll: boolean,
    index: AskedIndex,
  ): Promise<{ jobs: readonly Job[]; more: boolean; corrected: ReadonlySet<string> }> {
    const found = new Map<string, Job>();
    let more = false;
    let corrected: ReadonlySet<string> = new Set();
    const entries = await index.due(now, this.options.batchSize);
    if (entries.length > 0) {
      more = entries.length === this.options.batchSize;
      const ids = entries.map((entry) => entry.jobId);
      for (const job of await this.deps.ledger.dueJobs(ids, now)) found.set(job.id, job);
      corrected = await this.#correctIndex(ids.filter((id) => !found.has(id)), now, index);
    }
    if (poll) {
      const polled = await this.deps.ledger.pollDueJobs(now, this.options.batchSize);
      more ||= polled.length === this.options.batchSize;
      for (const job of polled) found.set(job.id, job);
    }
    return { jobs: [...found.values()], more, corrected };
  }

  /** Gives those that are not due any more. */
  async #correctIndex(
    jobIds: readonly string[],
    now: number,
    index: AskedIndex,
  ): Promise<ReadonlySet<string>> {
    const corrected = new Set<string>();
    for (const jobId of jobIds) {
      const job = await this.deps.jobs.get(jobId);
      const dueAt = job?.nextDueAt ?? null;
      if (dueAt === null) await index.remove([jobId]);
      else await index.put([{ jobId, dueAt }]);
      if (dueAt === null || dueAt > now) corrected.add(jobId);
    }
    return corrected;
  }

  #countDecided(decided: readonly Decision[]): void {
    let slots = 0;
    for (const decision of decided) {
      slots += decision.slots.length;
      for (const range of decision.ranges) {
        this.deps.meter.count("due_times_decided_total", range.count, { verdict: range.reason });
      }
    }
    if (slots > 0) this.deps.meter.count("due_times_decided_total", slots, { verdict: "occurrence" });
  }
}
