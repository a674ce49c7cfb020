/**
 * Figures in Prometheus' text format (0.0.4). All names begin with `milvaion_`. Written by hand: the format is a few
 * lines, and the usual library would cost 75 ms of each start.
 */
import type { CounterName, Gauge, HistogramName, Meter, MetricsPage } from "../actors/ports/meter.ts";

const PREFIX = "milvaion_";

const COUNTERS: Readonly<Record<CounterName, string>> = {
  due_times_decided_total: "Due times decided",
  occurrences_published_total: "Job messages that the queue accepted",
  attempts_claimed_total: "Attempts that a worker won the right to run",
  attempts_ended_total: "Attempts that ended in this process",
  reports_recorded_total: "Reports that changed an occurrence",
  reports_stale_total: "Reports that came too late and were kept as evidence",
  attempts_lost_total: "Attempts whose worker fell silent",
  failed_occurrences_total: "Occurrences that failed for good, by kind of failure",
  bulk_items_begun_total: "Items of bulk actions that were begun",
  jobs_auto_disabled_total: "Jobs disabled because they kept failing, probes that failed, jobs enabled again",
  leader_refused_writes_total: "Writes refused because a newer leader had begun",
  log_lines_dropped_total: "Log lines of jobs that were too many to keep",
  watchdog_missing_due_times_total: "Due times that the watchdog found undecided",
  watchdog_alerts_total: "Alerts that this instance's watchdog raised",
  reports_held_back_total:
    "Reports written to the outbox of this worker because the broker did not take them",
  outbox_write_failures_total:
    "Times that the outbox of this worker could not be written: what waits is in memory",
  retention_removed_total: "Rows of history that reached their age and were removed",
  http_requests_total: "Requests that an endpoint answered, by method and path",
  http_request_seconds_total: "Time that answering them took, by method and path",
};

/** Fine around what is usual and around what is too much: percentiles are read from them. */
const CALL_BUCKETS = [
  0.0005,
  0.001,
  0.002,
  0.005,
  0.01,
  0.02,
  0.035,
  0.05,
  0.075,
  0.1,
  0.15,
  0.25,
  0.5,
  1,
  2,
  5,
  10,
];

const HISTOGRAMS: Readonly<
  Record<HistogramName, { readonly help: string; readonly buckets: readonly number[] }>
> = {
  occurrence_lateness_seconds: {
    help: "From the due time to the start of user code",
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600],
  },
  attempt_duration_seconds: {
    help: "Run time of attempts",
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200],
  },
  store_batch_seconds: {
    help: "One transaction of the leader or the tracker",
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2],
  },
  store_sync_seconds: { help: "One sync of the embedded store to the disk", buckets: CALL_BUCKETS },
  postgres_statement_seconds: { help: "One statement on PostgreSQL", buckets: CALL_BUCKETS },
  redis_call_seconds: { help: "One call to Redis", buckets: CALL_BUCKETS },
  event_loop_delay_seconds: { help: "How late timers came, ten times a second", buckets: CALL_BUCKETS },
};

type Labels = Readonly<Record<string, string>>;

/** What one histogram has seen with one set of labels. */
interface Seen {
  /** Observations at or below each bound, and not below the bound before it. */
  readonly perBucket: number[];
  count: number;
  sum: number;
}

/** Observations of a histogram over all its labels, since the start. */
export interface Distribution {
  /** Upper bounds, seconds. What is above the last one is in no bucket. */
  readonly bounds: readonly number[];
  readonly perBucket: readonly number[];
  readonly count: number;
}

/** The figures of the meter as numbers. */
export interface MeterReader {
  /** By the labels as the page writes them, e.g. `{route="/livez"}`. */
  counter(name: CounterName): ReadonlyMap<string, number>;
  distribution(name: HistogramName): Distribution;
}

/** The meter of this process, the page that shows it, and what reads it. */
export function createMetrics(): {
  readonly meter: Meter;
  readonly page: MetricsPage;
  readonly reader: MeterReader;
} {
  // By name, then by the labels as they are written: `{outcome="completed"}`.
  const counted = new Map<CounterName, Map<string, number>>();
  const observed = new Map<HistogramName, Map<string, Seen>>();

  return {
    meter: {
      count(name, amount = 1, labels) {
        const series = within(counted, name, () => new Map<string, number>());
        const key = written(labels);
        series.set(key, (series.get(key) ?? 0) + amount);
      },
      observe(name, value, labels) {
        const series = within(observed, name, () => new Map<string, Seen>());
        const { buckets } = HISTOGRAMS[name];
        const seen = within(
          series,
          written(labels),
          () => ({ perBucket: buckets.map(() => 0), count: 0, sum: 0 }),
        );
        const bucket = buckets.findIndex((bound) => value <= bound);
        if (bucket !== -1) seen.perBucket[bucket] = (seen.perBucket[bucket] ?? 0) + 1;
        seen.count++;
        seen.sum += value;
      },
    },
    reader: {
      counter: (name) => new Map(counted.get(name)),
      distribution(name) {
        const { buckets: bounds } = HISTOGRAMS[name];
        const all = [...observed.get(name)?.values() ?? []];
        return {
          bounds,
          perBucket: bounds.map((_, index) => all.reduce((sum, one) => sum + (one.perBucket[index] ?? 0), 0)),
          count: all.reduce((sum, one) => sum + one.count, 0),
        };
      },
    },
    page: {
      contentType: "text/plain; version=0.0.4; charset=utf-8",
      render(gauges) {
        const lines = [
          ...counterLines(counted),
          ...histogramLines(observed),
          ...[...gauges, ...processGauges()].flatMap(gaugeLines),
        ];
        return Promise.resolve(lines.join("\n") + "\n");
      },
    },
  };
}

function* counterLines(counted: ReadonlyMap<CounterName, ReadonlyMap<string, number>>): Generator<string> {
  for (const [name, help] of entries(COUNTERS)) {
    yield* header(name, "counter", help);
    // A counter that never counted is zero, so that a rule over it does not miss its first step.
    for (const [labels, value] of counted.get(name) ?? [["", 0]]) yield `${PREFIX}${name}${labels} ${value}`;
  }
}

function* histogramLines(observed: ReadonlyMap<HistogramName, ReadonlyMap<string, Seen>>): Generator<string> {
  for (const [name, { help, buckets }] of entries(HISTOGRAMS)) {
    yield* header(name, "histogram", help);
    for (const [labels, { perBucket, count, sum }] of observed.get(name) ?? []) {
      const others = labels === "" ? "" : labels.slice(1, -1) + ",";
      let atOrBelow = 0;
      for (const [index, bound] of buckets.entries()) {
        atOrBelow += perBucket[index] ?? 0;
        yield `${PREFIX}${name}_bucket{${others}le="${bound}"} ${atOrBelow}`;
      }
      yield `${PREFIX}${name}_bucket{${others}le="+Inf"} ${count}`;
      yield `${PREFIX}${name}_sum${labels} ${sum}`;
      yield `${PREFIX}${name}_count${labels} ${count}`;
    }
  }
}

function gaugeLines({ name, help, samples }: Gauge): readonly string[] {
  return [
    ...header(name, "gauge", help),
    ...samples.map(({ value, labels }) => `${PREFIX}${name}${written(labels)} ${value}`),
  ];
}

function header(name: string, type: string, help: string): readonly string[] {
  return [`# HELP ${PREFIX}${name} ${help}`, `# TYPE ${PREFIX}${name} ${type}`];
}

/** `{state="busy",pool="local"}`, empty without labels. */
function written(labels: Labels = {}): string {
  let text = "";
  for (const name in labels) text += `${text === "" ? "{" : ","}${name}="${escaped(labels[name] ?? "")}"`;
  return text === "" ? "" : text + "}";
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

function processGauges(): readonly Gauge[] {
  const { rss, heapUsed } = Deno.memoryUsage();
  return [
    { name: "process_resident_memory_bytes", help: "Memory of this process", samples: [{ value: rss }] },
    { name: "process_heap_bytes", help: "JavaScript heap in use", samples: [{ value: heapUsed }] },
  ];
}

/** The value under a key, made when it is first asked for. */
function within<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function entries<K extends string, V>(record: Readonly<Record<K, V>>): readonly (readonly [K, V])[] {
  return Object.entries(record) as unknown as readonly (readonly [K, V])[];
}
