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
import type { JobStore, Ledger } from "./ports/store.ts";
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
}

interface State {
  passing: boolean;
  wakeAsked: boolean;
  publishing: number;
  lastPollAt: number;
  failures: number;
  unsubscribe: () => void;
}

/** Publishing overlaps with the next transaction; beyond this the dispatcher waits for the queue. */
const MAX_PUBLISHING = 4;
const INDEX_PAGE = 5000;
const FAULTY_AGAIN_MS = 60_000;
const BACK_OFF_MS = 250;
const BACK_OFF_AT_MOST_MS = 5000;

export function dispatcherActor(
  deps: DispatcherDeps,
  options: DispatcherOptions,
): ActorDefinition<State, never, PrivateMessage> {
  type Context = ActorContext<PrivateMessage>;

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
        unsubscribe,
      };
      context.run((signal) => buildIndex(signal), (built) => ({ type: "indexBuilt", built }));
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
    const { stale, messages, more, nextAt } = pass.value;
    if (messages.length > 0) {
      state.publishing += 1;
      context.run(() => publishCommitted(deps, messages), () => ({ type: "published" }));
    }
    if (stale) options.onStaleEpoch(options.epoch);
    else if (more || state.wakeAsked) startPass(state, context);
    else {
      const untilNext = nextAt === null ? options.pollMs : nextAt - deps.clock.now();
      context.after("wake", Math.max(0, Math.min(untilNext, options.pollMs)), { type: "wake" });
    }
  }

  async function pass(poll: boolean): Promise<Pass> {
    const now = deps.clock.now();
    const { jobs, more } = await dueJobs(now, poll);
    if (jobs.length === 0) return { stale: false, messages: [], more, nextAt: await nextAt() };

    await deps.jobTypes.refresh();
    const decisions = await plan(jobs, now);
    if (decisions.length === 0) return { stale: false, messages: [], more: false, nextAt: await nextAt() };
    const startedAt = deps.clock.mono();
    const answer = await deps.ledger.decide(options.epoch, decisions, now);
    deps.meter.observe("store_batch_seconds", (deps.clock.mono() - startedAt) / 1000, {
      writer: "dispatcher",
    });
    if (!answer.ok) return { stale: true, messages: [], more: false, nextAt: null };

    // After the commit, never before: the index only ever points at what is still to be decided.
    const conflicts = new Set(answer.conflicts);
    const decided = decisions.filter((decision) => !conflicts.has(decision.jobId));
    await moveIndex(decided);
    countDecided(decided);
    const unfinished = decided.some((one) => one.nextDueAt !== null && one.nextDueAt <= now);
    return {
      stale: false,
      messages: answer.messages,
      more: more || unfinished || conflicts.size > 0,
      nextAt: await nextAt(),
    };
  }

  async function plan(jobs: readonly Job[], now: number): Promise<readonly Decision[]> {
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
        await askIndex(() => deps.dueIndex.put([{ jobId: job.id, dueAt: now + FAULTY_AGAIN_MS }]), undefined);
      }
    }
    return decisions;
  }

  /** Due jobs by the index, and on a poll by the store; index entries that are wrong are put right. */
  async function dueJobs(now: number, poll: boolean): Promise<{ jobs: readonly Job[]; more: boolean }> {
    const found = new Map<string, Job>();
    let more = false;
    const entries = await askIndex(() => deps.dueIndex.due(now, options.batchSize), []);
    if (entries.length > 0) {
      more = entries.length === options.batchSize;
      const ids = entries.map((entry) => entry.jobId);
      for (const job of await deps.ledger.dueJobs(ids, now)) found.set(job.id, job);
      await correctIndex(ids.filter((id) => !found.has(id)));
    }
    if (poll) {
      const polled = await deps.ledger.pollDueJobs(now, options.batchSize);
      more ||= polled.length === options.batchSize;
      for (const job of polled) found.set(job.id, job);
    }
    return { jobs: [...found.values()], more };
  }

  async function correctIndex(jobIds: readonly string[]): Promise<void> {
    for (const jobId of jobIds) {
      const job = await deps.jobs.get(jobId);
      const dueAt = job?.nextDueAt ?? null;
      await askIndex(
        () => dueAt === null ? deps.dueIndex.remove([jobId]) : deps.dueIndex.put([{ jobId, dueAt }]),
        undefined,
      );
    }
  }

  async function moveIndex(decided: readonly Decision[]): Promise<void> {
    const entries: DueEntry[] = [];
    const ended: string[] = [];
    for (const { jobId, nextDueAt } of decided) {
      if (nextDueAt === null) ended.push(jobId);
      else entries.push({ jobId, dueAt: nextDueAt });
    }
    if (entries.length > 0) await askIndex(() => deps.dueIndex.put(entries), undefined);
    if (ended.length > 0) await askIndex(() => deps.dueIndex.remove(ended), undefined);
  }

  async function nextAt(): Promise<number | null> {
    return await askIndex(() => deps.dueIndex.nextAt(), null);
  }

  /** The index may fail: the slow poll lies underneath. */
  async function askIndex<T>(ask: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      deps.log.warn("Cannot use the due index, working from the store: " + (error as Error).message);
      return otherwise;
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
