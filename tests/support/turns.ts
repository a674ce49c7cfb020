/** Waiting for what real input and output bring about while a manual clock stands still. */
import { setImmediate } from "node:timers";

const NEVER_MS = 30_000;

/** Calls `next` once a turn of the event loop until `isSo`; throws when that never comes. */
export async function until(isSo: () => boolean, next: () => Promise<void>): Promise<void> {
  const over = performance.now() + NEVER_MS;
  while (!isSo()) {
    if (performance.now() > over) throw new Error(`Never came: ${isSo}`);
    await next();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
