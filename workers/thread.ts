/** The pool's view of one Web Worker: its cells, what it runs, and what waits to be sent to it. */
import type { Attempt } from "./attempt.ts";
import type { Executor } from "./executor.ts";
import type { JobType } from "./job_types.ts";
import { type AbortCode, type GuestItem, MOVED } from "./protocol.ts";

export class Thread {
  /** The job file is loaded. Until then nothing is sent. */
  ready = false;
  /** Its code does not yield: what is sent there waits. */
  stuck = false;
  /** Takes no new attempt: it is about to be ended. */
  draining = false;
  /** Terminated, or its host is gone. */
  gone = false;
  /** Monotonic moment at which it ran its last attempt, or was started. */
  idleSince: number;
  readonly attempts = new Set<Attempt>();
  #unsent: Attempt[] = [];
  #unsentPings: number[] = [];
  readonly #freeCells: number[];
  /** Attempts that left before the guest came to them: their cells are free when it has. */
  readonly #leftBehind = new Map<number, number>();
  readonly #pings = new Map<number, (answered: boolean) => void>();
  #lastPing = 0;

  constructor(
    readonly number: number,
    readonly type: JobType,
    readonly executor: Executor,
    /** Attempts it can hold at once. */
    readonly capacity: number,
    startedAt: number,
  ) {
    this.#freeCells = Array.from({ length: capacity }, (_, cell) => capacity - 1 - cell);
    this.idleSince = startedAt;
  }

  /** Cells that an attempt can be put into. */
  get free(): number {
    return this.#freeCells.length;
  }

  /** Puts an attempt into a free cell. Throws when there is none. */
  take(attempt: Attempt): void {
    const cell = this.#freeCells.pop();
    if (cell === undefined) throw new RangeError(`Thread ${this.number} has no free cell`);
    attempt.thread = this;
    attempt.cell = cell;
    this.attempts.add(attempt);
    this.#unsent.push(attempt);
    this.executor.planFlush(this);
  }

  /** The attempt is no longer here, and the guest knows. */
  release(attempt: Attempt, now: number): void {
    if (!this.attempts.delete(attempt)) return;
    attempt.thread = null;
    this.#freeCells.push(attempt.cell);
    this.idleSince = now;
    if (!attempt.sent) this.#unsent = this.#unsent.filter((one) => one !== attempt);
  }

  /**
   * The attempt is no longer here, but the guest has yet to come across it and see its flag. A new attempt in that
   * cell could be aborted before, which would take the flag down: so the cell stays taken until then.
   */
  leaveBehind(attempt: Attempt, now: number): void {
    if (!this.attempts.delete(attempt)) return;
    attempt.thread = null;
    this.#leftBehind.set(attempt.id, attempt.cell);
    this.idleSince = now;
  }

  /** The guest came across an attempt that was left behind. True when that has freed its cell. */
  clear(id: number): boolean {
    const cell = this.#leftBehind.get(id);
    if (cell === undefined) return false;
    this.#leftBehind.delete(id);
    this.#freeCells.push(cell);
    return true;
  }

  /** Raises the flag of an attempt that was sent, and tells the guest. */
  abort(attempt: Attempt, code: AbortCode, message: string): void {
    this.executor.flush();
    this.executor.send(
      `x${this.number} ${attempt.cell} ${attempt.id} ${code} ${JSON.stringify([attempt.id, code, message])}`,
    );
  }

  /** Takes back an attempt that was sent, if it has not started. The answer is the news `revoked`, or none. */
  recall(attempt: Attempt): void {
    this.executor.flush();
    this.executor.send(`m${this.number} ${attempt.cell} ${attempt.id} ${MOVED}`);
  }

  /** Resolves with whether the guest answered before the timer expired. False when the thread goes. */
  ping(timer: (expired: () => void) => () => void): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    if (this.gone) return Promise.resolve(false);
    const ping = ++this.#lastPing;
    const cancel = timer(() => this.#answer(ping, false));
    this.#pings.set(ping, (answered) => {
      cancel();
      resolve(answered);
    });
    this.#unsentPings.push(ping);
    this.executor.planFlush(this);
    return promise;
  }

  pong(ping: number): void {
    this.#answer(ping, true);
  }

  /** It is gone: nobody waits for an answer any more. */
  leave(): void {
    this.gone = true;
    this.draining = true;
    for (const ping of [...this.#pings.keys()]) this.#answer(ping, false);
  }

  /** What is to be sent now, as a line, or null. Its attempts count as sent from here on. */
  drain(): string | null {
    if (!this.ready || this.#unsent.length + this.#unsentPings.length === 0) return null;
    const items: GuestItem[] = this.#unsent.map((attempt) => attempt.item());
    for (const attempt of this.#unsent) attempt.sent = true;
    for (const ping of this.#unsentPings) items.push([ping]);
    this.#unsent = [];
    this.#unsentPings = [];
    return `>${this.number} ${JSON.stringify(items)}`;
  }

  #answer(ping: number, answered: boolean): void {
    const settle = this.#pings.get(ping);
    this.#pings.delete(ping);
    settle?.(answered);
  }
}
