/**
 * Tells whether what is said still arrives: it calls at times, and each call must be heard before the next.
 *
 *   start ──each `eachMs`──► call ──accepted, heard──► and so on
 *                              ├──accepted, not heard until the next, or unroutable──► onSilence, and no further call
 *                              └──refused, or nobody knows──► says nothing; called again
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { PublishAnswer } from "../../actors/ports/queue.ts";

export interface EchoOptions {
  readonly clock: Clock;
  /** Milliseconds. */
  readonly eachMs: number;
  readonly call: () => Promise<PublishAnswer>;
  readonly onSilence: () => void;
}

export class Echo {
  #isAwaited = false;
  #cancel: () => void = () => {};
  /** Counts starts and stops: a call from before the last one means nothing. */
  #round = 0;

  constructor(private readonly options: EchoOptions) {}

  /** Begins anew. */
  start(): void {
    this.stop();
    this.#isAwaited = false;
    this.#callLater(this.#round);
  }

  /** The call has arrived. */
  heard(): void {
    this.#isAwaited = false;
  }

  stop(): void {
    this.#round += 1;
    this.#cancel();
  }

  #callLater(round: number): void {
    const { clock, eachMs } = this.options;
    this.#cancel = clock.timer(eachMs, () => void this.#call(round));
  }

  async #call(round: number): Promise<void> {
    const { call, onSilence } = this.options;
    if (this.#isAwaited) return onSilence();
    // It may be heard before the broker has confirmed it.
    this.#isAwaited = true;
    const answer = await call().catch(() => null);
    if (round !== this.#round) return;
    if (answer === "unroutable") return onSilence();
    if (answer !== "accepted") this.#isAwaited = false;
    this.#callLater(round);
  }
}
