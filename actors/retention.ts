/**
 * Removes history that has reached its age, while its instance leads: a sweep in small steps with pauses between
 * them, then nothing until the next one is due. A step that fails is tried again later; nothing waits for it.
 */
import type { RetentionRules } from "./domain/retention.ts";
import type { Clock } from "./ports/clock.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { Retention, Swept } from "./ports/retention.ts";
import type { ActorContext, ActorDefinition, RunOutcome } from "./runtime/actor.ts";

type PrivateMessage =
  | { readonly type: "step" }
  | { readonly type: "stepped"; readonly askedAt: number; readonly swept: RunOutcome<Swept | null> };

export interface RetentionDeps {
  readonly retention: Retention;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
}

export interface RetentionOptions {
  readonly epoch: number;
  readonly rules: RetentionRules;
  /** From the end of a sweep to the start of the next, milliseconds. */
  readonly intervalMs: number;
  readonly onStaleEpoch: (epoch: number) => void;
}

interface State {
  occurrences: number;
  records: number;
  readonly days: string[];
}

/** A new leader has more urgent work. */
const FIRST_SWEEP_MS = 60_000;
/** Between two steps: as long as the step took, and at least this. */
const PAUSE_MS = 20;
const AGAIN_AFTER_FAILURE_MS = 60_000;

export function retentionActor(
  deps: RetentionDeps,
  options: RetentionOptions,
): ActorDefinition<State, never, PrivateMessage> {
  type Context = ActorContext<PrivateMessage>;

  return {
    kind: "retention",

    start(context) {
      context.after("step", Math.min(FIRST_SWEEP_MS, options.intervalMs), { type: "step" });
      return nothingYet();
    },

    receive(state, message, context) {
      switch (message.type) {
        case "step":
          step(context);
          return state;
        case "stepped":
          return onStepped(state, message.askedAt, message.swept, context);
        default:
          return message satisfies never;
      }
    },
  };

  function step(context: Context): void {
    const askedAt = deps.clock.mono();
    context.run(
      () => deps.retention.sweep(options.epoch, options.rules, deps.clock.now()),
      (swept) => ({ type: "stepped", askedAt, swept }),
    );
  }

  function onStepped(
    state: State,
    askedAt: number,
    swept: RunOutcome<Swept | null>,
    context: Context,
  ): State {
    if (!swept.ok) {
      deps.log.warn("Cannot remove old history, trying again: " + swept.error.message);
      context.after("step", AGAIN_AFTER_FAILURE_MS, { type: "step" });
      return state;
    }
    if (swept.value === null) {
      options.onStaleEpoch(options.epoch);
      return state;
    }
    const { occurrences, records, days, isDone } = swept.value;
    state.occurrences += occurrences;
    state.records += records;
    state.days.push(...days);
    if (occurrences > 0) deps.meter.count("retention_removed_total", occurrences, { what: "occurrences" });
    if (records > 0) deps.meter.count("retention_removed_total", records, { what: "records" });
    if (!isDone) {
      context.after("step", Math.max(PAUSE_MS, deps.clock.mono() - askedAt), { type: "step" });
      return state;
    }
    if (state.occurrences + state.records + state.days.length > 0) {
      const { occurrences, records, days } = state;
      deps.log.info("Removed history that has reached its age", {
        occurrences,
        records,
        days: days.join(" "),
      });
    }
    context.after("step", options.intervalMs, { type: "step" });
    return nothingYet();
  }
}

function nothingYet(): State {
  return { occurrences: 0, records: 0, days: [] };
}
