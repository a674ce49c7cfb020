/**
 * When to claim for lanes that are not free yet. A claim takes a few milliseconds, and the way to job code and back one
 * or two, in which the lane would be idle. So where the runs of a type are alike, the next one is claimed shortly before
 * a run ends, and follows it: it begins where and when that one ends. A forecast that was wrong costs one attempt handed
 * back, and then nothing is claimed ahead for a while.
 */
import type { Clock } from "./ports/clock.ts";
import { LaneRuns, type Run } from "./lane_runs.ts";

/** So long before a lane is expected to be free the next run is claimed for it, milliseconds. */
const AHEAD_OF_LANE_MS = 20;
/** How long deliveries may wait while no lane comes free for them; longer where one is expected, milliseconds. */
const PATIENCE_MS = 250;
const PATIENCE_AT_MOST_MS = 1000;
/** By so much a lane may come later than expected. */
const LATE_MS = 50;
/** How long an attempt follows a run that does not end, counted from its claim. */
const FOLLOWS_AT_MOST_MS = 250;
/** More than adding moments of some months can be wrong by, milliseconds. */
const ROUNDING_MS = 0.001;
/** Nothing is claimed ahead for so long after an attempt followed in vain. */
const PAUSE_MS = 60_000;

export class ClaimsAhead {
  #asked = 0;
  #from = 0;

  constructor(private readonly runs: LaneRuns, private readonly clock: Pick<Clock, "mono">) {}

  /** How many may be claimed now. */
  get wanted(): number {
    const now = this.clock.mono();
    if (now < this.#from) return 0;
    return Math.max(0, this.runs.endingWithin(AHEAD_OF_LANE_MS, now) - this.#asked);
  }

  /** In how many milliseconds there may be something to claim, or null when that cannot be told. */
  get nextIn(): number | null {
    const now = this.clock.mono();
    if (now < this.#from) return null;
    const next = this.runs.nextEndAfter(now + AHEAD_OF_LANE_MS);
    return next === null ? null : wait(next - AHEAD_OF_LANE_MS - now);
  }

  /** How long deliveries may wait without a lane, milliseconds: until one that is expected has come, but not for long. */
  get patienceMs(): number {
    const now = this.clock.mono();
    const next = this.runs.nextEndAfter(now);
    if (next === null) return PATIENCE_MS;
    return Math.min(Math.max(PATIENCE_MS, next - now + LATE_MS), PATIENCE_AT_MOST_MS);
  }

  /** So many have been asked for. */
  asked(count: number): void {
    this.#asked += count;
  }

  /** So many have been answered. */
  answered(count: number): void {
    this.#asked -= count;
  }

  /** Those that have followed for too long. */
  takeStale(): readonly Run[] {
    const now = this.clock.mono();
    const stale = this.runs.takeFollowingSince(now - FOLLOWS_AT_MOST_MS);
    if (stale.length > 0) this.#from = now + PAUSE_MS;
    return stale;
  }

  /** In how many milliseconds the oldest that follows has done so for too long, or null. */
  get staleIn(): number | null {
    const oldest = this.runs.oldestFollowing;
    return oldest === null ? null : wait(oldest.leaseFrom + FOLLOWS_AT_MOST_MS - this.clock.mono());
  }
}

/**
 * Whole milliseconds, one at least, and never less than what is asked for, however moments are rounded when they are
 * added up: after a wait that is too short nothing would have changed.
 */
function wait(ms: number): number {
  return Math.max(1, Math.ceil(ms + ROUNDING_MS));
}
