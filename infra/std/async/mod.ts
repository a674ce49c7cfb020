/**
 * A local stand-in for `jsr:@std/async`, with its names and signatures, for networks that cannot reach JSR.
 * Delete the `links` entry of deno.json to use the published package instead.
 */

export interface DelayOptions {
  signal?: AbortSignal;
  /** False lets the process end while the delay runs. */
  persistent?: boolean;
}

/** Settles after `ms` milliseconds; rejects with the signal's reason when it aborts before. */
export function delay(ms: number, options: DelayOptions = {}): Promise<void> {
  const { signal, persistent = true } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (!persistent) Deno.unrefTimer(timer);
  });
}

export interface DeadlineOptions {
  signal?: AbortSignal;
}

/** The promise, or a rejection with a `TimeoutError` after `ms` milliseconds. The work itself goes on. */
export async function deadline<T>(
  promise: Promise<T>,
  ms: number,
  options: DeadlineOptions = {},
): Promise<T> {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(new DOMException("Signal timed out.", "TimeoutError")), ms);
  const signal = options.signal === undefined ? over.signal : AbortSignal.any([over.signal, options.signal]);
  try {
    if (signal.aborted) throw signal.reason;
    return await new Promise<T>((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      promise.then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
  }
}
