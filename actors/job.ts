/**
 * One attempt, from the granted claim to the acknowledged message.
 *
 *   running ──ended──► reporting ──safe──► acknowledged, gone
 *                          └─ refused: again with a growing pause, for as long as it takes
 *
 * Safe is a report that the broker has confirmed, or that is held back on this worker's disk. The message may go
 * then: it was only a hint, the claim has moved the row on, and brought once more it would claim nothing. What
 * keeps an attempt whose report is held back is its lease, which heartbeat goes on renewing.
 *
 * A grant that comes when little is left of its lease, without the job data that its message has not, or for which no
 * lane came free, is handed back without a run.
 * The lane is free as soon as user code has ended; the message is acknowledged only when the report is safe.
 */
import type { JobMessage, Outcome, Report } from "./domain/message.ts";
import type { Clock } from "./ports/clock.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { Pool, RunningJob } from "./ports/pool.ts";
import type { Delivery, ReportQueue } from "./ports/queue.ts";
import { type ActorDefinition, type ActorRef, type RunOutcome, STOP } from "./runtime/actor.ts";
import type { HeartbeatMessage } from "./heartbeat.ts";
import type { LineBatch } from "./line_batch.ts";

export type JobActorMessage =
  | { readonly type: "cancel"; readonly reason: string }
  /** The lease cannot be kept: user code must end before it does. */
  | { readonly type: "leaseLost" }
  /** The lane that it waits for does not come: it is handed back, unless it has begun. */
  | { readonly type: "recall" }
  /** Told, not asked of the kernel: an actor that is asked to stop before it has begun would not report its attempt. */
  | { readonly type: "workerStops" };

type PrivateMessage =
  | { readonly type: "started"; readonly at: number }
  | { readonly type: "signalled"; readonly at: number }
  | { readonly type: "ended"; readonly outcome: Outcome; readonly durationMs: number }
  | { readonly type: "drained" }
  | { readonly type: "reported"; readonly sent: RunOutcome<void> }
  | { readonly type: "reportAgain" };

export interface JobDeps {
  readonly pool: Pick<Pool, "run">;
  readonly reports: Pick<ReportQueue, "sendReports" | "sendProgress" | "sendSignal">;
  readonly lines: LineBatch;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
  readonly heartbeat: ActorRef<HeartbeatMessage>;
  readonly workerId: string;
  readonly instanceId: string;
  /** How long what runs may go on when the worker stops, before it gets its abort signal; milliseconds. */
  readonly drainMs: number;
}

export interface GrantedAttempt {
  readonly delivery: Delivery;
  readonly token: number;
  readonly attempt: number;
  /** JSON text; null when neither the message nor the claim's answer had it. */
  readonly jobData: string | null;
  /** Monotonic moment at which the claim was asked for: the lease counts from here. */
  readonly leaseFrom: number;
  /** Monotonic moment from which on user code must not begin: the grant has come too late for its lease. */
  readonly startBefore: number;
  /** Not to be run, for this reason: it is handed back. */
  readonly unwanted: "no-lane" | "stopping" | null;
  readonly timeoutMs: number | null;
  /** It begins when this one ends; null when it has a lane. */
  readonly after: RunningJob | null;
  /** The pool has it. */
  readonly onRunning: (running: RunningJob) => void;
  /** User code has ended, after so many milliseconds, or has not begun (null): the lane is free. */
  readonly onLaneFree: (durationMs: number | null) => void;
}

interface State {
  readonly running: RunningJob | null;
  /** It follows another and has not begun. */
  readonly isWaiting: boolean;
  readonly startedAt: number;
  readonly signalledAt: number | null;
  readonly report: Report | null;
  readonly failures: number;
}

const REPORT_AGAIN_MS = 200;
const REPORT_AGAIN_AT_MOST_MS = 10_000;

export function jobActor(
  deps: JobDeps,
  granted: GrantedAttempt,
): ActorDefinition<State, JobActorMessage, PrivateMessage> {
  const message: JobMessage = granted.delivery.message;
  const { token, jobData } = granted;
  const identity = { occurrenceId: message.occurrenceId, scheduledFor: message.scheduledFor, token };

  return {
    kind: "job",

    start(context) {
      if (jobData === null) {
        deps.log.warn(
          "Cannot run: an API instance of an older version answered the claim, without job data",
          {
            occurrenceId: message.occurrenceId,
          },
        );
      }
      const isLate = deps.clock.mono() >= granted.startBefore;
      if (jobData === null || isLate || granted.unwanted !== null) {
        granted.onLaneFree(null);
        const why = granted.unwanted ?? "lease-lost";
        const report = reportOf({ kind: "handedBack", why }, deps.clock.now(), 0);
        return send({
          running: null,
          isWaiting: false,
          startedAt: report.startedAt,
          signalledAt: null,
          report,
          failures: 0,
        }, context);
      }
      if (granted.after === null) tellHeartbeat(jobData, context.self);
      const running = deps.pool.run({
        occurrenceId: message.occurrenceId,
        jobId: message.jobId,
        jobType: message.jobType,
        scheduledFor: message.scheduledFor,
        token,
        attempt: granted.attempt,
        maxAttempts: message.maxAttempts,
        jobData,
        timeoutMs: granted.timeoutMs,
      }, {
        started: (at) => context.inject({ type: "started", at }),
        line: (line) => deps.lines.add({ ...identity, ...line }),
        progress: (done, total) =>
          deps.reports.sendProgress({ ...identity, done, total, at: deps.clock.now() }),
        signalled: (cause, at) => {
          deps.reports.sendSignal({ ...identity, instanceId: deps.instanceId, cause, at });
          context.inject({ type: "signalled", at });
        },
        ended: (outcome, durationMs) => context.inject({ type: "ended", outcome, durationMs }),
      }, granted.after);
      granted.onRunning(running);
      return {
        running,
        isWaiting: granted.after !== null,
        startedAt: deps.clock.now(),
        signalledAt: null,
        report: null,
        failures: 0,
      };
    },

    receive(state, received, context) {
      switch (received.type) {
        case "started": {
          const startedAt = Math.round(received.at);
          if (granted.after !== null && jobData !== null) tellHeartbeat(jobData, context.self);
          deps.meter.observe(
            "occurrence_lateness_seconds",
            Math.max(0, startedAt - message.scheduledFor) / 1000,
          );
          return { ...state, isWaiting: false, startedAt };
        }
        case "signalled":
          return { ...state, signalledAt: received.at };
        case "cancel":
          state.running?.cancel("cancelled", received.reason);
          return state;
        case "leaseLost":
          state.running?.cancel("lease-lost", "The worker could not renew its lease");
          return state;
        case "recall":
          state.running?.recall();
          return state;
        case "workerStops":
          if (state.isWaiting || deps.drainMs === 0) return stop(state);
          context.after("drained", deps.drainMs, { type: "drained" });
          return state;
        case "drained":
          return stop(state);
        case "ended": {
          granted.onLaneFree(state.isWaiting ? null : received.durationMs);
          deps.meter.count("attempts_ended_total", 1, { outcome: received.outcome.kind });
          if (!state.isWaiting) deps.meter.observe("attempt_duration_seconds", received.durationMs / 1000);
          const report = {
            ...reportOf(received.outcome, state.startedAt, Math.round(received.durationMs)),
            ...(state.signalledAt === null ? {} : { signalledAt: state.signalledAt }),
          };
          return send({ ...state, running: null, report }, context);
        }
        case "reportAgain":
          return send(state, context);
        case "reported": {
          if (received.sent.ok) {
            granted.delivery.ack();
            deps.heartbeat.tell({ type: "attemptEnded", attempt: { ...identity, jobType: message.jobType } });
            return STOP;
          }
          const failures = state.failures + 1;
          deps.log.warn("Cannot send a report, trying again: " + received.sent.error.message, {
            occurrenceId: message.occurrenceId,
          });
          context.after(
            "reportAgain",
            Math.min(REPORT_AGAIN_MS * 2 ** failures, REPORT_AGAIN_AT_MOST_MS),
            { type: "reportAgain" },
          );
          return { ...state, failures };
        }
        default:
          return received satisfies never;
      }
    },
  };

  /** It heeds its signal within the grace, or is killed by the pool; either way `ended` comes and is reported. */
  function stop(state: State): State {
    state.running?.cancel("stopping", "The worker is stopping");
    return state;
  }

  /** Of what runs; what follows another runs when that one has ended, a moment later. */
  function tellHeartbeat(jobData: string, job: ActorRef<JobActorMessage>): void {
    deps.heartbeat.tell({
      type: "attemptStarted",
      attempt: { ...identity, jobType: message.jobType },
      payloadBytes: jobData.length,
      leaseFrom: granted.leaseFrom,
      job,
    });
  }

  function reportOf(outcome: Outcome, startedAt: number, durationMs: number): Report {
    return {
      ...identity,
      jobId: message.jobId,
      workerId: deps.workerId,
      instanceId: deps.instanceId,
      startedAt,
      endedAt: startedAt + durationMs,
      durationMs,
      outcome,
    };
  }

  function send(state: State, context: { run: RunReport }): State {
    const { report } = state;
    if (report === null) return state;
    context.run(() => deps.reports.sendReports([report]), (sent) => ({ type: "reported", sent }));
    return state;
  }
}

type RunReport = (
  work: (signal: AbortSignal) => Promise<void>,
  toMessage: (sent: RunOutcome<void>) => PrivateMessage,
) => void;
