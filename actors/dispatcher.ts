/**
 * Due time → verdict → occurrence → message.
 *
 * A pass takes what is due (from the due index, and every few seconds from the store itself, so that a wrong index
 * costs seconds and never a due time), plans each job's decision, commits all of them in one transaction under
 * this leader's epoch, and only then publishes and moves the index. Between passes it sleeps until the next due
 * time and is woken by changes. It holds no schedule in memory that a crash could lose.
 */
import type { Job } from "./domain/job.ts";
import type { JobMessage } from "./domain/message.ts";
import { type Decision, MAX_DUE_TIMES, planDecision } from "./domain/plan.ts";
import type { JobTypes } from "./job_types.ts";
import type { Clock, Random } from "./ports/clock.ts";
import type { DueEntry, DueIndex } from "./ports/due_index.ts";
import type { Events } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { Queue } from "./ports/queue.ts";
import type { JobStore, Ledger, Outcomes } from "./ports/store.ts";
import { publishCommitted } from "./publish.ts";
import type { ActorContext, ActorDefinition, RunOutcome } from "./runtime/actor.ts";

type PrivateMessage =
  | { readonly type: "wake" }
  | { readonly type: "passed"; readonly pass: RunOutcome<Pass> }
  | { readonly type: "published" }
  | { readonly type: "indexBuilt"; readonly built: RunOutcome<number> };

export interface DispatcherDeps {
  readonly jobs: Pick<JobStore, "get" | "dueEntries">;
  readonly ledger: Ledger;
  readonly dueIndex: DueIndex;
  readonly queue: Queue;
  readonly store: { readonly outcomes: Pick<Outcomes, "notePublished"> };
  readonly events: Events;
  readonly jobTypes: JobTypes;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
}

export interface DispatcherOptions {
  readonly epoch: number;
  readonly instanceId: string;
  /** `MilvaionConfig.JobDispatcher.MisfireThresholdSeconds`, in milliseconds. */
  readonly misfireThresholdMs: number;
  /** Most jobs decided in one transaction. */
  readonly batchSize: number;
  /** How often the store itself is asked for due jobs, milliseconds. */
  readonly pollMs: number;
  readonly onStaleEpoch: (epoch: number) => void;
}

/** What one pass found and did. */
interface Pass {
  readonly stale: boolean;
  readonly messages: readonly JobMessage[];
  /** When to look again, epoch milliseconds; null when nothing is scheduled. */
  readonly nextAt: number | null;
  readonly more: boolean;
  readonly index: IndexState;
}

/** away: it could not be asked. incomplete: it was lost or is new, and has to be built from the store. */
type IndexState = "complete" | "incomplete" | "away";

interface State {
  passing: boolean;
  wakeAsked: boolean;
  publishing: number;
  lastPollAt: number;
  failures: number;
  building: boolean;
  unsubscribe: () => void;
}

/** Publishing overlaps with the next transaction; beyond this the dispatcher waits for the queue. */
const MAX_PUBLISHING = 4;
const INDEX_PAGE = 5000;
/** How often the store is asked for due jobs while the index is out of reach. */
const POLL_WITHOUT_INDEX_MS = 500;
const FAULTY_AGAIN_MS = 60_000;
const BACK_OFF_MS = 250;
const BACK_OFF_AT_MOST_MS = 5000;

export function dispatcherActor(
  deps: DispatcherDeps,
  options: DispatcherOptions,
): ActorDefinition<State, never, PrivateMessage> {
  type Context = ActorContext<PrivateMessage>;
  const builder = `epoch ${options.epoch}`;

  return {
    kind: "dispatcher",

    start(context) {
      const unsubscribe = deps.events.subscribe(["jobChanged"], () => context.inject({ type: "wake" }));
      const state: State = {
        passing: false,
        wakeAsked: false,
        publishing: 0,
        lastPollAt: -Infinity,
        failures: 0,
        building: false,
        unsubscribe,
      };
      startBuilding(state, context);
      startPass(state, context);
      return state;
    },

    receive(state, message, context) {
      switch (message.type) {
        case "wake":
          startPass(state, context);
          return state;
        case "passed":
          state.passing = false;
          onPassed(state, message.pass, context);
          return state;
        case "published":
          state.publishing -= 1;
          if (state.wakeAsked) startPass(state, context);
          return state;
        case "indexBuilt":
          state.building = false;
          if (!message.built.ok) {
            deps.log.warn(
              "Cannot build the due index, working from the store: " + message.built.error.message,
            );
          } else {
            deps.log.debug("Due index built", { jobs: message.built.value });
          }
          startPass(state, context);
          return state;
        default:
          return message satisfies never;
      }
    },

    stopped(state) {
      state.unsubscribe();
    },
  };

  function startPass(state: State, context: Context): void {
    if (state.passing || state.publishing >= MAX_PUBLISHING) {
      state.wakeAsked = true;
      return;
    }
    state.passing = true;
    state.wakeAsked = false;
    const poll = deps.clock.mono() - state.lastPollAt >= options.pollMs;
    if (poll) state.lastPollAt = deps.clock.mono();
    context.run(() => pass(poll), (done) => ({ type: "passed", pass: done }));
  }

  function startBuilding(state: State, context: Context): void {
    if (state.building) return;
    state.building = true;
    context.run((signal) => buildIndex(signal), (built) => ({ type: "indexBuilt", built }));
  }

  function onPassed(state: State, pass: RunOutcome<Pass>, context: Context): void {
    if (!pass.ok) {
      state.failures += 1;
      state.lastPollAt = -Infinity;
      const pause = Math.min(BACK_OFF_MS * 2 ** (state.failures - 1), BACK_OFF_AT_MOST_MS);
      deps.log.error("Cannot decide due times, trying again: " + pass.error.message, { pauseMs: pause });
      context.after("wake", pause, { type: "wake" });
      return;
    }
    state.failures = 0;
    const { stale, messages, more, nextAt, index } = pass.value;
    if (index === "incomplete") startBuilding(state, context);
    if (messages.length > 0) {
      state.publishing += 1;
      context.run(() => publishCommitted(deps, messages), () => ({ type: "published" }));
    }
    if (stale) options.onStaleEpoch(options.epoch);
    else if (more || state.wakeAsked) startPass(state, context);
    else {
      const untilNext = nextAt === null ? options.pollMs : nextAt - deps.clock.now();
      // Without the index the store is asked as often as is bearable.
      const atMost = index === "away" ? Math.min(POLL_WITHOUT_INDEX_MS, options.pollMs) : options.pollMs;
      if (index === "away") state.lastPollAt = -Infinity;
      context.after("wake", Math.max(0, Math.min(untilNext, atMost)), { type: "wake" });
    }
  }

  async function pass(poll: boolean): Promise<Pass> {
    const now = deps.clock.now();
    const index = new AskedIndex(deps);
    if (poll) await index.checkBuilder(builder);
    const { jobs, more } = await dueJobs(now, poll, index);
    const nothing = { stale: false, messages: [], more: false };
    if (jobs.length === 0) {
      // Woken for what is not there: the index may have been emptied meanwhile.
      if (!poll) await index.checkBuilder(builder);
      return { ...nothing, more, nextAt: await index.nextAt(), index: index.state };
    }

    await deps.jobTypes.refresh();
    const decisions = await plan(jobs, now, index);
    if (decisions.length === 0) return { ...nothing, nextAt: await index.nextAt(), index: index.state };
    const startedAt = deps.clock.mono();
    const answer = await deps.ledger.decide(options.epoch, decisions, now);
    deps.meter.observe("store_batch_seconds", (deps.clock.mono() - startedAt) / 1000, {
      writer: "dispatcher",
    });
    if (!answer.ok) return { ...nothing, stale: true, nextAt: null, index: index.state };

    // After the commit, never before: the index only ever points at what is still to be decided.
    const conflicts = new Set(answer.conflicts);
    const decided = decisions.filter((decision) => !conflicts.has(decision.jobId));
    await index.move(decided);
    countDecided(decided);
    const unfinished = decided.some((one) => one.nextDueAt !== null && one.nextDueAt <= now);
    return {
      stale: false,
      messages: answer.messages,
      more: more || unfinished || conflicts.size > 0,
      nextAt: await index.nextAt(),
      index: index.state,
    };
  }

  async function plan(jobs: readonly Job[], now: number, index: AskedIndex): Promise<readonly Decision[]> {
    const decisions: Decision[] = [];
    for (const job of jobs) {
      const planned = planDecision(job, now, {
        misfireThresholdMs: options.misfireThresholdMs,
        maxDueTimes: MAX_DUE_TIMES,
        instanceId: options.instanceId,
        newId: () => deps.random.uuid(),
        defaults: deps.jobTypes.defaults(job.jobType),
      });
      if (planned.ok) decisions.push(planned.decision);
      else if (planned.reason === "schedule-fault") {
        // Its due times stay undecided and in sight; looked at again in a while, so that it cannot busy the leader.
        deps.log.error("Cannot compute the schedule of a job: " + planned.message, { jobId: job.id });
        await index.put([{ jobId: job.id, dueAt: now + FAULTY_AGAIN_MS }]);
      }
    }
    return decisions;
  }

  /** Due jobs by the index, and on a poll by the store; index entries that are wrong are put right. */
  async function dueJobs(
    now: number,
    poll: boolean,
    index: AskedIndex,
  ): Promise<{ jobs: readonly Job[]; more: boolean }> {
    const found = new Map<string, Job>();
    let more = false;
    const entries = await index.due(now, options.batchSize);
    if (entries.length > 0) {
      more = entries.length === options.batchSize;
      const ids = entries.map((entry) => entry.jobId);
      for (const job of await deps.ledger.dueJobs(ids, now)) found.set(job.id, job);
      await correctIndex(ids.filter((id) => !found.has(id)), index);
    }
    if (poll) {
      const polled = await deps.ledger.pollDueJobs(now, options.batchSize);
      more ||= polled.length === options.batchSize;
      for (const job of polled) found.set(job.id, job);
    }
    return { jobs: [...found.values()], more };
  }

  async function correctIndex(jobIds: readonly string[], index: AskedIndex): Promise<void> {
    for (const jobId of jobIds) {
      const job = await deps.jobs.get(jobId);
      const dueAt = job?.nextDueAt ?? null;
      if (dueAt === null) await index.remove([jobId]);
      else await index.put([{ jobId, dueAt }]);
    }
  }

  async function buildIndex(signal: AbortSignal): Promise<number> {
    let after: string | null = null;
    let count = 0;
    do {
      const page = await deps.jobs.dueEntries(INDEX_PAGE, after);
      await deps.dueIndex.put(page.items);
      count += page.items.length;
      after = page.next;
    } while (after !== null && !signal.aborted);
    if (!signal.aborted) await deps.dueIndex.markBuilt(builder);
    return count;
  }

  function countDecided(decided: readonly Decision[]): void {
    let slots = 0;
    for (const decision of decided) {
      slots += decision.slots.length;
      for (const range of decision.ranges) {
        deps.meter.count("due_times_decided_total", range.count, { verdict: range.reason });
      }
    }
    if (slots > 0) deps.meter.count("due_times_decided_total", slots, { verdict: "occurrence" });
  }
}

/** The due index during one pass. It may fail, and is then not asked again: the slow poll lies underneath. */
class AskedIndex {
  state: IndexState = "complete";

  constructor(private readonly deps: Pick<DispatcherDeps, "dueIndex" | "log">) {}

  async checkBuilder(builder: string): Promise<void> {
    if (await this.#ask((index) => index.builtBy(), builder) !== builder) this.state = "incomplete";
  }

  due(now: number, limit: number): Promise<readonly DueEntry[]> {
    return this.#ask((index) => index.due(now, limit), []);
  }

  nextAt(): Promise<number | null> {
    return this.#ask((index) => index.nextAt(), null);
  }

  put(entries: readonly DueEntry[]): Promise<void> {
    return entries.length === 0 ? Promise.resolve() : this.#ask((index) => index.put(entries), undefined);
  }

  remove(jobIds: readonly string[]): Promise<void> {
    return jobIds.length === 0 ? Promise.resolve() : this.#ask((index) => index.remove(jobIds), undefined);
  }

  async move(decided: readonly Decision[]): Promise<void> {
    const entries: DueEntry[] = [];
    const ended: string[] = [];
    for (const { jobId, nextDueAt } of decided) {
      if (nextDueAt === null) ended.push(jobId);
      else entries.push({ jobId, dueAt: nextDueAt });
    }
    await this.put(entries);
    await this.remove(ended);
  }

  async #ask<T>(ask: (index: DueIndex) => Promise<T>, otherwise: T): Promise<T> {
    if (this.state === "away") return otherwise;
    try {
      return await ask(this.deps.dueIndex);
    } catch (error) {
      this.state = "away";
      this.deps.log.warn(
        "Cannot use the due index, working from the store: " + (error as Error).message,
      );
      return otherwise;
    }
  }
}
