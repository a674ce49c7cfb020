/** `/api/v1/bottlenecks`: what is too much now, the numbers that prove it, and what to change. */
import { z } from "zod";
import { findBottlenecks } from "../actors/domain/bottleneck.ts";
import type { Evidence, QueueEvidence } from "../actors/domain/bottleneck_evidence.ts";
import { QUEUE_LEAST } from "../actors/domain/bottleneck_workers.ts";
import { planPool } from "../actors/domain/capacity_plan.ts";
import { poolLoads } from "../actors/domain/capacity_pools.ts";
import { type Bottleneck, BOTTLENECK_CODES, SEVERITIES } from "../actors/domain/bottleneck_finding.ts";
import { RESOURCES, type ResourceUse, resourceUses } from "../actors/domain/resource_use.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { iso, momentView } from "./fields.ts";
import { createWorkloadReader, type WorkloadReader } from "./workload.ts";

/** What came within a minute is what comes now. */
const WORKLOAD_SECONDS = 60;

export const bottleneckView = z.strictObject({
  code: z.enum(BOTTLENECK_CODES),
  severity: z.enum(SEVERITIES),
  place: z.string().describe("What it is about: an instance, a server, a queue"),
  symptom: z.string(),
  proof: z.array(z.strictObject({
    name: z.string(),
    value: z.number(),
    unit: z.string(),
    limit: z.number().nullable().describe("Null: this number has none"),
  })).describe("The numbers that prove it"),
  cause: z.string().describe("The likely cause"),
  changes: z.array(z.string()).describe("What to change; the first helps most"),
}).meta({ id: "Bottleneck" });

export const resourceUseView = z.strictObject({
  resource: z.enum(RESOURCES),
  place: z.string(),
  used: z.number(),
  limit: z.number(),
  unit: z.string(),
  share: z.number().describe("used by limit"),
  note: z.string().nullable().describe("What the figure stands for, or lacks; null where it is what it says"),
}).meta({ id: "ResourceUse" });

const bottlenecksView = z.strictObject({
  at: momentView,
  windowSeconds: z.number().describe("What was looked at: from the first look to the last"),
  looks: z.int(),
  instanceId: z.string().describe("The instance whose view this is"),
  bottlenecks: z.array(bottleneckView).describe("The worst first; empty when all is well"),
  resources: z.array(resourceUseView).describe("Parts of limits, the nearest to its limit first"),
  createdPerSecond: z.number(),
  completedPerSecond: z.number(),
  requestsPerSecond: z.number(),
}).meta({ id: "Bottlenecks" });

/** What is seen from here, with the clients of live events. */
export async function readEvidence(
  deps: ApiDeps,
  liveClients: () => number,
  workload: WorkloadReader,
): Promise<Evidence> {
  const evidence = await deps.evidence.read();
  const { api, queues } = evidence;
  return {
    ...evidence,
    api: api === null ? null : { ...api, liveClients: liveClients() },
    queues: await withWantedWorkers(queues, workload),
  };
}

/** The capacity planner is asked only when something waits; when it cannot say, the finding stands without it. */
async function withWantedWorkers(
  queues: readonly QueueEvidence[],
  workload: WorkloadReader,
): Promise<readonly QueueEvidence[]> {
  if (!queues.some(({ ready }) => ready >= QUEUE_LEAST)) return queues;
  const gathered = await workload.gather({
    windowSeconds: WORKLOAD_SECONDS,
    isLatest: false,
    withPromises: false,
    needsPresence: false,
  }).catch(() => null);
  if (gathered === null) return queues;
  const loads = poolLoads(gathered.facts);
  return queues.map((queue) => {
    const plans = loads.flatMap((load) => {
      const { pool, types } = load;
      const isMeant = pool !== null && (queue.pool === null || queue.pool === pool) &&
        types.some(({ jobType }) => jobType === queue.jobType);
      if (!isMeant) return [];
      const workers = planPool(load, {}, queue.jobType).wantedWorkers;
      return workers === null ? [] : [{ pool, workers, present: load.workers }];
    });
    return {
      ...queue,
      wanted: plans.toSorted((a, b) => b.workers - b.present - (a.workers - a.present))[0] ?? null,
    };
  });
}

export function bottleneckEndpoint(deps: ApiDeps, liveClients: () => number): Endpoint {
  const workload = createWorkloadReader(deps);
  return endpoint({
    method: "GET",
    path: "/api/v1/bottlenecks",
    tag: "scaling",
    summary: "Name bottlenecks: symptom, numbers, likely cause, what to change",
    description: "What this instance has seen of itself, the workers and the servers over the last minute.",
    answers: { 200: { description: "The findings", schema: bottlenecksView } },
    problems: [],
    async handle() {
      const evidence = await readEvidence(deps, liveClients, workload);
      const body: z.output<typeof bottlenecksView> = {
        at: iso(evidence.at),
        windowSeconds: evidence.windowSeconds,
        looks: evidence.looks,
        instanceId: deps.settings.instanceId,
        bottlenecks: findBottlenecks(evidence).map(viewBottleneck),
        resources: resourceUses(evidence).map(viewResourceUse),
        createdPerSecond: evidence.store?.createdPerSecond ?? 0,
        completedPerSecond: evidence.store?.completedPerSecond ?? 0,
        requestsPerSecond: evidence.api?.requestsPerSecond ?? 0,
      };
      return { status: 200, body };
    },
  });
}

export function viewBottleneck(found: Bottleneck): z.output<typeof bottleneckView> {
  return { ...found, proof: found.proof.map((one) => ({ ...one })), changes: [...found.changes] };
}

export function viewResourceUse(use: ResourceUse): z.output<typeof resourceUseView> {
  return { ...use };
}
