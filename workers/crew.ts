/**
 * The Web Workers of one job type, and the attempts that wait for one of them.
 *
 * Lanes are spread evenly over the threads, which start one by one while none is idle. Runs that take next to no
 * time are the exception: they go to as few threads as half the cores, so that many travel in one message; the work
 * of handing them over is larger than theirs. What is sent to a thread that turns out to be stuck is taken back
 * and placed anew, so being behind a slow run costs some 20 ms.
 */
import type { Attempt } from "./attempt.ts";
import type { JobType } from "./job_types.ts";
import type { Thread } from "./thread.ts";

const QUICK_MS = 2;
/** The other half of the cores hands attempts over and records what became of them. */
const QUICK_THREADS = Math.max(1, Math.floor(navigator.hardwareConcurrency / 2));
/** A type is taken to be slow until some dozens of its runs were quick. */
const FIRST_AVERAGE_MS = 10;
/** How much one run counts in the average. */
const WEIGHT = 1 / 16;

export class Crew {
  readonly threads: Thread[] = [];
  readonly #waiting: Attempt[] = [];
  #averageMs = FIRST_AVERAGE_MS;

  constructor(readonly type: JobType, private readonly startThread: (capacity: number) => Thread) {}

  /** An attempt has run for so long. */
  ran(durationMs: number): void {
    this.#averageMs += (durationMs - this.#averageMs) * WEIGHT;
  }

  /** Into the least busy thread that has room, else into a new one, else into the queue. Throws when none starts. */
  place(attempt: Attempt): void {
    const { maxParallelJobs: lanes, threads: most, isolation } = this.type.offer;
    const quick = isolation === "lane" && this.#averageMs < QUICK_MS;
    const width = quick ? Math.min(most, QUICK_THREADS) : most;
    const room = isolation !== "lane" ? 1 : quick ? lanes : Math.ceil(lanes / most);
    let best: Thread | undefined;
    let usable = 0;
    let loading = false;
    for (const thread of this.threads) {
      if (thread.stuck) continue;
      if (!thread.ready) loading = true;
      const fits = thread.free > 0 && thread.attempts.size < room;
      if (fits && (best === undefined || isBetter(thread, best))) best = thread;
      if (++usable === width) break;
    }
    const busy = best === undefined || best.attempts.size > 0 && !loading;
    if (busy && usable < width && this.threads.length < most) {
      // Each lane may have one that runs and one behind it.
      const started = this.startThread(isolation === "lane" ? 2 * lanes : 1);
      this.threads.push(started);
      best ??= started;
    }
    best ??= this.threads.find((thread) => thread.free > 0 && thread.attempts.size < room);
    if (best === undefined) this.#waiting.push(attempt);
    else best.take(attempt);
  }

  /** Attempts that could go to a thread that is not stuck. */
  roomElsewhere(): number {
    const { maxParallelJobs: lanes, threads: most, isolation } = this.type.offer;
    const share = isolation === "lane" ? Math.ceil(lanes / most) : 1;
    const notStuck = this.threads.filter((thread) => !thread.stuck);
    const taken = notStuck.reduce((sum, thread) => sum + Math.min(share, thread.attempts.size), 0);
    return (most - this.threads.length + notStuck.length) * share - taken;
  }

  get anyWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Empties the queue: the caller places them anew. */
  takeWaiting(): readonly Attempt[] {
    return this.#waiting.splice(0);
  }

  /** The thread takes nothing new: another may start in its place. */
  remove(thread: Thread): void {
    thread.draining = true;
    const at = this.threads.indexOf(thread);
    if (at >= 0) this.threads.splice(at, 1);
  }

  forget(attempt: Attempt): void {
    const at = this.#waiting.indexOf(attempt);
    if (at >= 0) this.#waiting.splice(at, 1);
  }
}

/** One that has loaded its job file before one that has not, then the less busy. */
function isBetter(thread: Thread, than: Thread): boolean {
  if (thread.ready !== than.ready) return thread.ready;
  return thread.attempts.size < than.attempts.size;
}
