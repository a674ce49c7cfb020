/** What each Redis server says of its own load: INFO, no keys are read. */
import type { RedisLink } from "./link.ts";

export interface RedisServerLoad {
  /** `host:port`. */
  readonly place: string;
  /** Since the server counts. */
  readonly commands: number;
  readonly zsetCalls: number;
  readonly zsetMicros: number;
  /** Processor time of the server, milliseconds. */
  readonly cpuMs: number;
  readonly usedBytes: number;
  readonly maxBytes: number | null;
  readonly clients: number;
  readonly maxClients: number | null;
}

const SECTIONS = ["stats", "commandstats", "memory", "clients", "cpu"] as const;

/** Asks each server that is connected. */
export async function readServerLoads(link: RedisLink): Promise<readonly RedisServerLoad[]> {
  const answers = await link.askEach("Cannot read the load", async (client) => {
    const sections = await Promise.all(SECTIONS.map((section) => client.info(section)));
    return loadOf(sections.join("\n"));
  }, "connected");
  return answers.map(({ place, answer }) => ({ place, ...answer }));
}

/** Reads the text of INFO. */
export function loadOf(info: string): Omit<RedisServerLoad, "place"> {
  const value = (name: string) => {
    const found = new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1];
    return found === undefined ? null : Number(found);
  };
  let zsetCalls = 0;
  let zsetMicros = 0;
  for (const [, calls, micros] of info.matchAll(/^cmdstat_(?:z|bz)[a-z]+:calls=(\d+),usec=(\d+)/gm)) {
    zsetCalls += Number(calls);
    zsetMicros += Number(micros);
  }
  const maxBytes = value("maxmemory") ?? 0;
  return {
    commands: value("total_commands_processed") ?? 0,
    zsetCalls,
    zsetMicros,
    cpuMs: ((value("used_cpu_sys") ?? 0) + (value("used_cpu_user") ?? 0)) * 1000,
    usedBytes: value("used_memory") ?? 0,
    maxBytes: maxBytes === 0 ? null : maxBytes,
    clients: value("connected_clients") ?? 0,
    maxClients: value("maxclients"),
  };
}
