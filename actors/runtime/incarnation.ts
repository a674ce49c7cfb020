/**
 * One run of an actor, from `start` to its end: its state, and everything it took (children, timers, work under
 * way, watches). A restart makes a new one. Whatever comes back to one that is over finds it dead and is dropped,
 * so that no promise or callback of a crashed run reaches the next.
 *
 * Nothing is allocated before it is used: a job actor lives for a handful of messages.
 */
import type {
  ActorContext,
  ActorDefinition,
  ActorEnd,
  ActorRef,
  KernelClock,
  KernelRandom,
  RunOutcome,
  SpawnOptions,
} from "./actor.ts";
import type { Cell } from "./cell.ts";
import { NOTHING, type Sealed } from "./mailbox.ts";
import { cellOf } from "./ref.ts";
import { Timers } from "./timers.ts";

/** Why the work of a run that is over is aborted. One for all: making an error costs more than making an actor. */
const ENDED = new DOMException("The actor has ended", "AbortError");

/** One watch, held at both ends so that either may end first. */
interface Watch {
  readonly target: Cell;
  readonly notify: (end: ActorEnd) => void;
}

/** The context that an actor's functions are given, and what the kernel keeps for one run. */
export class Incarnation implements ActorContext<unknown> {
  /** False from the moment of STOP or crash: nothing is received any more. */
  alive = true;
  /** What `start` and `receive` returned last; meaningless until `started`. */
  state: unknown = undefined;
  started = false;
  /** Living children in the order in which they were spawned. */
  children: Map<string, Cell> | null = null;
  /** When children were restarted together (all-for-one), monotonic milliseconds. */
  restartedAt: readonly number[] = [];
  /** Work under way: started with `run`, not settled. */
  working = 0;
  #timers: Timers<unknown> | null = null;
  #controller: AbortController | null = null;
  #watches: Set<Watch> | null = null;

  constructor(readonly cell: Cell) {}

  get self(): ActorRef<unknown> {
    return this.cell.ref;
  }

  get path(): string {
    return this.cell.path;
  }

  get clock(): KernelClock {
    return this.cell.kernel.clock;
  }

  get random(): KernelRandom {
    return this.cell.kernel.random;
  }

  spawn<S, P, Q = never>(
    name: string,
    definition: ActorDefinition<S, P, Q>,
    options?: SpawnOptions,
  ): ActorRef<P> {
    if (!this.alive) throw new Error(`Cannot spawn ${name}: ${this.path} has ended`);
    if (this.children?.has(name)) {
      throw new Error(`Cannot spawn ${name}: ${this.path} has a living child of that name`);
    }
    const child = this.cell.spawnChild(name, definition, options?.restart ?? "on-crash", this);
    (this.children ??= new Map()).set(name, child);
    return child.ref;
  }

  stopChild(child: ActorRef<never>): void {
    const cell = cellOf(child);
    if (cell.parent?.cell !== this.cell) throw new Error(`${child.path} is no child of ${this.path}`);
    cell.askStop();
  }

  watch(actor: ActorRef<never>, toMessage: (end: ActorEnd) => unknown): void {
    if (!this.alive) return;
    const target = cellOf(actor);
    const watch: Watch = {
      target,
      notify: (end) => {
        this.#watches?.delete(watch);
        this.#receiveSoon({ open: () => toMessage(end), carries: NOTHING });
      },
    };
    if (target.end !== null) return watch.notify(target.end);
    (this.#watches ??= new Set()).add(watch);
    target.onEnd(watch.notify);
  }

  run<T>(work: (signal: AbortSignal) => Promise<T>, toMessage: (outcome: RunOutcome<T>) => unknown): void {
    if (!this.alive) return;
    this.#controller ??= new AbortController();
    this.working++;
    const settled = (outcome: RunOutcome<T>) => {
      this.working--;
      if (this.alive) this.#receiveSoon({ open: () => toMessage(outcome), carries: outcome });
      else this.cell.kernel.deadLetter(this.cell, outcome, "late");
    };
    started(work, this.#controller.signal).then(
      (value) => settled({ ok: true, value }),
      (error) => settled({ ok: false, error: asError(error) }),
    );
  }

  inject(message: unknown): void {
    if (this.alive) this.#receiveSoon({ open: () => message, carries: message });
    else this.cell.kernel.deadLetter(this.cell, message, "late");
  }

  after(key: string, delayMs: number, message: unknown): void {
    if (this.alive) this.#timersOfRun().after(key, delayMs, message);
  }

  every(key: string, periodMs: number, message: unknown): void {
    if (this.alive) this.#timersOfRun().every(key, periodMs, message);
  }

  cancelTimer(key: string): void {
    this.#timers?.cancel(key);
  }

  /** From here on it is dead: its work is aborted, its timers and watches end. Children are the cell's to stop. */
  die(): void {
    this.alive = false;
    this.#timers?.cancelAll();
    this.#timers = null;
    for (const watch of this.#watches ?? []) watch.target.offEnd(watch.notify);
    this.#watches = null;
    this.#controller?.abort(ENDED);
    this.#controller = null;
  }

  #timersOfRun(): Timers<unknown> {
    return this.#timers ??= new Timers(this.clock, (tick, key) => {
      const { kernel } = this.cell;
      if (kernel.inspected) kernel.emit(this.cell, { type: "timerFired", key });
      this.#receiveSoon(tick);
    });
  }

  #receiveSoon(sealed: Sealed): void {
    this.cell.mailbox.push(sealed);
    this.cell.wake();
  }
}

/** Work that throws before its first promise is work that failed, like any other. */
function started<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return work(signal);
  } catch (error) {
    return Promise.reject(error);
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`Thrown: ${String(thrown)}`, { cause: thrown });
}
