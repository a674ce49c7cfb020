/**
 * How many workers a pool should have now, for a scaler that asks again and again.
 *
 * Out at once, in with care: more are wanted as soon as lanes would be busy for more than 90 % of the time, or what waits
 * would wait longer than the target; fewer only when those that remain are busy for 80 % at most. Between the two it
 * stays as it is, so that it does not swing. It never asks for fewer than what runs at this moment needs.
 */
import type { PoolLoad, TypeLoad } from "./capacity_pools.ts";
import { busyLanes, ROOMY_UTILISATION, wholeUp } from "./capacity_throughput.ts";
import { amountText, partText, rateText, roundText, spanText } from "./capacity_words.ts";

/** Lanes that are busy for more of the time than this want company. */
const CROWDED_UTILISATION = 0.9;
/** Over which `recentPerSecond` is counted. */
const RECENT_SECONDS = 60;

export interface ScalingBounds {
  readonly minimum: number;
  readonly maximum: number;
  /** What waits now is to be begun within so long. More than 0. */
  readonly targetWaitSeconds: number;
}

/** One reason for a number of workers. */
export interface Need {
  readonly code:
    | "waiting-work"
    | "arrivals"
    | "backlog"
    | "running"
    | "process-lanes"
    | "unmeasured"
    | "steady";
  readonly jobType: string | null;
  readonly replicas: number;
  readonly sentence: string;
}

export interface WantedReplicas {
  readonly wanted: number;
  /** Of the bounds, which one decided; null when none did. */
  readonly boundBy: "minimum" | "maximum" | null;
  /** Everything that was weighed, the largest first. */
  readonly needs: readonly Need[];
  readonly sentence: string;
}

export interface ScalingFacts {
  readonly load: PoolLoad;
  /** Lanes that one worker has, or had when one was last heard of; null when nobody knows. */
  readonly lanesPerWorker: LanesPerWorker | null;
  /** Work that waits and that no pool was ever seen to take. */
  readonly unclaimed: number;
  /** Epoch milliseconds. */
  readonly now: number;
}

export interface LanesPerWorker {
  readonly process: number;
  readonly ofType: ReadonlyMap<string, number>;
}

/**
 * Weighs all needs. The same facts with as many workers as it wanted give the same answer again, unless work waits of
 * which no run was ever measured.
 */
export function wantedReplicas(facts: ScalingFacts, bounds: ScalingBounds): WantedReplicas {
  const { load } = facts;
  const needs = needsOf(facts, bounds).sort((left, right) => right.replicas - left.replicas);
  const [largest] = needs;
  const needed = largest?.replicas ?? 0;
  const wanted = Math.min(Math.max(needed, bounds.minimum), bounds.maximum);
  const boundBy = wanted === needed ? null : wanted > needed ? "minimum" : "maximum";
  return { wanted, boundBy, needs, sentence: sentenceOf({ wanted, boundBy, largest, needed, load }) };
}

function needsOf(facts: ScalingFacts, bounds: ScalingBounds): Need[] {
  const { load, lanesPerWorker, unclaimed } = facts;
  const needs: Need[] = load.types.flatMap((type) => needsOfType(facts, type, bounds));
  if (lanesPerWorker !== null && lanesPerWorker.process > 0) {
    needs.push(...processNeeds(load, lanesPerWorker.process, bounds));
  }
  if (load.types.length === 0 && load.workers === 0 && unclaimed > 0) {
    needs.push({
      code: "waiting-work",
      jobType: null,
      replicas: 1,
      sentence:
        `${
          amountText(unclaimed, "run")
        } of types that no worker offers wait, and nobody knows what this pool ` +
        "offers: one worker will tell.",
    });
  }
  return needs;
}

function needsOfType(
  { load, lanesPerWorker, now }: ScalingFacts,
  type: TypeLoad,
  bounds: ScalingBounds,
): Need[] {
  const { jobType, waiting, oldestReadyAt, runs, lanesBusy } = type;
  const needs: Need[] = [];
  const need = (code: Need["code"], replicas: number, sentence: string) =>
    needs.push({ code, jobType, replicas, sentence });
  const age = oldestReadyAt === null ? 0 : Math.max(0, now - oldestReadyAt) / 1000;
  const rate = arrivalsOf(type, bounds);
  const waits = `${amountText(waiting, "run")} of ${jobType} wait, the oldest for ${spanText(age)}`;
  if (waiting > 0) need("waiting-work", 1, `${waits}.`);
  const lanes = lanesPerWorker?.ofType.get(jobType) ?? 0;
  if (lanes === 0) {
    // No worker of the pool was heard to offer it: how many it takes can be said when one has.
    if (waiting === 0 && rate > 0) need("arrivals", 1, `${rateText(rate)} of ${jobType} come.`);
    return needs;
  }
  if (lanesBusy > 0) {
    need("running", wholeUp(lanesBusy / lanes), `${amountText(lanesBusy, "run")} of ${jobType} on.`);
  }
  if (runs === null) {
    // Nobody knows how long a run takes: one more while work waits that lanes have not taken, until one has ended.
    if (waiting > 0 && age > bounds.targetWaitSeconds && load.workers > 0) {
      need("unmeasured", load.workers + 1, `${waits}, and no run of it was ever measured: one more.`);
    }
    return needs;
  }
  const { averageSeconds } = runs;
  const comes = `${rateText(rate)} of ${jobType}, ${spanText(averageSeconds)} each, on ${
    roundText(lanes)
  } lanes a worker`;
  if (rate > 0) {
    needs.push(
      ...steady(busyLanes(rate, averageSeconds), lanes, { load, code: "arrivals", jobType, what: comes }),
    );
  }
  if (waiting > 0) {
    const perSecond = rate + waiting / bounds.targetWaitSeconds;
    need(
      "backlog",
      // More workers than runs wait for would find nothing to do.
      Math.min(
        wholeUp(busyLanes(perSecond, averageSeconds) / lanes),
        wholeUp((waiting + lanesBusy + busyLanes(rate, averageSeconds)) / lanes),
      ),
      `${waits}; to begin them within ${spanText(bounds.targetWaitSeconds)}, while ${rateText(rate)} come.`,
    );
  }
  return needs;
}

/** Attempts a second. What came in the last minute alone counts where runs may not wait longer than that. */
function arrivalsOf(
  { arrivalsPerSecond, recentPerSecond }: TypeLoad,
  { targetWaitSeconds }: ScalingBounds,
): number {
  return targetWaitSeconds > RECENT_SECONDS
    ? arrivalsPerSecond
    : Math.max(arrivalsPerSecond, recentPerSecond);
}

/** All types of the pool share the lanes of its processes. */
function processNeeds(load: PoolLoad, lanes: number, bounds: ScalingBounds): readonly Need[] {
  const needs: Need[] = [];
  if (load.lanesBusy > 0) {
    const sentence = `${amountText(load.lanesBusy, "lane")} of its processes are busy.`;
    needs.push({ code: "running", jobType: null, replicas: wholeUp(load.lanesBusy / lanes), sentence });
  }
  const busy = load.types.reduce(
    (sum, type) => sum + busyLanes(arrivalsOf(type, bounds), type.runs?.averageSeconds ?? 0),
    0,
  );
  if (load.types.length < 2 || busy === 0) return needs;
  const what = `all types keep ${roundText(busy)} lanes busy, of ${roundText(lanes)} a worker`;
  return [...needs, ...steady(busy, lanes, { load, code: "process-lanes", jobType: null, what })];
}

/** What a steady load needs: nothing new while what is there is neither crowded nor too much. */
function steady(
  busy: number,
  lanes: number,
  { load, code, jobType, what }: {
    readonly load: PoolLoad;
    readonly code: Need["code"];
    readonly jobType: string | null;
    readonly what: string;
  },
): readonly Need[] {
  const roomy = wholeUp(busy / (lanes * ROOMY_UTILISATION));
  const crowded = wholeUp(busy / (lanes * CROWDED_UTILISATION));
  const { workers } = load;
  if (workers < roomy && workers >= crowded) {
    const part = partText(busy / (lanes * workers));
    const sentence = `${what}: the ${
      amountText(workers, "worker")
    } there are busy for ${part}, which is no reason for more.`;
    return [{ code: "steady", jobType, replicas: workers, sentence }];
  }
  return [{ code, jobType, replicas: roomy, sentence: `${what}: busy for 80 % at most.` }];
}

function sentenceOf(
  { wanted, boundBy, largest, needed, load }: {
    readonly wanted: number;
    readonly boundBy: WantedReplicas["boundBy"];
    readonly largest: Need | undefined;
    readonly needed: number;
    readonly load: PoolLoad;
  },
): string {
  const now = `${amountText(wanted, "worker")}, ${load.workers} there now`;
  if (largest === undefined) return `${now}: there is nothing to do.`;
  const bound = boundBy === null ? "" : ` The ${boundBy} holds it there; ${needed} are needed.`;
  return `${now}: ${largest.sentence}${bound}`;
}
