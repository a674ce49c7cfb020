/** `/metrics`: the meter's counters, and what can be counted by looking. */
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import type { FailureKind } from "../actors/domain/failed_occurrence.ts";
import type { Gauge } from "../actors/ports/meter.ts";
import type { WorkerInstance } from "../actors/ports/presence.ts";
import type { QueueDepth } from "../actors/ports/queue.ts";
import type { CopyState } from "../actors/ports/reads.ts";
import type { StatusCounts } from "../actors/ports/store.ts";
import { lanesBusy } from "./workers.ts";

/** The endpoint that Prometheus reads. */
export function metricsEndpoint(deps: ApiDeps): Endpoint {
  return endpoint({
    method: "GET",
    path: "/metrics",
    tag: "health",
    summary: "Show all figures in Prometheus' text format",
    answers: { 200: { description: "Counters, histograms and gauges", contentType: "text/plain" } },
    problems: [],
    async handle() {
      const { metrics } = deps;
      const text = await metrics.render(await gauges(deps));
      return new Response(text, { headers: { "content-type": metrics.contentType } });
    },
  });
}

/** A server that is away must not hide the figures of the others: what cannot be asked is left out. */
async function gauges(deps: ApiDeps): Promise<readonly Gauge[]> {
  const [counts, depths, workers, scheduled, unresolved] = await Promise.allSettled([
    deps.store.reads.reader(null).history.counts(),
    deps.queue.depth(),
    deps.jobTypes.refresh(),
    deps.dueIndex.size(),
    deps.store.failed.unresolved(),
  ]);
  return [
    ...ownGauges(deps),
    ...(counts.status === "fulfilled" ? countGauges(counts.value) : []),
    ...(scheduled.status === "fulfilled"
      ? [one("due_index_entries", "Jobs with a coming due time", scheduled.value)]
      : []),
    ...(unresolved.status === "fulfilled" ? [unresolvedGauge(unresolved.value)] : []),
    ...(depths.status === "fulfilled" ? [depthGauge(depths.value)] : []),
    ...(workers.status === "fulfilled" ? workerGauges(workers.value) : []),
  ];
}

function ownGauges(deps: ApiDeps): readonly Gauge[] {
  const actors = deps.actors.snapshot();
  const { isLeader, epoch } = deps.leadership();
  return [
    one("leader", "1 while this instance leads", isLeader ? 1 : 0),
    one("leader_epoch", "Epoch of this instance while it leads, else 0", epoch ?? 0),
    {
      name: "server_connected",
      help: "1 while the server can be reached",
      samples: deps.servers().map(({ name, isConnected }) => ({
        value: isConnected ? 1 : 0,
        labels: { server: name },
      })),
    },
    ...replicaGauges(deps.store.reads.copies()),
    ...watchdogGauges(deps),
    one("actors", "Actors alive in this process", actors.length),
    one(
      "mailbox_messages",
      "Messages waiting in mailboxes",
      actors.reduce((sum, { waiting }) => sum + waiting, 0),
    ),
    one("dead_letters", "Messages that nobody received", deps.actors.deadLetters),
  ];
}

/** A figure that nobody knows is left out. */
function replicaGauges(replicas: readonly CopyState[]): readonly Gauge[] {
  if (replicas.length === 0) return [];
  const gauge = (name: string, help: string, of: (replica: CopyState) => number | null): Gauge => ({
    name,
    help,
    samples: replicas.flatMap((replica) => {
      const value = of(replica);
      return value === null ? [] : [{ value, labels: { replica: replica.name } }];
    }),
  });
  return [
    gauge("replica_used", "1 while lists are read from the replica", ({ isUsed }) => isUsed ? 1 : 0),
    gauge("replica_lag_bytes", "What the replica has not got yet", ({ lagBytes }) => lagBytes),
    gauge(
      "replica_lag_seconds",
      "For how long the replica has lacked something",
      ({ lagSeconds }) => lagSeconds,
    ),
  ];
}

function watchdogGauges(deps: ApiDeps): readonly Gauge[] {
  const watched = deps.watchdog();
  return watched === null ? [] : [
    one(
      "watchdog_missing_due_times",
      "Due times known not to be decided although they should be",
      watched.missingDueTimes,
    ),
    one("watchdog_looked_at_seconds", "When the watchdog last looked, as Unix time", watched.lookedAt / 1000),
  ];
}

function countGauges(counts: StatusCounts): readonly Gauge[] {
  return [
    one("jobs", "Jobs", counts.jobs),
    one("active_jobs", "Jobs that are active", counts.activeJobs),
    {
      name: "occurrences",
      help: "Occurrences by status",
      samples: Object.entries(counts.byStatus).map(([status, value]) => ({ value, labels: { status } })),
    },
  ];
}

function unresolvedGauge(counts: Readonly<Record<FailureKind, number>>): Gauge {
  return {
    name: "failed_occurrences_unresolved",
    help: "Failed occurrences that nobody has resolved, by kind of failure",
    samples: Object.entries(counts).map(([kind, value]) => ({ value, labels: { kind } })),
  };
}

function depthGauge(depths: readonly QueueDepth[]): Gauge {
  return {
    name: "queue_messages",
    help: "Job messages by type, pool and state",
    samples: depths.flatMap(({ jobType, pool, ready, unacknowledged }) => {
      const labels = { jobType, pool: pool ?? "" };
      return [
        { value: ready, labels: { ...labels, state: "ready" } },
        { value: unacknowledged, labels: { ...labels, state: "unacknowledged" } },
      ];
    }),
  };
}

function workerGauges(workers: readonly WorkerInstance[]): readonly Gauge[] {
  return [
    one("worker_instances", "Worker instances heard of", workers.length),
    { name: "lanes", help: "Lanes by pool and state", samples: [...lanes(workers)] },
    {
      name: "worker_reports_held_back",
      help: "Reports that wait on the disks of workers, by pool",
      samples: [...Map.groupBy(workers, ({ workerId }) => workerId)].map(([pool, instances]) => ({
        value: instances.reduce((sum, { reportsHeldBack }) => sum + reportsHeldBack, 0),
        labels: { pool },
      })),
    },
  ];
}

function one(name: string, help: string, value: number): Gauge {
  return { name, help, samples: [{ value }] };
}

function* lanes(workers: readonly WorkerInstance[]): Generator<Gauge["samples"][number]> {
  for (const [pool, instances] of Map.groupBy(workers, ({ workerId }) => workerId)) {
    const busy = instances.reduce((sum, instance) => sum + lanesBusy(instance), 0);
    const all = instances.reduce((sum, { maxParallelJobs }) => sum + maxParallelJobs, 0);
    yield { value: busy, labels: { pool, state: "busy" } };
    yield { value: Math.max(0, all - busy), labels: { pool, state: "free" } };
  }
}
