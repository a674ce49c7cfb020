/**
 * One per job type: message → free lane → claim → job actor.
 *
 * Deliveries wait here only while a lane is sure to come (prefetch = lanes, and what they will take in a
 * moment). Lanes are taken before the claim is asked for and given back when user code has ended, so a granted
 * claim has a lane; or that of a run that is about to end (`claims_ahead.ts`), which it follows. All lanes that came free in one turn of the event loop are filled by one claim.
 *
 * Lanes are shared with the other types of this worker, so a delivery may wait for one that other types hold. Such
 * deliveries go back to the queue after a moment, for another worker to take; when this worker is full the flow is
 * paused. The type keeps its place in the line for a lane, and when its turn comes the lane is kept for what the queue
 * sends then.
 */
import type { JobTypeOffer } from "./domain/job_type.ts";
import { announceMessages } from "./announce.ts";
import { ClaimsAhead } from "./claims_ahead.ts";
import type { ClaimAnswer } from "./domain/message.ts";
import type { Attempts } from "./ports/attempts.ts";
import type { Events } from "./ports/events.ts";
import type { RunningJob } from "./ports/pool.ts";
import type { Delivery, Queue, Subscription } from "./ports/queue.ts";
import {
  type ActorContext,
  type ActorDefinition,
  type ActorRef,
  type RunOutcome,
  STOP,
} from "./runtime/actor.ts";
import { attemptOf, type Grant, grantsOf, type GrantUse } from "./grant.ts";
import { jobActor, type JobActorMessage, type JobDeps } from "./job.ts";
import { LaneRuns, type Run } from "./lane_runs.ts";
import type { Lanes } from "./lanes.ts";
import { MessageFlow } from "./message_flow.ts";
import { SubscribeTries } from "./subscribe_tries.ts";

type PrivateMessage =
  | { readonly type: "subscribed"; readonly subscription: RunOutcome<Subscription> }
  | { readonly type: "subscribeAgain" }
  | { readonly type: "delivered"; readonly deliveries: readonly Delivery[] }
  | { readonly type: "running"; readonly run: Run; readonly running: RunningJob }
  | { readonly type: "laneFree"; readonly run: Run; readonly durationMs: number | null }
  | { readonly type: "fill" }
  | { readonly type: "stuck" }
  | { readonly type: "noneCame" }
  | { readonly type: "followsTooLong" }
  | { readonly type: "claimAgain" }
  | {
    readonly type: "claimed";
    readonly deliveries: readonly Delivery[];
    /** For lanes that are not free yet. */
    readonly isAhead: boolean;
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
  readonly flow: MessageFlow;
  readonly tries: SubscribeTries;
  readonly runs: LaneRuns;
  readonly ahead: ClaimsAhead;
  /** Lanes of this type that hold no attempt and are not being claimed for. */
  free: number;
  /** Job actors that are not gone yet: running, or still reporting. */
  readonly alive: Set<ActorRef<JobActorMessage>>;
  claiming: number;
  fillAsked: boolean;
  /** A timer runs after which what waits is given back. */
  stuckTimer: boolean;
  /** A lane is kept for what comes from the queue now. */
  expecting: boolean;
  claimFailures: number;
  stopping: boolean;
  unsubscribed: boolean;
}

const SUBSCRIBE_LOOK_MS = 1000;
/** So long a lane is kept for a message that is on its way: the queue may hold none any more. */
const COMES_WITHIN_MS = 100;
/** Pause after a claim that failed, doubled with each further one up to 4 s. */
const CLAIM_AGAIN_MS = 250;
const CLAIM_FAILURES_COUNTED = 4;

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
      const runs = new LaneRuns();
      const state: State = {
        waiting: [],
        flow: new MessageFlow(lanesOfType),
        tries: new SubscribeTries(),
        runs,
        ahead: new ClaimsAhead(runs, deps.clock),
        free: lanesOfType,
        alive: new Set(),
        claiming: 0,
        fillAsked: false,
        stuckTimer: false,
        expecting: false,
        claimFailures: 0,
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
          if (state.tries.isTime(deps.queue.canPublish(), deps.clock.mono())) subscribe(state, context);
          else context.after("subscribe", SUBSCRIBE_LOOK_MS, { type: "subscribeAgain" });
          return state;
        case "delivered":
          if (state.stopping) {
            for (const delivery of message.deliveries) delivery.requeue();
          } else {
            state.waiting.push(...message.deliveries);
            fill(state, context);
          }
          return state;
        case "running":
          message.run.running = message.running;
          return state;
        case "laneFree":
          return onLaneFree(state, message, context);
        case "fill":
          state.fillAsked = false;
          state.flow.adjust();
          if (state.flow.paused === "full" && !state.stopping) resumeWithLane(state, context);
          fill(state, context);
          return state;
        case "stuck":
          onStuck(state, context);
          return state;
        case "noneCame":
          state.expecting = false;
          fill(state, context);
          return state;
        case "followsTooLong":
          for (const { job } of state.ahead.takeStale()) job?.tell({ type: "recall" });
          return watchFollowing(state, context);
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
      const { subscription } = state.flow;
      if (subscription === null) state.unsubscribed = true;
      else context.run(() => subscription.stop(), () => ({ type: "unsubscribed" }));
      for (const job of state.alive) job.tell({ type: "workerStops" });
      return mayStop(state);
    },

    stopped() {
      // After a crash, too: a lane that is kept for nobody is lost to all.
      deps.lanes.forget(offer.name);
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
            prefetch: state.flow.prefetch,
          },
          (deliveries) => context.inject({ type: "delivered", deliveries }),
        ),
      (subscription) => ({ type: "subscribed", subscription }),
    );
  }

  function onSubscribed(state: State, subscribed: RunOutcome<Subscription>, context: Context): State {
    if (subscribed.ok) {
      state.flow.begin(subscribed.value);
      if (state.tries.succeeded()) deps.log.info("Consuming again", { jobType: offer.name });
      if (state.stopping) context.run(() => subscribed.value.stop(), () => ({ type: "unsubscribed" }));
    } else {
      const { message } = subscribed.error;
      if (state.tries.failed(message, deps.queue.canPublish(), deps.clock.mono())) {
        deps.log.warn("Cannot consume, trying again: " + message, { jobType: offer.name });
      }
      context.after("subscribe", SUBSCRIBE_LOOK_MS, { type: "subscribeAgain" });
    }
    return state;
  }

  function onLaneFree(
    state: State,
    { run, durationMs }: Extract<PrivateMessage, { type: "laneFree" }>,
    context: Context,
  ): State {
    if (durationMs !== null) state.flow.ran(durationMs);
    if (state.runs.end(run, durationMs, deps.clock.mono())) giveBack(state, 1);
    askToFill(state, context);
    return state;
  }

  /** Once for all lanes that come free before the next turn. */
  function askToFill(state: State, context: Context): void {
    if (state.fillAsked) return;
    state.fillAsked = true;
    context.inject({ type: "fill" });
  }

  function fill(state: State, context: Context): void {
    let taken = 0;
    const wanted = state.stopping ? 0 : Math.min(state.free, state.waiting.length);
    if (wanted === 0) {
      if (!state.expecting) deps.lanes.leave(offer.name);
    } else {
      state.expecting = false;
      const lanes = deps.lanes.take(offer.name, wanted, () => askToFill(state, context));
      state.free -= lanes;
      claim(state, lanes, false, context);
      taken += lanes;
    }
    taken += claimAhead(state, context);
    if (state.waiting.length === 0) context.cancelTimer("stuck");
    else if (taken > 0 || !state.stuckTimer) {
      context.after("stuck", state.ahead.patienceMs, { type: "stuck" });
    }
    state.stuckTimer = state.waiting.length > 0;
  }

  /** For lanes that will be free in a moment. Says how many it has asked for. */
  function claimAhead(state: State, context: Context): number {
    const waiting = state.waiting.length;
    if (waiting === 0 || state.stopping || state.flow.paused !== null || deps.lanes.isWanted) return 0;
    const count = Math.min(waiting, state.ahead.wanted);
    state.ahead.asked(count);
    claim(state, count, true, context);
    if (count < waiting) {
      const { nextIn } = state.ahead;
      if (nextIn !== null) context.after("ahead", nextIn, { type: "fill" });
    }
    return count;
  }

  /** Whether what follows gets its lane in time. */
  function watchFollowing(state: State, context: Context): State {
    const { staleIn } = state.ahead;
    if (staleIn !== null) context.after("following", staleIn, { type: "followsTooLong" });
    return state;
  }

  /** Nothing here got a lane for a while: another worker may have one. */
  function onStuck(state: State, context: Context): void {
    state.stuckTimer = false;
    if (state.stopping || state.waiting.length === 0) return;
    if (state.free > 0 && deps.lanes.free === 0) {
      state.flow.pause("full");
      deps.lanes.wait(offer.name, () => askToFill(state, context));
    } else state.flow.noneAhead();
    giveWaitingBack(state);
  }

  function giveWaitingBack(state: State): void {
    for (const delivery of state.waiting.splice(0).reverse()) delivery.requeue();
  }

  function resume(state: State): void {
    if (!state.stopping) state.flow.resume();
  }

  /** When its turn has come, what was given back may come again. */
  function resumeWithLane(state: State, context: Context): void {
    if (!deps.lanes.keep(offer.name)) {
      deps.lanes.wait(offer.name, () => askToFill(state, context));
      return;
    }
    resume(state);
    state.expecting = true;
    context.after("expecting", COMES_WITHIN_MS, { type: "noneCame" });
  }

  function claim(state: State, count: number, isAhead: boolean, context: Context): void {
    if (count === 0) return;
    state.claiming += count;
    const deliveries = state.waiting.splice(0, count);
    // The lease counts from before the request, never from the answer.
    const leaseFrom = deps.clock.mono();
    const requests = deliveries.map((delivery) => ({
      message: delivery.message,
      workerId: deps.workerId,
      instanceId: deps.instanceId,
    }));
    context.run(
      () => deps.attempts.claim(requests, leaseMs),
      (answers) => ({ type: "claimed", deliveries, isAhead, leaseFrom, answers }),
    );
  }

  function onClaimed(
    state: State,
    claimed: Extract<PrivateMessage, { type: "claimed" }>,
    context: Context,
  ): State | typeof STOP {
    const { deliveries, answers, isAhead, leaseFrom } = claimed;
    state.claiming -= deliveries.length;
    if (!answers.ok) {
      if (isAhead) state.ahead.answered(deliveries.length);
      else giveBack(state, deliveries.length);
      return onClaimFailed(state, deliveries, answers.error, context);
    }
    state.claimFailures = 0;
    const grants = grantsOf(deliveries, answers.value, leaseFrom);
    deps.meter.count("attempts_claimed_total", grants.length, { jobType: offer.name });
    if (isAhead) state.ahead.answered(deliveries.length);
    for (const grant of grants) {
      if (state.stopping) handBack(state, grant, "stopping", context);
      else if (isAhead) startAhead(state, grant, context);
      else start(state, grant, null, context);
    }
    if (isAhead) watchFollowing(state, context);
    else if (state.stopping) giveBack(state, grants.length);
    if (grants.length < deliveries.length) {
      if (!isAhead) giveBack(state, deliveries.length - grants.length);
      askToFill(state, context);
    }
    return mayStop(state);
  }

  /** Unknown whether they were granted: given back, and reaped if they were. */
  function onClaimFailed(
    state: State,
    deliveries: readonly Delivery[],
    error: Error,
    context: Context,
  ): State | typeof STOP {
    deps.log.warn("Cannot claim, handing back: " + error.message, { jobType: offer.name });
    state.waiting.unshift(...deliveries);
    giveWaitingBack(state);
    const again = CLAIM_AGAIN_MS * 2 ** state.claimFailures;
    state.claimFailures = Math.min(state.claimFailures + 1, CLAIM_FAILURES_COUNTED);
    state.flow.pause("claims-fail");
    context.after("claimAgain", again, { type: "claimAgain" });
    return mayStop(state);
  }

  function giveBack(state: State, lanes: number): void {
    state.free += lanes;
    deps.lanes.give(lanes);
  }

  /** On a lane that is free by now, or on that of the run that ends next. */
  function startAhead(state: State, grant: Grant, context: Context): void {
    if (state.free > 0 && deps.lanes.free > 0) {
      state.free -= deps.lanes.take(offer.name, 1, () => {});
      return start(state, grant, null, context);
    }
    const { first } = state.runs;
    if (first === null) handBack(state, grant, "no-lane", context);
    else start(state, grant, first, context);
  }

  function start(state: State, grant: Grant, before: Run | null, context: Context): void {
    const run: Run = { leaseFrom: grant.leaseFrom, job: null, running: null, before: null, follower: null };
    if (before === null) state.runs.begin(run, deps.clock.mono());
    else state.runs.follow(run, before);
    if (deps.events.wants("occurrenceChanged")) {
      announceMessages(deps, [{ ...grant.delivery.message, attempt: grant.answer.attempt }], "Running");
    }
    run.job = spawnJob(state, grant, {
      unwanted: null,
      after: before?.running ?? null,
      onRunning: (running) => context.inject({ type: "running", run, running }),
      onLaneFree: (durationMs) => context.inject({ type: "laneFree", run, durationMs }),
    }, context);
  }

  function handBack(state: State, grant: Grant, unwanted: "no-lane" | "stopping", context: Context): void {
    spawnJob(state, grant, { unwanted, after: null, onRunning: () => {}, onLaneFree: () => {} }, context);
  }

  function spawnJob(
    state: State,
    grant: Grant,
    use: GrantUse,
    context: Context,
  ): ActorRef<JobActorMessage> {
    const { delivery, answer } = grant;
    const job = context.spawn(
      `${delivery.message.occurrenceId}/${answer.token}`,
      jobActor(deps, attemptOf(grant, options, use)),
      { restart: "never" },
    );
    state.alive.add(job);
    context.watch(job, () => ({ type: "jobGone", job }));
    return job;
  }

  function mayStop(state: State): State | typeof STOP {
    const done = state.stopping && state.unsubscribed && state.alive.size === 0 && state.claiming === 0;
    return done ? STOP : state;
  }
}
