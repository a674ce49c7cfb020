/**
 * The way into a simulated process: what comes back to it (answers, timers, messages, turns). A frozen process gets
 * it when it is woken, a dead one never.
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { VirtualTime } from "./virtual_time.ts";

export class Gate {
  #state: "open" | "frozen" | "dead" = "open";
  #held: (() => void)[] = [];

  constructor(private readonly time: VirtualTime) {}

  get state(): "open" | "frozen" | "dead" {
    return this.#state;
  }

  pass(run: () => void): void {
    if (this.#state === "open") run();
    else if (this.#state === "frozen") this.#held.push(run);
  }

  freeze(): void {
    if (this.#state === "open") this.#state = "frozen";
  }

  /** What came meanwhile comes now, in whatever order. */
  thaw(): void {
    if (this.#state !== "frozen") return;
    this.#state = "open";
    for (const run of this.#held.splice(0)) this.time.soon(() => this.pass(run));
  }

  die(): void {
    this.#state = "dead";
    this.#held = [];
  }
}

/** The clock of one process: its wall clock may be wrong, its timers come through the gate. */
export function clockBehind(gate: Gate, time: VirtualTime, wall: () => number): Clock {
  return {
    now: () => Math.round(wall()),
    mono: () => time.mono,
    timer(delayMs, callback) {
      let isCancelled = false;
      const run = () => {
        if (!isCancelled) callback();
      };
      const cancel = time.timer(delayMs, () => gate.pass(run));
      return () => {
        isCancelled = true;
        cancel();
      };
    },
  };
}
