/**
 * What a job's runs depend on besides the job: servers, leader, workers and queues, as one API instance sees them. Null
 * is what could not be asked; nothing is concluded from it.
 */
import { agoText, countText, evidence, listText, momentText } from "./explanation.ts";
import { type Hindrance, hindrance, type HindranceCode } from "./hindrance.ts";
import type { LapsingAttempt } from "./silent_run.ts";

/** What one worker instance announced last. */
export interface WorkerStanding {
  /** The pool. */
  readonly workerId: string;
  readonly instanceId: string;
  readonly isStopping: boolean;
  /** Reports that it could not deliver yet. */
  readonly reportsHeldBack: number;
  /** Epoch milliseconds. */
  readonly lastSeenAt: number;
  /** Lanes of the process, over all types. */
  readonly maxParallelJobs: number;
  readonly running: readonly { readonly occurrenceId: string; readonly token: number }[];
  readonly jobTypes: readonly {
    readonly name: string;
    readonly maxParallelJobs: number;
    readonly lanesBusy: number;
  }[];
}

/** The messages of a type that wait in its queue, or in the queue of one pool. */
export interface QueueStanding {
  readonly jobType: string;
  readonly pool: string | null;
  readonly ready: number;
  readonly unacknowledged: number;
  readonly consumers: number;
}

/** The newest epoch. */
export interface LeaderStanding {
  readonly epoch: number;
  readonly holder: string;
  readonly since: number;
  readonly leaseUntil: number;
  readonly endedAt: number | null;
}

/** All of it. Moments are epoch milliseconds. */
export interface Surroundings {
  readonly now: number;
  /** The instance whose view this is. */
  readonly instanceId: string;
  readonly servers: readonly { readonly name: string; readonly isConnected: boolean }[];
  /** False while it is known that this instance can publish nothing. */
  readonly canPublish: boolean;
  /** Null when nobody ever led. */
  readonly leader: LeaderStanding | null;
  readonly workers: readonly WorkerStanding[] | null;
  readonly queues: readonly QueueStanding[] | null;
  /** Running attempts whose lease ends before `lapsingBefore`. */
  readonly lapsing: readonly LapsingAttempt[];
  /** How long a lease is, milliseconds. */
  readonly leaseMs: number;
  /** What is late by less is on its way. Milliseconds. */
  readonly toleranceMs: number;
}

/** What a run needs: its type, and the pool that it is pinned to. */
export interface Demand {
  readonly jobType: string;
  readonly pool: string | null;
}

/** Since when nobody leads, or null while somebody does. `from` is where to count from when nobody ever has. */
export function leaderlessSince(
  { leader, now }: Pick<Surroundings, "leader" | "now">,
  from: number,
): number | null {
  if (leader === null) return from;
  if (leader.endedAt !== null) return leader.endedAt;
  return leader.leaseUntil < now ? leader.leaseUntil : null;
}

/** Whether due times are being decided: who leads, and whether this job's come late. */
export function leaderHindrances(
  around: Surroundings,
  job: { readonly id: string; readonly createdAt: number; readonly nextDueAt: number | null },
): readonly Hindrance[] {
  const { leader, now, toleranceMs } = around;
  const since = leaderlessSince(around, job.createdAt);
  if (since !== null) {
    const last = leader === null
      ? "nobody ever has"
      : `${leader.holder} was the last (epoch ${leader.epoch}, since ${momentText(leader.since)}, until ${
        momentText(since)
      })`;
    return [hindrance("no-leader", `No instance leads, so no due time is decided: ${last}.`, {
      since,
      evidence: leader === null
        ? []
        : [evidence("epoch", String(leader.epoch), leader.since), evidence("instance", leader.holder)],
    })];
  }
  const { nextDueAt } = job;
  if (leader === null || nextDueAt === null || now - nextDueAt <= toleranceMs) return [];
  const sentence =
    `The due time ${momentText(nextDueAt)} (${
      agoText(now - nextDueAt)
    }) has come and is not decided, although ` +
    `${leader.holder} leads since ${momentText(leader.since)} and holds its lock until ` +
    `${momentText(leader.leaseUntil)}: it is behind, or stuck.`;
  return [hindrance("leader-behind", sentence, {
    since: nextDueAt,
    evidence: [
      evidence("due-time", job.id, nextDueAt),
      evidence("epoch", String(leader.epoch), leader.since),
      evidence("instance", leader.holder),
    ],
  })];
}

/** What is said of a due time that has come and is not decided, also while it is late by less than the tolerance. */
export function undecidedText({ leader, now }: Surroundings, dueAt: number): string {
  const who = leader === null || leader.endedAt !== null
    ? ""
    : ` That is for ${leader.holder}, which leads (epoch ${leader.epoch}) and holds its lock until ${
      momentText(leader.leaseUntil)
    }.`;
  return `It was due at ${momentText(dueAt)}, ${agoText(now - dueAt)}, and has not been decided yet.${who}`;
}

/** What a due time that is yet to come would meet as well, were all as it is now: what does not pass by itself. */
export function lastingHindrances(
  around: Surroundings,
  job: Parameters<typeof leaderHindrances>[1] & Demand,
): readonly Hindrance[] {
  return [...leaderHindrances(around, job), ...serverHindrances(around), ...workerHindrances(around, job)]
    .filter(({ code }) => LASTING.has(code));
}

const LASTING: ReadonlySet<HindranceCode> = new Set([
  "no-leader",
  "broker-down",
  "no-worker",
  "no-worker-in-pool",
  "worker-not-listening",
]);

/** Servers that this instance cannot reach. */
export function serverHindrances({ servers, canPublish, instanceId }: Surroundings): readonly Hindrance[] {
  const found: Hindrance[] = [];
  const broker = servers.find(({ name }) => name === "RabbitMQ");
  if (!canPublish || broker?.isConnected === false) {
    found.push(hindrance(
      "broker-down",
      `Instance ${instanceId} cannot reach the broker: what is due is decided and kept, and goes to workers when it is back.`,
      { evidence: [evidence("server", "RabbitMQ"), evidence("instance", instanceId)] },
    ));
  }
  if (servers.some(({ name, isConnected }) => name === "Redis" && !isConnected)) {
    found.push(hindrance(
      "redis-down",
      `Instance ${instanceId} cannot reach Redis: the leader goes on from the store; which workers are there is not known.`,
      { evidence: [evidence("server", "Redis"), evidence("instance", instanceId)] },
    ));
  }
  return found;
}

/** Whether a worker can take a run that is ready: one that offers the type, listens, and has a lane. */
export function workerHindrances(around: Surroundings, demand: Demand): readonly Hindrance[] {
  if (around.workers === null) return [];
  const offering = around.workers.filter((worker) => typeOf(worker, demand.jobType) !== undefined);
  const able = offering.filter((worker) =>
    !worker.isStopping && (demand.pool === null || worker.workerId === demand.pool)
  );
  if (able.length === 0) return [missing(demand, around.workers, offering)];
  const free = able.filter((worker) => freeLanes(worker, demand.jobType) > 0);
  if (free.length === 0) return [lanesFull(demand, able)];
  return isDeaf(around, demand)
    ? [hindrance(
      "worker-not-listening",
      `Workers with free lanes offer ${demand.jobType} (${
        listText(free.map(({ instanceId }) => instanceId))
      }), but ` +
        "nobody listens to its queue: the way from there to the broker seems to be cut.",
      {
        evidence: [
          ...free.map(({ instanceId }) => evidence("worker", instanceId)),
          evidence("queue", queueText(demand)),
        ],
      },
    )]
    : [];
}

/** How many messages of the type wait in the queue that a run would go to; null when it could not be asked. */
export function waitingBefore({ queues }: Surroundings, demand: Demand): number | null {
  return queues === null ? null : queueOf(queues, demand)?.ready ?? 0;
}

export function queueHindrances(around: Surroundings, demand: Demand): readonly Hindrance[] {
  const count = waitingBefore(around, demand);
  if (count === null || count === 0) return [];
  const sentence = `${countText(count, "occurrence")} of ${queueText(demand)} ${
    count === 1 ? "waits" : "wait"
  } in the queue for a lane.`;
  return [hindrance("queue-behind", sentence, { evidence: [evidence("queue", queueText(demand))] })];
}

/** True when the queue of the type holds nothing, waiting or handed out; null when it could not be asked. */
export function isQueueEmpty({ queues }: Surroundings, demand: Demand): boolean | null {
  if (queues === null) return null;
  const queue = queueOf(queues, demand);
  return queue === undefined || queue.ready + queue.unacknowledged === 0;
}

function missing(
  { jobType, pool }: Demand,
  workers: readonly WorkerStanding[],
  offering: readonly WorkerStanding[],
): Hindrance {
  const willing = offering.filter((worker) => !worker.isStopping);
  if (pool !== null && willing.length > 0) {
    const pools = [...new Set(willing.map(({ workerId }) => workerId))].sort();
    const hasPool = workers.some(({ workerId }) => workerId === pool);
    const sentence = `The job is pinned to the pool ${pool}, ${
      hasPool ? `which does not offer ${jobType}` : "where no worker is"
    }; ${listText(pools)} would.`;
    return hindrance("no-worker-in-pool", sentence, {
      evidence: [evidence("pool", pool), ...pools.map((one) => evidence("pool", one))],
    });
  }
  const stopping = offering.filter((worker) => worker.isStopping).map(({ instanceId }) => instanceId);
  const sentence = stopping.length > 0
    ? `No worker takes ${jobType} any more: ${listText(stopping)} is stopping, and no other offers it.`
    : `No worker offers ${jobType}: ${
      workers.length === 0
        ? "no worker is there at all"
        : `those that are there (${listText(workers.map(({ instanceId }) => instanceId))}) offer other types`
    }.`;
  return hindrance("no-worker", sentence, {
    evidence: [
      ...(pool === null ? [] : [evidence("pool", pool)]),
      ...stopping.map((one) => evidence("worker", one)),
    ],
  });
}

function lanesFull({ jobType }: Demand, able: readonly WorkerStanding[]): Hindrance {
  const texts = able.map((worker) => {
    const type = typeOf(worker, jobType);
    const isOwn = type !== undefined && type.lanesBusy >= type.maxParallelJobs;
    return isOwn
      ? `${worker.instanceId}: ${type.lanesBusy} of ${type.maxParallelJobs} busy`
      : `${worker.instanceId}: ${worker.running.length} of ${worker.maxParallelJobs} busy, with all its types`;
  });
  return hindrance("lanes-full", `All lanes for ${jobType} are busy (${listText(texts)}).`, {
    evidence: able.map(({ instanceId }) => evidence("worker", instanceId)),
  });
}

function isDeaf({ queues }: Surroundings, demand: Demand): boolean {
  const queue = queues === null ? undefined : queueOf(queues, demand);
  return queue !== undefined && queue.consumers === 0;
}

function freeLanes(worker: WorkerStanding, jobType: string): number {
  const type = typeOf(worker, jobType);
  const ofType = type === undefined ? 0 : type.maxParallelJobs - type.lanesBusy;
  return Math.min(ofType, worker.maxParallelJobs - worker.running.length);
}

function typeOf(worker: WorkerStanding, jobType: string): WorkerStanding["jobTypes"][number] | undefined {
  return worker.jobTypes.find(({ name }) => name === jobType);
}

function queueOf(queues: readonly QueueStanding[], { jobType, pool }: Demand): QueueStanding | undefined {
  return queues.find((queue) => queue.jobType === jobType && queue.pool === pool);
}

function queueText({ jobType, pool }: Demand): string {
  return pool === null ? jobType : `${jobType} in pool ${pool}`;
}
