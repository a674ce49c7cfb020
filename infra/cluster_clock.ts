/**
 * The time that all instances of a cluster share: this machine's monotonic clock, set by the database's wall clock.
 *
 * A machine whose own wall clock is an hour wrong decides, renews and announces at the same moments as the others.
 * Only reading uses it: nothing that is stored comes from the database's clock itself. When the database cannot be
 * asked, the last setting goes on by the monotonic clock.
 */
import type { Clock } from "../actors/ports/clock.ts";
import type { Log } from "../actors/ports/log.ts";

/** The database's time, epoch milliseconds. */
export type AskTime = () => Promise<number>;

const SAMPLES_AT_FIRST = 3;
const MEASURE_EVERY_MS = 30_000;
/** A step of the database's clock that people should hear of. */
const STEP_TO_REPORT_MS = 5000;

export class ClusterClock implements Clock {
  /** Add it to `mono()` to get the wall time. */
  #offset: number;
  #cancelTimer = () => {};
  #isStopped = false;

  /** Says this machine's own time until it follows the database's. */
  constructor(private readonly machine: Clock, private readonly log: Log) {
    this.#offset = machine.now() - machine.mono();
  }

  /** Set by the server, now and again each half minute until `stop`. Rejects when the server cannot be asked now. */
  async follow(ask: AskTime): Promise<void> {
    const samples = [];
    for (let count = 0; count < SAMPLES_AT_FIRST; count += 1) samples.push(await this.#sample(ask));
    this.#apply(samples.reduce((best, one) => one.uncertainty < best.uncertainty ? one : best), "first");
    this.#measureLater(ask);
  }

  now(): number {
    return Math.round(this.machine.mono() + this.#offset);
  }

  mono(): number {
    return this.machine.mono();
  }

  timer(delayMs: number, callback: () => void): () => void {
    return this.machine.timer(delayMs, callback);
  }

  /** How far this machine's own wall clock is ahead of the cluster's, milliseconds. */
  skewMs(): number {
    return this.machine.now() - this.now();
  }

  /** A moment of this machine's own wall clock, by the cluster's. */
  fromMachine(at: number): number {
    return at - this.skewMs();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer();
  }

  async #sample(ask: AskTime): Promise<Sample> {
    const askedAt = this.machine.mono();
    const serverNow = await ask();
    const answeredAt = this.machine.mono();
    const uncertainty = (answeredAt - askedAt) / 2;
    return { offset: serverNow - (askedAt + uncertainty), uncertainty };
  }

  /** Within its uncertainty a sample says nothing new, and a clock that trembles helps nobody. */
  #apply({ offset, uncertainty }: Sample, when: "first" | "again"): void {
    const step = offset - this.#offset;
    if (Math.abs(step) <= uncertainty + 1 && when === "again") return;
    if (Math.abs(step) > STEP_TO_REPORT_MS) {
      this.log.warn(
        when === "first"
          ? "The wall clock of this machine is wrong by the database's; the database's counts"
          : "The database's clock was set; due times follow it",
        { stepMs: Math.round(step) },
      );
    }
    this.#offset = offset;
  }

  #measureLater(ask: AskTime): void {
    if (this.#isStopped) return;
    this.#cancelTimer = this.machine.timer(MEASURE_EVERY_MS, () => {
      this.#sample(ask)
        .then((sample) => this.#apply(sample, "again"), () => {})
        .finally(() => this.#measureLater(ask));
    });
  }
}

interface Sample {
  readonly offset: number;
  /** Half of the time that asking took: the true offset lies within. */
  readonly uncertainty: number;
}
