/**
 * Waiting for a server that is not there yet when the program starts. It says so once every few seconds and goes on
 * for as long as it takes: in a cluster everything starts at once, and in any order. What waiting cannot mend (a
 * wrong password, a database that does not exist) is tried a few times and then ends the program with a sentence.
 */
import type { Clock } from "../actors/ports/clock.ts";
import { nodeAddresses } from "./node_addresses.ts";
import type { Log } from "../actors/ports/log.ts";

/** A server that refuses us, or is not one we can work with: exit 78. The message never holds a password. */
export class ServerError extends Error {
  override readonly name = "ServerError";
}

export interface AwaitServer<T> {
  /** For people, e.g. `PostgreSQL (db:5432)`. */
  readonly name: string;
  readonly open: () => Promise<T>;
  /** True for an error that another try will not mend. */
  readonly isFinal: (error: Error) => boolean;
  /** Told whom we wait for, and null when that is over. */
  readonly waitsFor: (name: string | null) => void;
  /** Aborted when the program is told to stop. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
}

const AGAIN_MS = 1000;
const SAY_EVERY_MS = 5000;
/** A server that is just starting may refuse for a moment what it accepts later. */
const FINAL_AFTER_TRIES = 3;

/** Gives what `open` gives once it succeeds. Throws ServerError, or the signal's reason. */
export async function awaitServer<T>(options: AwaitServer<T>): Promise<T> {
  const { name, open, isFinal, waitsFor, signal, clock, log } = options;
  let saidAt = -Infinity;
  let refusals = 0;
  while (true) {
    signal.throwIfAborted();
    try {
      const opened = await open();
      waitsFor(null);
      return opened;
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      if (isFinal(error) && ++refusals >= FINAL_AFTER_TRIES) {
        throw new ServerError(`${name}: ${error.message}`, { cause: error });
      }
      waitsFor(name);
      if (clock.mono() - saidAt >= SAY_EVERY_MS) {
        saidAt = clock.mono();
        log.warn(`Waiting for ${name}: ${error.message}`);
      }
      await pause(clock, AGAIN_MS, signal);
    }
  }
}

/** Ends early when the signal is aborted. */
function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.timer(ms, done);
    signal.addEventListener("abort", done);
  });
}

/** `host:port` of each address, without credentials; the default port where it names none. */
export function placeOf(text: string, defaultPort: number): string {
  const nodes = nodeAddresses(text);
  if (!nodes.ok) return "?";
  return nodes.urls.map((url) => {
    const { hostname, port } = new URL(url);
    return `${hostname}:${port === "" ? defaultPort : port}`;
  }).join(",");
}
