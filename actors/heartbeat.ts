/**
 * Presence of this worker, and the leases of its running attempts and of those whose reports are held back: until a
 * report has gone, nobody else knows that its attempt has ended, and it must not be taken for lost.
 *
 * Every third of a lease all running attempts are renewed in one call, and presence says which are running: two
 * paths, either of which keeps an attempt from being taken for lost. One that has had neither for a lease's length,
 * less a margin, is killed before the lease ends, so that nobody else can be running it already.
 * A renewal also brings cancel requests; the live event of a cancellation is only the faster way.
 */
import type { RenewAnswer } from "./domain/message.ts";
import type { Attempts } from "./ports/attempts.ts";
import type { Clock } from "./ports/clock.ts";
import type { Events, LiveEvent } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Pool } from "./ports/pool.ts";
import type { Presence, RunningAttempt, WorkerLoad } from "./ports/presence.ts";
import type { ProcessLoad } from "./ports/process_load.ts";
import type { ReportQueue } from "./ports/queue.ts";
import {
  type ActorContext,
  type ActorDefinition,
  type ActorRef,
  type RunOutcome,
  STOP,
} from "./runtime/actor.ts";
import type { JobActorMessage } from "./job.ts";

export type HeartbeatMessage =
  | {
    readonly type: "attemptStarted";
    readonly attempt: RunningAttempt & { readonly jobType: string };
    /** Of its job data. */
    readonly payloadBytes: number;
    readonly leaseFrom: number;
    readonly job: ActorRef<JobActorMessage>;
  }
  | { readonly type: "attemptEnded"; readonly attempt: RunningAttempt & { readonly jobType: string } }
  /** It takes no more work; what runs may go on for a while. */
  | { readonly type: "workerStops" };

type PrivateMessage =
  | { readonly type: "renewNow" }
  | {
    readonly type: "renewed";
    readonly asked: readonly Held[];
    readonly askedAt: number;
    readonly answers: RunOutcome<readonly RenewAnswer[]>;
  }
  | { readonly type: "watchNow" }
  | { readonly type: "announceNow" }
  | {
    readonly type: "announced";
    readonly running: readonly Held[];
    readonly askedAt: number;
    readonly said: RunOutcome<void>;
  }
  | {
    readonly type: "cancelsRequested";
    readonly requests: readonly Extract<LiveEvent, { type: "cancelRequested" }>[];
  }
  | { readonly type: "left" };

export interface HeartbeatDeps {
  readonly attempts: Attempts;
  readonly presence: Presence;
  readonly events: Events;
  readonly pool: Pick<Pool, "jobTypes">;
  readonly reports: Pick<ReportQueue, "heldBack">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface HeartbeatOptions {
  readonly workerId: string;
  readonly instanceId: string;
  readonly hostName: string;
  readonly version: string;
  readonly maxParallelJobs: number;
  readonly leaseMs: number;
  /** How often presence is announced. */
  readonly intervalMs: number;
  /** What the process takes; without it nothing is told. */
  readonly load?: (() => ProcessLoad) | undefined;
}

interface Held extends RunningAttempt {
  readonly jobType: string;
  readonly job: ActorRef<JobActorMessage>;
  /** Monotonic moment up to which the lease surely holds. */
  leaseUntil: number;
  /** It was told to end because no path kept it. */
  isLost: boolean;
}

interface State {
  readonly startedAt: number;
  readonly held: Map<string, Held>;
  readonly busy: Map<string, number>;
  readonly unsubscribe: () => void;
  announcing: boolean;
  stopping: boolean;
  /** Of the last minute or two. */
  payload: Payload | null;
}

interface Payload {
  readonly jobType: string;
  readonly bytes: number;
  /** Monotonic. */
  readonly at: number;
}

/** The last third of a lease is kept for ending user code, kill ladder included (reliability I10). */
export const KEPT_FOR_KILLING = 1 / 3;
const RENEW_AGAIN_MS = 1000;
const WATCH_EVERY_AT_MOST_MS = 1000;
const ANNOUNCE_CHANGE_AFTER_MS = 1000;
const PAYLOAD_REMEMBERED_MS = 60_000;

export function heartbeatActor(
  deps: HeartbeatDeps,
  options: HeartbeatOptions,
): ActorDefinition<State, HeartbeatMessage, PrivateMessage> {
  return {
    kind: "heartbeat",
    // Two messages an attempt; refusing one would leave a lease without care.
    mailbox: { capacity: 1_000_000 },

    start(context) {
      const unsubscribe = deps.events.subscribe(["cancelRequested"], (events) => {
        const requests = events.filter((event) => event.type === "cancelRequested");
        if (requests.length > 0) context.inject({ type: "cancelsRequested", requests });
      });
      context.every("renew", options.leaseMs / 3, { type: "renewNow" });
      context.every("announce", options.intervalMs, { type: "announceNow" });
      context.every("watch", Math.min(options.leaseMs / 6, WATCH_EVERY_AT_MOST_MS), { type: "watchNow" });
      const state: State = {
        startedAt: deps.clock.now(),
        held: new Map(),
        busy: new Map(),
        unsubscribe,
        announcing: false,
        stopping: false,
        payload: null,
      };
      startAnnouncing(state, context);
      // What an instance before this one left behind has little of its leases left.
      startRenewing(state, context);
      return state;
    },

    receive(state, message, context) {
      switch (message.type) {
        case "attemptStarted": {
          const { attempt } = message;
          state.held.set(keyOf(attempt), {
            ...attempt,
            job: message.job,
            leaseUntil: message.leaseFrom + options.leaseMs,
            isLost: false,
          });
          state.busy.set(attempt.jobType, (state.busy.get(attempt.jobType) ?? 0) + 1);
          notePayload(state, attempt.jobType, message.payloadBytes);
          if (state.held.size === 1) {
            context.after("announceChange", ANNOUNCE_CHANGE_AFTER_MS, { type: "announceNow" });
          }
          return state;
        }
        case "attemptEnded":
          if (state.held.delete(keyOf(message.attempt))) {
            state.busy.set(message.attempt.jobType, (state.busy.get(message.attempt.jobType) ?? 1) - 1);
          }
          return state;
        case "workerStops":
          state.stopping = true;
          startAnnouncing(state, context);
          return state;
        case "renewNow":
          startRenewing(state, context);
          return state;
        case "renewed":
          applyRenewal(state, message.asked, message.askedAt, message.answers);
          if (!message.answers.ok) context.after("renewAgain", RENEW_AGAIN_MS, { type: "renewNow" });
          return state;
        case "watchNow":
          killUnkept(state);
          return state;
        case "cancelsRequested":
          for (const request of message.requests) {
            state.held.get(`${request.occurrenceId}/${request.token}`)?.job.tell({
              type: "cancel",
              reason: request.reason,
            });
          }
          return state;
        case "announceNow":
          startAnnouncing(state, context);
          return state;
        case "announced":
          state.announcing = false;
          if (!message.said.ok) deps.log.warn("Cannot announce presence: " + message.said.error.message);
          else {
            for (const held of message.running) extend(held, message.askedAt);
            deps.events.publish([{ type: "workersChanged", at: deps.clock.now() }]);
          }
          return state;
        case "left":
          return STOP;
        default:
          return message satisfies never;
      }
    },

    stopping(state, context) {
      // Consumers stop before the heartbeat does: nothing is held any more.
      state.stopping = true;
      context.run(() => deps.presence.leave(options.instanceId), () => ({ type: "left" }));
      return state;
    },

    stopped(state) {
      state.unsubscribe();
    },
  };

  /** Nothing follows from the answers for those held back: their reports go out whatever became of them. */
  function startRenewing(state: State, context: ActorContext<HeartbeatMessage | PrivateMessage>): void {
    const asked = [...state.held.values()];
    const all = [...asked.map(runningOf), ...heldBack(state)];
    if (all.length === 0) return;
    const askedAt = deps.clock.mono();
    context.run(
      () => deps.attempts.renew(all, options.leaseMs),
      (answers) => ({ type: "renewed", asked, askedAt, answers }),
    );
  }

  /** Attempts that have ended, with their reports held back and their actors gone. */
  function heldBack(state: State): readonly RunningAttempt[] {
    return deps.reports.heldBack().ended.filter((one) => !state.held.has(keyOf(one)));
  }

  function startAnnouncing(
    state: State,
    context: ActorContext<HeartbeatMessage | PrivateMessage>,
  ): void {
    // A slow answer must not be overtaken by an older word.
    if (state.announcing) return;
    state.announcing = true;
    const running = [...state.held.values()];
    const askedAt = deps.clock.mono();
    context.run(
      () => announce(state, running),
      (said) => ({ type: "announced", running, askedAt, said }),
    );
  }

  function announce(state: State, running: readonly Held[]): Promise<void> {
    return deps.presence.announce({
      workerId: options.workerId,
      instanceId: options.instanceId,
      hostName: options.hostName,
      version: options.version,
      startedAt: state.startedAt,
      maxParallelJobs: options.maxParallelJobs,
      jobTypes: deps.pool.jobTypes.map((offer) => {
        // What was claimed ahead waits for a lane that is counted already.
        const lanesBusy = Math.min(state.busy.get(offer.name) ?? 0, offer.maxParallelJobs);
        return { ...offer, lanesBusy, lanesFree: offer.maxParallelJobs - lanesBusy };
      }),
      running: [...running.map(runningOf), ...heldBack(state)],
      reportsHeldBack: deps.reports.heldBack().count,
      isStopping: state.stopping,
      load: loadNow(state),
    });
  }

  function notePayload(state: State, jobType: string, bytes: number): void {
    const at = deps.clock.mono();
    const known = state.payload;
    if (known === null || bytes >= known.bytes || at - known.at > PAYLOAD_REMEMBERED_MS) {
      state.payload = { jobType, bytes, at };
    }
  }

  function loadNow(state: State): WorkerLoad | null {
    if (options.load === undefined) return null;
    const { payload } = state;
    const isFresh = payload !== null && deps.clock.mono() - payload.at <= PAYLOAD_REMEMBERED_MS;
    return {
      ...options.load(),
      largestPayload: isFresh ? { jobType: payload.jobType, bytes: payload.bytes } : null,
    };
  }

  function applyRenewal(
    state: State,
    asked: readonly Held[],
    askedAt: number,
    answers: RunOutcome<readonly RenewAnswer[]>,
  ): void {
    if (!answers.ok) {
      deps.log.warn("Cannot renew leases: " + answers.error.message, { attempts: asked.length });
    }
    asked.forEach((one, index) => {
      const held = state.held.get(keyOf(one));
      if (held === undefined) return; // ended meanwhile
      const answer = answers.ok ? answers.value[index] : undefined;
      if (answer?.ok === true) {
        extend(held, askedAt);
        if (answer.cancel !== null) held.job.tell({ type: "cancel", reason: answer.cancel.reason });
      } else if (answer?.ok === false) held.job.tell({ type: "leaseLost" });
    });
  }

  /** Whether answers come or not: what no path has kept ends while its lease still holds. */
  function killUnkept(state: State): void {
    const mono = deps.clock.mono();
    for (const held of state.held.values()) {
      if (held.isLost || held.leaseUntil - options.leaseMs * KEPT_FOR_KILLING > mono) continue;
      held.isLost = true;
      held.job.tell({ type: "leaseLost" });
    }
  }

  /** Counts from before the request, never from its answer; an older word takes nothing back. */
  function extend(held: Held, askedAt: number): void {
    held.leaseUntil = Math.max(held.leaseUntil, askedAt + options.leaseMs);
  }
}

function keyOf(attempt: RunningAttempt): string {
  return `${attempt.occurrenceId}/${attempt.token}`;
}

function runningOf(held: RunningAttempt): RunningAttempt {
  return { occurrenceId: held.occurrenceId, scheduledFor: held.scheduledFor, token: held.token };
}
