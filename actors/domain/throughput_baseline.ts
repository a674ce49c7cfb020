/** What was measured before scaling, to be compared with what is measured after it. */
import type { Bottleneck } from "./bottleneck_finding.ts";
import type { Evidence } from "./bottleneck_evidence.ts";
import { type ResourceUse, resourceUses } from "./resource_use.ts";

export interface ThroughputBaseline {
  /** Epoch milliseconds. */
  readonly recordedAt: number;
  readonly windowSeconds: number;
  readonly completedPerSecond: number;
  readonly createdPerSecond: number;
  readonly workers: number;
  /** Code and place of each bottleneck. */
  readonly bottlenecks: readonly { readonly code: string; readonly place: string }[];
  /** What stood nearest to its limit; null when nothing is known. */
  readonly nearest: Omit<ResourceUse, "note"> | null;
}

/** The fact under which the store keeps it. */
export const BASELINE_FACT = "throughputBaseline";

export function baselineOf(evidence: Evidence, found: readonly Bottleneck[]): ThroughputBaseline {
  const [nearest] = resourceUses(evidence);
  return {
    recordedAt: evidence.at,
    windowSeconds: evidence.windowSeconds,
    completedPerSecond: evidence.store?.completedPerSecond ?? 0,
    createdPerSecond: evidence.store?.createdPerSecond ?? 0,
    workers: evidence.workers.length,
    bottlenecks: found.map(({ code, place }) => ({ code, place })),
    nearest: nearest === undefined ? null : withoutNote(nearest),
  };
}

function withoutNote({ note: _, ...use }: ResourceUse): Omit<ResourceUse, "note"> {
  return use;
}

/** What is done now. */
export interface Throughput {
  readonly completedPerSecond: number;
  readonly workers: number;
  /** Runs wait that could have been done. */
  readonly isHeldBack: boolean;
}

/**
 * How it stands to the baseline. fell: less is done while runs wait; fell-per-worker: each worker does less while runs
 * wait; less-demand: less is done, and nothing waits; idle: hardly anything is.
 */
export const THROUGHPUT_VERDICTS = ["as-before", "less-demand", "idle", "fell", "fell-per-worker"] as const;
export type ThroughputVerdict = (typeof THROUGHPUT_VERDICTS)[number];

/** A difference that nobody needs to look at. */
const SLIGHT = 0.1;
/** Below this part of the baseline there is no load to judge by. */
const IDLE = 0.1;
/** Waiting runs that may be on their way to a free lane. */
const IN_PASSING = 10;
/** From this part of the looks on lanes are full rather than full by chance. */
const FULL = 0.5;

/** Null: nothing was completed when the baseline was recorded. */
export function compareThroughput(
  now: Throughput,
  before: Pick<ThroughputBaseline, "completedPerSecond" | "windowSeconds" | "workers">,
): ThroughputVerdict | null {
  if (before.completedPerSecond === 0) return null;
  // Few runs come unevenly: twice the standard deviation of their count is chance.
  const chance = 2 / Math.sqrt(before.completedPerSecond * before.windowSeconds);
  const least = before.completedPerSecond * (1 - Math.max(SLIGHT, chance));
  const { completedPerSecond, workers, isHeldBack } = now;
  if (!isHeldBack) {
    if (completedPerSecond >= least) return "as-before";
    return completedPerSecond < before.completedPerSecond * IDLE ? "idle" : "less-demand";
  }
  if (completedPerSecond < least) return "fell";
  return completedPerSecond / Math.max(1, workers) < least / Math.max(1, before.workers)
    ? "fell-per-worker"
    : "as-before";
}

/** Whether more could be done: runs wait while lanes are full, or more of them than are only passing by. */
export function isHeldBack(
  queues: readonly { readonly ready: number; readonly fullShare: number }[],
  completedPerSecond: number,
): boolean {
  const ready = queues.reduce((sum, one) => sum + one.ready, 0);
  return ready > Math.max(IN_PASSING, completedPerSecond) ||
    queues.some((one) => one.ready > 0 && one.fullShare >= FULL);
}

/** Those whose kind was not there before: a place may have another name after a restart. */
export function newBottlenecks(
  found: readonly Bottleneck[],
  before: Pick<ThroughputBaseline, "bottlenecks">,
): readonly Bottleneck[] {
  const known = new Set(before.bottlenecks.map(({ code }) => code));
  return found.filter(({ code }) => !known.has(code));
}
