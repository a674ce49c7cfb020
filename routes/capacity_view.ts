/** What the capacity planner answers: schemas, and how plans are written. */
import { z } from "zod";
import type { Manifest } from "../actors/domain/capacity_manifest.ts";
import { DRAINS, type PoolPlan, type TypePlan } from "../actors/domain/capacity_plan.ts";
import { type Connections, type Sizing, WORKLOADS } from "../actors/domain/capacity_sizing.ts";
import { momentView } from "./fields.ts";

const sentences = z.array(z.string()).describe("The figures in words");

const waitView = z.strictObject({
  probability: z.number().describe("That a run that becomes ready finds no free lane"),
  meanSeconds: z.number().describe("Over all runs, those that need not wait included"),
  p95Seconds: z.number().describe("95 of 100 runs wait no longer"),
});

const typePlanView = z.strictObject({
  jobType: z.string(),
  workers: z.int().describe("Workers of the pool that offer it"),
  maxParallelJobs: z.number().describe("Lanes of one worker for the type, on average"),
  lanes: z.number().describe(
    "Lanes of all workers for the type, less what other types of the pool keep busy",
  ),
  averageSeconds: z.number().nullable().describe("Of a run: measured, or as given; null while nobody knows"),
  measuredRuns: z.int().describe("Runs behind the average"),
  p95Seconds: z.number().nullable().describe("95 of 100 runs took no longer"),
  arrivalsPerSecond: z.number().describe("Attempts that became due, in the time that was looked at"),
  promisedPerHour: z.number().describe("Due times of active schedules, over the next day"),
  demandPerSecond: z.number().describe("What comes, times load"),
  demandFrom: z.enum(["runs", "schedules"]).describe(
    "What became ready, or what schedules promise: the larger",
  ),
  jobsPerSecond: z.number().nullable().describe("Lanes ÷ average duration"),
  jobsPerMinute: z.number().nullable(),
  utilisation: z.number().nullable().describe(
    "Part of the lanes that the demand keeps busy; above 1 it is too much",
  ),
  expectedWait: waitView.nullable().describe(
    "For a lane (Erlang C); null when it grows without end, or is unknown",
  ),
  backlog: z.number().describe(
    "Runs that are ready and wait now, or the pool's share of those that were asked about",
  ),
  drain: z.enum(DRAINS).describe(
    "What becomes of the backlog. unknown: no run was measured; never: more comes than is done, or there is no lane",
  ),
  drainSeconds: z.number().nullable().describe("Until nothing waits; null: never, or unknown (see drain)"),
  workersFor: z.strictObject({
    demand: z.int().nullable().describe("With lanes busy for 80 % of the time at most"),
    targetRate: z.int().nullable(),
    targetWait: z.int().nullable(),
    all: z.int().nullable(),
  }),
  sentences,
});

const manifestView = z.strictObject({
  kubernetesPatch: z.string().describe("A patch of the pool's Deployment, in YAML"),
  commands: z.array(z.string()),
  environment: z.record(z.string(), z.string()),
});

const poolPlanView = z.strictObject({
  pool: z.string().nullable().describe("Null: work that no pool was ever seen to take"),
  workers: z.int(),
  lanes: z.number().describe("Lanes of all processes, which the types share"),
  utilisation: z.number().nullable(),
  wantedWorkers: z.int().nullable().describe("Enough for each type, and for all of them together"),
  types: z.array(typePlanView),
  manifest: manifestView.nullable(),
});

const bytesView = z.strictObject({
  guideBytes: z.number().nullable().describe("By the guide's figures; null: it says nothing of it"),
  measuredBytes: z.number(),
});
const size = {
  memory: bytesView,
  disk: bytesView,
  ramGb: z.number().describe("Of the machine"),
  storageGb: z.number(),
};
const workload = z.enum(WORKLOADS).describe("The guide's row that is large enough");

const sizingView = z.strictObject({
  scheduledJobs: z.number(),
  backlog: z.number(),
  runsPerSecond: z.number(),
  historyDays: z.int(),
  redis: z.strictObject({ ...size, workload, notes: z.string() }),
  rabbitmq: z.strictObject(size),
  postgres: z.strictObject({
    ...size,
    bytesADay: z.number().describe("What runs leave"),
    workload,
    vCpu: z.int(),
    isEnough: z.boolean().describe("False: more than the guide's largest row"),
  }),
  sentences,
});

const connectionsView = z.strictObject({
  server: z.enum(["PostgreSQL", "Redis", "RabbitMQ"]),
  wanted: z.int().describe("What all instances want at most, with the wanted workers"),
  limit: z.int(),
  isMeasured: z.boolean().describe("False: the server's default"),
  sentence: z.string(),
});

export const capacityView = z.strictObject({
  at: momentView,
  measured: z.strictObject({
    from: momentView.describe("Due time of the oldest run that was read"),
    until: momentView,
    runs: z.int(),
    isCut: z.boolean().describe("True when the window holds more runs; the newest were read"),
    isBacklogCut: z.boolean().describe(
      "True when more waits than was counted: backlogs are at least so many",
    ),
  }),
  pools: z.array(poolPlanView),
  sizing: sizingView,
  connections: z.array(connectionsView).describe("None in embedded mode, which has no servers"),
  sentences,
}).meta({ id: "Capacity" });

export const scalingView = z.strictObject({
  workerId: z.string(),
  wantedReplicas: z.int().describe("What KEDA's metrics-api scaler reads"),
  currentReplicas: z.int().describe("Workers that are there and not about to stop"),
  boundBy: z.enum(["minimum", "maximum"]).nullable(),
  sentence: z.string().describe("How it came to it"),
  needs: z.array(z.strictObject({
    code: z.enum(["waiting-work", "arrivals", "backlog", "running", "process-lanes", "unmeasured", "steady"]),
    jobType: z.string().nullable(),
    replicas: z.int(),
    sentence: z.string(),
  })).describe("All that was weighed, the largest first"),
  waiting: z.number(),
  oldestWaitSeconds: z.number().nullable(),
  types: z.array(z.strictObject({
    jobType: z.string(),
    lanesPerReplica: z.number().nullable(),
    lanesBusy: z.int(),
    arrivalsPerSecond: z.number(),
    recentPerSecond: z.number().describe("Over the last minute"),
    averageSeconds: z.number().nullable(),
    waiting: z.number(),
    oldestWaitSeconds: z.number().nullable(),
  })),
}).meta({ id: "Scaling" });

export function viewPoolPlan(
  plan: PoolPlan,
  manifest: Manifest | null,
  runsOf: (jobType: string) => { readonly count: number; readonly p95Seconds: number } | null,
): z.output<typeof poolPlanView> {
  const { pool, workers, lanes, utilisation, wantedWorkers } = plan;
  return {
    pool,
    workers,
    lanes,
    utilisation,
    wantedWorkers,
    types: plan.types.map((type) => viewTypePlan(type, runsOf(type.jobType))),
    manifest: manifest === null ? null : {
      kubernetesPatch: manifest.kubernetesPatch,
      commands: [...manifest.commands],
      environment: { ...manifest.environment },
    },
  };
}

function viewTypePlan(
  plan: TypePlan,
  runs: { readonly count: number; readonly p95Seconds: number } | null,
): z.output<typeof typePlanView> {
  const { pool: _, waiting, sentences, workersFor, promisedPerSecond, ...figures } = plan;
  return {
    ...figures,
    promisedPerHour: promisedPerSecond * 3600,
    measuredRuns: runs?.count ?? 0,
    p95Seconds: runs?.p95Seconds ?? null,
    jobsPerMinute: plan.jobsPerSecond === null ? null : plan.jobsPerSecond * 60,
    expectedWait: waiting === null ? null : { ...waiting },
    workersFor: { ...workersFor },
    sentences: [...sentences],
  };
}

export function viewSizing(
  { sentences, redis, rabbitmq, postgres }: Sizing,
  asked: Pick<z.output<typeof sizingView>, "scheduledJobs" | "backlog" | "runsPerSecond" | "historyDays">,
): z.output<typeof sizingView> {
  return {
    ...asked,
    redis: { ...redis, memory: { ...redis.memory }, disk: { ...redis.disk } },
    rabbitmq: { ...rabbitmq, memory: { ...rabbitmq.memory }, disk: { ...rabbitmq.disk } },
    postgres: { ...postgres, memory: { ...postgres.memory }, disk: { ...postgres.disk } },
    sentences: [...sentences],
  };
}

export function viewConnections(connections: readonly Connections[]): z.output<typeof connectionsView>[] {
  return connections.map((one) => ({ ...one }));
}
