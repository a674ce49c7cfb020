/** Looks, one after the other, as rates, percentiles and slopes. Arithmetic only. */
import type {
  CpuUse,
  Latency,
  PostgresEvidence,
  QueueEvidence,
  RedisServerEvidence,
  RouteRate,
  WorkerEvidence,
} from "../../actors/domain/bottleneck_evidence.ts";
import type { WorkerInstance } from "../../actors/ports/presence.ts";
import type { Distribution } from "../metrics.ts";
import type { PostgresLoad } from "../postgres/server_load.ts";
import type { RedisServerLoad } from "../redis/server_load.ts";
import type { Look } from "./look.ts";
import { machineShare } from "./processors.ts";

/** By how much a counter grew a second. One that went back was begun anew. */
export function perSecond(first: number | null, last: number | null, seconds: number): number {
  if (first === null || last === null || seconds <= 0) return 0;
  return Math.max(0, last - first) / seconds;
}

/** Percentiles of what was observed between two looks; within a bucket observations are taken to lie evenly. */
export function latencyBetween(first: Distribution, last: Distribution): Latency | null {
  const count = last.count - first.count;
  if (count <= 0) return null;
  const perBucket = last.perBucket.map((seen, index) => seen - (first.perBucket[index] ?? 0));
  const at = (part: number): number => {
    let below = 0;
    let lower = 0;
    for (const [index, bound] of last.bounds.entries()) {
      const here = perBucket[index] ?? 0;
      if (here > 0 && below + here >= part * count) {
        return (lower + (bound - lower) * (part * count - below) / here) * 1000;
      }
      below += here;
      lower = bound;
    }
    return lower * 1000;
  };
  return { count, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Part of the machine's processors that was busy between those two looks where it was the most. */
export function machinePeak(looks: readonly Pick<Look, "at" | "processors">[]): number | null {
  const shares = looks.slice(1).flatMap(({ at, processors }, index) => {
    const before = looks[index];
    if (before === undefined) return [];
    return machineShare(before.processors.machine, processors.machine, (at - before.at) / 1000) ?? [];
  });
  return shares.length === 0 ? null : Math.max(...shares);
}

/** Slope of the line that lies nearest to all points: `y` a second. */
export function slope(points: readonly { readonly at: number; readonly value: number }[]): number {
  if (points.length < 2) return 0;
  const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
  const meanAt = mean(points.map(({ at }) => at / 1000));
  const meanValue = mean(points.map(({ value }) => value));
  let above = 0;
  let below = 0;
  for (const { at, value } of points) {
    above += (at / 1000 - meanAt) * (value - meanValue);
    below += (at / 1000 - meanAt) ** 2;
  }
  return below === 0 ? 0 : above / below;
}

/** Busiest first. Reading again and again is what live events spare. */
export function routeRates(first: Look, last: Look, seconds: number): readonly RouteRate[] {
  return [...last.requests].map(([labels, count]): RouteRate => {
    const route = /route="([^"]*)"/.exec(labels)?.[1] ?? labels;
    return {
      route,
      isPoll: isPoll(route),
      perSecond: perSecond(first.requests.get(labels) ?? 0, count, seconds),
      inProgress: perSecond(
        first.requestSeconds.get(labels) ?? 0,
        last.requestSeconds.get(labels) ?? 0,
        seconds,
      ),
    };
  }).filter((one) => one.perSecond > 0).sort((a, b) => b.perSecond - a.perSecond);
}

function isPoll(route: string): boolean {
  return /^GET \/api\/v1\/(jobs|occurrences|failed-occurrences|bulk-actions|workers|queues|leadership)\b/
    .test(route);
}

/** What waits for the workers of each type, over all looks that could ask. */
export function queueEvidence(looks: readonly Look[]): readonly QueueEvidence[] {
  const last = looks.findLast(({ depths }) => depths !== null)?.depths ?? [];
  return last.map(({ jobType, pool, ready }) => {
    const points = looks.flatMap(({ at, depths, workers }) => {
      const depth = depths?.find((one) => one.jobType === jobType && one.pool === pool);
      return depth === undefined
        ? []
        : [{ at, value: depth.ready, ...lanesOf(workers ?? [], jobType, pool) }];
    });
    const rises = points.slice(1).filter(({ value }, index) => value > (points[index]?.value ?? 0));
    const full = points.filter(({ value, free, lanes }) => value > 0 && lanes > 0 && free === 0);
    const now = points.at(-1);
    return {
      jobType,
      pool,
      ready,
      growthPerSecond: slope(points),
      risingShare: points.length < 2 ? 0 : rises.length / (points.length - 1),
      workers: now?.workers ?? 0,
      lanes: now?.lanes ?? 0,
      lanesBusy: now?.busy ?? 0,
      fullShare: points.length === 0 ? 0 : full.length / points.length,
      wanted: null,
    };
  });
}

/** A lane of a type is free when the type and the process both have one. */
function lanesOf(workers: readonly WorkerInstance[], jobType: string, pool: string | null) {
  let offering = 0;
  let lanes = 0;
  let busy = 0;
  let free = 0;
  for (const worker of workers) {
    const offer = worker.jobTypes.find(({ name }) => name === jobType);
    if (offer === undefined || worker.isStopping || (pool !== null && worker.workerId !== pool)) continue;
    const all = worker.jobTypes.reduce((sum, { lanesBusy }) => sum + lanesBusy, 0);
    offering += 1;
    lanes += Math.min(offer.maxParallelJobs, worker.maxParallelJobs);
    busy += offer.lanesBusy;
    free += Math.max(0, Math.min(offer.lanesFree, worker.maxParallelJobs - all));
  }
  return { workers: offering, lanes, busy, free };
}

/** As the last look has them; their processors on average over the looks, in which one that was modest counts as idle. */
export function workerEvidence(looks: readonly Look[]): readonly WorkerEvidence[] {
  const present = looks.at(-1)?.workers ?? [];
  return present.flatMap(({ workerId, instanceId, hostName, load }) => {
    if (load === null) return [];
    const seen = looks.flatMap(({ workers }) => workers?.find((one) => one.instanceId === instanceId) ?? []);
    return [{
      workerId,
      instanceId,
      hostName,
      ...load,
      cpu: load.cpu === null ? null : meanUse(load.cpu, seen),
    }];
  });
}

function meanUse({ processors }: CpuUse, seen: readonly WorkerInstance[]): CpuUse {
  const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
  const machine = seen.flatMap(({ load }) => load?.cpu?.machineShare ?? []);
  return {
    processors,
    used: mean(seen.map(({ load }) => load?.cpu?.used ?? 0)),
    machineShare: machine.length === 0 ? null : mean(machine),
  };
}

export function redisEvidence(
  first: readonly RedisServerLoad[],
  last: readonly RedisServerLoad[],
  seconds: number,
): readonly RedisServerEvidence[] {
  return last.map((server) => {
    const before = first.find(({ place }) => place === server.place) ?? server;
    const calls = server.zsetCalls - before.zsetCalls;
    const micros = server.zsetMicros - before.zsetMicros;
    return {
      place: server.place,
      commandsPerSecond: perSecond(before.commands, server.commands, seconds),
      zsetPerSecond: perSecond(before.zsetCalls, server.zsetCalls, seconds),
      zsetMicrosPerCall: calls <= 0 ? 0 : Math.max(0, micros) / calls,
      zsetShare: perSecond(before.zsetMicros, server.zsetMicros, seconds) / 1_000_000,
      cpuShare: perSecond(before.cpuMs, server.cpuMs, seconds) / 1000,
      usedBytes: server.usedBytes,
      maxBytes: server.maxBytes,
      clients: server.clients,
      maxClients: server.maxClients,
    };
  });
}

/** Means over the looks; the connections are those of the last one. */
export function postgresEvidence(
  loads: readonly PostgresLoad[],
  seconds: number,
): Omit<PostgresEvidence, "statement" | "slowStatements" | "replicas"> | null {
  const first = loads[0];
  const last = loads.at(-1);
  if (first === undefined || last === undefined) return null;
  const mean = (of: (load: PostgresLoad) => number) =>
    loads.reduce((sum, load) => sum + of(load), 0) / loads.length;
  return {
    insertedPerSecond: perSecond(first.inserted, last.inserted, seconds),
    working: mean(({ working }) => working),
    waitingForLocks: mean(({ waitingForLocks }) => waitingForLocks),
    waitingForDisk: mean(({ waitingForDisk }) => waitingForDisk),
    connections: last.connections,
    maxConnections: last.maxConnections,
  };
}
