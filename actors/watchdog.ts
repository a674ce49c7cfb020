/**
 * The watchdog: compares each minute what should have been decided with what was, and says so when they differ.
 *
 * It runs on every API instance and never mind who leads: it is there to notice a dispatcher that is dead, deaf, or
 * forgets. What it finds is an alert in the store, where at most one of a kind is open; of many watchdogs that find the
 * same, the one whose row it is logs it and tells listeners. The alert ends when the difference is gone.
 *
 *   look ──found something new──► after the tolerance: look whether it is still so ──► alert
 *     └── what was found before: still so? ──no more──► the alert ends
 *
 * Nothing is told at first sight: a due time in the past that was saved this moment, a dispatcher that works off a
 * downtime, and a failover are no faults.
 */
import { type Alert, type AlertKind, SEVERITY } from "./domain/alert.ts";
import { type Evidence, evidence, listText, momentText } from "./domain/explanation.ts";
import { leaderlessSince } from "./domain/surroundings.ts";
import { type ClockStep, ClockSteps } from "./clock_steps.ts";
import { Comparison, type ComparisonBounds, DEFAULT_BOUNDS } from "./comparison.ts";
import { indexBuilder } from "./built_index.ts";
import type { Clock, Random } from "./ports/clock.ts";
import type { DueEntry, DueIndex } from "./ports/due_index.ts";
import type { Events } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import { OVERDUE_COUNTED } from "./ports/oversight.ts";
import type { EpochRow, Store } from "./ports/store.ts";
import type { ActorContext, ActorDefinition, RunOutcome } from "./runtime/actor.ts";

export interface WatchdogDeps {
  readonly store: Pick<Store, "oversight" | "alerts" | "jobs" | "ledger">;
  readonly dueIndex: Pick<DueIndex, "builtBy">;
  readonly events: Events;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
}

export interface WatchdogOptions {
  readonly instanceId: string;
  /** `MilvaionConfig.Watchdog.IntervalSeconds`, in milliseconds. */
  readonly intervalMs: number;
  /** `MilvaionConfig.Watchdog.ToleranceSeconds`, in milliseconds. */
  readonly toleranceMs: number;
  /** How long a lead lasts without renewal. */
  readonly lockTtlMs: number;
  readonly bounds?: Partial<ComparisonBounds>;
  /** Told after each look. */
  readonly onLooked: (figures: WatchdogFigures) => void;
}

/** What this instance's watchdog knows. */
export interface WatchdogFigures {
  /** Due times that are known not to be decided although they should be. */
  readonly missingDueTimes: number;
  /** When it last came to the end of a look, epoch milliseconds. */
  readonly lookedAt: number;
}

type PrivateMessage =
  | { readonly type: "look" }
  | { readonly type: "looked"; readonly seen: RunOutcome<Memory> }
  | { readonly type: "confirm" }
  | { readonly type: "confirmed"; readonly seen: RunOutcome<Memory> };

/** Due times by the way they were found. */
interface Found {
  readonly overdue: readonly DueEntry[];
  readonly missing: readonly DueEntry[];
}

/** What is kept from look to look. */
interface Memory {
  /** Where the walk through all jobs goes on. */
  readonly cursor: string | null;
  /** Seen once. */
  readonly suspects: Found;
  /** Seen twice: told. */
  readonly told: Found;
  /** How many are overdue; counted when some are told of. */
  readonly overdueCount: number;
  /** The epoch under which the due index was not whole at the last look, or null. */
  readonly staleUnder: number | null;
}

interface State {
  memory: Memory;
  isLooking: boolean;
  readonly startedAt: number;
  readonly clockSteps: ClockSteps;
}

const NOTHING: Found = { overdue: [], missing: [] };
const EVIDENCE_SHOWN = 20;
/** How long a step of the clock is told of at least. */
const STEP_SHOWN_MS = 600_000;

export function watchdogActor(
  deps: WatchdogDeps,
  options: WatchdogOptions,
): ActorDefinition<State, never, PrivateMessage> {
  type Context = ActorContext<PrivateMessage>;
  const { store, clock } = deps;
  const { intervalMs, toleranceMs } = options;
  const bounds = { ...DEFAULT_BOUNDS, ...options.bounds, toleranceMs };
  const comparison = new Comparison({ oversight: store.oversight, jobs: store.jobs, log: deps.log }, bounds);

  return {
    kind: "watchdog",

    start(context) {
      context.every("look", intervalMs, { type: "look" });
      return {
        memory: { cursor: null, suspects: NOTHING, told: NOTHING, overdueCount: 0, staleUnder: null },
        isLooking: false,
        startedAt: clock.now(),
        clockSteps: new ClockSteps(clock),
      };
    },

    receive(state, message, context) {
      switch (message.type) {
        case "look":
          // The one before is not at its end yet: the store is slow, and asking more would not help.
          if (!state.isLooking) begin(state, "looked", context);
          return state;
        case "confirm":
          if (state.isLooking) context.after("confirm", toleranceMs, { type: "confirm" });
          else begin(state, "confirmed", context);
          return state;
        case "looked":
        case "confirmed":
          state.isLooking = false;
          if (!message.seen.ok) {
            deps.log.warn("Cannot compare what is due with what was decided: " + message.seen.error.message);
            return state;
          }
          state.memory = message.seen.value;
          if (size(state.memory.suspects) > 0) context.after("confirm", toleranceMs, { type: "confirm" });
          options.onLooked({
            missingDueTimes: state.memory.overdueCount + state.memory.told.missing.length,
            lookedAt: clock.now(),
          });
          return state;
        default:
          return message satisfies never;
      }
    },
  };

  function begin(state: State, how: "looked" | "confirmed", context: Context): void {
    state.isLooking = true;
    const { memory, startedAt } = state;
    const step = how === "looked" ? state.clockSteps.look() : null;
    const work = how === "confirmed"
      ? () => confirm(memory)
      : step === null
      ? () => look(memory, startedAt)
      : () => tellOfStep(memory, step);
    context.run(work, (seen) => ({ type: how, seen }));
  }

  /** Moments compared across a step mean nothing, so the other questions wait for the next look. */
  async function tellOfStep(memory: Memory, { byMs, from, to }: ClockStep): Promise<Memory> {
    const by = `${Math.round(Math.abs(byMs) / 1000)} s`;
    const what = byMs < 0
      ? `set back by ${by}, from ${momentText(from)} to ${momentText(to)}: due times up to the former are ` +
        "decided already, and none of them runs again"
      : `set forward by ${by}, from ${momentText(from)} to ${
        momentText(to)
      }, or this machine slept: due times ` +
        "in between are decided by their misfire policy";
    const until = Math.max(from, to + STEP_SHOWN_MS);
    await settleKind("clock-stepped", [], {
      sentence: `The wall clock was ${what}.`,
      evidence: [evidence("instance", options.instanceId, until)],
    });
    return { ...memory, staleUnder: null };
  }

  /** A step is told of for a while; set back, until the clock is where it was. Any instance ends the alert. */
  async function settleStep(now: number, open: readonly Alert[]): Promise<void> {
    const until = open.find(({ kind }) => kind === "clock-stepped")?.evidence[0]?.at ?? now;
    if (now >= until) await settleKind("clock-stepped", open, null);
  }

  async function look(memory: Memory, startedAt: number): Promise<Memory> {
    const now = clock.now();
    const open = (await store.alerts.list(EVIDENCE_SHOWN)).filter(({ endedAt }) => endedAt === null);
    // What others have told of is looked after here as well, so that it ends whoever found it.
    const told: Found = {
      overdue: await comparison.stillOverdue(
        merged(memory.told.overdue, dueTimesOf(open, "overdue-due-times")),
      ),
      missing: await comparison.stillMissing(
        merged(memory.told.missing, dueTimesOf(open, "missing-due-times")),
        now,
      ),
    };
    const overdue = await comparison.overdue(now);
    const round = await comparison.round(memory.cursor, now);
    const seen: Memory = {
      cursor: round.cursor,
      suspects: {
        overdue: without(overdue.entries, told.overdue),
        missing: without(round.missing, told.missing),
      },
      told,
      overdueCount: told.overdue.length === 0 ? 0 : overdue.count,
      staleUnder: null,
    };
    await settle(seen, open);
    await settleStep(now, open);
    const [newest = null] = await store.ledger.epochs(1);
    await settleLeader(newest, { now, startedAt, open });
    return { ...seen, staleUnder: await settleIndex(newest, { now, before: memory.staleUnder, open }) };
  }

  /** What was suspected, and is still so, is told. */
  async function confirm(memory: Memory): Promise<Memory> {
    const now = clock.now();
    const overdue = await comparison.stillOverdue(memory.suspects.overdue);
    const missing = await comparison.stillMissing(memory.suspects.missing, now);
    const told = {
      overdue: merged(memory.told.overdue, overdue),
      missing: merged(memory.told.missing, missing).slice(0, bounds.kept),
    };
    const overdueCount = told.overdue.length === 0 ? 0 : Math.max(
      told.overdue.length,
      (await comparison.overdue(now)).count,
    );
    const seen = { ...memory, suspects: NOTHING, told, overdueCount };
    if (overdue.length + missing.length > 0) {
      deps.meter.count("watchdog_missing_due_times_total", overdue.length + missing.length);
      await settle(seen, (await store.alerts.list(EVIDENCE_SHOWN)).filter(({ endedAt }) => endedAt === null));
    }
    return seen;
  }

  async function settle({ told, overdueCount }: Memory, open: readonly Alert[]): Promise<void> {
    const { overdue, missing } = told;
    const [oldest] = overdue;
    await settleKind(
      "overdue-due-times",
      open,
      oldest === undefined ? null : {
        sentence: `Due times have come and are not decided: ${countedText(overdueCount)} ${
          overdueCount === 1 ? "job waits" : "jobs wait"
        }, the first since ${momentText(oldest.dueAt)} (job ${oldest.jobId}).`,
        evidence: evidenceOf(overdue),
      },
    );
    const jobs = [...new Set(missing.map(({ jobId }) => jobId))];
    await settleKind(
      "missing-due-times",
      open,
      missing.length === 0 ? null : {
        sentence:
          `By their schedule jobs were due, and the ledger has neither a run nor a reason: ${missing.length} ` +
          `due ${missing.length === 1 ? "time" : "times"} of ${
            listText(jobs)
          }. What should still run has to be ` +
          "triggered; saving a job again ends its part of this alert.",
        evidence: evidenceOf(missing),
      },
    );
  }

  async function settleLeader(
    newest: EpochRow | null,
    { now, startedAt, open }: {
      readonly now: number;
      readonly startedAt: number;
      readonly open: readonly Alert[];
    },
  ): Promise<void> {
    const since = leaderlessSince({ leader: newest, now }, startedAt);
    // A lease that ran out was given for the TTL; a lead that was given up is taken within it.
    const graceMs = (newest !== null && newest.endedAt === null ? 0 : options.lockTtlMs) + toleranceMs;
    const isOver = since !== null && now - since > graceMs;
    const last = newest === null ? "nobody ever did" : `${newest.holder} did last (epoch ${newest.epoch})`;
    await settleKind(
      "no-leader",
      open,
      !isOver ? null : {
        sentence: `No instance leads since ${momentText(since)}, so no due time is decided: ${last}.`,
        evidence: newest === null
          ? []
          : [evidence("epoch", String(newest.epoch), newest.since), evidence("instance", newest.holder)],
      },
    );
  }

  /** Gives the epoch under which the index is not whole, or null. An index that cannot be asked is not judged. */
  async function settleIndex(
    newest: EpochRow | null,
    { now, before, open }: {
      readonly now: number;
      readonly before: number | null;
      readonly open: readonly Alert[];
    },
  ): Promise<number | null> {
    let builder: string | null;
    try {
      builder = await deps.dueIndex.builtBy();
    } catch {
      return null;
    }
    const leads = newest !== null && leaderlessSince({ leader: newest, now }, now) === null;
    const isStale = leads && builder !== indexBuilder(newest.epoch);
    // Building it takes a while when there are many jobs: so it is told of at the second look, and not at once.
    const isTold = isStale && before === newest.epoch && now - newest.since > 2 * intervalMs;
    await settleKind(
      "due-index-stale",
      open,
      !isTold ? null : {
        sentence:
          `The due index is not whole under epoch ${newest.epoch}, although ${newest.holder} leads since ${
            momentText(newest.since)
          } (built by ${builder ?? "nobody"}): due times wait for the slow poll of the store.`,
        evidence: [
          evidence("epoch", String(newest.epoch), newest.since),
          evidence("instance", newest.holder),
        ],
      },
    );
    return isStale ? newest.epoch : null;
  }

  /** Raises, renews or ends the alert of a kind. */
  async function settleKind(
    kind: AlertKind,
    open: readonly Alert[],
    found: Pick<Alert, "sentence" | "evidence"> | null,
  ): Promise<void> {
    const now = clock.now();
    if (found !== null) {
      const alert: Omit<Alert, "endedAt"> = {
        ...found,
        id: deps.random.uuid(),
        kind,
        severity: SEVERITY[kind],
        raisedAt: now,
        raisedBy: options.instanceId,
        seenAt: now,
      };
      if (!await store.alerts.raise(alert)) return;
      deps.meter.count("watchdog_alerts_total", 1, { kind });
      deps.log.error(found.sentence, { alert: kind, alertId: alert.id });
      announce({ ...alert, endedAt: null });
    } else if (open.some((one) => one.kind === kind)) {
      const ended = await store.alerts.end(kind, now);
      if (ended === null) return;
      deps.log.info("An alert has ended", { alert: kind, alertId: ended.id });
      announce(ended);
    }
  }

  function announce({ id, kind, severity, sentence, evidence, raisedAt, endedAt }: Alert): void {
    const at = endedAt ?? raisedAt;
    deps.events.publish([{
      type: "alert",
      id,
      kind,
      severity,
      sentence,
      evidence,
      isOpen: endedAt === null,
      at,
    }]);
  }
}

function size({ overdue, missing }: Found): number {
  return overdue.length + missing.length;
}

function countedText(count: number): string {
  return count > OVERDUE_COUNTED ? `more than ${OVERDUE_COUNTED}` : String(count);
}

function isSame(left: DueEntry, right: DueEntry): boolean {
  return left.jobId === right.jobId && left.dueAt === right.dueAt;
}

function without(entries: readonly DueEntry[], known: readonly DueEntry[]): readonly DueEntry[] {
  return entries.filter((entry) => !known.some((one) => isSame(one, entry)));
}

function merged(first: readonly DueEntry[], second: readonly DueEntry[]): readonly DueEntry[] {
  return [...first, ...without(second, first)];
}

function evidenceOf(entries: readonly DueEntry[]): readonly Evidence[] {
  return entries.slice(0, EVIDENCE_SHOWN).map(({ jobId, dueAt }) => evidence("due-time", jobId, dueAt));
}

function dueTimesOf(open: readonly Alert[], kind: AlertKind): readonly DueEntry[] {
  return open.filter((one) => one.kind === kind).flatMap((one) => one.evidence)
    .flatMap(({ kind, id, at }) => kind === "due-time" && at !== null ? [{ jobId: id, dueAt: at }] : []);
}
