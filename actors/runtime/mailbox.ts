/**
 * The waiting messages of one actor, in order of arrival. Two kinds share the one order:
 *
 *   told    by others, with `offer`: counted against the capacity, may be refused or merged; survives a restart
 *   private the actor's own (timer ticks, results, ends it watches, injected), with `push`: never refused, because
 *           each is bounded by what the actor itself has under way; dies with the run of the actor it belongs to
 *
 * The system lane is not here: the kernel's signals (start, stop, cut off) are at most one of each, so that they
 * are flags of the cell, heard before anything that waits here.
 *
 * A linked list rather than a ring: a job actor that lives for one message allocates no buffer, and merging
 * replaces in place.
 */
import type { MailboxOptions } from "./actor.ts";

/** How many told messages may wait when the definition does not say. */
export const DEFAULT_CAPACITY = 1024;

/** No message: what `open` gives for the tick of a cancelled timer. */
export const NOTHING: unique symbol = Symbol("NOTHING");

/** A private message, made when its turn has come: so that it can be void by then, and a throw is in the turn. */
export interface Sealed {
  /** The message, or NOTHING when it is void by now. */
  open(): unknown;
  /** What is lost when it is never opened; NOTHING when it mattered to the run only, as a tick does. */
  readonly carries: unknown;
}

/** One waiting message. */
export class Entry {
  next: Entry | null = null;

  constructor(
    readonly told: boolean,
    /** The message when told, else what is sealed. */
    public content: unknown,
    readonly key: string | null,
  ) {}
}

/** accepted: it waits at the end. merged: it took the place of one of its key. full: nothing was kept. */
export type OfferAnswer = "accepted" | "merged" | "full";

/** One actor's mailbox. */
export class Mailbox<P> {
  readonly #capacity: number;
  readonly #keyOf: ((message: P) => string | null) | null;
  /** Waiting told messages that have a key. */
  #keyed: Map<string, Entry> | null = null;
  #first: Entry | null = null;
  #last: Entry | null = null;
  #told = 0;
  #private = 0;

  /** Throws a RangeError for a capacity that is no positive whole number. */
  constructor(options?: MailboxOptions<P>) {
    const capacity = options?.capacity ?? DEFAULT_CAPACITY;
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new RangeError(`A mailbox capacity is a positive whole number, not ${capacity}`);
    }
    this.#capacity = capacity;
    this.#keyOf = options?.whenFull === "coalesce" ? (message) => options.coalesceKey(message) : null;
  }

  /** How many messages wait, of both kinds. */
  get waiting(): number {
    return this.#told + this.#private;
  }

  /** A message told by another. */
  offer(message: P): OfferAnswer {
    const key = this.#keyOf === null ? null : this.#keyOf(message);
    if (key !== null) {
      const waiting = this.#keyed?.get(key);
      if (waiting !== undefined) {
        waiting.content = message;
        return "merged";
      }
    }
    if (this.#told >= this.#capacity) return "full";
    const entry = new Entry(true, message, key);
    if (key !== null) (this.#keyed ??= new Map()).set(key, entry);
    this.#told++;
    this.#append(entry);
    return "accepted";
  }

  /** A private message; always kept. */
  push(sealed: Sealed): void {
    this.#private++;
    this.#append(new Entry(false, sealed, null));
  }

  /** The message that waits longest, or null. */
  take(): Entry | null {
    const entry = this.#first;
    if (entry === null) return null;
    this.#first = entry.next;
    if (this.#first === null) this.#last = null;
    entry.next = null;
    if (entry.told) {
      this.#told--;
      if (entry.key !== null) this.#keyed?.delete(entry.key);
    } else {
      this.#private--;
    }
    return entry;
  }

  /** Takes the private messages out and gives them, oldest first; the told ones stay in their order. */
  takePrivate(): Sealed[] {
    const taken: Sealed[] = [];
    let entry = this.#first;
    this.#first = this.#last = null;
    while (entry !== null) {
      const next: Entry | null = entry.next;
      entry.next = null;
      if (entry.told) this.#append(entry);
      else taken.push(entry.content as Sealed);
      entry = next;
    }
    this.#private = 0;
    return taken;
  }

  #append(entry: Entry): void {
    if (this.#last === null) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
  }
}
