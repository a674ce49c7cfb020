/**
 * One per job type: message → free lane → claim → job actor.
 *
 * Deliveries wait here only while a lane is sure to come (prefetch = lanes, and what they will take in a
 * moment). Lanes are taken before the claim is asked for and given back when user code has ended, so a granted
 * claim always has a lane. All lanes that came free in one turn of the event loop are filled by one claim.
 *
 * Lanes are shared with the other types of this worker, so a delivery may wait for one that other types hold. Such
 * deliveries go back to the queue after a moment, for another worker to take; when this worker is full the flow is
 * paused until it has a lane again.
 */
import type { JobTypeOffer } from "./domain/job_type.ts";
import { announceMessages } from "./announce.ts";
import type { ClaimAnswer } from "./domain/message.ts";
import type { Attempts } from "./ports/attempts.ts";
import type { Events } from "./ports/events.ts";
import type { Delivery, Queue, Subscription } from "./ports/queue.ts";
import {
  type ActorContext,
  type ActorDefinition,
  type ActorRef,
  type RunOutcome,
  STOP,
} from "./runtime/actor.ts";
import { KEPT_FOR_KILLING } from "./heartbeat.ts";
import { jobActor, type JobActorMessage, type JobDeps } from "./job.ts";
import type { Lanes } from "./lanes.ts";

type PrivateMessage =
  | { readonly type: "subscribed"; readonly subscription: RunOutcome<Subscription> }
  | { readonly type: "subscribeAgain" }
  | { readonly type: "delivered"; readonly deliveries: readonly Delivery[] }
  | { readonly type: "laneFree"; readonly durationMs: number }
  | { readonly type: "fill" }
  | { readonly type: "stuck" }
  | { readonly type: "claimAgain" }
  | {
    readonly type: "claimed";
    readonly deliveries: readonly Delivery[];
    readonly leaseFrom: number;
    readonly answers: RunOutcome<readonly ClaimAnswer[]>;
  }
  | { readonly type: "jobGone"; readonly job: ActorRef<JobActorMessage> }
  | { readonly type: "unsubscribed" };

export interface ConsumerDeps extends JobDeps {
  readonly queue: Queue;
  readonly attempts: Attempts;
  readonly events: Events;
  readonly lanes: Lanes;
}

export interface ConsumerOptions {
  readonly offer: JobTypeOffer;
  readonly leaseMs: number;
}

interface State {
  readonly waiting: Delivery[];
  subscription: Subscription | null;
  /** Lanes of this type that hold no attempt and are not being claimed for. */
  free: number;
  /** Job actors that are not gone yet: running, or still reporting. */
  readonly alive: Set<ActorRef<JobActorMessage>>;
  claiming: number;
  prefetch: number;
  fillAsked: boolean;
  /** A timer runs after which what waits is given back. */
  stuckTimer: boolean;
  /** Deliveries were given back, and none are taken until this worker has a lane, or claims work, again. */
  paused: "full" | "claims-fail" | null;
  claimFailures: number;
  averageMs: number;
  stopping: boolean;
  unsubscribed: boolean;
}

/**
 * A look-ahead of messages (never of claims): as many as lanes will surely take within this time, at most five a lane.
 * Without it a lane idles from the end of a run until its report is safe and the next message has come.
 */
const AHEAD_MS = 100;
const AHEAD_AT_MOST = 5;
/** What a type's runs are taken to last before one has ended. */
const UNKNOWN_RUN_MS = 1000;
const SUBSCRIBE_AGAIN_MS = 1000;
/** Pause after a claim that failed, doubled with each further one up to 4 s. */
const CLAIM_AGAIN_MS = 250;
const CLAIM_FAILURES_COUNTED = 4;
/** How long deliveries may wait while no lane comes free for them. */
const STUCK_AFTER_MS = 250;

export function consumerActor(
  deps: ConsumerDeps,
  options: ConsumerOptions,
): ActorDefinition<State, never, PrivateMessage> {
  const { offer, leaseMs } = options;
  const lanesOfType = Math.min(offer.maxParallelJobs, deps.lanes.total);
  type Context = ActorContext<PrivateMessage>;

  return {
    kind: "consumer",

    start(context) {
      const state: State = {
        waiting: [],
        subscription: null,
        free: lanesOfType,
        alive: new Set(),
        claiming: 0,
        prefetch: lanesOfType,
        fillAsked: false,
        stuckTimer: false,
        paused: null,
        claimFailures: 0,
        averageMs: UNKNOWN_RUN_MS,
        stopping: false,
        unsubscribed: false,
      };
      subscribe(state, context);
      return state;
    },

    receive(state, message, context) {
      switch (message.type) {
        case "subscribed":
          return onSubscribed(state, message.subscription, context);
        case "subscribeAgain":
          subscribe(state, context);
          return state;
        case "delivered":
          if (state.stopping) {
            for (const delivery of message.deliveries) delivery.requeue();
          } else {
            state.waiting.push(...message.deliveries);
            fill(state, context);
          }
          return state;
        case "laneFree":
          state.free += 1;
          deps.lanes.give(1);
          state.averageMs += (message.durationMs - state.averageMs) / 16;
          askToFill(state, context);
          return state;
        case "fill":
          state.fillAsked = false;
          adjustPrefetch(state);
          if (state.paused === "full") resumeWithLane(state, context);
          fill(state, context);
          return state;
        case "stuck":
          onStuck(state, context);
          return state;
        case "claimAgain":
          resume(state);
          return state;
        case "claimed":
          return onClaimed(state, message, context);
        case "jobGone":
          state.alive.delete(message.job);
          return mayStop(state);
        case "unsubscribed":
          state.unsubscribed = true;
          return mayStop(state);
        default:
          return message satisfies never;
      }
    },

    stopping(state, context) {
      state.stopping = true;
      deps.lanes.forget(offer.name);
      for (const delivery of state.waiting.splice(0)) delivery.requeue();
      const { subscription } = state;
      if (subscription === null) state.unsubscribed = true;
      else context.run(() => subscription.stop(), () => ({ type: "unsubscribed" }));
      for (const job of state.alive) context.stopChild(job);
      return mayStop(state);
    },
  };

  function subscribe(state: State, context: Context): void {
    context.run(
      () =>
        deps.queue.consume(
          {
            jobType: offer.name,
            routingPattern: offer.routingPattern,
            pool: deps.workerId,
            prefetch: state.prefetch,
          },
          (deliveries) => context.inject({ type: "delivered", deliveries }),
        ),
      (subscription) => ({ type: "subscribed", subscription }),
    );
  }

  function onSubscribed(state: State, subscribed: RunOutcome<Subscription>, context: Context): State {
    if (subscribed.ok) {
      state.subscription = subscribed.value;
      if (state.stopping) context.run(() => subscribed.value.stop(), () => ({ type: "unsubscribed" }));
      else if (state.paused !== null) subscribed.value.setPrefetch(0);
    } else {
      deps.log.warn("Cannot consume, trying again: " + subscribed.error.message, { jobType: offer.name });
      context.after("subscribe", SUBSCRIBE_AGAIN_MS, { type: "subscribeAgain" });
    }
    return state;
  }

  /** Once for all lanes that come free before the next turn. */
  function askToFill(state: State, context: Context): void {
    if (state.fillAsked) return;
    state.fillAsked = true;
    context.inject({ type: "fill" });
  }

  function fill(state: State, context: Context): void {
    const wanted = state.stopping ? 0 : Math.min(state.free, state.waiting.length);
    if (wanted === 0) deps.lanes.pass();
    const taken = wanted === 0 ? 0 : deps.lanes.take(offer.name, wanted, () => askToFill(state, context));
    if (taken > 0) claim(state, taken, context);
    if (state.waiting.length === 0) context.cancelTimer("stuck");
    else if (taken > 0 || !state.stuckTimer) context.after("stuck", STUCK_AFTER_MS, { type: "stuck" });
    state.stuckTimer = state.waiting.length > 0;
  }

  /** Nothing here got a lane for a while: another worker may have one. */
  function onStuck(state: State, context: Context): void {
    state.stuckTimer = false;
    if (state.stopping || state.waiting.length === 0) return;
    if (state.free > 0 && deps.lanes.free === 0) {
      pause(state, "full");
      waitForLane(state, context);
    } else {
      // Runs are longer than they were: no look-ahead until they are short again.
      state.averageMs = Math.max(state.averageMs, AHEAD_MS * (lanesOfType + 1));
      adjustPrefetch(state);
    }
    giveWaitingBack(state);
  }

  function giveWaitingBack(state: State): void {
    for (const delivery of state.waiting.splice(0).reverse()) delivery.requeue();
  }

  function pause(state: State, why: "full" | "claims-fail"): void {
    if (state.paused === null) state.subscription?.setPrefetch(0);
    state.paused = why;
  }

  function resume(state: State): void {
    if (state.paused === null || state.stopping) return;
    state.paused = null;
    state.subscription?.setPrefetch(state.prefetch);
  }

  function resumeWithLane(state: State, context: Context): void {
    if (deps.lanes.free > 0) resume(state);
    else waitForLane(state, context);
  }

  function waitForLane(state: State, context: Context): void {
    deps.lanes.forget(offer.name);
    deps.lanes.whenFree(offer.name, () => askToFill(state, context));
  }

  function claim(state: State, taken: number, context: Context): void {
    state.free -= taken;
    state.claiming += taken;
    const deliveries = state.waiting.splice(0, taken);
    // The lease counts from before the request, never from the answer.
    const leaseFrom = deps.clock.mono();
    const requests = deliveries.map((delivery) => ({
      message: delivery.message,
      workerId: deps.workerId,
      instanceId: deps.instanceId,
    }));
    context.run(
      () => deps.attempts.claim(requests, leaseMs),
      (answers) => ({ type: "claimed", deliveries, leaseFrom, answers }),
    );
  }

  function onClaimed(
    state: State,
    claimed: Extract<PrivateMessage, { type: "claimed" }>,
    context: Context,
  ): State | typeof STOP {
    const { deliveries, answers, leaseFrom } = claimed;
    state.claiming -= deliveries.length;
    if (!answers.ok) {
      // Unknown whether they were granted: given back, and reaped if they were.
      deps.log.warn("Cannot claim, handing back: " + answers.error.message, { jobType: offer.name });
      giveBack(state, deliveries.length);
      state.waiting.unshift(...deliveries);
      giveWaitingBack(state);
      const again = CLAIM_AGAIN_MS * 2 ** state.claimFailures;
      state.claimFailures = Math.min(state.claimFailures + 1, CLAIM_FAILURES_COUNTED);
      pause(state, "claims-fail");
      context.after("claimAgain", again, { type: "claimAgain" });
      return mayStop(state);
    }
    state.claimFailures = 0;
    const isWatched = deps.events.wants("occurrenceChanged");
    let granted = 0;
    deliveries.forEach((delivery, index) => {
      const answer = answers.value[index];
      if (answer?.ok !== true) {
        delivery.ack();
        return;
      }
      granted += 1;
      if (isWatched) announceMessages(deps, [{ ...delivery.message, attempt: answer.attempt }], "Running");
      start(state, delivery, answer, leaseFrom, context);
    });
    deps.meter.count("attempts_claimed_total", granted, { jobType: offer.name });
    if (granted < deliveries.length) {
      giveBack(state, deliveries.length - granted);
      askToFill(state, context);
    }
    return mayStop(state);
  }

  function giveBack(state: State, lanes: number): void {
    state.free += lanes;
    deps.lanes.give(lanes);
  }

  function start(
    state: State,
    delivery: Delivery,
    answer: Extract<ClaimAnswer, { ok: true }>,
    leaseFrom: number,
    context: Context,
  ): void {
    const { message } = delivery;
    const limit = message.executionTimeoutSeconds ?? offer.executionTimeoutSeconds;
    const job = context.spawn(
      `${message.occurrenceId}/${answer.token}`,
      jobActor(deps, {
        delivery,
        token: answer.token,
        attempt: answer.attempt,
        leaseFrom,
        startBefore: leaseFrom + leaseMs * (1 - KEPT_FOR_KILLING),
        timeoutMs: limit === null ? null : limit * 1000,
        onLaneFree: (durationMs) => context.inject({ type: "laneFree", durationMs }),
      }),
      { restart: "never" },
    );
    state.alive.add(job);
    context.watch(job, () => ({ type: "jobGone", job }));
    if (state.stopping) context.stopChild(job);
  }

  function adjustPrefetch(state: State): void {
    const ahead = Math.min(AHEAD_AT_MOST * lanesOfType, Math.floor(lanesOfType * AHEAD_MS / state.averageMs));
    const before = state.prefetch - lanesOfType;
    // A change costs the broker something, and averages tremble.
    if (ahead === before || (ahead > before * 0.7 && ahead < before * 1.5)) return;
    state.prefetch = lanesOfType + ahead;
    if (state.paused === null) state.subscription?.setPrefetch(state.prefetch);
  }

  function mayStop(state: State): State | typeof STOP {
    const done = state.stopping && state.unsubscribed && state.alive.size === 0 && state.claiming === 0;
    return done ? STOP : state;
  }
}
