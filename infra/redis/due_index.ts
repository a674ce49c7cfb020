/**
 * The due index: a sorted set of job ids by due time in milliseconds, in N partitions by the job's id. A reader asks
 * all partitions at once, each for its first entries, and merges: one way there and back, however many there are.
 *
 * Beside each partition lies its mark: who built it, on which run of which server, as one of how many partitions. The
 * index counts as built when all marks name the same builder, and when what they say is still so. So it is noticed
 * when one partition was lost alone (a master of a Redis Cluster that came back empty), when a server restarted or
 * a replica took over, which may lack what was written last, and when the number of partitions was changed.
 */
import type { ChainableCommander, Redis } from "ioredis";
import type { DueEntry, DueIndex } from "../../actors/ports/due_index.ts";
import { MOST_PARTITIONS, type RedisKeys } from "./keys.ts";
import type { RedisLink } from "./link.ts";

/** The server's run; without the right to ask it is the same for ever. */
const RUN = `
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or 'unknown'`;

/** KEYS[1]: the mark; ARGV: partitions, builder. */
const MARK = `${RUN}
  return redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. run .. ' ' .. ARGV[2])`;

/** The builder, while the mark was set on this run of this server, for this number of partitions. */
const READ_MARK = `${RUN}
  local mark = redis.call('GET', KEYS[1])
  local start = ARGV[1] .. ' ' .. run .. ' '
  if mark and string.sub(mark, 1, #start) == start then return string.sub(mark, #start + 1) end
  return false`;

/** Most entries of one command: a larger one would hold up the other clients of Redis for milliseconds. */
const CHUNK = 500;

export class RedisDueIndex implements DueIndex {
  readonly #partitions: readonly number[];

  /** `partitions` must be the same on all instances. */
  constructor(
    private readonly link: RedisLink,
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
      (client, key) => client.zrangebyscore(key, "-inf", now, "WITHSCORES", "LIMIT", 0, limit),
    );
    const found = answers.flatMap(entriesOf);
    if (answers.length > 1) found.sort((a, b) => a.dueAt - b.dueAt);
    return found.slice(0, limit);
  }

  async nextAt(): Promise<number | null> {
    const answers = await this.#ofEach(
      "Cannot read the next due time",
      (client, key) => client.zrange(key, 0, "0", "WITHSCORES"),
    );
    const first = answers.flatMap(entriesOf).map((entry) => entry.dueAt);
    return first.length === 0 ? null : Math.min(...first);
  }

  async size(): Promise<number> {
    const sizes = await this.#ofEach("Cannot count due times", (client, key) => client.zcard(key));
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  /** Also empties partitions that there are no more since their number was changed. */
  async clear(): Promise<void> {
    const all = Array.from({ length: MOST_PARTITIONS }, (_, partition) => this.keys.due(partition));
    // UNLINK frees the memory in the background: a million entries would hold Redis up for a second.
    await Promise.all(all.map((key, partition) =>
      this.link.ask(
        "Cannot empty the due index",
        key,
        (client) => client.unlink(key, this.keys.dueBuiltBy(partition)),
      )
    ));
  }

  async markBuilt(builder: string): Promise<void> {
    await this.#ofEach(
      "Cannot mark the due index as built",
      (client, _, mark) => client.eval(MARK, 1, mark, this.#partitions.length, builder),
    );
  }

  async builtBy(): Promise<string | null> {
    const builders = await this.#ofEach(
      "Cannot read who built the due index",
      (client, _, mark) => client.eval(READ_MARK, 1, mark, this.#partitions.length) as Promise<string | null>,
    );
    return builders.every((builder) => builder === builders[0]) ? builders[0] ?? null : null;
  }

  /** One command for each partition, all on their way at once. */
  #ofEach<T>(
    act: string,
    command: (client: Redis, key: string, mark: string) => Promise<T>,
  ): Promise<readonly T[]> {
    return Promise.all(this.#partitions.map((partition) => {
      const key = this.keys.due(partition);
      return this.link.ask(act, key, (client) => command(client, key, this.keys.dueBuiltBy(partition)));
    }));
  }

  /** Items by their partition, in chunks; each partition gets one pipeline, as a Redis Cluster wants it. */
  async #inParts<T>(
    act: string,
    items: readonly T[],
    jobIdOf: (item: T) => string,
    add: (commands: ChainableCommander, key: string, part: T[]) => void,
  ): Promise<void> {
    const parts = Map.groupBy(items, (item) => partitionOf(jobIdOf(item), this.#partitions.length));
    await Promise.all([...parts].map(([partition, part]) => {
      const key = this.keys.due(partition);
      return this.link.askAll(act, key, (commands) => {
        for (let start = 0; start < part.length; start += CHUNK) {
          add(commands, key, part.slice(start, start + CHUNK));
        }
      });
    }));
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
