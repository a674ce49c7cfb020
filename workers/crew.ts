/** The Web Workers of one job type, and the attempts that wait for one of them. */
import type { Attempt } from "./attempt.ts";
import type { JobType } from "./job_types.ts";
import type { Thread } from "./thread.ts";

export class Crew {
  readonly threads: Thread[] = [];
  readonly #waiting: Attempt[] = [];
  /** Lanes spread evenly. */
  readonly #capacity: number;

  constructor(readonly type: JobType, private readonly startThread: (capacity: number) => Thread) {
    const { maxParallelJobs, threads } = type.offer;
    this.#capacity = type.offer.isolation === "lane" ? Math.ceil(maxParallelJobs / threads) : 1;
  }

  /** Into the least busy thread that has room, else into a new one, else into the queue. Throws when none starts. */
  place(attempt: Attempt): void {
    let best: Thread | undefined;
    for (const thread of this.threads) {
      if (thread.hasRoom && (best === undefined || thread.attempts.size < best.attempts.size)) best = thread;
    }
    if (best === undefined && this.threads.length < this.type.offer.threads) {
      best = this.startThread(this.#capacity);
      this.threads.push(best);
    }
    if (best === undefined) this.#waiting.push(attempt);
    else best.take(attempt);
  }

  /** The thread takes nothing new: another may start in its place. */
  remove(thread: Thread): void {
    thread.draining = true;
    const at = this.threads.indexOf(thread);
    if (at >= 0) this.threads.splice(at, 1);
  }

  get anyWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Empties the queue: the caller places them anew. */
  takeWaiting(): readonly Attempt[] {
    return this.#waiting.splice(0);
  }

  forget(attempt: Attempt): void {
    const at = this.#waiting.indexOf(attempt);
    if (at >= 0) this.#waiting.splice(at, 1);
  }
}
