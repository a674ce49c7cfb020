/**
 * The tree, its start and its stop.
 *
 *   supervisor
 *   ├─ tracker                 reports → store              (API role)
 *   ├─ heartbeat               presence and leases          (worker role)
 *   ├─ consumer-<job type> …   message → lane → job actors  (worker role)
 *   └─ leader                  holds the lead               (API role)
 *      ├─ recovery             what crashes left behind
 *      └─ dispatcher           due time → occurrence
 *
 * Children start in this order, receivers before senders, and stop in the reverse: nothing new is decided, then
 * running jobs get their abort signal and their grace and are reported or handed back, then presence ends, and the
 * tracker has recorded the last report before it goes.
 */
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
import { consumerActor } from "./consumer.ts";
import { dispatcherActor } from "./dispatcher.ts";
import { heartbeatActor } from "./heartbeat.ts";
import type { JobTypes } from "./job_types.ts";
import { Lanes } from "./lanes.ts";
import { leaderActor } from "./leader.ts";
import { LineBatch } from "./line_batch.ts";
import { recoveryActor } from "./recovery.ts";
import type { ActorDefinition } from "./runtime/actor.ts";
import { trackerActor } from "./tracker.ts";

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
  readonly batchSize: number;
  readonly pollMs: number;
  /** See `RecoveryOptions.soleProcess`. */
  readonly soleProcess: boolean;
  readonly onLeading: (epoch: number | null) => void;
}

export interface WorkerRole {
  readonly pool: Pool;
  readonly workerId: string;
  readonly hostName: string;
  readonly version: string;
  readonly maxParallelJobs: number;
  readonly heartbeatIntervalMs: number;
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
      if (options.api !== null) context.spawn("tracker", trackerActor(options.api.ports));
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
          }),
        );
        const lanes = new Lanes(worker.maxParallelJobs);
        const lines = new LineBatch(ports);
        for (const offer of pool.jobTypes) {
          context.spawn(
            `consumer-${offer.name}`,
            consumerActor({ ...ports, pool, lanes, lines, heartbeat, workerId, instanceId }, {
              offer,
              leaseMs,
            }),
          );
        }
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
          {
            name: "dispatcher",
            definition: dispatcherActor(deps, {
              epoch,
              instanceId,
              misfireThresholdMs: api.misfireThresholdMs,
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
