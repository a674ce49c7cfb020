/** The contracts of Redis on a Cluster of three masters, and through Sentinel with passwords. */
import { RedisClusterServers } from "../support/redis_cluster_servers.ts";
import { RedisSentinelServers } from "../support/redis_sentinel_servers.ts";
import { whyMissing } from "../support/servers.ts";
import { redisContract, type RedisSpace } from "./redis_contract.ts";

let cluster: RedisClusterServers | null = null;
let sentinel: RedisSentinelServers | null = null;
let spaces = 0;

if (whyMissing("redis-server") === null) {
  Deno.test.beforeAll(async () => {
    [cluster, sentinel] = await Promise.all([
      RedisClusterServers.start(),
      RedisSentinelServers.start({ password: "of the servers", sentinelPassword: "of-the-sentinels" }),
    ]);
  });
  Deno.test.afterAll(async () => {
    await Promise.all([cluster?.[Symbol.asyncDispose](), sentinel?.[Symbol.asyncDispose]()]);
  });
}

redisContract("redis cluster", "redis-server", () => spaceOn(cluster?.url));
redisContract("redis by Sentinel", "redis-server", () => ({
  ...spaceOn(sentinel?.url),
  sentinel: { user: null, password: "of-the-sentinels" },
}));

/** Nothing is put away: the servers go as a whole. */
function spaceOn(url: string | undefined): RedisSpace {
  if (url === undefined) throw new Error("the servers were not started");
  spaces += 1;
  return { url, prefix: `Milvaion:Test:${spaces}:`, [Symbol.asyncDispose]: () => Promise.resolve() };
}
