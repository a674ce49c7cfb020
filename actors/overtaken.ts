/**
 * Which rows have lost their message although their queue is not empty, as after a purge or a broker's loss under a load
 * that never ends.
 *
 * A queue gives out first what came first. So when an attempt is running that became ready well after a row was looked
 * at last, the row's message was given out before it, or is gone. A worker may hold it still, or have given it back; then
 * the second copy claims nothing. A backlog is not doubled: before it runs only what is older. A retry and what is handed
 * back become ready anew and go to the end.
 */
import type { Recoverable, SilentAttempt } from "./ports/store.ts";

/** After it was published a row is looked at again this much later, each time twice as late. */
const LOOK_AGAIN_MS = 30_000;
const LOOK_AGAIN_AT_MOST_MS = 3_600_000;
/** No worker can take it: it is looked at more often, in case nobody hears of one that comes. */
const LOOK_FOR_WORKER_AT_MOST_MS = 300_000;
/**
 * What became ready so much later was published later, too: a pass publishes for a while after it began, and a publisher
 * waits 5 s for its confirmation. Long enough, too, for a message that waits at a worker for a lane.
 */
const WELL_AFTER_MS = 10_000;

/** How long after this look the next one comes; `looks` as it was before. */
export function nextLookInMs({ looks }: Pick<Recoverable, "looks">, hasWorker = true): number {
  return Math.min(LOOK_AGAIN_MS * 2 ** looks, hasWorker ? LOOK_AGAIN_AT_MOST_MS : LOOK_FOR_WORKER_AT_MOST_MS);
}

export class Overtaking {
  /** By queue: when the newest that ran became ready, epoch milliseconds. */
  readonly #newest = new Map<string, number>();

  /** Shown what runs now, each second or so; a run that is shorter may be missed, and one of the next is not. */
  sees(running: readonly Pick<SilentAttempt, "jobType" | "pool" | "readyAt">[], now: number): void {
    for (const { jobType, pool, readyAt } of running) {
      const queue = queueOf(jobType, pool);
      // Ready later than now: the clock was set back, and says nothing about order.
      if (readyAt <= now && readyAt > (this.#newest.get(queue) ?? 0)) this.#newest.set(queue, readyAt);
    }
  }

  /** The clock was set: moments from before it mean nothing beside those from after it. */
  forget(): void {
    this.#newest.clear();
  }

  /** True when it was published, and what was published well after its last look runs or has run. */
  has({ message, looks }: Pick<Recoverable, "message" | "looks">, now: number): boolean {
    if (looks === 0) return false;
    const lookedAt = now - nextLookInMs({ looks: looks - 1 });
    return (this.#newest.get(queueOf(message.jobType, message.pool)) ?? 0) > lookedAt + WELL_AFTER_MS;
  }
}

function queueOf(jobType: string, pool: string | null): string {
  return JSON.stringify([jobType, pool]);
}
