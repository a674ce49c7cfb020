/** Notices that the wall clock was set: it moved against the monotonic one by more than a clock drifts. */
import type { Clock } from "./ports/clock.ts";

/** A smaller step is nobody's concern: due times, misfire thresholds and leases bear it. */
export const STEP_AT_LEAST_MS = 5000;

/** What the wall clock did between two looks. */
export interface ClockStep {
  /** Milliseconds; negative when it was set back. */
  readonly byMs: number;
  /** What it would say now had it not been set, epoch milliseconds. */
  readonly from: number;
  /** What it says, epoch milliseconds. */
  readonly to: number;
}

export class ClockSteps {
  #offset: number;

  constructor(private readonly clock: Pick<Clock, "now" | "mono">) {
    this.#offset = clock.now() - clock.mono();
  }

  /** The step since the look before, or null. Slow drift adds up to none, for each look begins anew. */
  look(): ClockStep | null {
    const to = this.clock.now();
    const offset = to - this.clock.mono();
    const byMs = Math.round(offset - this.#offset);
    this.#offset = offset;
    return Math.abs(byMs) <= STEP_AT_LEAST_MS ? null : { byMs, from: to - byMs, to };
  }
}
