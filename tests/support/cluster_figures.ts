/** What a history costs under faults, in figures: lateness, recovery, duplicates, losses. */
import type { ClusterHistory, Fault } from "./cluster_history.ts";

export interface Figures {
  readonly dueTimes: number;
  readonly occurrences: number;
  readonly byStatus: Readonly<Record<string, number>>;
  /** Due times that a verdict range holds: they did not run, and the ledger says so. */
  readonly inRanges: number;
  readonly runs: number;
  /** Runs that neither came to their end nor threw: their process or lease was gone. */
  readonly cutOff: number;
  /** Occurrences whose job code came to its end more than once: at least once is what is promised. */
  readonly ranToTheEndTwice: number;
  readonly triggers: {
    readonly asked: number;
    readonly acknowledged: number;
    readonly refused: number;
    /** Nobody was told what became of them. */
    readonly unknown: number;
    /** Of the unknown ones: those that were done. */
    readonly unknownButDone: number;
  };
  readonly epochs: number;
  /** Due time → start, in milliseconds, of due times away from faults; of jobs with policy Allow. */
  readonly calmLateness: Quantiles | null;
  readonly faults: readonly FaultFigures[];
}

export interface Quantiles {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface FaultFigures {
  readonly what: string;
  readonly lastedMs: number;
  /** From the beginning of the fault to the last late start it caused; 0 when it delayed nothing. */
  readonly recoveredAfterMs: number;
  readonly worstLatenessMs: number;
}

/** A start that is later than this after its due time is late. */
const LATE_MS = 1000;
/** Due times this long after a fault are calm again. */
const AFTERMATH_MS = 30_000;

interface Start {
  readonly dueAt: number;
  readonly start: number;
}

export function measure(history: ClusterHistory): Figures {
  const { jobs, occurrences, ranges, runs, calls, raises, faults } = history;
  const starts = firstStarts(history);
  const ends = new Map<string, number>();
  for (const { occurrenceId, end } of runs) {
    if (end !== null) ends.set(occurrenceId, (ends.get(occurrenceId) ?? 0) + 1);
  }
  const byKey = Map.groupBy(calls.filter(({ kind }) => kind === "trigger"), ({ key }) => key);
  const told = [...byKey].map(([key, asked]) => {
    const has = (outcome: string) => asked.some((one) => one.outcome === outcome);
    return { key, outcome: has("ok") ? "ok" : has("info") ? "info" : "fail" };
  });
  const reasons = new Set(occurrences.map(({ createdReason }) => createdReason));
  const calm = starts.filter(({ dueAt }) =>
    !faults.some(({ from, to }) => dueAt >= from - LATE_MS && dueAt <= to + AFTERMATH_MS)
  );
  return {
    dueTimes: jobs.reduce((sum, { dueTimes }) => sum + dueTimes.length, 0),
    occurrences: occurrences.length,
    byStatus: Object.fromEntries(
      [...Map.groupBy(occurrences, ({ status }) => status)].map(([status, rows]) => [status, rows.length]),
    ),
    inRanges: ranges.reduce((sum, { count }) => sum + count, 0),
    runs: runs.length,
    cutOff: runs.filter(({ end, stoppedAt }) => end === null && (stoppedAt ?? null) === null).length,
    ranToTheEndTwice: [...ends.values()].filter((count) => count > 1).length,
    triggers: {
      asked: told.length,
      acknowledged: told.filter(({ outcome }) => outcome === "ok").length,
      refused: told.filter(({ outcome }) => outcome === "fail").length,
      unknown: told.filter(({ outcome }) => outcome === "info").length,
      unknownButDone: told.filter(({ key, outcome }) => outcome === "info" && reasons.has(key)).length,
    },
    epochs: raises.length,
    calmLateness: quantiles(calm.map(({ dueAt, start }) => start - dueAt)),
    faults: faults.map((fault) => faultFigures(fault, starts)),
  };
}

/** When each due time of a job with policy Allow was first worked on: nothing but the system delays those. */
function firstStarts({ jobs, occurrences, runs }: ClusterHistory): Start[] {
  const free = new Set(jobs.filter(({ policy }) => policy === "Allow").map(({ id }) => id));
  const first = new Map<string, number>();
  for (const { occurrenceId, start } of runs) {
    first.set(occurrenceId, Math.min(first.get(occurrenceId) ?? Infinity, start));
  }
  return occurrences.flatMap(({ id, jobId, scheduled, dueAt }) => {
    const start = first.get(id);
    return scheduled && free.has(jobId) && start !== undefined ? [{ dueAt, start }] : [];
  });
}

function faultFigures({ what, from, to }: Fault, starts: readonly Start[]): FaultFigures {
  const near = starts.filter(({ dueAt }) => dueAt >= from - LATE_MS && dueAt <= to + AFTERMATH_MS);
  const late = near.filter(({ dueAt, start }) => start - dueAt > LATE_MS && start >= from);
  return {
    what,
    lastedMs: to - from,
    recoveredAfterMs: Math.max(0, ...late.map(({ start }) => start - from)),
    worstLatenessMs: Math.max(0, ...near.map(({ dueAt, start }) => start - dueAt)),
  };
}

function quantiles(values: readonly number[]): Quantiles | null {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return sorted.length === 0
    ? null
    : { count: sorted.length, p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? NaN };
}
