/**
 * What a row of the benchmarks is: some figures, each measured several times.
 *
 * A row is set up (a program, a cluster), then makes its runs one after the other. Each run gives its figures by name,
 * and beside them what the same servers gave alone, in the same run: the bare limit. The median of the runs is what
 * counts.
 */

/** The numbers of one run, by name. Names that no `Figure` bears are kept with the runs and shown nowhere else. */
export type Run = Readonly<Record<string, number>>;

/** A number that each run of a row gives. */
export interface Figure {
  /** Its name in the runs. */
  readonly name: string;
  readonly unit: string;
  /** The budget. Neither: it is recorded only. */
  readonly atLeast?: number;
  readonly atMost?: number;
  /** The budget holds for the worst of the runs, not for their median. */
  readonly worstCounts?: boolean;
  /** What it would be if the scheduler cost nothing: a number, or the name of a run's number that says it. */
  readonly ideal?: number | string;
  /** The name of a run's number: what the servers (or the bare store, or timer) gave alone. */
  readonly bare?: string;
}

/** What a row has to measure with. */
export interface Bench {
  /** Makes the runs that were asked for, one after the other. */
  readonly repeat: (run: () => Promise<Run>) => Promise<readonly Run[]>;
  /** So many; with `--quick` a fiftieth, which shows that a row works and nothing else. */
  readonly count: (full: number) => number;
}

export interface Benchmark {
  readonly name: string;
  /** What is measured, in one line. */
  readonly about: string;
  /** About how long it takes on a quiet machine of two cores, seconds: before its first run, and each run. */
  readonly seconds: readonly [setUp: number, run: number];
  /** Why it is run once, whatever `--runs` says. */
  readonly onceBecause?: string;
  readonly figures: readonly Figure[];
  readonly measure: (bench: Bench) => Promise<readonly Run[]>;
}

/** The value below which `share` of the sorted values lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

/** Of an even number the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? NaN) + (sorted[Math.floor(middle)] ?? NaN)) / 2;
}

/** Who asks about a run at once takes processors from that very run. Milliseconds. */
export const ASKED_AFTER_MS = 30;

/** A run's p50 and p99 under `${name} p50` and `${name} p99`, with the worst beside them. */
export function percentiles(name: string, values: readonly number[]): Run {
  return {
    [`${name} p50`]: percentile(values, 0.5),
    [`${name} p99`]: percentile(values, 0.99),
    [`${name} most`]: Math.max(...values),
  };
}

/** Sets up `measure`'s ground anew for each run. */
export function eachRun(run: (bench: Bench) => Promise<Run>): Benchmark["measure"] {
  return (bench) => bench.repeat(() => run(bench));
}
