/**
 * Bulk actions, done by the leader: replays and cancellations of many, item by item at a rate.
 *
 * A pass takes each action that has something left and does one step of it: a transaction under this leader's epoch
 * that notes which items have ended, stops or completes the action, and begins the next items. Everything that the
 * next step depends on is in the store, so a leader that dies between two steps leaves an action that the next one
 * goes on with; what it had begun is not begun again, and what it had not published recovery publishes. Only the
 * rate is kept in memory: after a change of leader it begins with one item.
 *
 * Between passes it sleeps a quarter of a second while there is something to do, else until it is told of a new or
 * changed action, with a slow poll underneath.
 */
import type { BulkAction } from "./domain/bulk_action.ts";
import type { JobTypes } from "./job_types.ts";
import type { BulkActions, BulkStep } from "./ports/bulk_actions.ts";
import type { Clock, Random } from "./ports/clock.ts";
import type { Events } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { Queue } from "./ports/queue.ts";
import type { Outcomes } from "./ports/store.ts";
import { announceBulk, announceRecord } from "./announce.ts";
import { publishCommitted } from "./publish.ts";
import type { ActorContext, ActorDefinition, RunOutcome } from "./runtime/actor.ts";

type PrivateMessage =
  | { readonly type: "lookNow" }
  | { readonly type: "passed"; readonly pass: RunOutcome<Pass> };

interface Pass {
  readonly isStale: boolean;
  /** True while an action has something left to do or to wait for. */
  readonly isBusy: boolean;
}

export interface BulkDeps {
  readonly store: {
    readonly bulk: Pick<BulkActions, "unsettled" | "step">;
    readonly outcomes: Pick<Outcomes, "notePublished">;
  };
  readonly queue: Queue;
  readonly jobTypes: Pick<JobTypes, "refresh" | "defaults">;
  readonly events: Events;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
}

export interface BulkActorOptions {
  readonly epoch: number;
  readonly onStaleEpoch: (epoch: number) => void;
}

/** How many items of an action may be begun: grows with time, up to what a second gives. */
interface Allowance {
  ratePerSecond: number;
  items: number;
  /** Monotonic moment up to which time is counted. */
  at: number;
}

interface State {
  isPassing: boolean;
  isAsked: boolean;
  readonly allowances: Map<string, Allowance>;
  readonly unsubscribe: () => void;
}

const BUSY_MS = 250;
const POLL_MS = 5000;
/** Actions looked at in one pass. */
const ACTIONS_AT_MOST = 50;
/** Items begun in one transaction, so that none is long. */
const ITEMS_AT_MOST = 50;
/** Transactions of one action in one pass: together what the highest rate gives. */
const STEPS_AT_MOST = 5;

export function bulkActor(
  deps: BulkDeps,
  options: BulkActorOptions,
): ActorDefinition<State, never, PrivateMessage> {
  type Context = ActorContext<PrivateMessage>;

  return {
    kind: "bulk",

    start(context) {
      const state: State = {
        isPassing: false,
        isAsked: false,
        allowances: new Map(),
        unsubscribe: deps.events.subscribe(
          ["bulkActionChanged"],
          () => context.inject({ type: "lookNow" }),
        ),
      };
      look(state, context);
      return state;
    },

    receive(state, message, context) {
      switch (message.type) {
        case "lookNow":
          look(state, context);
          return state;
        case "passed":
          state.isPassing = false;
          onPassed(state, message.pass, context);
          return state;
        default:
          return message satisfies never;
      }
    },

    stopped(state) {
      state.unsubscribe();
    },
  };

  function look(state: State, context: Context): void {
    state.isAsked = state.isPassing;
    if (state.isPassing) return;
    state.isPassing = true;
    context.run((signal) => pass(state.allowances, signal), (pass) => ({ type: "passed", pass }));
  }

  function onPassed(state: State, pass: RunOutcome<Pass>, context: Context): void {
    if (!pass.ok) deps.log.warn("Cannot go on with bulk actions, trying again: " + pass.error.message);
    else if (pass.value.isStale) {
      options.onStaleEpoch(options.epoch);
      return;
    }
    const isBusy = state.isAsked || (pass.ok && pass.value.isBusy);
    context.after("look", isBusy ? BUSY_MS : POLL_MS, { type: "lookNow" });
  }

  async function pass(allowances: Map<string, Allowance>, signal: AbortSignal): Promise<Pass> {
    const ids = await deps.store.bulk.unsettled(ACTIONS_AT_MOST);
    for (const id of allowances.keys()) if (!ids.includes(id)) allowances.delete(id);
    if (ids.length === 0) return { isStale: false, isBusy: false };
    await deps.jobTypes.refresh();
    for (const id of ids) {
      if (signal.aborted) break;
      for (let steps = 0; steps < STEPS_AT_MOST && !signal.aborted; steps += 1) {
        const stepped = await step(id, allowances);
        if (stepped === "stale") return { isStale: true, isBusy: false };
        if (stepped === "enough") break;
      }
    }
    return { isStale: false, isBusy: true };
  }

  /** stale: another instance leads. more: further items may be begun at once. */
  async function step(
    actionId: string,
    allowances: Map<string, Allowance>,
  ): Promise<"stale" | "enough" | "more"> {
    const allowance = grown(allowances, actionId);
    const most = Math.min(Math.floor(allowance.items), ITEMS_AT_MOST);
    const answer = await deps.store.bulk.step(options.epoch, {
      actionId,
      now: deps.clock.now(),
      most,
      occurrenceIds: Array.from({ length: most }, () => deps.random.uuid()),
      defaultsOf: (jobType) => deps.jobTypes.defaults(jobType),
    });
    if (!answer.ok) return "stale";
    if (answer.step === null) return "enough";
    allowance.ratePerSecond = answer.step.action.ratePerSecond;
    allowance.items -= answer.step.begun;
    await follow(answer.step);
    return answer.step.begun === ITEMS_AT_MOST ? "more" : "enough";
  }

  function grown(allowances: Map<string, Allowance>, actionId: string): Allowance {
    const now = deps.clock.mono();
    const known = allowances.get(actionId);
    if (known === undefined) {
      const first = { ratePerSecond: 1, items: 1, at: now };
      allowances.set(actionId, first);
      return first;
    }
    const more = (now - known.at) / 1000 * known.ratePerSecond;
    known.items = Math.min(known.items + more, Math.max(1, known.ratePerSecond));
    known.at = now;
    return known;
  }

  /** What follows once a step is committed. */
  async function follow({ action, begun, isChanged, messages, record, requested }: BulkStep): Promise<void> {
    if (record !== null) announceRecord(deps, record);
    if (requested.length > 0) {
      const at = deps.clock.now();
      const reason = action.reason ?? "no reason given";
      deps.events.publish(
        requested.map((one) => ({ type: "cancelRequested", ...one, reason, at })),
      );
    }
    if (isChanged) announceBulk(deps, action);
    if (begun > 0) deps.meter.count("bulk_items_begun_total", begun, { kind: action.kind });
    if (action.endedAt !== null && isChanged) logEnd(action);
    await publishCommitted(deps, [...messages, ...record?.released ?? []]);
  }

  function logEnd({ id, kind, state, total, counts, stateReason }: BulkAction): void {
    const { succeeded, failed, skipped, waiting, on } = counts;
    const said = { actionId: id, kind, total, succeeded, failed, skipped, remaining: waiting, on };
    if (state === "stopped") deps.log.warn(`Bulk action stopped: ${stateReason}`, said);
    else deps.log.info(`Bulk action ${state}`, said);
  }
}
