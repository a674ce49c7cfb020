/** Figures for `/metrics`. Names are fixed here so that a label set never grows without bound. */
export type CounterName =
  | "due_times_decided_total"
  | "occurrences_published_total"
  | "attempts_claimed_total"
  | "attempts_ended_total"
  | "reports_recorded_total"
  | "reports_stale_total"
  | "attempts_lost_total"
  | "failed_occurrences_total"
  | "bulk_items_begun_total"
  /** By `change`: disabled, probeFailed, enabled. */
  | "jobs_auto_disabled_total"
  | "leader_refused_writes_total"
  | "log_lines_dropped_total"
  | "watchdog_missing_due_times_total"
  | "watchdog_alerts_total"
  | "reports_held_back_total"
  | "outbox_write_failures_total"
  | "retention_removed_total"
  | "http_requests_total"
  /** By route: how long answering took, seconds. */
  | "http_request_seconds_total";

export type HistogramName =
  /** Due time to start of user code, seconds. */
  | "occurrence_lateness_seconds"
  /** Run time of an attempt, seconds. */
  | "attempt_duration_seconds"
  /** One transaction of the leader or the tracker, seconds. */
  | "store_batch_seconds"
  /** One sync of the embedded store to the disk, seconds. */
  | "store_sync_seconds"
  /** One statement of this process on PostgreSQL, seconds. */
  | "postgres_statement_seconds"
  /** One call of this process to Redis, seconds. */
  | "redis_call_seconds"
  /** How late a timer came, seconds. */
  | "event_loop_delay_seconds";

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
