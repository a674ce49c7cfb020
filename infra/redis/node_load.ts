/** What each server that holds keys has to do: how the keys of a Redis Cluster spread. */
import type { RedisLink } from "./link.ts";

export interface NodeLoad {
  /** `host:port` of the server. */
  readonly place: string;
  readonly keys: number;
  /** `used_memory`. */
  readonly bytes: number;
  /** Commands a second, as the server has counted them of late. */
  readonly commandsPerSecond: number;
}

/** Asks each server that is connected. */
export async function readLoad(link: RedisLink): Promise<readonly NodeLoad[]> {
  const answers = await link.askEach("Cannot read the load", async (client) => {
    const keys = await client.dbsize();
    const info = `${await client.info("memory")}\n${await client.info("stats")}`;
    const value = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
    return {
      keys,
      bytes: value("used_memory"),
      commandsPerSecond: value("instantaneous_ops_per_sec"),
    };
  }, "connected");
  return answers.map(({ place, answer }) => ({ place, ...answer }))
    .sort((a, b) => a.place < b.place ? -1 : 1);
}
