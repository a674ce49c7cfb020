/** Workers with a configuration file as people write it, beside a cluster on servers of its own. */
import { ClusterProcess, type ClusterServers } from "./cluster_process.ts";
import { SERVERS, temporaryDatabase, temporaryPrefix, temporaryVhost } from "./servers.ts";

/** A database, a vhost and a key prefix that nobody else uses. */
export interface Place {
  readonly servers: ClusterServers;
  readonly redisPrefix: string;
}

export async function withServers(work: (place: Place) => Promise<void>): Promise<void> {
  await using database = await temporaryDatabase();
  await using keys = temporaryPrefix();
  await using vhost = await temporaryVhost();
  await work({
    servers: { postgres: database.url, redis: SERVERS.redis, amqp: vhost.url },
    redisPrefix: keys.prefix,
  });
}

export interface ConfiguredWorkerOptions {
  /** Text of the file, or what becomes its JSON. */
  readonly config: string | Readonly<Record<string, unknown>>;
  readonly name?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly hasDatabase?: boolean;
}

/** A worker that is ready, and its file, which goes with it. */
export async function configuredWorker(
  place: Place,
  options: ConfiguredWorkerOptions,
): Promise<AsyncDisposable & { readonly process: ClusterProcess }> {
  const { config, name = "configured", args = [], env = {}, hasDatabase = true } = options;
  const file = await Deno.makeTempFile({ prefix: "milvaion-", suffix: ".json" });
  await Deno.writeTextFile(file, typeof config === "string" ? config : JSON.stringify(config));
  const process = new ClusterProcess({
    role: "worker",
    name,
    servers: place.servers,
    args: ["--config", file, ...args],
    env: { MilvaionConfig__Redis__KeyPrefix: place.redisPrefix, ...env },
    hasProxies: false,
    hasDatabase,
  });
  const end = async () => {
    await process[Symbol.asyncDispose]();
    await Deno.remove(file);
  };
  try {
    await process.start();
  } catch (error) {
    await end();
    throw error;
  }
  return { process, [Symbol.asyncDispose]: end };
}
