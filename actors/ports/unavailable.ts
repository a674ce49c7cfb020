/**
 * A server that an adapter stands on is out of reach, or does not answer in time. Nothing is wrong with what was
 * asked: the same may succeed later. Whether it was done is not known, unless the adapter's method says so.
 */
export class Unavailable extends Error {
  override readonly name = "Unavailable";
}
