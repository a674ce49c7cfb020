/**
 * How late timers come in this process. Each tenth of a second a timer is set and its lateness noted: a thread that is
 * busy, or that gets no processor, is late by as long.
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { Meter } from "../../actors/ports/meter.ts";

const PROBE_MS = 100;
/** A minute of probes. */
const KEPT = 600;

export class EventLoopProbe {
  readonly #delays: number[] = [];
  #next = 0;
  #cancel: () => void = () => {};

  constructor(
    private readonly clock: Pick<Clock, "mono" | "timer">,
    private readonly meter: Pick<Meter, "observe">,
  ) {
    this.#set();
  }

  /** 99 of 100 were less late. Milliseconds. */
  get p99Ms(): number {
    const sorted = this.#delays.toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length * 0.99)] ?? 0;
  }

  stop(): void {
    this.#cancel();
  }

  #set(): void {
    const dueAt = this.clock.mono() + PROBE_MS;
    this.#cancel = this.clock.timer(PROBE_MS, () => {
      const late = Math.max(0, this.clock.mono() - dueAt);
      this.#delays[this.#next] = late;
      this.#next = (this.#next + 1) % KEPT;
      this.meter.observe("event_loop_delay_seconds", late / 1000);
      this.#set();
    });
  }
}
