/** Locks in process. What makes them exclusive between processes is the lock of the data folder. */
import type { Clock } from "../../actors/ports/clock.ts";
import type { Leases } from "../../actors/ports/leases.ts";

export class EmbeddedLeases implements Leases {
  readonly #held = new Map<string, { readonly owner: string; readonly until: number }>();

  constructor(private readonly clock: Pick<Clock, "mono">) {}

  acquire(name: string, owner: string, ttlMs: number): Promise<boolean> {
    const holder = this.#holder(name);
    if (holder !== null && holder !== owner) return Promise.resolve(false);
    this.#held.set(name, { owner, until: this.clock.mono() + ttlMs });
    return Promise.resolve(true);
  }

  renew(name: string, owner: string, ttlMs: number): Promise<boolean> {
    return this.#holder(name) === owner ? this.acquire(name, owner, ttlMs) : Promise.resolve(false);
  }

  release(name: string, owner: string): Promise<void> {
    if (this.#holder(name) === owner) this.#held.delete(name);
    return Promise.resolve();
  }

  holder(name: string): Promise<string | null> {
    return Promise.resolve(this.#holder(name));
  }

  #holder(name: string): string | null {
    const held = this.#held.get(name);
    return held === undefined || held.until <= this.clock.mono() ? null : held.owner;
  }
}
