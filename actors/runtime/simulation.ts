/** A system in which nothing is left to chance or to the machine: time is told to pass, order comes from a seed. */
import type { InspectEvent } from "./inspect.ts";
import { ManualClock } from "./manual_clock.ts";
import { type SeededRandom, seededRandom } from "./seeded_random.ts";
import { seededScheduler } from "./seeded_scheduler.ts";
import type { Supervision } from "./supervision.ts";
import { type ActorSystem, createSystem, type KernelScheduler } from "./system.ts";

/** What a simulated system is made of. */
export interface SimulationOptions {
  /** The same seed gives the same history. Default 1. */
  readonly seed?: number;
  /** Runs in a macrotask: the real scheduler. */
  readonly soon: Pick<KernelScheduler, "schedule">;
  /** Wall time at the start, epoch milliseconds. Default 2026-01-01. */
  readonly now?: number;
  readonly supervision?: Supervision;
  readonly onInspect?: (event: InspectEvent) => void;
}

/** A simulated system with its clock and its chance. */
export interface Simulation {
  readonly system: ActorSystem;
  /** `await clock.advance(ms)` lets time pass and the system settle after each timer. */
  readonly clock: ManualClock;
  readonly random: SeededRandom;
}

/** Makes one. Order and randomness have generators of their own, so that a draw more does not change the order. */
export function simulate(options: SimulationOptions): Simulation {
  const { seed = 1, soon, now, ...rest } = options;
  const clock = new ManualClock(now === undefined ? {} : { now });
  const random = seededRandom(seed + 1, clock);
  const system = createSystem({ ...rest, clock, random, scheduler: seededScheduler(seed, soon) });
  clock.settleWith(() => system.idle());
  return { system, clock, random };
}
