/**
 * Frames that are written in one go leave in one system call. amqplib writes each frame to its socket by itself: for
 * a thousand messages a thousand calls, a third of the processor time of a busy API instance.
 */
import type { Writable } from "node:stream";
import { nextTick } from "node:process";

/** From now on, what is written in one turn goes out together at its end. */
export function gatherWrites(stream: Writable): void {
  const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
  let isGathering = false;
  const gather = (...args: unknown[]) => {
    if (!isGathering) {
      isGathering = true;
      stream.cork();
      nextTick(() => {
        isGathering = false;
        stream.uncork();
      });
    }
    return write(...args);
  };
  stream.write = gather as Writable["write"];
}
