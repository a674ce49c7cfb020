/** Who works: worker instances and what they offer, the queues between, and the leader. */
import { z } from "zod";
import { ISOLATIONS, queueName } from "../actors/domain/job_type.ts";
import { MAX_RETRY_DELAY_SECONDS, RETRY_ACTIONS } from "../actors/domain/retry.ts";
import type { WorkerInstance } from "../actors/ports/presence.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { iso, isoOrNull, jsonView, momentView } from "./fields.ts";
import { listView } from "./lists.ts";

const EPOCHS_SHOWN = 50;

const retryRuleView = z.strictObject({
  error: z.string(),
  action: z.enum(RETRY_ACTIONS),
  maxRetries: z.int().nullable(),
  baseRetryDelaySeconds: z.number().nullable(),
});

const jobTypeView = z.strictObject({
  name: z.string().describe("Class name: what a job gives as jobType"),
  description: z.string(),
  schema: jsonView.describe("JSON Schema of jobData; null when any object will do"),
  routingPattern: z.string(),
  maxParallelJobs: z.int(),
  threads: z.int(),
  isolation: z.enum(ISOLATIONS),
  executionTimeoutSeconds: z.number().nullable(),
  maxRetries: z.int(),
  baseRetryDelaySeconds: z.number(),
  maxRetryDelaySeconds: z.number(),
  retryBudgetSeconds: z.number().nullable().describe("Null: no limit"),
  retryRules: z.array(retryRuleView).describe("The first that fits an error counts"),
  lanesBusy: z.int(),
  lanesFree: z.int(),
});

const workerView = z.strictObject({
  workerId: z.string().describe("The pool"),
  instanceId: z.string().describe("The process"),
  hostName: z.string(),
  version: z.string(),
  startedAt: momentView,
  lastSeenAt: momentView,
  isStopping: z.boolean(),
  reportsHeldBack: z.int().describe("Reports of ended runs that wait on the worker's disk for the broker"),
  maxParallelJobs: z.int(),
  lanesBusy: z.int(),
  lanesFree: z.int(),
  jobTypes: z.array(jobTypeView),
  running: z.array(z.strictObject({ occurrenceId: z.uuid(), scheduledFor: momentView, token: z.int() }))
    .describe("What runs, and what has ended and its report is held back"),
}).meta({ id: "Worker" });

const queueView = z.strictObject({
  jobType: z.string(),
  pool: z.string().nullable(),
  name: z.string().nullable().describe("The queue of the type; null while nobody offers it"),
  ready: z.int(),
  unacknowledged: z.int(),
  consumers: z.int(),
}).meta({ id: "Queue" });

const epochView = z.strictObject({
  epoch: z.int(),
  holder: z.string(),
  since: momentView,
  leaseUntil: momentView,
  endedAt: momentView.nullable().describe("Null while it leads, and when it ended without a word"),
  refusedWrites: z.int().describe("Writes of this epoch that came too late and were refused"),
});

const leadershipView = z.strictObject({
  isLeader: z.boolean().describe("Whether the instance that answers leads"),
  instanceId: z.string().describe("The instance that answers"),
  holder: z.string().nullable(),
  epoch: z.int().nullable(),
  since: momentView.nullable(),
  history: z.array(epochView).describe("Newest first"),
}).meta({ id: "Leadership" });

/** The endpoints about workers, queues and leadership. */
export function workerEndpoints(deps: ApiDeps): readonly Endpoint[] {
  const { store, jobTypes, queue, settings } = deps;

  const workers = endpoint({
    method: "GET",
    path: "/api/v1/workers",
    tag: "workers",
    summary: "List the worker instances that are there",
    answers: { 200: { description: "All of them, on one page", schema: listView(workerView) } },
    problems: [],
    async handle() {
      const instances = await jobTypes.refresh(true);
      return { status: 200, body: { items: instances.map(viewWorker), nextCursor: null } };
    },
  });

  const queues = endpoint({
    method: "GET",
    path: "/api/v1/queues",
    tag: "workers",
    summary: "List the queues of job messages",
    answers: { 200: { description: "All of them, on one page", schema: listView(queueView) } },
    problems: [],
    async handle() {
      await jobTypes.refresh();
      const depths = await queue.depth();
      const items = depths.map((depth): z.output<typeof queueView> => {
        const offer = jobTypes.offer(depth.jobType);
        const name = offer === null ? null : queueName(offer.routingPattern, depth.pool);
        const { jobType, pool, ready, unacknowledged, consumers } = depth;
        return { jobType, pool, name, ready, unacknowledged, consumers };
      });
      return { status: 200, body: { items, nextCursor: null } };
    },
  });

  const leadership = endpoint({
    method: "GET",
    path: "/api/v1/leadership",
    tag: "workers",
    summary: "Say which instance leads",
    answers: { 200: { description: "The leader and those before it", schema: leadershipView } },
    problems: [],
    async handle() {
      const epochs = await store.ledger.epochs(EPOCHS_SHOWN);
      const [newest] = epochs;
      const current = newest !== undefined && newest.endedAt === null ? newest : null;
      const body: z.output<typeof leadershipView> = {
        isLeader: deps.leadership().isLeader,
        instanceId: settings.instanceId,
        holder: current?.holder ?? null,
        epoch: current?.epoch ?? null,
        since: isoOrNull(current?.since ?? null),
        history: epochs.map((one) => ({
          epoch: one.epoch,
          holder: one.holder,
          since: iso(one.since),
          leaseUntil: iso(one.leaseUntil),
          endedAt: isoOrNull(one.endedAt),
          refusedWrites: one.refusedWrites,
        })),
      };
      return { status: 200, body };
    },
  });

  return [workers, queues, leadership];
}

/** Lanes that run something, over all types of an instance. */
export function lanesBusy(worker: Pick<WorkerInstance, "jobTypes">): number {
  return worker.jobTypes.reduce((sum, type) => sum + type.lanesBusy, 0);
}

function viewWorker(worker: WorkerInstance): z.output<typeof workerView> {
  const busy = lanesBusy(worker);
  return {
    workerId: worker.workerId,
    instanceId: worker.instanceId,
    hostName: worker.hostName,
    version: worker.version,
    startedAt: iso(worker.startedAt),
    lastSeenAt: iso(worker.lastSeenAt),
    isStopping: worker.isStopping,
    reportsHeldBack: worker.reportsHeldBack,
    maxParallelJobs: worker.maxParallelJobs,
    lanesBusy: busy,
    lanesFree: Math.max(0, worker.maxParallelJobs - busy),
    jobTypes: worker.jobTypes.map((type) => ({
      name: type.name,
      description: type.description,
      schema: type.schema,
      routingPattern: type.routingPattern,
      maxParallelJobs: type.maxParallelJobs,
      threads: type.threads,
      isolation: type.isolation,
      executionTimeoutSeconds: type.executionTimeoutSeconds,
      maxRetries: type.maxRetries,
      baseRetryDelaySeconds: type.baseRetryDelaySeconds,
      maxRetryDelaySeconds: type.maxRetryDelaySeconds ?? MAX_RETRY_DELAY_SECONDS,
      retryBudgetSeconds: type.retryBudgetSeconds ?? null,
      retryRules: (type.retryRules ?? []).map((rule) => ({ ...rule })),
      lanesBusy: type.lanesBusy,
      lanesFree: type.lanesFree,
    })),
    running: worker.running.map(({ occurrenceId, scheduledFor, token }) => ({
      occurrenceId,
      scheduledFor: iso(scheduledFor),
      token,
    })),
  };
}
