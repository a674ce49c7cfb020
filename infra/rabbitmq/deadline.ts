/** Waiting that ends: deadlines and pauses on the clock. */
import type { Clock } from "../../actors/ports/clock.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";

/** The promise, or a rejection "Cannot <act>: no answer within <ms> ms". The work itself is not stopped. */
export function within<T>(clock: Clock, ms: number, act: string, work: Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const cancel = clock.timer(ms, () => reject(new Unavailable(`Cannot ${act}: no answer within ${ms} ms`)));
  work.then(resolve, reject).finally(cancel);
  return promise;
}

/** Settles after `ms`, or as soon as the signal is aborted. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const wake = () => {
      cancel();
      signal.removeEventListener("abort", wake);
      resolve();
    };
    const cancel = clock.timer(ms, wake);
    signal.addEventListener("abort", wake);
  });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
