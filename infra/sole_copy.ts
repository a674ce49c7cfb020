/** Reads of a store that has no copies. */
import type { Reader, Reads } from "../actors/ports/reads.ts";

export function soleCopy(store: Reader): Reads {
  return {
    reader: () => store,
    written: () => Promise.resolve(null),
    copies: () => [],
  };
}
