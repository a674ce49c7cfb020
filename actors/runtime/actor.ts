/**
 * What an actor is, as types: a definition (how it starts, receives and stops), a reference others tell messages
 * to, and the context it acts through. The life of an actor is in `cell.ts`, one run of it in `incarnation.ts`.
 */
import type { Supervision } from "./supervision.ts";

/** Time, as the kernel needs it: wall and monotonic milliseconds, and a call back after monotonic time. */
export interface KernelClock {
  /** Wall time, epoch milliseconds. */
  now(): number;
  /** Monotonic milliseconds since some fixed moment. */
  mono(): number;
  /** Calls back once after `delayMs` of monotonic time. The result cancels it; cancelling twice is fine. */
  timer(delayMs: number, callback: () => void): () => void;
}

/** Chance, as the kernel needs it. */
export interface KernelRandom {
  /** A number in [0, 1). */
  next(): number;
}

/**
 * What became of a message that was told. accepted: it waits in the mailbox (or took the place of one that
 * waited); that is no promise that it will be received. full: nothing was kept, try later. stopped: the actor has
 * ended for good.
 */
export type TellAnswer = "accepted" | "full" | "stopped";

/** The address of an actor. It stays valid over restarts, and is never reused for another actor. */
export interface ActorRef<M> {
  /** Unique within the system; grows with each spawn. */
  readonly id: number;
  /** Names from the top, e.g. `/leader/dispatcher`. */
  readonly path: string;
  /** A property, not a method: only so does TypeScript refuse a reference that takes less than `M`. */
  readonly tell: (message: M) => TellAnswer;
}

/** What `receive` and `stopping` return to end the actor in order. */
export const STOP: unique symbol = Symbol("STOP");

/**
 * How an actor ended. stopped and orderly: it returned STOP, by itself or when asked. stopped and not orderly: it
 * was cut off, because its grace was over or because an actor above it (all-for-one: beside it) crashed.
 */
export type ActorEnd =
  | { readonly kind: "stopped"; readonly orderly: boolean }
  | { readonly kind: "crashed"; readonly error: unknown };

/** How work given to `run` ended. What was thrown and is no Error is wrapped in one. */
export type RunOutcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: Error };

/**
 * When an actor that ended is started again by its parent. always: also after it stopped by itself.
 * An actor that was asked to stop is never started again.
 */
export type RestartRule = "always" | "on-crash" | "never";

/** What `spawn` takes beside name and definition. */
export interface SpawnOptions {
  /** Default `on-crash`. */
  readonly restart?: RestartRule;
}

/** Room for waiting messages, and what happens when there is none. */
export type MailboxOptions<P> =
  | {
    /** How many told messages may wait. Default 1024. */
    readonly capacity?: number;
    readonly whenFull?: "refuse";
  }
  | {
    readonly capacity?: number;
    readonly whenFull: "coalesce";
    /**
     * Messages of one key merge: a new one takes the place of the one that waits, at any fill level. A null key
     * never merges. Must not throw: it runs in the sender's turn.
     */
    coalesceKey(message: P): string | null;
  };

/**
 * The behaviour of an actor, as data and pure-looking functions. `S` is its state, `P` the messages others may tell
 * it, `Q` those it sends itself (timers, results, news).
 *
 * A throw in any of its functions crashes the actor; its parent's supervision decides what follows.
 */
export interface ActorDefinition<S, P, Q = never> {
  /** What it is, for people: `dispatcher`, `job`. */
  readonly kind: string;
  readonly mailbox?: MailboxOptions<P>;
  /** The first state. Runs in a turn of its own after `spawn` has returned, and again at each restart. */
  start(context: ActorContext<P | Q>): S;
  /** One turn: one message, the next state. Never awaits. */
  receive(state: S, message: P | Q, context: ActorContext<P | Q>): S | typeof STOP;
  /**
   * Asked to stop in order, before its children are. Absent, or STOP: ends now. A state means "I go on receiving
   * until I return STOP, or until the grace is over".
   */
  stopping?(state: S, context: ActorContext<P | Q>): S | typeof STOP;
  /**
   * The last word of each run, after its children have ended: releases what `start` took. Not called when `start`
   * itself threw. Must not throw; what it throws is shown to the inspection stream only.
   */
  stopped?(state: S, end: ActorEnd): void;
  /** How it supervises its children. Default `DEFAULT_SUPERVISION`. */
  readonly supervision?: Supervision;
}

/**
 * What an actor acts through: one context for each run, dead with it. On a dead context `spawn` throws; `run`,
 * `watch` and the timers do nothing; what is injected becomes a dead letter.
 */
export interface ActorContext<M> {
  readonly self: ActorRef<M>;
  readonly path: string;
  readonly clock: KernelClock;
  readonly random: KernelRandom;
  /** Starts a child. A name that a living child has is a bug (throws). */
  spawn<S, P, Q = never>(
    name: string,
    definition: ActorDefinition<S, P, Q>,
    options?: SpawnOptions,
  ): ActorRef<P>;
  /** Asks a child to stop in order. One that has ended is fine; an actor that is no child is a bug (throws). */
  stopChild(child: ActorRef<never>): void;
  /**
   * Exactly one message when the actor has ended for good (a restart is no end), also when it already has. It
   * comes after everything the actor told this one before, and is never refused.
   */
  watch(actor: ActorRef<never>, toMessage: (end: ActorEnd) => M): void;
  /**
   * Starts work at once and brings its outcome back as a message that is never refused. The signal aborts when
   * this run of the actor ends; an outcome that comes later is a dead letter.
   */
  run<T>(work: (signal: AbortSignal) => Promise<T>, toMessage: (outcome: RunOutcome<T>) => M): void;
  /** A message from a callback outside (a delivery, a listener): in order of arrival, never refused. */
  inject(message: M): void;
  /**
   * Sends itself the message once, after `delayMs`. A timer of the same key is replaced, even when its message
   * already waits in the mailbox.
   */
  after(key: string, delayMs: number, message: M): void;
  /** As `after`, each `periodMs`; a tick is left out while the one before it still waits in the mailbox. */
  every(key: string, periodMs: number, message: M): void;
  /** No message of this timer is received from now on. A key that has no timer is fine. */
  cancelTimer(key: string): void;
}
