/** Something that is wrong or not: said once when it begins and once when it is over. */
import type { Log } from "../../actors/ports/log.ts";

export class Alarm {
  #isRaised = false;

  constructor(
    private readonly log: Log,
    private readonly words: { readonly raised: string; readonly over: string },
  ) {}

  raise(why: Error | null): void {
    if (this.#isRaised) return;
    this.#isRaised = true;
    this.log.warn(this.words.raised + (why === null ? "" : `: ${why.message}`));
  }

  clear(): void {
    if (!this.#isRaised) return;
    this.#isRaised = false;
    this.log.info(this.words.over);
  }
}
