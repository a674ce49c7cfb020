/** Waiting to be told to stop: SIGINT (Ctrl-C) or SIGTERM. */

/** A key that bounces, or a terminal that signals twice, is one wish to stop. */
const SAME_WISH_MS = 1000;

export interface StopSignal {
  /** Settles with the name of the first signal. */
  readonly asked: Promise<string>;
  /** Settles when a further signal comes more than a second after the first: stop at once. */
  readonly insisted: Promise<void>;
}

/** Listens until the process ends. */
export function stopSignal(): StopSignal {
  const asked = Promise.withResolvers<string>();
  const insisted = Promise.withResolvers<void>();
  let first = Infinity;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      first = Math.min(first, performance.now());
      if (performance.now() - first > SAME_WISH_MS) insisted.resolve();
      asked.resolve(signal);
    });
  }
  return { asked: asked.promise, insisted: insisted.promise };
}
