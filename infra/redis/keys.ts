/** Partitions of the due index, at most. */
export const MOST_PARTITIONS = 64;

/**
 * Names of keys and channels. Each group of keys that must lie together has a hash tag of its own, so that a Redis
 * Cluster keeps the group on one node and spreads the groups. The store's id is in every name: two stores can share
 * a Redis and a prefix and never see each other.
 */
export class RedisKeys {
  /** `prefix` holds no braces, or Redis would take them for the hash tag. */
  constructor(private readonly prefix: string, private readonly storeId: string) {}

  /** The due times of one partition. */
  due(partition: number): string {
    return this.#tagged(`due:${partition}`);
  }

  /** Who built that partition. */
  dueBuiltBy(partition: number): string {
    return this.#tagged(`due:${partition}`) + ":built";
  }

  lease(name: string): string {
    return this.#tagged(`lease:${name}`);
  }

  presence(part: "seen" | "busy" | "about" | "edition"): string {
    return this.#tagged("presence") + ":" + part;
  }

  /** Channels need no hash tag: a Redis Cluster passes messages to all its nodes. */
  channel(name: string): string {
    return `${this.prefix}${this.storeId}:events:${name}`;
  }

  #tagged(group: string): string {
    return `${this.prefix}{${this.storeId}:${group}}`;
  }
}
