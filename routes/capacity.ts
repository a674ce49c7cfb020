/** How much the workers do, how many are needed, and how many a scaler should run: the scaling guide's planning, live. */
import { z } from "zod";
import { manifestOf } from "../actors/domain/capacity_manifest.ts";
import { planPool, type PoolPlan, type WhatIf } from "../actors/domain/capacity_plan.ts";
import { type PoolLoad, poolLoads, type TypeLoad } from "../actors/domain/capacity_pools.ts";
import { wantedReplicas } from "../actors/domain/capacity_replicas.ts";
import { connections, sizing } from "../actors/domain/capacity_sizing.ts";
import { nearestNames } from "../actors/domain/nearest.ts";
import { typeKey } from "../actors/domain/job_type.ts";
import { capacityView, scalingView, viewConnections, viewPoolPlan, viewSizing } from "./capacity_view.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { invalidRequest, problem } from "./errors.ts";
import { iso, lineField, queryInteger, queryNumber } from "./fields.ts";
import { createWorkloadReader, type GatheredWorkload } from "./workload.ts";

const DAY_SECONDS = 86_400;
const WINDOW_SECONDS = { least: 60, most: 7 * DAY_SECONDS } as const;
/** A scaler goes by what is now. */
const SCALING_WINDOW_SECONDS = 300;
const TARGET_WAIT_SECONDS = 30;
const MOST_REPLICAS = 100;
/** What MilvaionConfig.Retention keeps of completed runs unless it is told otherwise. */
const HISTORY_DAYS = 30;

const capacityQuery = z.strictObject({
  pool: lineField(64).optional().describe("Only this pool"),
  jobType: lineField(200).optional().describe("Only this type"),
  windowSeconds: queryInteger(WINDOW_SECONDS.least, WINDOW_SECONDS.most).optional()
    .describe(`How far back runs are looked at; ${DAY_SECONDS} when absent`),
  load: queryNumber(0, 1000).optional().describe("What if so many times as much came"),
  maxParallelJobs: queryInteger(1, 1000).optional().describe("What if each worker had so many lanes for it"),
  workers: queryInteger(0, 10_000).optional().describe("What if there were so many workers"),
  averageSeconds: queryNumber(0.0001, 2_592_000).optional().describe(
    "What if a run took so long; needs jobType",
  ),
  targetRate: queryNumber(0.0001, 1_000_000).optional().describe(
    "Jobs a second that are to be done; needs jobType",
  ),
  targetWaitSeconds: queryNumber(0, DAY_SECONDS).optional().describe("95 of 100 runs are to wait no longer"),
  scheduledJobs: queryInteger(0, 1_000_000_000).optional().describe("Sizing for so many jobs"),
  backlog: queryInteger(0, 1_000_000_000).optional().describe(
    "Sizing for so many waiting messages; with jobType also the time to drain them",
  ),
  historyDays: queryInteger(1, 36_500).optional().describe(
    `Days of history to keep; ${HISTORY_DAYS} when absent`,
  ),
});

type CapacityQuery = z.output<typeof capacityQuery>;

/** The capacity planner, and wanted replicas for a scaler. */
export function capacityEndpoints(deps: ApiDeps): readonly Endpoint[] {
  const reader = createWorkloadReader(deps);

  const capacity = endpoint({
    method: "GET",
    path: "/api/v1/capacity",
    tag: "workers",
    summary: "Say how much the workers do, how long runs wait, and how many workers are needed",
    description:
      "Jobs per second = Workers × MaxParallelJobs × (1 / AvgJobDuration), with durations and arrivals as measured in " +
      "history, for each pool and job type; expected waits by Erlang C; sizes of the servers by the guide's figures and " +
      "measured ones. Parameters ask what if; nothing is changed. Figures are kept for two seconds, what schedules " +
      "promise for a minute.",
    query: capacityQuery,
    answers: { 200: { description: "Figures, sentences and manifests", schema: capacityView } },
    problems: ["not_found", "request_invalid", "unavailable"],
    async handle({ query, context }) {
      requireType(query);
      const gathered = await reader.gather({
        windowSeconds: query.windowSeconds ?? DAY_SECONDS,
        isLatest: context.get("readAfter") !== null,
        needsPresence: false,
        withPromises: true,
      });
      return { status: 200, body: await plan(deps, query, gathered) };
    },
  });

  const scaling = endpoint({
    method: "GET",
    path: "/api/v1/pools/{workerId}/scaling",
    tag: "workers",
    summary: "Say how many workers a pool should have now, for KEDA's metrics-api scaler",
    description:
      "From what waits, the age of the oldest, arrivals, measured run times and lanes. More at once, fewer only when " +
      "those that remain are busy for 80 % at most, and never fewer than what runs now needs. The scaler keeps its own " +
      "minimum and maximum as well.",
    query: z.strictObject({
      minimum: queryInteger(0, 10_000).optional().describe("Never fewer; 0 when absent"),
      maximum: queryInteger(1, 10_000).optional().describe(`Never more; ${MOST_REPLICAS} when absent`),
      targetWaitSeconds: queryNumber(0.1, DAY_SECONDS).optional()
        .describe(`What waits is to be begun within so long; ${TARGET_WAIT_SECONDS} when absent`),
      windowSeconds: queryInteger(WINDOW_SECONDS.least, WINDOW_SECONDS.most).optional()
        .describe(`Over which arrivals are counted; ${SCALING_WINDOW_SECONDS} when absent`),
    }),
    answers: { 200: { description: "wantedReplicas, and how it came to it", schema: scalingView } },
    problems: ["not_found", "request_invalid", "unavailable"],
    async handle({ workerId, query }) {
      const { minimum = 0, maximum = Math.max(MOST_REPLICAS, minimum) } = query;
      if (maximum < minimum) {
        const message = `maximum is ${maximum}, less than minimum (${minimum}); it must be at least as much.`;
        throw invalidRequest([{
          field: "maximum",
          code: "out_of_range",
          message,
          allowed: [`${minimum}…10000`],
        }]);
      }
      const { facts } = await reader.gather({
        windowSeconds: query.windowSeconds ?? SCALING_WINDOW_SECONDS,
        isLatest: true,
        needsPresence: true,
        withPromises: false,
      });
      const loads = poolLoads(facts);
      const load = await poolOf(deps, loads, workerId);
      const unclaimed = loads.find(({ pool }) => pool === null)?.types ?? [];
      const targetWaitSeconds = query.targetWaitSeconds ?? TARGET_WAIT_SECONDS;
      const lanesPerWorker = reader.lanesPerWorker(load);
      const wanted = wantedReplicas({
        load,
        lanesPerWorker,
        unclaimed: unclaimed.reduce((sum, { waiting }) => sum + waiting, 0),
        now: facts.now,
      }, { minimum, maximum, targetWaitSeconds });
      const age = (at: number | null) => at === null ? null : Math.max(0, facts.now - at) / 1000;
      const oldest = load.types.flatMap(({ oldestReadyAt }) => oldestReadyAt ?? []);
      const body: z.output<typeof scalingView> = {
        workerId,
        wantedReplicas: wanted.wanted,
        currentReplicas: load.workers,
        boundBy: wanted.boundBy,
        sentence: wanted.sentence,
        needs: wanted.needs.map((need) => ({ ...need })),
        waiting: load.types.reduce((sum, { waiting }) => sum + waiting, 0),
        oldestWaitSeconds: age(oldest.length === 0 ? null : Math.min(...oldest)),
        types: load.types.map((type) => ({
          jobType: type.jobType,
          lanesPerReplica: lanesPerWorker?.ofType.get(type.jobType) ?? null,
          lanesBusy: type.lanesBusy,
          arrivalsPerSecond: type.arrivalsPerSecond,
          recentPerSecond: type.recentPerSecond,
          averageSeconds: type.runs?.averageSeconds ?? null,
          waiting: type.waiting,
          oldestWaitSeconds: age(type.oldestReadyAt),
        })),
      };
      return { status: 200, body };
    },
  });

  return [capacity, scaling];
}

/** A pool that is there, or that was: workers, work pinned to it, or runs that it took. Throws ApiProblem. */
async function poolOf(
  { store }: ApiDeps,
  loads: readonly PoolLoad[],
  workerId: string,
): Promise<PoolLoad> {
  const load = loads.find(({ pool }) => pool === workerId);
  if (load !== undefined) return load;
  if (await store.reads.reader("latest").workload.hasTakenRuns(workerId)) {
    return { pool: workerId, workers: 0, lanes: 0, lanesBusy: 0, types: [] };
  }
  throw unknownName("pool", workerId, loads.flatMap(({ pool }) => pool ?? []));
}

/** What concerns one type cannot be asked of all. */
function requireType(query: CapacityQuery): void {
  if (query.jobType !== undefined) return;
  const alone = (["averageSeconds", "targetRate"] as const).filter((name) => query[name] !== undefined);
  if (alone.length === 0) return;
  throw invalidRequest(alone.map((name) => ({
    field: name,
    code: "job_type_required",
    message: `${name} is for one job type: name it as jobType.`,
  })));
}

function unknownName(what: string, name: string, known: readonly string[]) {
  const nearest = nearestNames(name, known);
  const remedy = nearest.length > 0
    ? `Did you mean ${nearest.join(" or ")}?`
    : known.length > 0
    ? `Known are ${known.join(", ")}.`
    : "None is known yet.";
  return problem("not_found", `Nobody has heard of a ${what} ${name}. ${remedy}`);
}

async function plan(
  deps: ApiDeps,
  query: CapacityQuery,
  { facts, isCut }: GatheredWorkload,
): Promise<z.output<typeof capacityView>> {
  const loads = selected(poolLoads(facts), query);
  const plans = loads.map((load) => ({
    load,
    plan: planPool(load, whatIfOf(query, load, loads), query.jobType ?? null),
  }));
  const workers = plans.reduce((sum, { plan }) => sum + Math.max(plan.workers, plan.wantedWorkers ?? 0), 0);
  const types = plans.flatMap(({ plan }) => plan.types);
  const runsPerSecond = Math.max(
    types.reduce((sum, type) => sum + type.demandPerSecond, 0),
    query.targetRate ?? 0,
  );
  const reader = deps.store.reads.reader("latest");
  const [counts, room] = await Promise.all([reader.history.counts(), reader.workload.connections()]);
  const apis = room?.apis ?? 1;
  const asked = {
    scheduledJobs: query.scheduledJobs ?? counts.activeJobs,
    backlog: query.backlog ?? types.reduce((sum, { backlog }) => sum + backlog, 0),
    runsPerSecond,
    historyDays: query.historyDays ?? HISTORY_DAYS,
  };
  const wantedConnections = room === null
    ? []
    : connections({ workers, apis, apiConnections: room.ofAnApi, postgresLimit: room.limit });
  const views = plans.map(({ load, plan }) =>
    viewPoolPlan(
      plan,
      manifestFor(plan, query),
      (jobType) => load.types.find((type) => type.jobType === jobType)?.runs ?? null,
    )
  );
  const { runs, since } = facts.arrivals;
  return {
    at: iso(facts.now),
    measured: {
      from: iso(Math.min(since, facts.now)),
      until: iso(facts.now),
      runs: runs.length,
      isCut,
      isBacklogCut: facts.isWaitingCut,
    },
    pools: views,
    sizing: viewSizing(sizing({ ...asked, instances: workers + apis }), asked),
    connections: viewConnections(wantedConnections),
    sentences: plans.length === 0
      ? [
        "No worker is there, and no run was found: start a worker, or name jobType, workers, maxParallelJobs and averageSeconds.",
      ]
      : plans.flatMap(({ plan }) => plan.types.flatMap(({ sentences }) => sentences)),
  };
}

/** The pools and types that were asked for; one that is only imagined when all of it was given. Throws ApiProblem. */
function selected(all: readonly PoolLoad[], query: CapacityQuery): readonly PoolLoad[] {
  const { pool, jobType, workers, maxParallelJobs, averageSeconds } = query;
  const ofPool = pool === undefined ? all : all.filter((load) => load.pool === pool);
  const withType = jobType === undefined
    ? ofPool
    : ofPool.filter(({ types }) => types.some((type) => type.jobType === jobType));
  if (withType.length > 0 || (pool === undefined && jobType === undefined)) return withType;
  const known = all.flatMap(({ types }) => types).find((type) => type.jobType === jobType);
  const isImagined = jobType !== undefined && workers !== undefined && maxParallelJobs !== undefined &&
    (averageSeconds !== undefined || (known?.runs ?? null) !== null);
  if (isImagined) {
    const type = { ...UNHEARD_OF, jobType, runs: known?.runs ?? null };
    return [{ pool: pool ?? null, workers: 0, lanes: 0, lanesBusy: 0, types: [type] }];
  }
  if (pool !== undefined && ofPool.length === 0) {
    throw unknownName("pool", pool, all.flatMap((load) => load.pool ?? []));
  }
  const names = new Set(all.flatMap(({ types }) => types.map((type) => type.jobType)));
  throw unknownName("job type", jobType ?? "", [...names].sort());
}

const UNHEARD_OF: Omit<TypeLoad, "jobType" | "runs"> = {
  workers: 0,
  lanes: 0,
  lanesBusy: 0,
  arrivalsPerSecond: 0,
  recentPerSecond: 0,
  promisedPerSecond: 0,
  waiting: 0,
  oldestReadyAt: null,
};

/** A backlog and a rate are of one type, and shared by its pools as the work is: by their lanes. */
function whatIfOf(query: CapacityQuery, load: PoolLoad, loads: readonly PoolLoad[]): WhatIf {
  const { jobType, backlog, ...rest } = query;
  if (jobType === undefined) return rest;
  const lanesOf = ({ types }: PoolLoad) => types.find((type) => type.jobType === jobType)?.lanes ?? 0;
  const all = loads.reduce((sum, one) => sum + lanesOf(one), 0);
  return { ...rest, backlog, share: all === 0 ? 1 / loads.length : lanesOf(load) / all };
}

/** What would bring the plan about: the workers that were asked about, or those that are needed. */
function manifestFor(plan: PoolPlan, query: CapacityQuery) {
  const hasTarget = query.targetRate !== undefined || query.targetWaitSeconds !== undefined;
  const workers = hasTarget ? plan.wantedWorkers : query.workers ?? plan.wantedWorkers;
  const [first] = plan.types;
  if (workers === null || first === undefined) return null;
  const pool = plan.pool ?? `${typeKey(first.jobType)}-worker`;
  const { maxParallelJobs } = query;
  if (maxParallelJobs === undefined) return manifestOf({ pool, workers });
  const process = plan.workers === 0 ? maxParallelJobs : Math.ceil(plan.lanes / plan.workers);
  const types = Object.fromEntries(plan.types.map(({ jobType }) => [jobType, maxParallelJobs]));
  return manifestOf({ pool, workers, lanes: { process, types } });
}
