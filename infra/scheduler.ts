/** Gives the actor kernel its chances to run. */

/** Runs it in the check phase of the event loop, after I/O and timers that are ready: about 2 µs a round. */
export const realScheduler: { schedule(run: () => void): void } = {
  schedule(run) {
    setImmediate(run);
  },
};
