/** Attempts of a pool in process that begin when another one ends. */
import type { Outcome } from "../../actors/domain/message.ts";
import type { AttemptListener, RunningJob } from "../../actors/ports/pool.ts";

export class Followers {
  readonly #waiting = new Map<RunningJob, () => void>();
  readonly #on = new Set<RunningJob>();

  /** It has begun; `ended` is to be called. */
  began(job: RunningJob): RunningJob {
    this.#on.add(job);
    return job;
  }

  /** Whoever follows it begins. */
  ended(job: RunningJob): void {
    this.#on.delete(job);
    const begin = this.#waiting.get(job);
    this.#waiting.delete(job);
    begin?.();
  }

  /** Begins when `after` ends, unless it is taken back or told to end before; at once when that has ended. */
  follow(after: RunningJob | null, listener: AttemptListener, begin: () => RunningJob): RunningJob {
    const before = after instanceof Follower ? after.begun : after;
    if (before === null || !this.#on.has(before)) return begin();
    const follower = new Follower((outcome) => {
      if (this.#waiting.delete(before)) listener.ended(outcome, 0);
    });
    this.#waiting.set(before, () => follower.begun = begin());
    return follower;
  }
}

class Follower implements RunningJob {
  begun: RunningJob | null = null;

  constructor(private readonly handBack: (outcome: Outcome) => void) {}

  cancel(why: "cancelled" | "lease-lost" | "stopping", message: string): void {
    if (this.begun !== null) this.begun.cancel(why, message);
    else if (why === "cancelled") this.handBack({ kind: "cancelled", rung: "signal" });
    else this.handBack({ kind: "handedBack", why });
  }

  recall(): void {
    this.handBack({ kind: "handedBack", why: "no-lane" });
  }
}
