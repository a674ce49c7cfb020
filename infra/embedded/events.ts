/** Live events in process: each listener gets the events of its types, in the order of publishing. */
import type { Events, LiveEvent, LiveEventType } from "../../actors/ports/events.ts";
import type { Log } from "../../actors/ports/log.ts";

type Listener = (events: readonly LiveEvent[]) => void;

export class EmbeddedEvents implements Events {
  readonly #listeners = new Map<LiveEventType, Set<Listener>>();

  constructor(private readonly log: Log) {}

  publish(events: readonly LiveEvent[]): void {
    const byListener = new Map<Listener, LiveEvent[]>();
    for (const event of events) {
      for (const listener of this.#listeners.get(event.type) ?? []) {
        const own = byListener.get(listener);
        if (own === undefined) byListener.set(listener, [event]);
        else own.push(event);
      }
    }
    for (const [listener, own] of byListener) {
      try {
        listener(own);
      } catch (error) {
        this.log.error("A listener of live events failed: " + (error as Error).message);
      }
    }
  }

  subscribe(types: readonly LiveEventType[], listener: Listener): () => void {
    // Its own identity: the same function may subscribe twice.
    const own: Listener = (events) => listener(events);
    for (const type of types) {
      const listeners = this.#listeners.get(type) ?? new Set();
      this.#listeners.set(type, listeners.add(own));
    }
    return () => types.forEach((type) => this.#listeners.get(type)?.delete(own));
  }

  wants(type: LiveEventType): boolean {
    return (this.#listeners.get(type)?.size ?? 0) > 0;
  }
}
