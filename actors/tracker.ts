/**
 * The only writer of outcomes: reports and log lines → store → live events, in batches.
 *
 * A batch is acknowledged after its transaction has committed, so a crash in between brings the same reports
 * again, and the store ignores what it has already applied. While one batch commits, the next gathers.
 */
import type { LogLine, Report, SignalNotice } from "./domain/message.ts";
import type { Clock, Random } from "./ports/clock.ts";
import type { Events } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { ProgressReport, Queue, ReportQueue } from "./ports/queue.ts";
import type { RecordAnswer, Store } from "./ports/store.ts";
import { announceRecord } from "./announce.ts";
import { publishCommitted } from "./publish.ts";
import { type ActorDefinition, type RunOutcome, STOP } from "./runtime/actor.ts";

interface Settle {
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

type PrivateMessage =
  | { readonly type: "receiving"; readonly started: RunOutcome<Receiving> }
  | { readonly type: "receiveAgain" }
  | { readonly type: "reports"; readonly reports: readonly Report[]; readonly settle: Settle }
  | {
    readonly type: "recorded";
    readonly startedAt: number;
    readonly recorded: RunOutcome<RecordAnswer>;
    readonly settle: Settle;
  }
  | { readonly type: "lines"; readonly lines: readonly LogLine[]; readonly settle: Settle }
  | {
    readonly type: "linesKept";
    readonly lines: readonly LogLine[];
    readonly kept: RunOutcome<void>;
    readonly settle: Settle;
  }
  | { readonly type: "progress"; readonly progress: readonly ProgressReport[]; readonly settle: Settle }
  | {
    readonly type: "progressKept";
    readonly progress: readonly ProgressReport[];
    readonly kept: RunOutcome<void>;
    readonly settle: Settle;
  }
  | { readonly type: "signals"; readonly signals: readonly SignalNotice[]; readonly settle: Settle }
  | { readonly type: "signalsKept"; readonly kept: RunOutcome<void>; readonly settle: Settle }
  | { readonly type: "publishedReleased" }
  | { readonly type: "ended" };

type Receiving = Awaited<ReturnType<ReportQueue["receive"]>>;

export interface TrackerDeps {
  readonly store: Pick<Store, "outcomes" | "lines">;
  readonly reports: ReportQueue;
  readonly queue: Queue;
  readonly events: Events;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
}

interface State {
  readonly receiving: Receiving | null;
  /** Starts receiving (again). */
  readonly receive: () => void;
}

const RECEIVE_AGAIN_MS = 1000;

export function trackerActor(deps: TrackerDeps): ActorDefinition<State, never, PrivateMessage> {
  return {
    kind: "tracker",

    start(context) {
      const asMessage = (make: (settle: Settle) => PrivateMessage) =>
        new Promise<void>((done, failed) => context.inject(make({ done, failed })));
      const receive = () =>
        context.run(
          () =>
            deps.reports.receive({
              reports: (reports) => asMessage((settle) => ({ type: "reports", reports, settle })),
              lines: (lines) => asMessage((settle) => ({ type: "lines", lines, settle })),
              progress: (progress) => asMessage((settle) => ({ type: "progress", progress, settle })),
              signals: (signals) => asMessage((settle) => ({ type: "signals", signals, settle })),
            }),
          (started) => ({ type: "receiving", started }),
        );
      receive();
      return { receiving: null, receive };
    },

    receive(state, message, context) {
      switch (message.type) {
        case "receiving":
          if (message.started.ok) return { ...state, receiving: message.started.value };
          deps.log.warn("Cannot receive reports, trying again: " + message.started.error.message);
          context.after("receiveAgain", RECEIVE_AGAIN_MS, { type: "receiveAgain" });
          return state;
        case "receiveAgain":
          state.receive();
          return state;
        case "reports": {
          const { reports, settle } = message;
          const startedAt = deps.clock.mono();
          context.run(
            () => deps.store.outcomes.record(reports, deps.clock.now(), deps.random.next()),
            (recorded) => ({ type: "recorded", startedAt, recorded, settle }),
          );
          return state;
        }
        case "recorded": {
          const { recorded, settle } = message;
          if (!recorded.ok) {
            deps.log.error("Cannot record reports: " + recorded.error.message);
            settle.failed(recorded.error);
            return state;
          }
          deps.meter.observe("store_batch_seconds", (deps.clock.mono() - message.startedAt) / 1000, {
            writer: "tracker",
          });
          deps.meter.count("reports_recorded_total", recorded.value.changed.length);
          if (recorded.value.stale > 0) deps.meter.count("reports_stale_total", recorded.value.stale);
          settle.done();
          announceRecord(deps, recorded.value);
          if (recorded.value.released.length > 0) {
            context.run(
              () => publishCommitted(deps, recorded.value.released),
              () => ({ type: "publishedReleased" }),
            );
          }
          return state;
        }
        case "lines": {
          const { lines, settle } = message;
          context.run(
            () => deps.store.lines.append(lines),
            (kept) => ({ type: "linesKept", lines, kept, settle }),
          );
          return state;
        }
        case "linesKept":
          if (!message.kept.ok) {
            deps.log.error("Cannot keep log lines: " + message.kept.error.message);
            message.settle.failed(message.kept.error);
          } else {
            message.settle.done();
            announceLines(message.lines);
          }
          return state;
        case "progress": {
          const { progress, settle } = message;
          context.run(
            () => deps.store.outcomes.recordProgress(progress),
            (kept) => ({ type: "progressKept", progress, kept, settle }),
          );
          return state;
        }
        case "progressKept":
          // Progress is a hint: a newer one follows, nothing is tried again.
          message.settle.done();
          if (deps.events.wants("occurrenceProgress")) {
            deps.events.publish(message.progress.map(({ occurrenceId, done, total, at }) => ({
              type: "occurrenceProgress",
              occurrenceId,
              done,
              total,
              at,
            })));
          }
          return state;
        case "signals": {
          const { signals, settle } = message;
          context.run(
            () => deps.store.outcomes.recordSignals(signals),
            (kept) => ({ type: "signalsKept", kept, settle }),
          );
          return state;
        }
        case "signalsKept":
          // The report of each attempt says it again.
          if (!message.kept.ok) {
            deps.log.warn("Cannot keep that an abort signal was given: " + message.kept.error.message);
          }
          message.settle.done();
          return state;
        case "publishedReleased":
          return state;
        case "ended":
          return STOP;
        default:
          return message satisfies never;
      }
    },

    stopping(state, context) {
      const { receiving } = state;
      if (receiving === null) return STOP;
      context.run(() => receiving.stop(), () => ({ type: "ended" }));
      return state;
    },
  };

  function announceLines(lines: readonly LogLine[]): void {
    if (!deps.events.wants("occurrenceLogged")) return;
    const byOccurrence = Map.groupBy(lines, (line) => line.occurrenceId);
    deps.events.publish([...byOccurrence].map(([occurrenceId, own]) => ({
      type: "occurrenceLogged",
      occurrenceId,
      lines: own.map(({ at, level, message }) => ({ at, level, message })),
    })));
  }
}
