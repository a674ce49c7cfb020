/**
 * The tree, its start and its stop.
 *
 *   supervisor
 *   ├─ tracker                 reports → store              (API role)
 *   ├─ watchdog                compares what is due with what was decided, whoever leads (API role)
 *   ├─ heartbeat               presence and leases          (worker role)
 *   ├─ consumers               one a job type: message → lane → job actors (worker role)
 *   └─ leader                  holds the lead               (API role)
 *      ├─ recovery             what crashes left behind
 *      ├─ retention            history that has reached its age
 *      ├─ bulk                 replays and cancellations of many
 *      └─ dispatcher           due time → occurrence
 *
 * Children start in this order, receivers before senders, and stop in the reverse: nothing new is decided, then
 * what runs may end (`drainMs`), what does not gets its abort signal and is reported or handed back, then presence ends,
 * and the tracker has recorded the last report before it goes.
 */
import type { RetentionRules } from "./domain/retention.ts";
import type { Clock, Random } from "./ports/clock.ts";
import type { Attempts } from "./ports/attempts.ts";
import type { DueIndex } from "./ports/due_index.ts";
import type { Events } from "./ports/events.ts";
import type { Leases } from "./ports/leases.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { Pool } from "./ports/pool.ts";
import type { Presence } from "./ports/presence.ts";
import type { Queue, ReportQueue } from "./ports/queue.ts";
import type { Store } from "./ports/store.ts";
import { bulkActor } from "./bulk.ts";
import { consumersActor } from "./consumers.ts";
import { dispatcherActor } from "./dispatcher.ts";
import type { CatchUpOptions } from "./due_pass.ts";
import { heartbeatActor } from "./heartbeat.ts";
import type { JobTypes } from "./job_types.ts";
import { Lanes } from "./lanes.ts";
import { leaderActor } from "./leader.ts";
import { LineBatch } from "./line_batch.ts";
import { recoveryActor } from "./recovery.ts";
import { retentionActor } from "./retention.ts";
import type { ProcessLoad } from "./ports/process_load.ts";
import type { ActorDefinition } from "./runtime/actor.ts";
import { trackerActor } from "./tracker.ts";
import { watchdogActor, type WatchdogOptions } from "./watchdog.ts";

/** What every instance has. */
export interface Ports {
  readonly attempts: Attempts;
  readonly queue: Queue;
  readonly reports: ReportQueue;
  readonly presence: Presence;
  readonly events: Events;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
}

/** What only an API instance has: a worker needs no way to the store but its claims. */
export interface ApiPorts extends Ports {
  readonly store: Store;
  readonly dueIndex: DueIndex;
  readonly leases: Leases;
}

export interface ApiRole {
  readonly ports: ApiPorts;
  readonly jobTypes: JobTypes;
  readonly lockTtlMs: number;
  readonly misfireThresholdMs: number;
  readonly catchUp: CatchUpOptions;
  readonly batchSize: number;
  readonly pollMs: number;
  readonly retention: { readonly rules: RetentionRules; readonly intervalMs: number };
  /** See `RecoveryOptions.soleProcess`. */
  readonly soleProcess: boolean;
  readonly onLeading: (epoch: number | null) => void;
  readonly watchdog: Pick<WatchdogOptions, "intervalMs" | "toleranceMs" | "onLooked">;
}

export interface WorkerRole {
  readonly pool: Pool;
  readonly workerId: string;
  readonly hostName: string;
  readonly version: string;
  readonly maxParallelJobs: number;
  readonly heartbeatIntervalMs: number;
  /** See `JobDeps.drainMs`. */
  readonly drainMs: number;
  /** What the process takes; without it nothing is told. */
  readonly load?: () => ProcessLoad;
}

export interface SupervisorOptions {
  readonly instanceId: string;
  readonly leaseMs: number;
  readonly api: ApiRole | null;
  readonly worker: WorkerRole | null;
}

/** The root of all actors of one process. */
export function supervisorActor(ports: Ports, options: SupervisorOptions): ActorDefinition<null, never> {
  const { instanceId, leaseMs } = options;
  return {
    kind: "supervisor",
    supervision: {
      strategy: "one-for-one",
      maxRestarts: 10,
      withinMs: 60_000,
      backoff: { firstMs: 100, maxMs: 10_000 },
    },

    start(context) {
      if (options.api !== null) {
        const { ports, lockTtlMs, watchdog } = options.api;
        context.spawn("tracker", trackerActor(ports));
        context.spawn("watchdog", watchdogActor(ports, { instanceId, lockTtlMs, ...watchdog }));
      }
      if (options.worker !== null) {
        const worker = options.worker;
        const { pool, workerId } = worker;
        const heartbeat = context.spawn(
          "heartbeat",
          heartbeatActor({ ...ports, pool }, {
            workerId,
            instanceId,
            hostName: worker.hostName,
            version: worker.version,
            maxParallelJobs: worker.maxParallelJobs,
            leaseMs,
            intervalMs: worker.heartbeatIntervalMs,
            load: worker.load,
          }),
        );
        const lanes = new Lanes(worker.maxParallelJobs);
        const lines = new LineBatch(ports);
        context.spawn(
          "consumers",
          consumersActor(
            { ...ports, pool, lanes, lines, heartbeat, workerId, instanceId, drainMs: worker.drainMs },
            { jobTypes: pool.jobTypes, leaseMs },
          ),
        );
      }
      if (options.api !== null) context.spawn("leader", leading(options.api));
      return null;
    },

    receive: (state) => state,
  };

  function leading(api: ApiRole) {
    const { store } = api.ports;
    return leaderActor({ ...api.ports, ledger: store.ledger }, {
      instanceId,
      ttlMs: api.lockTtlMs,
      onLeading: api.onLeading,
      led: (epoch, leader) => {
        const onStaleEpoch = () => void leader.tell({ type: "staleEpoch", epoch });
        const deps = { ...api.ports, ledger: store.ledger, jobs: store.jobs, jobTypes: api.jobTypes };
        return [
          {
            name: "recovery",
            definition: recoveryActor(deps, {
              epoch,
              instanceId,
              leaseMs,
              soleProcess: api.soleProcess,
              onStaleEpoch,
            }),
          },
          { name: "bulk", definition: bulkActor(deps, { epoch, onStaleEpoch }) },
          {
            name: "retention",
            definition: retentionActor({ ...api.ports, retention: store.retention }, {
              epoch,
              ...api.retention,
              onStaleEpoch,
            }),
          },
          {
            name: "dispatcher",
            definition: dispatcherActor(deps, {
              epoch,
              instanceId,
              misfireThresholdMs: api.misfireThresholdMs,
              catchUp: api.catchUp,
              batchSize: api.batchSize,
              pollMs: api.pollMs,
              onStaleEpoch,
            }),
          },
        ];
      },
    });
  }
}
