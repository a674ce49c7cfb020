/** Chance from a seed: the same numbers each time, for tests and simulations. */

/** A seeded twin of the `Random` port. */
export interface SeededRandom {
  /** A number in [0, 1). */
  next(): number;
  /** A UUIDv7 in shape, lower case; ids made one after the other sort in that order. */
  uuid(): string;
}

/** Ids carry the wall time of `clock`, as real ones do. */
export function seededRandom(seed: number, clock: { now(): number }): SeededRandom {
  let state = seed >>> 0;
  let lastMs = -1;
  let sequence = 0;

  /** mulberry32: 32 good bits a step, from 32 bits of state. */
  function bits(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  return {
    next: () => bits() / 2 ** 32,
    uuid() {
      const now = Math.max(clock.now(), lastMs);
      sequence = now > lastMs ? 0 : sequence + 1;
      // 4,096 ids fit in a millisecond; what goes beyond borrows from the next one.
      lastMs = sequence > 0xfff ? now + 1 : now;
      sequence &= 0xfff;
      const time = hex(lastMs, 12);
      const variant = hex(0x8000 | (bits() & 0x3fff), 4);
      const tail = hex(bits(), 8) + hex(bits() & 0xffff, 4);
      return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(sequence, 3)}-${variant}-${tail}`;
    },
  };
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
