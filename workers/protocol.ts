/**
 * What goes over the wire between the pool (parent), the executor host (child) and the guest (a Web Worker in it).
 *
 *   pool ──stdin──► host ──postMessage──► guest          one line a thread and flush, many items a line
 *   pool ◄─stdout── host ◄──postMessage── guest
 *
 * Items are arrays, because they are parsed by the ten thousand: the first number says what the rest is. The host
 * hands lines on without looking into them.
 *
 * Lines from the pool: a letter, a thread's number, then
 *   `+3 {GuestSpec}`             start thread 3
 *   `>3 [item, …]`               hand this text to the guest of thread 3
 *   `x3 cell id code [id,…]`     abort an attempt: raise the flag in its cell, hand the item to the guest as well
 *   `m3 cell id moved`           take an attempt back, if it has not started; if it has, nothing happens
 *   `-3`                         terminate thread 3
 * Lines to the pool begin with RS (RFC 7464), so that anything else on stdout is known for noise:
 *   `3 [entry, …]`               the guest's text
 *   `! HostNews`                 the host's own word
 *
 * A cell is a place for one attempt in a thread, with three numbers in memory that both sides share: `flag` (the
 * attempt that was aborted), `why`, and `state` (the attempt that runs there; negative once it has ended). A guest
 * stores state, then reads flag; a host stores flag, then reads state: at least one of them sees the other, so an
 * attempt that is aborted before it started is known never to start, even when its thread spins in other code.
 */
import type { ErrorReport } from "../actors/domain/occurrence.ts";

/** How a Web Worker is made. */
export interface GuestSpec {
  readonly jobType: string;
  /** URL of the job file. */
  readonly file: string;
  /** Attempts it may hold at once. */
  readonly cells: number;
  /** Bytes of UTF-8 of the largest result that is kept whole. */
  readonly maxResultBytes: number;
  readonly permissions: Deno.PermissionOptionsObject;
}

/** First character of each line to the pool. */
export const RECORD_SEPARATOR = "\x1e";

/** Why an attempt is aborted, as the guest and the shared memory have it. */
export const ABORT_CODES = ["timeout", "cancelled", "lease-lost", "stopping", "sibling", "fault"] as const;
export type AbortCode = (typeof ABORT_CODES)[number];
/** A flag that stops an attempt from starting and is nothing to one that runs. */
export const MOVED = "moved";
const FLAG_CODES: readonly (AbortCode | typeof MOVED)[] = [...ABORT_CODES, MOVED];

/** pool → guest, told apart by length: an attempt, an abort, a ping. */
export type GuestItem =
  | readonly [
    id: number,
    cell: number,
    occurrenceId: string,
    jobId: string,
    scheduledFor: number,
    token: number,
    attempt: number,
    maxAttempts: number,
    jobData: string,
    /** Begins when this one ends, in the same guest; at once when 0, or when that one does not run there. */
    after: number,
  ]
  | readonly [id: number, code: AbortCode, message: string]
  | readonly [ping: number];

export const STARTED = 0;
export const COMPLETED = 1;
export const FAILED = 2;
export const LINE = 3;
export const PROGRESS = 4;
/** An error that nobody caught, or a call of exit: the attempt has failed, but its `run` may still be under way. */
export const FAULT = 5;
/** Said or thrown outside of any attempt. */
export const STRAY = 6;
/** Aborted or taken back before it started: it never will, here. */
export const REVOKED = 7;
export const PONG = 8;

export type FailureCause = "error" | "invalid-data";
export type FaultCause = "exited" | "unhandled";

/** guest → pool. Moments are epoch milliseconds, durations milliseconds. */
export type GuestEntry =
  | readonly [typeof STARTED, id: number, at: number]
  | readonly [typeof COMPLETED, id: number, durationMs: number, result: string | null]
  | readonly [
    typeof FAILED,
    id: number,
    durationMs: number,
    cause: FailureCause,
    permanent: boolean,
    retryAfterMs: number | null,
    error: ErrorReport,
  ]
  | readonly [
    typeof LINE,
    id: number,
    sequence: number,
    at: number,
    level: number,
    message: string,
    fields: string | null,
  ]
  | readonly [typeof PROGRESS, id: number, done: number, total: number]
  | readonly [typeof FAULT, id: number, cause: FaultCause, error: ErrorReport]
  | readonly [typeof STRAY, message: string]
  | readonly [typeof REVOKED, id: number]
  | readonly [typeof PONG, ping: number];

/** host → pool, in its own name. */
export type HostNews =
  /** The thread has loaded its job file. */
  | readonly ["ready", thread: number]
  /** The thread is dead: an error at load, or one that its guest could not catch. */
  | readonly ["dead", thread: number, message: string]
  /** The guest does not answer; seen in shared memory meanwhile: these have started. */
  | readonly ["started", thread: number, ids: readonly number[], at: number]
  | readonly ["revoked", thread: number, id: number]
  | readonly ["terminated", thread: number]
  /** Resident memory in bytes, when it is another by a sixteenth than said last. */
  | readonly ["resident", bytes: number]
  /** Processor time since its start in milliseconds, when it is more by a tenth of a second than said last. */
  | readonly ["processor", ms: number]
  /** Resident memory is over its limit, in bytes; the host kills itself after this line. */
  | readonly ["memory", bytes: number]
  /** The parent said nothing for too long; the host kills itself after this line. */
  | readonly ["silence"];

/** Guest → host before anything else; the host answers with the shared memory. */
export const GUEST_READY = "ready";

/** The shared memory of a thread: three numbers a cell. */
export class Cells {
  readonly #numbers: Int32Array<SharedArrayBuffer>;

  /** Wraps what another thread has made, or makes it. */
  constructor(readonly memory: SharedArrayBuffer) {
    this.#numbers = new Int32Array(memory);
  }

  static of(count: number): Cells {
    return new Cells(new SharedArrayBuffer(count * 3 * Int32Array.BYTES_PER_ELEMENT));
  }

  get count(): number {
    return this.#numbers.length / 3;
  }

  /** The attempt that runs in this cell, or 0. */
  running(cell: number): number {
    return Math.max(0, Atomics.load(this.#numbers, cell * 3 + 2));
  }

  /** Host: raises the flag. False when the attempt has neither started nor ended, and so never will start. */
  flag(cell: number, id: number, code: AbortCode | typeof MOVED): boolean {
    Atomics.store(this.#numbers, cell * 3 + 1, FLAG_CODES.indexOf(code));
    Atomics.store(this.#numbers, cell * 3, id);
    return Math.abs(Atomics.load(this.#numbers, cell * 3 + 2)) === id;
  }

  /** Guest: claims the cell. False when the attempt was aborted before. */
  begin(cell: number, id: number): boolean {
    Atomics.store(this.#numbers, cell * 3 + 2, id);
    return Atomics.load(this.#numbers, cell * 3) !== id;
  }

  /** Guest: the attempt is over. */
  end(cell: number, id: number): void {
    Atomics.store(this.#numbers, cell * 3 + 2, -id);
  }

  /** Guest: why this attempt is aborted, or null when it is not. */
  aborted(cell: number, id: number): AbortCode | null {
    if (Atomics.load(this.#numbers, cell * 3) !== id) return null;
    return ABORT_CODES[Atomics.load(this.#numbers, cell * 3 + 1)] ?? null;
  }
}
