/**
 * What happens to an attempt that was told to end and does not:
 *
 *   abort signal ─grace─► its thread yields? ─yes─► siblings in the thread get their grace ─► terminate the thread
 *                                 └─ no: it spins, and terminate() would not stop it
 *                                      └─► siblings in the host get their grace ─► SIGKILL
 *
 * A grace of siblings has two halves: in the first they may simply finish, in the second they have their signal.
 * Nothing new goes to a thread or a host on its way out; what was sent there and has not started runs elsewhere.
 * So an attempt that spins alone uses no more CPU half a second after its grace.
 */
import type { Clock } from "../actors/ports/clock.ts";
import type { Attempt } from "./attempt.ts";
import type { Executor } from "./executor.ts";
import type { Thread } from "./thread.ts";

/** A thread that does not answer for so long is taken to spin. A wrong guess costs its siblings a second run. */
const PING_MS = 500;

export interface LadderDeps {
  readonly clock: Clock;
  /** Milliseconds, for each grace. */
  readonly graceMs: number;
  /** Nothing new goes to this thread; what has not started there goes elsewhere. */
  withdraw(thread: Thread): void;
  /** Sends the abort signal to an attempt that did nothing wrong. */
  abortSibling(attempt: Attempt): void;
}

export class Ladder {
  readonly #ending = new Set<Thread | Executor>();

  constructor(private readonly deps: LadderDeps) {}

  /** Ends a thread, with its siblings' grace, or its host when it spins. */
  async endThread(thread: Thread): Promise<void> {
    if (thread.gone || this.#ending.has(thread)) return;
    this.#ending.add(thread);
    this.deps.withdraw(thread);
    let yields = await this.#ping(thread);
    if (yields && innocents([thread]).length > 0) {
      await this.#grace([thread]);
      yields = await this.#ping(thread);
    }
    if (thread.gone) return;
    if (yields) thread.executor.endThread(thread);
    else await this.endHost(thread.executor);
  }

  /** Kills a host after the grace of those in it that did nothing wrong. */
  async endHost(executor: Executor): Promise<void> {
    if (this.#ending.has(executor)) return;
    this.#ending.add(executor);
    executor.draining = true;
    for (const thread of executor.threads.values()) this.deps.withdraw(thread);
    await this.#grace(executor.threads.values());
    executor.kill();
  }

  async #grace(threads: Iterable<Thread>): Promise<void> {
    const { clock, graceMs, abortSibling } = this.deps;
    const all = innocents(threads);
    await allEnded(all, graceMs / 2, clock);
    const left = all.filter((attempt) => !attempt.ended);
    for (const attempt of left) abortSibling(attempt);
    await allEnded(left, graceMs / 2, clock);
  }

  #ping(thread: Thread): Promise<boolean> {
    return thread.ping((expired) => this.deps.clock.timer(PING_MS, expired));
  }
}

/** Resolves when all of them have ended, or after `ms` milliseconds. */
export function allEnded(attempts: readonly Attempt[], ms: number, clock: Clock): Promise<void> {
  if (attempts.length === 0) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = clock.timer(ms, resolve);
  let open = attempts.length;
  for (const attempt of attempts) {
    attempt.whenEnded(() => {
      open -= 1;
      if (open > 0) return;
      cancel();
      resolve();
    });
  }
  return promise;
}

function innocents(threads: Iterable<Thread>): Attempt[] {
  return [...threads].flatMap((thread) => [...thread.attempts].filter((attempt) => attempt.abort === null));
}
