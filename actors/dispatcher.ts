/**
 * Due time → verdict → occurrence → message.
 *
 * A pass (`due_pass.ts`) decides what is due; what it committed is published while the next one runs. Between passes
 * the dispatcher sleeps until the next due time and is woken by changes. It holds no schedule in memory that a crash
 * could lose.
 *
 * A pass that leaves due what it found due, and decided nothing, is fruitless: index and store disagree, or somebody
 * else writes the same rows. The next one follows after a pause that doubles until a pass gets somewhere. So does
 * building an index that is not whole although it was built just now.
 */
import { buildIndex, type Built, indexBuilder } from "./built_index.ts";
import { type DuePass, type DuePassDeps, DuePasses, type DuePassOptions } from "./due_pass.ts";
import type { Queue } from "./ports/queue.ts";
import type { JobStore, Outcomes } from "./ports/store.ts";
import { publishCommitted } from "./publish.ts";
import type { ActorContext, ActorDefinition, RunOutcome } from "./runtime/actor.ts";

type PrivateMessage =
  | { readonly type: "wake" }
  | { readonly type: "passed"; readonly pass: RunOutcome<DuePass> }
  | { readonly type: "published" }
  | { readonly type: "buildNow" }
  | { readonly type: "indexBuilt"; readonly built: RunOutcome<Built> };

export interface DispatcherDeps extends DuePassDeps {
  readonly jobs: Pick<JobStore, "get" | "dueEntries">;
  readonly queue: Queue;
  readonly store: { readonly outcomes: Pick<Outcomes, "notePublished"> };
}

export interface DispatcherOptions extends DuePassOptions {
  /** How often the store itself is asked for due jobs, milliseconds. */
  readonly pollMs: number;
  readonly onStaleEpoch: (epoch: number) => void;
}

interface State {
  passing: boolean;
  wakeAsked: boolean;
  publishing: number;
  lastPollAt: number;
  failures: number;
  /** Fruitless passes in a row. */
  fruitless: number;
  /** People have been told of them. */
  isTold: boolean;
  building: boolean;
  /** Builds since the index was last found whole. */
  builds: number;
  unsubscribe: () => void;
}

/** Publishing overlaps with the next transaction; beyond this the dispatcher waits for the queue. */
const MAX_PUBLISHING = 4;
/** How often the store is asked for due jobs while the index is out of reach. */
const POLL_WITHOUT_INDEX_MS = 500;

const BACK_OFF_MS = 250;
const BACK_OFF_AT_MOST_MS = 5000;
/** After a fruitless pass. Short at first: a job that was saved while it was decided costs no more than this. */
const FRUITLESS_PAUSE_MS = 20;
/** So many in a row are told of. */
const FRUITLESS_TOLD = 5;
/** What is due besides waits no longer than this. */
const FRUITLESS_PAUSE_AT_MOST_MS = 1000;
const BUILDS_TOLD = 3;
const BUILD_AGAIN_AT_MOST_MS = 60_000;

export function dispatcherActor(
  deps: DispatcherDeps,
  options: DispatcherOptions,
): ActorDefinition<State, never, PrivateMessage> {
  type Context = ActorContext<PrivateMessage>;
  const builder = indexBuilder(options.epoch);
  const due = new DuePasses(deps, options);

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
        fruitless: 0,
        isTold: false,
        building: false,
        builds: 0,
        unsubscribe,
      };
      startBuilding(state, context);
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
        case "buildNow":
          state.building = false;
          // A look in between may have found it whole.
          if (state.builds > 0) startBuilding(state, context);
          return state;
        case "indexBuilt":
          state.building = false;
          if (!message.built.ok) {
            deps.log.warn(
              "Cannot build the due index, working from the store: " + message.built.error.message,
            );
          } else {
            const { jobs, isKept } = message.built.value;
            if (isKept) state.builds = 0;
            deps.log.debug("Due index built", { jobs });
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
    context.run(() => due.pass(poll), (done) => ({ type: "passed", pass: done }));
  }

  function buildAgain(state: State, context: Context): void {
    if (state.building) return;
    if (state.builds === 0) return startBuilding(state, context);
    state.building = true;
    const pause = doubled(BACK_OFF_MS, state.builds, BUILD_AGAIN_AT_MOST_MS);
    if (state.builds === BUILDS_TOLD) {
      deps.log.warn("The due index is not whole although it was built: building it again, with pauses", {
        builds: state.builds,
      });
    }
    context.after("build", pause, { type: "buildNow" });
  }

  function startBuilding(state: State, context: Context): void {
    state.building = true;
    state.builds += 1;
    context.run((signal) => buildIndex(deps, builder, signal), (built) => ({ type: "indexBuilt", built }));
  }

  function onPassed(state: State, pass: RunOutcome<DuePass>, context: Context): void {
    if (!pass.ok) {
      state.failures += 1;
      state.lastPollAt = -Infinity;
      const pause = doubled(BACK_OFF_MS, state.failures, BACK_OFF_AT_MOST_MS);
      deps.log.error("Cannot decide due times, trying again: " + pass.error.message, { pauseMs: pause });
      context.after("wake", pause, { type: "wake" });
      return;
    }
    state.failures = 0;
    const { stale, messages, more, nextAt, fruitless, index } = pass.value;
    if (index === "complete") state.builds = 0;
    else if (index === "incomplete") buildAgain(state, context);
    state.fruitless = fruitless ? state.fruitless + 1 : 0;
    if (messages.length > 0) {
      state.publishing += 1;
      context.run(() => publishCommitted(deps, messages), () => ({ type: "published" }));
    }
    if (stale) options.onStaleEpoch(options.epoch);
    else if (state.wakeAsked || (more && !fruitless)) startPass(state, context);
    else if (fruitless) {
      const pause = doubled(FRUITLESS_PAUSE_MS, state.fruitless, FRUITLESS_PAUSE_AT_MOST_MS);
      if (state.fruitless >= FRUITLESS_TOLD && !state.isTold) {
        state.isTold = true;
        deps.log.warn("Due times are listed and cannot be decided: looking again, with pauses", {
          passes: state.fruitless,
        });
      }
      context.after("wake", pause, { type: "wake" });
    } else {
      const untilNext = nextAt === null ? options.pollMs : nextAt - deps.clock.now();
      if (untilNext > 0) state.isTold = false;
      // Without the index the store is asked as often as is bearable.
      const atMost = index === "away" ? Math.min(POLL_WITHOUT_INDEX_MS, options.pollMs) : options.pollMs;
      if (index === "away") state.lastPollAt = -Infinity;
      context.after("wake", Math.max(0, Math.min(untilNext, atMost)), { type: "wake" });
    }
  }
}

/** The pause after the given number of tries in vain, at least one. */
function doubled(firstMs: number, times: number, atMostMs: number): number {
  return Math.min(firstMs * 2 ** (times - 1), atMostMs);
}
