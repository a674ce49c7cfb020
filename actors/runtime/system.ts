/**
 * A system of actors: it gives turns, one at a time, to the actors that have something to do.
 *
 * Turns run in batches. After each batch the event loop has its chance, so that a busy system starves neither
 * sockets nor timers; the scheduler, a port, decides how. With the seeded scheduler and the manual clock a whole
 * system runs the same way each time.
 */
import type { ActorDefinition, ActorRef, KernelClock, KernelRandom, SpawnOptions } from "./actor.ts";
import { ask } from "./ask.ts";
import { Cell, type Kernel } from "./cell.ts";
import type { InspectEvent, InspectNews } from "./inspect.ts";
import { ReadyQueue } from "./ready_queue.ts";
import { DEFAULT_SUPERVISION, type Supervision } from "./supervision.ts";

/** When turns run, and whose is next. */
export interface KernelScheduler {
  /** Runs it soon: after what waits in the event loop had its chance, and never before `schedule` returns. */
  schedule(run: () => void): void;
  /** How many turns run before the event loop has its chance again. Default 256. */
  readonly turnsPerRun?: number;
  /** Which of `count` ready actors (0 is the one that waits longest) has the next turn. Default the first. */
  pick?(count: number): number;
}

/** What a system is made of. */
export interface SystemOptions {
  readonly clock: KernelClock;
  readonly random: KernelRandom;
  readonly scheduler: KernelScheduler;
  /** How top-level actors are supervised. Default `DEFAULT_SUPERVISION`. */
  readonly supervision?: Supervision;
  /** A listener from the first event on, as `inspect` adds one later. */
  readonly onInspect?: (event: InspectEvent) => void;
}

/** A top-level actor that is over its restart budget. */
export interface ActorFailure {
  readonly path: string;
  /** Says which budget was spent; its `cause` is what the actor threw last. */
  readonly error: Error;
}

/** How one actor stands. */
export interface ActorSnapshot {
  readonly path: string;
  readonly kind: string;
  /** Messages in its mailbox. */
  readonly waiting: number;
  /** Work given to `run` that has not settled. */
  readonly working: number;
  readonly state: "running" | "stopping" | "backing-off";
  /** Restarts in its whole life. */
  readonly restarts: number;
}

/** The actors of one process, or of one simulated node. */
export interface ActorSystem {
  /** Starts a top-level actor. A name in use, or a system that stops, is a bug (throws). */
  spawn<S, P, Q = never>(
    name: string,
    definition: ActorDefinition<S, P, Q>,
    options?: SpawnOptions,
  ): ActorRef<P>;
  /**
   * Tells the message that `make` makes and settles with the first answer. Rejects with AskTimeout after
   * `deadlineMs` (which does not mean undone), with ActorStopped, or with MailboxFull.
   */
  ask<M, R>(
    actor: ActorRef<M>,
    make: (reply: (answer: R) => void) => M,
    deadlineMs: number,
  ): Promise<R>;
  /**
   * Stops all actors in order: the youngest first, each fully before the next, parents after their children.
   * What is left after `graceMs` (0: at once) is cut off. Settles when all have ended. Calling again is fine; a
   * shorter grace then counts, a longer one does not.
   */
  stop(graceMs: number): Promise<void>;
  /** Calls back at everything that happens, within the turn. The result ends it. The listener must not throw. */
  inspect(listener: (event: InspectEvent) => void): () => void;
  /** How many messages nobody received or will receive. */
  readonly deadLetters: number;
  /** All living actors, parents before their children, oldest first. */
  snapshot(): readonly ActorSnapshot[];
  /** Settles when a top-level actor is over its restart budget; it has ended by then. Never rejects. */
  readonly failed: Promise<ActorFailure>;
  /**
   * Settles when no message waits and no promise that was ready to settle is left. Timers and work that waits for
   * something else are not counted. For tests.
   */
  idle(): Promise<void>;
}

/** Makes a system without actors. */
export function createSystem(options: SystemOptions): ActorSystem {
  return new System(options);
}

const TURNS_PER_RUN = 256;

class System implements ActorSystem, Kernel {
  readonly clock: KernelClock;
  readonly random: KernelRandom;
  readonly failed: Promise<ActorFailure>;
  inspected = false;
  deadLetters = 0;
  readonly #scheduler: KernelScheduler;
  readonly #turnsPerRun: number;
  readonly #ready = new ReadyQueue<Cell>();
  readonly #listeners = new Set<(event: InspectEvent) => void>();
  readonly #root: Cell;
  readonly #rootEnded: Promise<void>;
  readonly #fail: (failure: ActorFailure) => void;
  #ids = 0;
  #turns = 0;
  #scheduled = false;
  /** The monotonic moment at which what still lives is cut off. */
  #graceEndsAt = Infinity;
  #cancelGrace: () => void = () => {};

  constructor(options: SystemOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.#scheduler = options.scheduler;
    this.#turnsPerRun = options.scheduler.turnsPerRun ?? TURNS_PER_RUN;
    const failure = Promise.withResolvers<ActorFailure>();
    this.failed = failure.promise;
    this.#fail = failure.resolve;
    const supervision = options.supervision ?? DEFAULT_SUPERVISION;
    const root = { kind: "root", start: () => null, receive: () => null, supervision };
    this.#root = new Cell(this, "", root, "never", null);
    this.#root.turn();
    const ended = Promise.withResolvers<void>();
    this.#rootEnded = ended.promise;
    this.#root.onEnd(() => {
      this.#cancelGrace();
      ended.resolve();
    });
    if (options.onInspect !== undefined) this.inspect(options.onInspect);
  }

  spawn<S, P, Q = never>(
    name: string,
    definition: ActorDefinition<S, P, Q>,
    options?: SpawnOptions,
  ): ActorRef<P> {
    const { run } = this.#root;
    if (!run?.alive) throw new Error(`Cannot spawn ${name}: the system has stopped`);
    return run.spawn(name, definition, options);
  }

  ask<M, R>(
    actor: ActorRef<M>,
    make: (reply: (answer: R) => void) => M,
    deadlineMs: number,
  ): Promise<R> {
    return ask(this.clock, actor, make, deadlineMs);
  }

  stop(graceMs: number): Promise<void> {
    if (Number.isNaN(graceMs)) throw new RangeError("The grace is a number of milliseconds");
    this.#root.askStop();
    const endsAt = this.clock.mono() + graceMs;
    if (this.#root.end === null && endsAt < this.#graceEndsAt) {
      this.#graceEndsAt = endsAt;
      this.#cancelGrace();
      if (graceMs <= 0) this.#root.askCutOff();
      else this.#cancelGrace = this.clock.timer(graceMs, () => this.#root.askCutOff());
    }
    return this.#rootEnded;
  }

  inspect(listener: (event: InspectEvent) => void): () => void {
    const own = (event: InspectEvent) => listener(event);
    this.#listeners.add(own);
    this.inspected = true;
    return () => {
      this.#listeners.delete(own);
      this.inspected = this.#listeners.size > 0;
    };
  }

  snapshot(): readonly ActorSnapshot[] {
    return [...below(this.#root)];
  }

  async idle(): Promise<void> {
    // Two quiet rounds: the first may have let a promise settle whose message the second would deliver.
    for (let quiet = 0; quiet < 2;) {
      const before = this.#turns;
      await new Promise<void>((resolve) => this.#scheduler.schedule(resolve));
      quiet = this.#turns === before && this.#ready.size === 0 ? quiet + 1 : 0;
    }
  }

  // --------------------------------------------------------------------------------------- what cells need

  nextId(): number {
    return this.#ids++;
  }

  ready(cell: Cell): void {
    this.#ready.add(cell);
    this.#schedule();
  }

  emit(cell: Cell, news: InspectNews): void {
    if (cell === this.#root) return;
    const event: InspectEvent = { ...news, at: this.clock.mono(), id: cell.id, path: cell.path };
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        // A bug of the listener is no crash of the actor it looks at: it surfaces outside of the turn.
        this.#scheduler.schedule(() => {
          throw error;
        });
      }
    }
  }

  deadLetter(cell: Cell, message: unknown, why: "stopped" | "late"): void {
    this.deadLetters++;
    if (this.inspected) this.emit(cell, { type: "deadLetter", message, why });
  }

  topLevelFailed(cell: Cell, error: Error): void {
    this.#fail({ path: cell.path, error });
  }

  // ------------------------------------------------------------------------------------------------- turns

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#scheduler.schedule(this.#runTurns);
  }

  readonly #runTurns = (): void => {
    const scheduler = this.#scheduler;
    const ready = this.#ready;
    for (let turn = 0; turn < this.#turnsPerRun && ready.size > 0; turn++) {
      const cell = ready.take(scheduler.pick === undefined ? 0 : scheduler.pick(ready.size));
      this.#turns++;
      cell?.turn();
    }
    this.#scheduled = false;
    if (ready.size > 0) this.#schedule();
  };
}

function* below(cell: Cell): Generator<ActorSnapshot> {
  for (const child of cell.run?.children?.values() ?? []) {
    yield {
      path: child.path,
      kind: child.definition.kind,
      waiting: child.mailbox.waiting,
      working: child.run?.working ?? 0,
      state: child.condition,
      restarts: child.restarts,
    };
    yield* below(child);
  }
}
