/** Work in the background, again and again: a fault is logged, and the next time comes all the same. */
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";

export class Chores {
  #isStopped = false;
  readonly #cancels = new Map<symbol, () => void>();
  readonly #underWay = new Set<Promise<void>>();

  constructor(private readonly clock: Clock, private readonly log: Log) {}

  /** Runs `work` every so many milliseconds, counted from its end. */
  every(ms: number, work: () => Promise<void>): void {
    const key = Symbol();
    const arm = () => {
      if (!this.#isStopped) this.#cancels.set(key, this.clock.timer(ms, run));
    };
    const run = () => {
      const done = this.#attempt(work).finally(() => {
        this.#underWay.delete(done);
        arm();
      });
      this.#underWay.add(done);
    };
    arm();
  }

  /** No work begins after this; settles when what is under way has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const cancel of this.#cancels.values()) cancel();
    await Promise.all(this.#underWay);
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.log.warn((error as Error).message);
    }
  }
}
