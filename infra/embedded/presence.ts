/** Presence in process: what the workers of this program announced, for three of their heartbeats. */
import type { Clock } from "../../actors/ports/clock.ts";
import type { Presence, WorkerInstance } from "../../actors/ports/presence.ts";

export class EmbeddedPresence implements Presence {
  readonly #instances = new Map<string, { readonly instance: WorkerInstance; readonly until: number }>();

  /** `lifetimeMs`: how long an announcement holds, three heartbeat intervals. */
  constructor(private readonly clock: Clock, private readonly lifetimeMs: number) {}

  announce(instance: Omit<WorkerInstance, "lastSeenAt">): Promise<void> {
    this.#instances.set(instance.instanceId, {
      instance: { ...instance, lastSeenAt: this.clock.now() },
      until: this.clock.mono() + this.lifetimeMs,
    });
    return Promise.resolve();
  }

  leave(instanceId: string): Promise<void> {
    this.#instances.delete(instanceId);
    return Promise.resolve();
  }

  list(): Promise<readonly WorkerInstance[]> {
    const mono = this.clock.mono();
    for (const [id, { until }] of this.#instances) if (until <= mono) this.#instances.delete(id);
    const instances = [...this.#instances.values()].map(({ instance }) => instance);
    return Promise.resolve(instances.sort((a, b) => a.instanceId < b.instanceId ? -1 : 1));
  }
}
