/** A scheduler whose order is drawn from a seed: the one source of non-determinism that a system has, tamed. */
import { seededRandom } from "./seeded_random.ts";
import type { KernelScheduler } from "./system.ts";

/**
 * Gives the next turn to any ready actor, as the seed says, and lets all promises settle between two turns. The
 * same seed and the same events from outside give the same history. `soon` must run in a macrotask (the real
 * scheduler does), since only the event loop knows when no promise is left to settle.
 */
export function seededScheduler(seed: number, soon: Pick<KernelScheduler, "schedule">): KernelScheduler {
  const random = seededRandom(seed, { now: () => 0 });
  return {
    schedule: (run) => soon.schedule(run),
    turnsPerRun: 1,
    pick: (count) => Math.floor(random.next() * count),
  };
}
