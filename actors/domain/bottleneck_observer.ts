/**
 * Whether latencies that an API instance measured say anything about the servers. An instance that is late itself, or
 * whose machine has no processor free, waits for its turn before it sees an answer, and so does a server beside it.
 */
import { API_CPU } from "./bottleneck_api.ts";
import type { Evidence, Latency } from "./bottleneck_evidence.ts";

/** Part of a machine's processors; above, whoever wants one waits for it. */
export const MACHINE_CPU = { warning: 0.9, critical: 0.98 };
/** Fewer calls have no percentiles worth the name. */
export const FEWEST_CALLS = 10;

export interface Observer {
  /** 99 of 100 of its own timers were less late. */
  readonly ownDelayMs: number;
  /** Its processors are full: it does not get one when it wants it. */
  readonly isStarved: boolean;
  /** They were, for some of the time at least: the slowest of its calls may be from then. */
  readonly wasStarved: boolean;
}

export function observerOf(evidence: Evidence): Observer {
  const { api } = evidence;
  if (api === null) return { ownDelayMs: 0, isStarved: false, wasStarved: false };
  const ownDelayMs = api.eventLoopDelay?.p99Ms ?? 0;
  const machine = machineShares(evidence).get(api.hostName) ?? 0;
  const isStarved = machine >= MACHINE_CPU.warning || api.cpuShare >= API_CPU.critical;
  return { ownDelayMs, isStarved, wasStarved: isStarved || (api.machinePeak ?? 0) >= MACHINE_CPU.warning };
}

/**
 * Milliseconds by which a server is to be judged; null when this process is as late itself. Of an observer that was
 * starved, were it for seconds of the minute, only the median counts: it waits for its turn now and then, not at each
 * call, and one call in a hundred is what those seconds hold.
 */
export function latencyOfServer(latency: Latency, { ownDelayMs, wasStarved }: Observer): number | null {
  if (latency.count < FEWEST_CALLS) return null;
  const ms = wasStarved ? latency.p50Ms : latency.p99Ms;
  return ms >= ownDelayMs * 2 ? ms : null;
}

/** Of each machine, as the processes there say, by its host name. */
export function machineShares({ api, workers }: Evidence): ReadonlyMap<string, number> {
  const shares = new Map<string, number>();
  const told = [
    { hostName: api?.hostName ?? "", share: api?.machineShare ?? null },
    ...workers.map(({ hostName, cpu }) => ({ hostName, share: cpu?.machineShare ?? null })),
  ];
  for (const { hostName, share } of told) {
    if (share !== null) shares.set(hostName, Math.max(share, shares.get(hostName) ?? 0));
  }
  return shares;
}
