/** Does harm, and writes down what it did from when to when. */
import type { Fault } from "./cluster_history.ts";

export class Nemesis {
  readonly faults: Fault[] = [];

  /**
   * Does a fault and undoes it: all in `work`. `isFreeze`: what it froze does nothing meanwhile, and a little when
   * it wakes.
   */
  async during<T>(
    what: string,
    work: () => Promise<T>,
    options: { readonly isFreeze?: boolean } = {},
  ): Promise<T> {
    const from = Date.now();
    try {
      return await work();
    } finally {
      this.faults.push({ what, from, to: Date.now(), isFreeze: options.isFreeze ?? false });
    }
  }
}
