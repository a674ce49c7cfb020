/**
 * Presence: who was seen when, in one sorted set, and small values beside it.
 *
 *   seen     sorted set: instance id by the time of its last announcement
 *   about    hash: what seldom changes (name, host, offers with their schemas), written once, and again when it
 *            changed or is gone
 *   busy     hash: what changes often (running attempts, lanes), only while it says more than "idle"
 *   edition  a new value whenever `about` changed, so that a reader reads the schemas once and not each second
 *
 * All times are those of the clock given, which the instances share. An instance that was silent for its lifetime
 * is not listed; after ten lifetimes it is removed for good.
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { Presence, WorkerInstance } from "../../actors/ports/presence.ts";
import type { RedisKeys } from "./keys.ts";
import type { RedisLink } from "./link.ts";
import { type Announcement, join, split } from "./presence_record.ts";

const LIFETIMES_UNTIL_REMOVED = 10;
const REMOVE_EVERY_MS = 60_000;

/** Removes who was not seen since ARGV[1]: asked and done in one go, so that nobody returning is removed. */
const REMOVE_SILENT = `
  local silent = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 500)
  for _, id in ipairs(silent) do
    redis.call('ZREM', KEYS[1], id)
    redis.call('HDEL', KEYS[2], id)
    redis.call('HDEL', KEYS[3], id)
  end
  return #silent`;

export class RedisPresence implements Presence {
  readonly #seen: string;
  readonly #about: string;
  readonly #busy: string;
  readonly #edition: string;
  /** What was last written about each instance that announces itself through here. */
  readonly #written = new Map<string, string>();
  #known: { readonly edition: string | null; readonly about: Readonly<Record<string, string>> } = {
    edition: null,
    about: {},
  };
  #removedAt = -Infinity;

  /** `lifetimeMs`: how long an announcement holds, three heartbeat intervals. */
  constructor(
    private readonly link: RedisLink,
    keys: RedisKeys,
    private readonly clock: Pick<Clock, "now" | "mono">,
    private readonly lifetimeMs: number,
  ) {
    this.#seen = keys.presence("seen");
    this.#about = keys.presence("about");
    this.#busy = keys.presence("busy");
    this.#edition = keys.presence("edition");
  }

  async announce(instance: Announcement): Promise<void> {
    const act = "Cannot announce presence";
    const id = instance.instanceId;
    const { about, busy } = split(instance);
    const now = this.clock.now();
    const isNew = this.#written.get(id) !== about;
    // Forgotten until it is surely written: a call that failed may have been carried out or not.
    if (isNew) this.#written.delete(id);
    const answers = await this.link.askAtOnce(act, this.#seen, (commands) => {
      commands.zadd(this.#seen, now, id);
      if (busy === null) commands.hdel(this.#busy, id);
      else commands.hset(this.#busy, id, busy);
      if (isNew) commands.hset(this.#about, id, about).set(this.#edition, `${id} ${now}`);
      else commands.hexists(this.#about, id);
    });
    const isGone = !isNew && answers[2] === 0;
    if (isGone) {
      await this.link.askAtOnce(act, this.#seen, (commands) => {
        commands.hset(this.#about, id, about).set(this.#edition, `${id} ${now}`);
      });
    }
    this.#written.set(id, about);
  }

  async leave(instanceId: string): Promise<void> {
    this.#written.delete(instanceId);
    await this.link.askAtOnce("Cannot take leave", this.#seen, (commands) => {
      commands.zrem(this.#seen, instanceId).hdel(this.#busy, instanceId).hdel(this.#about, instanceId);
    });
  }

  async list(): Promise<readonly WorkerInstance[]> {
    const now = this.clock.now();
    const [seen, busy, edition] = await this.link.askAtOnce(
      "Cannot read presence",
      this.#seen,
      (commands) => {
        commands.zrange(this.#seen, 0, "-1", "WITHSCORES").hgetall(this.#busy).get(this.#edition);
      },
    ) as [string[], Record<string, string>, string | null];

    const present: { readonly id: string; readonly lastSeenAt: number }[] = [];
    let someAreSilent = false;
    for (let index = 0; index + 1 < seen.length; index += 2) {
      const lastSeenAt = Number(seen[index + 1]);
      if (lastSeenAt > now - this.lifetimeMs) present.push({ id: seen[index] ?? "", lastSeenAt });
      else someAreSilent = true;
    }
    if (someAreSilent) await this.#removeSilent(now);
    const about = await this.#aboutAll(edition);
    return present
      .map(({ id, lastSeenAt }) => join(about[id], busy[id], lastSeenAt))
      .filter((instance) => instance !== null)
      .sort((a, b) => a.instanceId < b.instanceId ? -1 : 1);
  }

  /** Read again only when somebody wrote since. */
  async #aboutAll(edition: string | null): Promise<Readonly<Record<string, string>>> {
    if (edition === null || edition !== this.#known.edition) {
      const about = await this.link.ask(
        "Cannot read what workers offer",
        this.#about,
        (client) => client.hgetall(this.#about),
      );
      this.#known = { edition, about };
    }
    return this.#known.about;
  }

  async #removeSilent(now: number): Promise<void> {
    if (this.clock.mono() - this.#removedAt < REMOVE_EVERY_MS) return;
    this.#removedAt = this.clock.mono();
    await this.link.ask("Cannot remove silent instances", this.#seen, (client) => {
      const since = now - LIFETIMES_UNTIL_REMOVED * this.lifetimeMs;
      return client.eval(REMOVE_SILENT, 3, this.#seen, this.#about, this.#busy, since);
    });
  }
}
