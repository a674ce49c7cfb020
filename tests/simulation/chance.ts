/** One random stream for each concern, so that one draw more in one of them changes nothing in the others. */
import { type SeededRandom, seededRandom } from "../../actors/runtime/seeded_random.ts";

export class Chance {
  readonly #random: SeededRandom;

  /** The stream of a concern: `faults`, `order`, `clients`. */
  constructor(private readonly seed: number, private readonly concern: string) {
    this.#random = seededRandom(mixed(`${seed}/${concern}`), { now: () => 0 });
  }

  /** A stream of its own for a part of this concern. */
  of(part: string): Chance {
    return new Chance(this.seed, `${this.concern}/${part}`);
  }

  /** A generator of this stream that makes ids as well, by a clock. */
  random(clock: { now(): number }): SeededRandom {
    return seededRandom(mixed(`${this.seed}/${this.concern}`), clock);
  }

  /** In [0, 1). */
  next(): number {
    return this.#random.next();
  }

  /** A whole number from 0 up to, but not including, `count`. */
  below(count: number): number {
    return Math.floor(this.#random.next() * count);
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  happens(share: number): boolean {
    return share > 0 && this.#random.next() < share;
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.below(choices.length)] ?? choices[0];
  }

  /** One of a list that may be empty. */
  oneOf<T>(choices: readonly T[]): T | undefined {
    return choices[this.below(choices.length)];
  }

  /** How long until the next of events that come without memory, `meanMs` apart on average. At least 1. */
  wait(meanMs: number): number {
    return Math.max(1, Math.round(-Math.log(1 - this.#random.next()) * meanMs));
  }

  /** A rate of a swarm: none at all in half of the seeds, else anything up to `most`, small ones more often. */
  rate(most: number): number {
    const share = this.#random.next();
    return this.#random.next() < 0.5 ? 0 : share * share * most;
  }
}

/** FNV-1a with a last mix, so that neighbouring seeds have nothing in common. */
function mixed(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
