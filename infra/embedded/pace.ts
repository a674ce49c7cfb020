/**
 * What the store waits for outside of SQLite, and measures itself by: turns of the event loop, the disk, the time a
 * group has taken. A port of its own, so that a simulation can decide all of it from a seed.
 */
import type { Meter } from "../../actors/ports/meter.ts";
import type { Database } from "./database.ts";
import { nextTurn } from "./walk.ts";

export interface Pace {
  /** A turn for everybody else; what is called meanwhile goes together. */
  turn(): Promise<void>;
  /** Settles when everything that was committed to the file before the call is on the disk. */
  sync(database: Database): Promise<void>;
  /** Monotonic milliseconds: a group takes no further call after a while. */
  mono(): number;
}

/** The event loop and the disk of this machine. */
export const REAL_PACE: Pace = {
  turn: nextTurn,
  sync: (database) => database.sync(),
  mono: () => performance.now(),
};

/** The same, and says how long each sync took. */
export function measured(pace: Pace, meter: Pick<Meter, "observe">): Pace {
  return {
    turn: () => pace.turn(),
    mono: () => pace.mono(),
    async sync(database) {
      const began = pace.mono();
      await pace.sync(database);
      meter.observe("store_sync_seconds", (pace.mono() - began) / 1000);
    },
  };
}
