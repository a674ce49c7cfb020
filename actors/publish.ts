/**
 * Publishing what was committed. The occurrence row is the outbox: when this fails, or the process dies between
 * commit and publish, recovery finds the row and publishes it.
 */
import type { JobMessage } from "./domain/message.ts";
import { announceMessages } from "./announce.ts";
import type { Clock } from "./ports/clock.ts";
import type { Events } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { Queue } from "./ports/queue.ts";
import type { Outcomes } from "./ports/store.ts";

/** Publishes committed messages and says so to listeners; never throws. Gives how many were accepted. */
export async function publishCommitted(
  deps: {
    readonly queue: Queue;
    readonly store: { readonly outcomes: Pick<Outcomes, "notePublished"> };
    readonly events: Events;
    readonly clock: Clock;
    readonly log: Log;
    readonly meter: Meter;
  },
  messages: readonly JobMessage[],
): Promise<number> {
  if (messages.length === 0) return 0;
  // Before they can be claimed, so that listeners hear of Queued before Running.
  announceMessages(deps, messages, "Queued");
  try {
    const answers = await deps.queue.publish(messages);
    const accepted = messages.filter((_, index) => answers[index] === "accepted");
    deps.store.outcomes.notePublished(accepted);
    deps.meter.count("occurrences_published_total", accepted.length);
    return accepted.length;
  } catch (error) {
    deps.log.warn("Cannot publish committed occurrences, recovery will: " + (error as Error).message, {
      count: messages.length,
    });
    return 0;
  }
}
