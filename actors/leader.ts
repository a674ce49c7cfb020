/**
 * Leadership: any API instance may lead, one does.
 *
 *   following ──lease taken, epoch raised──► leading ──lease or epoch lost──► stepping down ──children gone──► following
 *
 * The lease says who tries; the epoch in the store decides. Every write of the dispatcher and of recovery carries
 * the epoch, and the store refuses an older one, so a leader that was frozen and wakes can do no harm. A leader
 * trusts itself until the start of its last successful renewal + TTL − margin, by the monotonic clock; with the
 * lease's server out of reach it goes on while it can renew the epoch row, and a candidate that cannot reach it
 * either leads only once that row's lease has lapsed. A lease that vanished (its server was emptied) is taken again
 * by whoever is first, the holder included. A leader that stops in order says so, and candidates try at once.
 *
 * What a leader decides is of use only when it can be published. A candidate that can publish says so by a lease of
 * its own (`successor`); a leader that has been unable to for a while, while a successor is there, gives the lead away
 * as if it stopped. When nobody can publish, the leader stays.
 * The dispatcher and recovery are its children and run only while it leads.
 */
import type { Clock } from "./ports/clock.ts";
import type { Events } from "./ports/events.ts";
import type { Leases } from "./ports/leases.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { Queue } from "./ports/queue.ts";
import type { EpochRow, Ledger } from "./ports/store.ts";
import {
  type ActorContext,
  type ActorDefinition,
  type ActorRef,
  type RunOutcome,
  STOP,
} from "./runtime/actor.ts";

export type LeaderMessage =
  /** A write of this epoch was refused: another instance leads. */
  { readonly type: "staleEpoch"; readonly epoch: number };

type PrivateMessage =
  | { readonly type: "tryNow" }
  | { readonly type: "tried"; readonly askedAt: number; readonly elected: RunOutcome<EpochRow | null> }
  | { readonly type: "renewNow" }
  | { readonly type: "renewed"; readonly askedAt: number; readonly kept: RunOutcome<"kept" | "lost"> }
  | { readonly type: "trustEnded" }
  | { readonly type: "lookWhetherOfUse" }
  | { readonly type: "successorKnown"; readonly successor: RunOutcome<string | null> }
  | { readonly type: "childGone"; readonly child: ActorRef<never> }
  | { readonly type: "released" };

/** What leading means: the actors that run under an epoch, in the order in which they start. */
export type LedActors = (epoch: number, leader: ActorRef<LeaderMessage>) => readonly {
  readonly name: string;
  // deno-lint-ignore no-explicit-any -- children of different message types in one list
  readonly definition: ActorDefinition<any, never, any>;
}[];

export interface LeaderDeps {
  readonly leases: Leases;
  readonly ledger: Ledger;
  readonly events: Events;
  readonly queue: Pick<Queue, "canPublish">;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
}

export interface LeaderOptions {
  readonly instanceId: string;
  /** `MilvaionConfig.JobDispatcher.LockTtlSeconds`, in milliseconds. */
  readonly ttlMs: number;
  readonly led: LedActors;
  /** Told at each change: the epoch while leading, else null. */
  readonly onLeading: (epoch: number | null) => void;
}

interface State {
  phase: "following" | "leading" | "stepping-down";
  epoch: number;
  /** Monotonic moment until which this leader trusts itself. */
  trustUntil: number;
  readonly children: Set<ActorRef<never>>;
  trying: boolean;
  stopping: boolean;
  /** It gives the lead to a successor: says so when its children have gone. */
  yielding: boolean;
  /** Monotonic moment since which nothing can be published; null while it can. */
  uselessSince: number | null;
  unsubscribe: () => void;
}

export const LEASE_NAME = "leader";
const TRY_EVERY_MS = 1000;
const MARGIN_MS = 1000;

const SUCCESSOR_NAME = "successor";
/** Said anew with each try to lead. */
const SUCCESSOR_MS = 3 * TRY_EVERY_MS;
/** Longer than a successor is believed: a broker that went away took the successor's connection with it. */
const USELESS_MS = 5000;

export function leaderActor(
  deps: LeaderDeps,
  options: LeaderOptions,
): ActorDefinition<State, LeaderMessage, PrivateMessage> {
  const { instanceId, ttlMs } = options;
  const margin = Math.min(MARGIN_MS, ttlMs / 5);
  type Context = ActorContext<LeaderMessage | PrivateMessage>;

  return {
    kind: "leader",
    supervision: {
      strategy: "one-for-one",
      maxRestarts: 10,
      withinMs: 60_000,
      backoff: { firstMs: 100, maxMs: 5000 },
    },

    start(context) {
      const state: State = {
        phase: "following",
        epoch: 0,
        trustUntil: 0,
        children: new Set(),
        trying: false,
        stopping: false,
        yielding: false,
        uselessSince: null,
        unsubscribe: () => {},
      };
      state.unsubscribe = deps.events.subscribe(["leaderChanged"], (events) => {
        if (events.some((event) => event.type === "leaderChanged" && event.holder === null)) {
          context.inject({ type: "tryNow" });
        }
      });
      tryToLead(state, context);
      return state;
    },

    receive(state, message, context) {
      switch (message.type) {
        case "tryNow":
          if (state.phase === "following" && !state.stopping && !state.yielding) tryToLead(state, context);
          return state;
        case "tried":
          return onTried(state, message.askedAt, message.elected, context);
        case "renewNow":
          if (state.phase === "leading") renew(state, context);
          return state;
        case "renewed":
          return onRenewed(state, message.askedAt, message.kept, context);
        case "trustEnded":
          if (state.phase === "leading") stepDown(state, "its lead could not be renewed in time", context);
          return state;
        case "staleEpoch":
          deps.meter.count("leader_refused_writes_total");
          if (state.phase === "leading" && message.epoch === state.epoch) {
            stepDown(state, "a newer epoch exists", context);
          }
          return state;
        case "childGone":
          state.children.delete(message.child);
          if (state.phase !== "stepping-down" || state.children.size > 0) return state;
          state.phase = "following";
          return state.stopping || state.yielding ? release(state, context) : state;
        case "released":
          if (state.stopping) return STOP;
          state.yielding = false;
          context.after("try", TRY_EVERY_MS, { type: "tryNow" });
          return state;
        case "lookWhetherOfUse":
          if (state.phase === "leading") lookWhetherOfUse(state, context);
          return state;
        case "successorKnown":
          return onSuccessorKnown(state, message.successor, context);
        default:
          return message satisfies never;
      }
    },

    stopping(state, context) {
      state.stopping = true;
      if (state.phase === "following" && !state.trying) return STOP;
      if (state.phase === "leading") stepDown(state, "this instance stops", context);
      return state;
    },

    stopped(state) {
      state.unsubscribe();
    },
  };

  function tryToLead(state: State, context: Context): void {
    if (state.trying) return;
    state.trying = true;
    const askedAt = deps.clock.mono();
    context.run(elect, (elected) => ({ type: "tried", askedAt, elected }));
  }

  async function elect(): Promise<EpochRow | null> {
    const { ledger, leases, clock } = deps;
    let isHolder: boolean;
    try {
      if (deps.queue.canPublish()) await leases.acquire(SUCCESSOR_NAME, instanceId, SUCCESSOR_MS);
      isHolder = await leases.acquire(LEASE_NAME, instanceId, ttlMs);
    } catch (error) {
      const now = clock.now();
      const elected = await ledger.raiseLapsedEpoch(instanceId, now, now + ttlMs);
      if (elected !== null) {
        deps.log.warn(
          "Leading without the lease, its server is out of reach and the epoch had lapsed: " +
            (error as Error).message,
        );
      }
      return elected;
    }
    if (!isHolder) return null;
    const now = clock.now();
    return await ledger.raiseEpoch(instanceId, now, now + ttlMs);
  }

  function onTried(
    state: State,
    askedAt: number,
    elected: RunOutcome<EpochRow | null>,
    context: Context,
  ): State | typeof STOP {
    state.trying = false;
    if (!elected.ok) deps.log.warn("Cannot try to lead: " + elected.error.message);
    if (!elected.ok || elected.value === null) {
      if (state.stopping) return STOP;
      context.after("try", TRY_EVERY_MS, { type: "tryNow" });
      return state;
    }
    state.epoch = elected.value.epoch;
    if (state.stopping) return release(state, context);
    if (askedAt + ttlMs - margin <= deps.clock.mono()) {
      // The answer came so late that the lease may be another's by now.
      context.after("try", TRY_EVERY_MS, { type: "tryNow" });
      return state;
    }
    state.phase = "leading";
    trust(state, askedAt, context);
    context.every("renew", ttlMs / 3, { type: "renewNow" });
    state.uselessSince = null;
    context.every("ofUse", TRY_EVERY_MS, { type: "lookWhetherOfUse" });
    for (const { name, definition } of options.led(state.epoch, context.self)) {
      const child = context.spawn(`${name}-${state.epoch}`, definition);
      state.children.add(child);
      context.watch(child, () => ({ type: "childGone", child }));
    }
    options.onLeading(state.epoch);
    deps.events.publish([{
      type: "leaderChanged",
      holder: instanceId,
      epoch: state.epoch,
      at: deps.clock.now(),
    }]);
    deps.log.info("Leading", { epoch: state.epoch, instanceId });
    return state;
  }

  /** Counts from before the request, never from its answer. */
  function trust(state: State, askedAt: number, context: Context): void {
    state.trustUntil = askedAt + ttlMs - margin;
    const left = Math.max(0, state.trustUntil - deps.clock.mono());
    context.after("trust", left, { type: "trustEnded" });
  }

  function renew(state: State, context: Context): void {
    const { epoch } = state;
    const askedAt = deps.clock.mono();
    context.run(async (): Promise<"kept" | "lost"> => {
      const now = deps.clock.now();
      if (!await deps.ledger.renewEpoch(epoch, now, now + ttlMs)) return "lost";
      try {
        if (await deps.leases.renew(LEASE_NAME, instanceId, ttlMs)) return "kept";
        // Its server may have lost it: then it is ours again, unless somebody was faster.
        return await deps.leases.acquire(LEASE_NAME, instanceId, ttlMs) ? "kept" : "lost";
      } catch (error) {
        // The epoch row is ours still; the lease's server is only out of reach.
        deps.log.warn(
          "Cannot renew the leader's lease, going on from the store: " + (error as Error).message,
        );
        return "kept";
      }
    }, (kept) => ({ type: "renewed", askedAt, kept }));
  }

  function onRenewed(
    state: State,
    askedAt: number,
    kept: RunOutcome<"kept" | "lost">,
    context: Context,
  ): State {
    if (state.phase !== "leading") return state;
    if (kept.ok && kept.value === "kept") trust(state, askedAt, context);
    else if (kept.ok) stepDown(state, "the lease or the epoch is another's", context);
    else {
      deps.log.warn("Cannot renew the leader's lease, trying again: " + kept.error.message);
      context.after("renewAgain", Math.min(TRY_EVERY_MS, ttlMs / 10), { type: "renewNow" });
    }
    return state;
  }

  function lookWhetherOfUse(state: State, context: Context): void {
    if (deps.queue.canPublish()) {
      state.uselessSince = null;
      return;
    }
    const now = deps.clock.mono();
    state.uselessSince ??= now;
    if (now - state.uselessSince < USELESS_MS) return;
    context.run(
      () => deps.leases.holder(SUCCESSOR_NAME),
      (successor) => ({ type: "successorKnown", successor }),
    );
  }

  function onSuccessorKnown(
    state: State,
    successor: RunOutcome<string | null>,
    context: Context,
  ): State {
    const isUseless = state.phase === "leading" && state.uselessSince !== null;
    // Not known: then the lead could not be handed over in good order either.
    if (!isUseless || !successor.ok || successor.value === null || successor.value === instanceId) {
      return state;
    }
    state.yielding = true;
    stepDown(state, `it cannot publish, and ${successor.value} can`, context);
    return state;
  }

  function stepDown(state: State, why: string, context: Context): void {
    state.phase = "stepping-down";
    context.cancelTimer("renew");
    context.cancelTimer("trust");
    context.cancelTimer("ofUse");
    options.onLeading(null);
    deps.log.info("Stepping down", { epoch: state.epoch, why });
    for (const child of state.children) context.stopChild(child);
    if (!state.stopping) context.after("try", TRY_EVERY_MS, { type: "tryNow" });
  }

  /** Gives the lead away at once instead of after the TTL. */
  function release(state: State, context: Context): State {
    context.run(async () => {
      try {
        await deps.ledger.endEpoch(state.epoch, deps.clock.now());
      } finally {
        await deps.leases.release(LEASE_NAME, instanceId);
      }
      deps.events.publish([{
        type: "leaderChanged",
        holder: null,
        epoch: state.epoch,
        at: deps.clock.now(),
      }]);
    }, () => ({ type: "released" }));
    return state;
  }
}
