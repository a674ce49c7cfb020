/**
 * Leases: SET NX PX, compare-and-extend and compare-and-delete, each one script that Redis carries out in one go.
 *
 * They have a connection of their own with a short command time, so that a slow or frozen Redis answers "I do not
 * know" long before the lease ends. A call that was given up may still be carried out: then a lease is held that
 * its owner does not know of. That is safe (the next acquire is the same owner's) and ends with its time.
 */
import type { Leases } from "../../actors/ports/leases.ts";
import type { RedisKeys } from "./keys.ts";
import type { RedisLink } from "./link.ts";

const SCRIPTS = {
  acquireLease: `
    if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])`,
  renewLease: `
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])`,
  releaseLease: `
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('DEL', KEYS[1])`,
} as const;

export class RedisLeases implements Leases {
  constructor(private readonly link: RedisLink, private readonly keys: RedisKeys) {}

  async acquire(name: string, owner: string, ttlMs: number): Promise<boolean> {
    const ttl = Math.ceil(ttlMs);
    return await this.#run("Cannot take a lease", "acquireLease", name, owner, ttl) === 1;
  }

  async renew(name: string, owner: string, ttlMs: number): Promise<boolean> {
    const ttl = Math.ceil(ttlMs);
    return await this.#run("Cannot renew a lease", "renewLease", name, owner, ttl) === 1;
  }

  async release(name: string, owner: string): Promise<void> {
    await this.#run("Cannot release a lease", "releaseLease", name, owner);
  }

  async holder(name: string): Promise<string | null> {
    const key = this.keys.lease(name);
    return await this.link.ask("Cannot read a lease", key, (client) => client.get(key));
  }

  #run(
    act: string,
    script: keyof typeof SCRIPTS,
    name: string,
    ...args: (string | number)[]
  ): Promise<number> {
    const key = this.keys.lease(name);
    // The script's text each time: by its name, a server that does not know it would cost a second way.
    return this.link.ask(
      act,
      key,
      (client) => client.eval(SCRIPTS[script], 1, key, ...args) as Promise<number>,
    );
  }
}
