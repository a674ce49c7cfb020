/** Real time and real chance. Nothing else in the program reads a clock or draws randomness. */
import type { Clock, Random } from "../actors/ports/clock.ts";

/** The longest delay that setTimeout takes: 2^31 − 1 ms, almost 25 days. More fires at once. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

/** The clock of this machine. A timer keeps the process alive until it fires or is cancelled. */
export const systemClock: Clock = {
  now: () => Date.now(),
  mono: () => performance.now(),
  timer(delayMs, callback) {
    const dueAt = performance.now() + delayMs;
    let handle: ReturnType<typeof setTimeout>;
    const arm = () => {
      const left = Math.max(0, dueAt - performance.now());
      handle = setTimeout(left > LONGEST_DELAY_MS ? arm : callback, Math.min(left, LONGEST_DELAY_MS));
    };
    arm();
    return () => clearTimeout(handle);
  },
};

/** Randomness is taken from the system in blocks: a call for each id would cost more than the id. */
const block = new Uint32Array(1024);
let used = block.length;

function bits(): number {
  if (used === block.length) {
    crypto.getRandomValues(block);
    used = 0;
  }
  return block[used++] ?? 0;
}

let lastMs = 0;
let sequence = 0;

/** Chance from the system's generator. Ids are UUIDv7, and those of one process sort in the order they were made. */
export const systemRandom: Random = {
  next: () => bits() / 2 ** 32,
  uuid() {
    // RFC 9562, 6.2 method 1: a counter in the 12 bits after the time. It starts in its lower half at random, so
    // that it tells little and has room; when it is full, or the clock goes back, the time last used goes on.
    const now = Date.now();
    if (now > lastMs) {
      lastMs = now;
      sequence = bits() & 0x7ff;
    } else if (++sequence > 0xfff) {
      lastMs += 1;
      sequence = bits() & 0x7ff;
    }
    const time = hex(lastMs, 12);
    const variant = hex(0x8000 | (bits() & 0x3fff), 4);
    const tail = hex(bits(), 8) + hex(bits() & 0xffff, 4);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(sequence, 3)}-${variant}-${tail}`;
  },
};

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
