/**
 * The due index: a sorted set of job ids by due time in milliseconds, in N partitions by the job's id.
 *
 * Beside each partition lies who built it. The index counts as built when all partitions name the same builder, so
 * that one that was lost alone (a node of a Redis Cluster that came back empty) is noticed.
 */
import type { DueEntry, DueIndex } from "../../actors/ports/due_index.ts";
import type { RedisConnection } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

/** Most entries of one command: a larger one would hold up the other clients of Redis for milliseconds. */
const CHUNK = 500;

export class RedisDueIndex implements DueIndex {
  readonly #partitions: readonly number[];

  /** `partitions` must be the same on all instances. */
  constructor(
    private readonly connection: RedisConnection,
    private readonly keys: RedisKeys,
    partitions: number,
  ) {
    this.#partitions = Array.from({ length: partitions }, (_, index) => index);
  }

  async put(entries: readonly DueEntry[]): Promise<void> {
    await this.#inParts("Cannot put due times", entries, (entry) => entry.jobId, (commands, key, part) => {
      commands.zadd(key, ...part.flatMap((entry) => [entry.dueAt, entry.jobId]));
    });
  }

  async remove(jobIds: readonly string[]): Promise<void> {
    await this.#inParts("Cannot remove due times", jobIds, (jobId) => jobId, (commands, key, part) => {
      commands.zrem(key, ...part);
    });
  }

  async due(now: number, limit: number): Promise<readonly DueEntry[]> {
    const answers = await this.#ofEach(
      "Cannot read what is due",
      (client, partition) =>
        client.zrangebyscore(this.keys.due(partition), "-inf", now, "WITHSCORES", "LIMIT", 0, limit),
    );
    const found = answers.flatMap(entriesOf);
    if (answers.length > 1) found.sort((a, b) => a.dueAt - b.dueAt);
    return found.slice(0, limit);
  }

  async nextAt(): Promise<number | null> {
    const answers = await this.#ofEach(
      "Cannot read the next due time",
      (client, partition) => client.zrange(this.keys.due(partition), 0, "0", "WITHSCORES"),
    );
    const first = answers.flatMap(entriesOf).map((entry) => entry.dueAt);
    return first.length === 0 ? null : Math.min(...first);
  }

  async size(): Promise<number> {
    const sizes = await this.#ofEach(
      "Cannot count due times",
      (client, partition) => client.zcard(this.keys.due(partition)),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  async clear(): Promise<void> {
    // UNLINK frees the memory in the background: a million entries would hold Redis up for a second.
    await this.#ofEach(
      "Cannot empty the due index",
      (client, partition) => client.unlink(this.keys.due(partition), this.keys.dueBuiltBy(partition)),
    );
  }

  async markBuilt(builder: string): Promise<void> {
    await this.#ofEach(
      "Cannot mark the due index as built",
      (client, partition) => client.set(this.keys.dueBuiltBy(partition), builder),
    );
  }

  async builtBy(): Promise<string | null> {
    const builders = await this.#ofEach(
      "Cannot read who built the due index",
      (client, partition) => client.get(this.keys.dueBuiltBy(partition)),
    );
    return builders.every((builder) => builder === builders[0]) ? builders[0] ?? null : null;
  }

  /** One command for each partition, all on their way at once. */
  #ofEach<T>(
    act: string,
    command: (client: RedisConnection["client"], partition: number) => Promise<T>,
  ): Promise<readonly T[]> {
    return Promise.all(
      this.#partitions.map((partition) => this.connection.ask(act, (client) => command(client, partition))),
    );
  }

  /** Items by their partition, in chunks; each partition gets one pipeline, as a Redis Cluster wants it. */
  async #inParts<T>(
    act: string,
    items: readonly T[],
    jobIdOf: (item: T) => string,
    add: (commands: Parameters<Parameters<RedisConnection["askAll"]>[1]>[0], key: string, part: T[]) => void,
  ): Promise<void> {
    const parts = Map.groupBy(items, (item) => partitionOf(jobIdOf(item), this.#partitions.length));
    await Promise.all([...parts].map(([partition, part]) =>
      this.connection.askAll(act, (commands) => {
        for (let start = 0; start < part.length; start += CHUNK) {
          add(commands, this.keys.due(partition), part.slice(start, start + CHUNK));
        }
      })
    ));
  }
}

/** FNV-1a of the id: even, and the same on every instance. */
function partitionOf(jobId: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < jobId.length; index++) {
    hash = Math.imul(hash ^ jobId.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0) % partitions;
}

/** Members and scores as they alternate in the answer. */
function entriesOf(answer: readonly string[]): DueEntry[] {
  const entries: DueEntry[] = [];
  for (let index = 0; index + 1 < answer.length; index += 2) {
    entries.push({ jobId: answer[index] ?? "", dueAt: Number(answer[index + 1]) });
  }
  return entries;
}
