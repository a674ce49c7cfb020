/** Figures for `/metrics`. Names are fixed here so that a label set never grows without bound. */
export type CounterName =
  | "due_times_decided_total"
  | "occurrences_published_total"
  | "attempts_claimed_total"
  | "attempts_ended_total"
  | "reports_recorded_total"
  | "reports_stale_total"
  | "attempts_lost_total"
  | "leader_refused_writes_total"
  | "log_lines_dropped_total";

export type HistogramName =
  /** Due time to start of user code, seconds. */
  | "occurrence_lateness_seconds"
  /** Run time of an attempt, seconds. */
  | "attempt_duration_seconds"
  /** One transaction of the leader or the tracker, seconds. */
  | "store_batch_seconds";

export interface Meter {
  /** `labels` come from a bounded set: job type, status, verdict. */
  count(name: CounterName, amount?: number, labels?: Readonly<Record<string, string>>): void;
  observe(name: HistogramName, value: number, labels?: Readonly<Record<string, string>>): void;
}

/** A figure that is read when somebody asks, e.g. the depth of a queue. */
export interface Gauge {
  readonly name: string;
  readonly help: string;
  readonly samples: readonly { readonly value: number; readonly labels?: Readonly<Record<string, string>> }[];
}

/** All figures as `/metrics` shows them. */
export interface MetricsPage {
  readonly contentType: string;
  /** The counters and histograms of the meter, and these gauges. */
  render(gauges: readonly Gauge[]): Promise<string>;
}
