/** Which running attempts nobody keeps alive any more: neither path of an attempt has moved for as long as it may. */
import { KEPT_FOR_KILLING } from "./heartbeat.ts";
import type { Clock } from "./ports/clock.ts";
import type { Presence } from "./ports/presence.ts";
import type { LostAttempt, SilentAttempt } from "./ports/store.ts";

/** What was last seen of a running attempt, and since when it has not moved (by the monotonic clock). */
interface Sign {
  /** The stored lease. */
  readonly leaseUntil: number;
  /** When a worker last said that it runs it, by that announcement's own time; null when none does. */
  readonly announcedAt: number | null;
  readonly since: number;
}

export class Silence {
  #seen = new Map<string, Sign>();

  /** An attempt may be silent for a lease and a margin, milliseconds. */
  constructor(
    private readonly deps: { readonly presence: Presence; readonly clock: Clock },
    private readonly leaseMs: number,
    private readonly marginMs: number,
  ) {}

  /** Of all that runs, those that are lost. Rejects while presence cannot be asked. */
  async lost(running: readonly SilentAttempt[]): Promise<readonly LostAttempt[]> {
    if (running.length === 0) {
      this.#seen.clear();
      return [];
    }
    const announced = new Map<string, number>();
    const lastSeen = new Map<string, number>();
    for (const instance of await this.deps.presence.list()) {
      lastSeen.set(instance.instanceId, instance.lastSeenAt);
      for (const one of instance.running) announced.set(keyOf(one), instance.lastSeenAt);
    }
    const mono = this.deps.clock.mono();
    const now = this.deps.clock.now();
    const seen = new Map<string, Sign>();
    const lost = running.filter((attempt) => {
      const { leaseUntil } = attempt;
      const key = keyOf(attempt);
      const before = this.#seen.get(key);
      const announcedAt = announced.get(key) ?? before?.announcedAt ?? null;
      const isStill = before?.leaseUntil === leaseUntil && before.announcedAt === announcedAt;
      const since = isStill ? before.since : mono;
      seen.set(key, { leaseUntil, announcedAt, since });
      return leaseUntil <= now && mono - since >= this.leaseMs + this.marginMs;
    });
    this.#seen = seen;
    // In the last part of a lease nobody begins to run: who does not name the attempt then does not run it.
    const isThere = (one: SilentAttempt) =>
      !announced.has(keyOf(one)) &&
      (lastSeen.get(one.instanceId) ?? -Infinity) > one.leaseUntil - this.leaseMs * KEPT_FOR_KILLING;
    return lost.map((attempt) => ({ ...attempt, isWorkerThere: isThere(attempt) }));
  }
}

function keyOf(attempt: { readonly occurrenceId: string; readonly token: number }): string {
  return `${attempt.occurrenceId}/${attempt.token}`;
}
