/**
 * The life of one actor, over all its runs.
 *
 *                 ┌──────────────────────── backing-off ◄─────────────────────┐
 *                 ▼ back-off over                                            │ restart
 *   spawn ──► starting ──► running ──asked──► stopping ──STOP──► ending ──► over? ──► ended
 *                             │                  │                  ▲          ▲
 *                             └──────STOP────────┼──────────────────┘          │
 *                             └──────throws──────┴─────────────────────────────┘
 *
 * Who may write: the phase changes only in a turn of the actor itself or of one above or below it, and one turn
 * runs at a time, so no lock is needed and a crash is one step. In `ending` the actor receives no more and its
 * children are stopped in order, the youngest first, each fully before the next. A crash, and a grace that is
 * over, end the children at once, the youngest first; then the supervision of the parent decides.
 */
import {
  type ActorDefinition,
  type ActorEnd,
  type ActorRef,
  type KernelClock,
  type KernelRandom,
  type RestartRule,
  STOP,
  type TellAnswer,
} from "./actor.ts";
import { Incarnation } from "./incarnation.ts";
import type { InspectNews } from "./inspect.ts";
import { type Entry, Mailbox, NOTHING, type Sealed } from "./mailbox.ts";
import type { Queued } from "./ready_queue.ts";
import { Ref } from "./ref.ts";
import { decide, DEFAULT_SUPERVISION } from "./supervision.ts";

/** What cells need of the system they live in. */
export interface Kernel {
  readonly clock: KernelClock;
  readonly random: KernelRandom;
  /** True while somebody listens: news is made only then. */
  readonly inspected: boolean;
  nextId(): number;
  /** This cell has something to do. */
  ready(cell: Cell): void;
  emit(cell: Cell, news: InspectNews): void;
  deadLetter(cell: Cell, message: unknown, why: "stopped" | "late"): void;
  /** A top-level actor is over its budget. */
  topLevelFailed(cell: Cell, error: Error): void;
}

type Phase = "starting" | "running" | "stopping" | "ending" | "crashing" | "backing-off" | "ended";

const ORDERLY: ActorEnd = { kind: "stopped", orderly: true };
const CUT_OFF: ActorEnd = { kind: "stopped", orderly: false };
const NEVER: readonly number[] = [];

/** The kernel's side of an actor. */
export class Cell implements Queued {
  readonly id: number;
  readonly path: string;
  readonly ref: ActorRef<unknown>;
  readonly mailbox: Mailbox<unknown>;
  /** How it ended for good, or null while it lives. */
  end: ActorEnd | null = null;
  restarts = 0;
  queued = false;
  nextQueued: Queued | null = null;

  #phase: Phase = "starting";
  #run: Incarnation | null = null;
  /** The system lane: signals that overtake everything that waits, and cannot be refused. */
  #stopAsked = false;
  #stopHeard = false;
  #cutOff = false;
  #restartedAt = NEVER;
  #cancelRestart: (() => void) | null = null;
  #endListeners: Set<(end: ActorEnd) => void> | null = null;

  constructor(
    readonly kernel: Kernel,
    readonly name: string,
    readonly definition: ActorDefinition<unknown, unknown, unknown>,
    readonly restart: RestartRule,
    /** The run of the parent that spawned it; null for the root. */
    readonly parent: Incarnation | null,
  ) {
    this.id = kernel.nextId();
    this.path = parent === null ? "" : `${parent.cell.path}/${name}`;
    this.mailbox = new Mailbox(definition.mailbox);
    this.ref = new Ref(this);
    if (kernel.inspected) kernel.emit(this, { type: "spawned", kind: definition.kind });
  }

  /** The current run, or null between runs. */
  get run(): Incarnation | null {
    return this.#run;
  }

  /** For people: how it stands. */
  get condition(): "running" | "stopping" | "backing-off" {
    if (this.#phase === "backing-off") return "backing-off";
    return this.#stopAsked || this.#phase === "ending" ? "stopping" : "running";
  }

  tell(message: unknown): TellAnswer {
    if (this.#phase === "ended") {
      this.kernel.deadLetter(this, message, "stopped");
      return "stopped";
    }
    const answer = this.mailbox.offer(message);
    if (answer !== "accepted" && this.kernel.inspected) {
      this.kernel.emit(this, { type: answer === "full" ? "refused" : "merged", message });
    }
    if (answer === "full") return "full";
    this.wake();
    return "accepted";
  }

  /** Lets the kernel give it a turn when it has something it would do in one. */
  wake(): void {
    if (!this.queued && (this.#phase === "running" || this.#phase === "stopping")) this.kernel.ready(this);
  }

  spawnChild<S, P, Q>(
    name: string,
    definition: ActorDefinition<S, P, Q>,
    restart: RestartRule,
    parent: Incarnation,
  ): Cell {
    // The cell passes its own states and the messages of its mailbox back and forth, and looks into neither.
    const opaque = definition as unknown as ActorDefinition<unknown, unknown, unknown>;
    const child = new Cell(this.kernel, name, opaque, restart, parent);
    this.kernel.ready(child);
    return child;
  }

  /** Asks it to stop in order. Asking twice, before it started or after it ended, is fine. */
  askStop(): void {
    if (this.#stopAsked || this.#phase === "ended") return;
    this.#stopAsked = true;
    if (this.kernel.inspected) this.kernel.emit(this, { type: "stopAsked" });
    this.kernel.ready(this);
  }

  /** Ends it in its next turn, whatever it is at: its grace is over. */
  askCutOff(): void {
    this.#cutOff = true;
    this.kernel.ready(this);
  }

  /** Calls back once when it has ended for good. Not for one that has. */
  onEnd(listener: (end: ActorEnd) => void): void {
    (this.#endListeners ??= new Set()).add(listener);
  }

  /** Takes a listener away. */
  offEnd(listener: (end: ActorEnd) => void): void {
    this.#endListeners?.delete(listener);
  }

  /** One event: a signal of the kernel if there is one, else the message that waits longest. Never throws. */
  turn(): void {
    if (this.#cutOff) return this.#kill();
    switch (this.#phase) {
      case "starting":
        if (this.#stopAsked) return this.#ended(ORDERLY);
        this.#start();
        break;
      case "running":
      case "stopping":
        if (this.#stopAsked && !this.#stopHeard) this.#hearStop();
        else this.#receive();
        break;
      case "backing-off":
        if (this.#stopAsked) this.#ended(ORDERLY);
        return;
      case "ending":
      case "crashing":
      case "ended":
        return;
    }
    if (this.mailbox.waiting > 0) this.wake();
  }

  // ------------------------------------------------------------------------------------------------ one run

  #start(): void {
    const run = this.#run = new Incarnation(this);
    this.#phase = "running";
    if (this.kernel.inspected) {
      const { restarts } = this;
      this.kernel.emit(this, restarts === 0 ? { type: "started" } : { type: "restarted", restarts });
    }
    try {
      run.state = this.definition.start(run);
      run.started = true;
    } catch (error) {
      this.#crash(error);
    }
  }

  #hearStop(): void {
    const run = this.#run;
    if (run === null) return;
    this.#stopHeard = true;
    this.#phase = "stopping";
    let next: unknown;
    try {
      next = this.definition.stopping === undefined ? STOP : this.definition.stopping(run.state, run);
    } catch (error) {
      return this.#crash(error);
    }
    this.#become(run, next);
  }

  #receive(): void {
    const run = this.#run;
    const entry = this.mailbox.take();
    if (run === null || entry === null) return;
    let next: unknown;
    try {
      const message = messageIn(entry);
      if (message === NOTHING) return;
      if (this.kernel.inspected) this.kernel.emit(this, { type: "received", message });
      next = this.definition.receive(run.state, message, run);
    } catch (error) {
      return this.#crash(error);
    }
    this.#become(run, next);
  }

  #become(run: Incarnation, next: unknown): void {
    if (next !== STOP) {
      run.state = next;
      return;
    }
    this.#phase = "ending";
    run.die();
    this.#stopNextChild([...run.children?.values() ?? []]);
  }

  /** In `ending`: the youngest child that still lives, or, when none does, the end. */
  #stopNextChild(children: Cell[]): void {
    while (children.at(-1)?.end) children.pop();
    const youngest = children.at(-1);
    if (youngest === undefined) return this.#over(ORDERLY);
    youngest.onEnd(() => {
      if (this.#phase === "ending") this.#stopNextChild(children);
    });
    youngest.askStop();
  }

  // ------------------------------------------------------------------------------------------- ends of a run

  /** The run has thrown, or a child of it has escalated. */
  #crash(error: unknown): void {
    if (this.kernel.inspected) this.kernel.emit(this, { type: "crashed", error });
    this.#phase = "crashing";
    this.#endChildren();
    this.#over({ kind: "crashed", error });
  }

  #endChildren(): void {
    this.#run?.die();
    for (const child of youngestFirst(this.#run)) child.#kill();
  }

  /** Ends it at once and for good. */
  #kill(): void {
    if (this.#phase === "ended") return;
    this.#phase = "crashing";
    this.#endChildren();
    this.#lastWord(CUT_OFF);
    this.#ended(CUT_OFF);
  }

  /** A run is over and its children have ended: what now? */
  #over(end: ActorEnd): void {
    this.#lastWord(end);
    if (this.#stopAsked || this.parent === null) return this.#ended(end);
    const { parent, kernel } = this;
    const supervision = parent.cell.definition.supervision ?? DEFAULT_SUPERVISION;
    const together = supervision.strategy === "all-for-one";
    const directive = decide({
      supervision,
      restart: this.restart,
      end: end.kind,
      restartedAt: together ? parent.restartedAt : this.#restartedAt,
      now: kernel.clock.mono(),
      jitter: kernel.random.next(),
    });
    switch (directive.kind) {
      case "end":
        return this.#ended(end);
      case "restart":
        if (together) parent.restartedAt = directive.restartedAt;
        else this.#restartedAt = directive.restartedAt;
        if (together) parent.cell.#restartSiblings(this, directive.delayMs);
        return this.#backOff(directive.delayMs);
      case "escalate": {
        const cause = end.kind === "crashed" ? end.error : undefined;
        const text = `${this.path} ${end.kind} again after ${directive.restarts} restarts ` +
          `within ${supervision.withinMs} ms`;
        const error = new Error(text, { cause });
        if (kernel.inspected) kernel.emit(this, { type: "escalated", error });
        this.#ended(end);
        return parent.cell.#childEscalated(this, error);
      }
    }
  }

  #childEscalated(child: Cell, error: Error): void {
    if (this.parent === null) this.kernel.topLevelFailed(child, error);
    // Its run is over already when it was ending and this was the last child it waited for.
    else if (this.#run === child.parent) this.#crash(error);
  }

  /** All-for-one: the others end their runs, the youngest first, and come back with the one that crashed. */
  #restartSiblings(crashed: Cell, delayMs: number): void {
    for (const sibling of youngestFirst(this.#run)) {
      // One that is on its way out goes its way.
      if (sibling === crashed || sibling.#stopAsked || sibling.#phase === "ending") continue;
      if (sibling.restart === "never") {
        sibling.#kill();
        continue;
      }
      sibling.#phase = "crashing";
      sibling.#endChildren();
      sibling.#lastWord(CUT_OFF);
      sibling.#backOff(delayMs);
    }
  }

  #backOff(delayMs: number): void {
    const { kernel } = this;
    this.#phase = "backing-off";
    this.#cancelRestart?.();
    for (const sealed of this.mailbox.takePrivate()) this.#lose(sealed);
    if (kernel.inspected) kernel.emit(this, { type: "backingOff", delayMs });
    this.#cancelRestart = kernel.clock.timer(delayMs, () => {
      this.#cancelRestart = null;
      this.#phase = "starting";
      this.restarts++;
      kernel.ready(this);
    });
  }

  #lastWord(end: ActorEnd): void {
    const run = this.#run;
    this.#run = null;
    if (run === null || !run.started) return;
    try {
      this.definition.stopped?.(run.state, end);
    } catch (error) {
      if (this.kernel.inspected) this.kernel.emit(this, { type: "lastWordThrew", error });
    }
  }

  #ended(end: ActorEnd): void {
    this.#phase = "ended";
    this.end = end;
    this.#cancelRestart?.();
    this.#cancelRestart = null;
    for (let entry = this.mailbox.take(); entry !== null; entry = this.mailbox.take()) {
      if (entry.told) this.kernel.deadLetter(this, entry.content, "stopped");
      else this.#lose(entry.content as Sealed);
    }
    if (this.kernel.inspected) this.kernel.emit(this, { type: "stopped", end });
    this.parent?.children?.delete(this.name);
    const listeners = this.#endListeners;
    this.#endListeners = null;
    for (const listener of listeners ?? []) listener(end);
  }

  /** A private message that its run will not receive. */
  #lose(sealed: Sealed): void {
    if (sealed.carries !== NOTHING) this.kernel.deadLetter(this, sealed.carries, "late");
  }
}

function messageIn(entry: Entry): unknown {
  return entry.told ? entry.content : (entry.content as Sealed).open();
}

function youngestFirst(run: Incarnation | null): Cell[] {
  return [...run?.children?.values() ?? []].reverse();
}
