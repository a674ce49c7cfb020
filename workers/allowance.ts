/** A token bucket: so many at once, then so many a second. */
export class Allowance {
  #left: number;
  #at: number | null = null;

  constructor(private readonly burst: number, private readonly perSecond: number) {
    this.#left = burst;
  }

  /** True when one more is allowed at this moment, milliseconds of whatever clock the caller keeps to. */
  take(at: number): boolean {
    const passed = this.#at === null ? 0 : Math.max(0, at - this.#at);
    this.#left = Math.min(this.burst, this.#left + (passed * this.perSecond) / 1000);
    this.#at = at;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
