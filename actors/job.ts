/**
 * One attempt, from the granted claim to the acknowledged message.
 *
 *   running ──ended──► reporting ──confirmed──► acknowledged, gone
 *                          └─ refused: again with a growing pause, for as long as it takes
 *
 * A grant that comes when little is left of its lease is handed back without a run.
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
  | { readonly type: "leaseLost" };

type PrivateMessage =
  | { readonly type: "started"; readonly at: number }
  | { readonly type: "ended"; readonly outcome: Outcome; readonly durationMs: number }
  | { readonly type: "reported"; readonly sent: RunOutcome<void> }
  | { readonly type: "reportAgain" };

export interface JobDeps {
  readonly pool: Pick<Pool, "run">;
  readonly reports: Pick<ReportQueue, "sendReports" | "sendProgress">;
  readonly lines: LineBatch;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
  readonly heartbeat: ActorRef<HeartbeatMessage>;
  readonly workerId: string;
  readonly instanceId: string;
}

export interface GrantedAttempt {
  readonly delivery: Delivery;
  readonly token: number;
  readonly attempt: number;
  /** Monotonic moment at which the claim was asked for: the lease counts from here. */
  readonly leaseFrom: number;
  /** Monotonic moment from which on user code must not begin: the grant has come too late for its lease. */
  readonly startBefore: number;
  readonly timeoutMs: number | null;
  /** User code has ended: the lane is free. */
  readonly onLaneFree: (durationMs: number) => void;
}

interface State {
  readonly running: RunningJob | null;
  readonly startedAt: number;
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
  const { token } = granted;
  const identity = { occurrenceId: message.occurrenceId, scheduledFor: message.scheduledFor, token };

  return {
    kind: "job",

    start(context) {
      if (deps.clock.mono() >= granted.startBefore) {
        granted.onLaneFree(0);
        const report = reportOf({ kind: "handedBack", why: "lease-lost" }, deps.clock.now(), 0);
        return send({ running: null, startedAt: report.startedAt, report, failures: 0 }, context);
      }
      deps.heartbeat.tell({
        type: "attemptStarted",
        attempt: { ...identity, jobType: message.jobType },
        leaseFrom: granted.leaseFrom,
        job: context.self,
      });
      const running = deps.pool.run({
        occurrenceId: message.occurrenceId,
        jobId: message.jobId,
        jobType: message.jobType,
        scheduledFor: message.scheduledFor,
        token,
        attempt: granted.attempt,
        maxAttempts: message.maxAttempts,
        jobData: message.jobData,
        timeoutMs: granted.timeoutMs,
      }, {
        started: (at) => context.inject({ type: "started", at }),
        line: (line) => deps.lines.add({ ...identity, ...line }),
        progress: (done, total) =>
          deps.reports.sendProgress({ ...identity, done, total, at: deps.clock.now() }),
        ended: (outcome, durationMs) => context.inject({ type: "ended", outcome, durationMs }),
      });
      return { running, startedAt: deps.clock.now(), report: null, failures: 0 };
    },

    receive(state, received, context) {
      switch (received.type) {
        case "started": {
          const startedAt = Math.round(received.at);
          deps.meter.observe(
            "occurrence_lateness_seconds",
            Math.max(0, startedAt - message.scheduledFor) / 1000,
          );
          return { ...state, startedAt };
        }
        case "cancel":
          state.running?.cancel("cancelled", received.reason);
          return state;
        case "leaseLost":
          state.running?.cancel("lease-lost", "The worker could not renew its lease");
          return state;
        case "ended": {
          granted.onLaneFree(received.durationMs);
          deps.meter.count("attempts_ended_total", 1, { outcome: received.outcome.kind });
          deps.meter.observe("attempt_duration_seconds", received.durationMs / 1000);
          const report = reportOf(received.outcome, state.startedAt, Math.round(received.durationMs));
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

    stopping(state) {
      // Heeds its signal within the grace, or is killed by the pool; either way `ended` comes and is reported.
      state.running?.cancel("stopping", "The worker is stopping");
      return state;
    },
  };

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
