/** When a consumer that could not subscribe tries again, and what is worth a line in the log: what has changed. */

const FIRST_MS = 1000;
const AT_MOST_MS = 10_000;

export class SubscribeTries {
  #failures = 0;
  #complaint: string | null = null;
  #couldPublish = true;
  /** Monotonic milliseconds. */
  #notBefore = 0;

  /** A try has failed. True when that is news: the first of them, or another reason. */
  failed(complaint: string, canPublish: boolean, now: number): boolean {
    const isNews = complaint !== this.#complaint;
    this.#complaint = complaint;
    this.#couldPublish = canPublish;
    this.#notBefore = now + Math.min(FIRST_MS * 2 ** this.#failures, AT_MOST_MS);
    this.#failures += 1;
    return isNews;
  }

  /** Whether to try now: its time has come, or the broker is back. */
  isTime(canPublish: boolean, now: number): boolean {
    const isBack = canPublish && !this.#couldPublish;
    this.#couldPublish = canPublish;
    // What a broker that has only just come back refuses, it may take in a moment.
    if (isBack) this.#failures = 0;
    return isBack || now >= this.#notBefore;
  }

  /** A try has succeeded. True when others had failed before. */
  succeeded(): boolean {
    const wasFailing = this.#complaint !== null;
    this.#failures = 0;
    this.#complaint = null;
    return wasFailing;
  }
}
