/** `/api/v1/scaling`: the figures of the guide's checklist, before scaling and after it. */
import { z } from "zod";
import { findBottlenecks } from "../actors/domain/bottleneck.ts";
import { BOTTLENECK_CODES } from "../actors/domain/bottleneck_finding.ts";
import { type EndedRun, poolEvenness, timeoutStandings } from "../actors/domain/even_load.ts";
import { resourceUses } from "../actors/domain/resource_use.ts";
import {
  BASELINE_FACT,
  baselineOf,
  compareThroughput,
  isHeldBack,
  newBottlenecks,
  THROUGHPUT_VERDICTS,
  type ThroughputBaseline,
} from "../actors/domain/throughput_baseline.ts";
import {
  bottleneckView,
  readEvidence,
  resourceUseView,
  viewBottleneck,
  viewResourceUse,
} from "./bottlenecks.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { iso, momentView } from "./fields.ts";
import { createWorkloadReader } from "./workload.ts";

/** Runs are looked at that were due within this time, the newest first, and no more than so many. */
const LOOK_BACK_MS = 10 * 60_000;
const RUNS_AT_MOST = 1000;
const PAGE = 200;
const TIMED_OUT_AT_MOST = 200;

const baselineView = z.strictObject({
  recordedAt: momentView,
  windowSeconds: z.number(),
  completedPerSecond: z.number(),
  createdPerSecond: z.number(),
  workers: z.int(),
  bottlenecks: z.array(z.strictObject({ code: z.enum(BOTTLENECK_CODES), place: z.string() })),
  nearest: resourceUseView.omit({ note: true }).nullable().describe("What stood nearest to its limit"),
}).meta({ id: "ThroughputBaseline" });

const storedBaseline = baselineView.extend({ recordedAt: z.number() });

const scalingView = z.strictObject({
  at: momentView,
  windowSeconds: z.number(),
  looks: z.int(),
  completedPerSecond: z.number(),
  createdPerSecond: z.number(),
  workers: z.int(),
  waiting: z.int().describe("Runs that are ready and that no worker has taken"),
  baseline: baselineView.nullable().describe("Null: none was recorded"),
  throughput: z.enum(THROUGHPUT_VERDICTS).nullable().describe(
    "Beside the baseline. fell: less is done while runs wait; fell-per-worker: each worker does less while runs wait; " +
      "less-demand: less is done and nothing waits; idle: under a tenth. Null: there is nothing to compare with",
  ),
  resources: z.array(resourceUseView).describe("The nearest to its limit first"),
  bottlenecks: z.array(bottleneckView),
  newBottlenecks: z.array(bottleneckView).describe("Those that the baseline does not name"),
  pools: z.array(z.strictObject({
    workerId: z.string(),
    instances: z.array(z.strictObject({ instanceId: z.string(), completed: z.int() })),
    variation: z.number().describe("Standard deviation by mean"),
    chance: z.number().describe("What chance alone makes of so few runs"),
    isEven: z.boolean(),
  })).describe("Pools of two instances or more that completed enough within ten minutes"),
  timeoutsFrom: momentView.describe(
    "Runs that ended since are looked at: the baseline, else within ten minutes",
  ),
  timeouts: z.array(z.strictObject({
    jobType: z.string(),
    runs: z.int(),
    timedOut: z.int().describe("Since the baseline, else within ten minutes; counted up to 200"),
    nearLimit: z.int().describe("Took four fifths of their limit or more"),
    longestMs: z.number(),
    limitSeconds: z.number().nullable(),
  })).describe("Those with time-outs first"),
}).meta({ id: "ScalingChecklist" });

export function scalingEndpoints(deps: ApiDeps, liveClients: () => number): readonly Endpoint[] {
  const { store, jobTypes } = deps;
  const workload = createWorkloadReader(deps);

  const show = endpoint({
    method: "GET",
    path: "/api/v1/scaling",
    tag: "scaling",
    summary: "Show what is to be known before scaling and after it",
    answers: { 200: { description: "Figures of now beside the baseline", schema: scalingView } },
    problems: [],
    async handle() {
      const [evidence, stored, workers] = await Promise.all([
        readEvidence(deps, liveClients, workload),
        store.facts.read(BASELINE_FACT),
        jobTypes.refresh(),
      ]);
      const baseline = readBaseline(stored);
      const timeoutsFrom = Math.max(baseline?.recordedAt ?? 0, evidence.at - LOOK_BACK_MS);
      const recent = await readRecent(evidence.at);
      const completedPerSecond = evidence.store?.completedPerSecond ?? 0;
      const heldBack = isHeldBack(evidence.queues, completedPerSecond);
      const found = findBottlenecks(evidence);
      const body: z.output<typeof scalingView> = {
        at: iso(evidence.at),
        windowSeconds: evidence.windowSeconds,
        looks: evidence.looks,
        completedPerSecond,
        createdPerSecond: evidence.store?.createdPerSecond ?? 0,
        workers: workers.length,
        waiting: evidence.queues.reduce((sum, { ready }) => sum + ready, 0),
        throughput: baseline === null ? null : compareThroughput(
          { completedPerSecond, workers: workers.length, isHeldBack: heldBack },
          baseline,
        ),
        baseline: baseline === null ? null : viewBaseline(baseline),
        resources: resourceUses(evidence).map(viewResourceUse),
        bottlenecks: found.map(viewBottleneck),
        newBottlenecks: newBottlenecks(found, baseline ?? { bottlenecks: [] }).map(viewBottleneck),
        pools: poolEvenness(recent, workers.filter(({ isStopping }) => !isStopping))
          .map(({ instances, ...rest }) => ({ ...rest, instances: instances.map((one) => ({ ...one })) })),
        timeoutsFrom: iso(timeoutsFrom),
        timeouts: timeoutStandings(await withTimeouts(recent, timeoutsFrom, baseline))
          .map((one) => ({ ...one })),
      };
      return { status: 200, body };
    },
  });

  const record = endpoint({
    method: "POST",
    path: "/api/v1/scaling/baseline",
    tag: "scaling",
    summary: "Record the throughput of now as the baseline",
    description: "Replaces the one before. The store keeps it, with its date.",
    answers: { 201: { description: "What was recorded", schema: baselineView } },
    problems: [],
    async handle() {
      const [evidence, workers] = await Promise.all([
        readEvidence(deps, liveClients, workload),
        jobTypes.refresh(),
      ]);
      const baseline = { ...baselineOf(evidence, findBottlenecks(evidence)), workers: workers.length };
      await store.facts.write(BASELINE_FACT, JSON.stringify(baseline));
      return { status: 201, body: viewBaseline(baseline) };
    },
  });

  return [show, record];

  /** The newest runs that have ended. */
  async function readRecent(now: number): Promise<readonly EndedRun[]> {
    const { history } = store.reads.reader(null);
    const recent: EndedRun[] = [];
    let after: string | null = null;
    do {
      const page = await history.occurrences({ from: now - LOOK_BACK_MS }, PAGE, after);
      recent.push(...page.items.filter(({ endedAt }) => endedAt !== null));
      after = page.next;
    } while (after !== null && recent.length < RUNS_AT_MOST);
    return recent;
  }

  /** Those that ended since `from`; with a baseline before it also all that timed out since the baseline. */
  async function withTimeouts(
    recent: readonly EndedRun[],
    from: number,
    baseline: ThroughputBaseline | null,
  ): Promise<readonly EndedRun[]> {
    const since = recent.filter((run) => endedAtOf(run) >= from);
    if (baseline === null || baseline.recordedAt >= from) return since;
    const { items } = await store.reads.reader(null).history.occurrences(
      { from: baseline.recordedAt, statuses: ["TimedOut"] },
      TIMED_OUT_AT_MOST,
      null,
    );
    return [...since.filter(({ status }) => status !== "TimedOut"), ...items];
  }
}

function endedAtOf(run: EndedRun & { readonly endedAt?: number | null }): number {
  return run.endedAt ?? 0;
}

/** Null also for one that another version wrote and this one cannot read. */
function readBaseline(text: string | null): ThroughputBaseline | null {
  if (text === null) return null;
  const read = storedBaseline.safeParse(parsed(text));
  return read.success ? read.data : null;
}

function viewBaseline(baseline: ThroughputBaseline): z.output<typeof baselineView> {
  const { recordedAt, bottlenecks, nearest, ...rest } = baseline;
  return {
    ...rest,
    recordedAt: iso(recordedAt),
    nearest: nearest === null ? null : { ...nearest },
    bottlenecks: bottlenecks.flatMap(({ code, place }) => {
      const known = BOTTLENECK_CODES.find((one) => one === code);
      return known === undefined ? [] : [{ code: known, place }];
    }),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
