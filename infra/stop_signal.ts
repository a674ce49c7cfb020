/** Waiting to be told to stop: SIGINT (Ctrl-C) or SIGTERM. */

/** A key that bounces, or a terminal that signals twice, is one wish to stop. */
const SAME_WISH_MS = 1000;

export interface StopSignal {
  /** Settles with the name of the first signal. */
  readonly asked: Promise<string>;
  /** Settles when a further signal comes more than a second after the first: stop at once. */
  readonly insisted: Promise<void>;
  /** Signals do again what they do by default. */
  close(): void;
}

export function stopSignal(): StopSignal {
  const asked = Promise.withResolvers<string>();
  const insisted = Promise.withResolvers<void>();
  let first = Infinity;
  const listeners = (["SIGINT", "SIGTERM"] as const).map((signal) => {
    const listener = () => {
      first = Math.min(first, performance.now());
      if (performance.now() - first > SAME_WISH_MS) insisted.resolve();
      asked.resolve(signal);
    };
    Deno.addSignalListener(signal, listener);
    return () => Deno.removeSignalListener(signal, listener);
  });
  return { asked: asked.promise, insisted: insisted.promise, close: () => listeners.forEach((end) => end()) };
}
