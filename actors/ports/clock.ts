/**
 * Time and chance, the only way in. Wall time decides due times; monotonic time leases, time-outs and back-offs.
 * The real one is `infra/clock.ts`, the manual one `actors/runtime/manual_clock.ts`.
 */
export interface Clock {
  /** Wall time, epoch milliseconds. */
  now(): number;
  /** Monotonic milliseconds since some fixed moment. */
  mono(): number;
  /** Calls back once after `delayMs` of monotonic time. The result cancels it; cancelling twice is fine. */
  timer(delayMs: number, callback: () => void): () => void;
}

export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** A new UUIDv7, lower case; ids made one after the other in one process sort in that order. */
  uuid(): string;
}
