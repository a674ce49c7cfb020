/** What the doctor says of Redis: one server, a Cluster, and Sentinel; well ones and badly set up ones. */
import { assert, assertEquals } from "@std/assert";
import { hasFailed } from "../../infra/doctor/doctor.ts";
import { checkOf, examine, statesOf } from "../support/doctor.ts";
import { until } from "../support/program.ts";
import { RedisClusterServers } from "../support/redis_cluster_servers.ts";
import { RedisSentinelServers } from "../support/redis_sentinel_servers.ts";
import { RedisServer } from "../support/redis_server.ts";
import { serverTest, temporaryPrefix } from "../support/servers.ts";

serverTest(["redis"], "doctor: Redis is looked at under its prefix, and nothing is left there", async () => {
  await using space = temporaryPrefix();
  const { url, prefix } = space;
  const results = await examine({ redis: { url, keyPrefix: prefix } });
  assertEquals(
    checkOf(results, "Redis", "permission").message,
    `SET, GET, EVAL, PUBLISH and DEL work under ${prefix}.`,
  );
  assertEquals(hasFailed(results), false);
});

serverTest(
  ["redis-server"],
  "doctor: a Redis that evicts, forgets and takes few connections is warned of",
  async () => {
    await using server = await RedisServer.start({
      args: ["--maxmemory-policy", "allkeys-lru", "--maxclients", "50"],
    });
    const redis = { url: server.url, keyPrefix: "Milvaion:JobScheduler:" };
    const bad = await examine({ redis });
    assertEquals(statesOf(bad, "Redis"), {
      reachable: "ok",
      version: "ok",
      permission: "ok",
      role: "ok",
      clock: "ok",
      connections: "warning",
      eviction: "warning",
      persistence: "warning",
      encryption: "ok",
    });
    assertEquals(await server.cli("dbsize"), "0");
    for (
      const [name, value] of [["maxmemory-policy", "noeviction"], ["maxclients", "10000"], [
        "appendonly",
        "yes",
      ]]
    ) {
      await server.cli("config", "set", name ?? "", value ?? "");
    }
    assertEquals(new Set(Object.values(statesOf(await examine({ redis }), "Redis"))), new Set(["ok"]));
  },
);

serverTest(
  ["redis-server"],
  "doctor: a Redis user without the permissions is told which command is missing",
  async () => {
    await using server = await RedisServer.start();
    await server.cli("acl", "setuser", "some", "on", ">word", "~Milvaion:*", "&*", "+@all", "-publish");
    const url = server.url.replace("//", "//some:word@");
    const found = checkOf(
      await examine({ redis: { url, keyPrefix: "Milvaion:JobScheduler:" } }),
      "Redis",
      "permission",
    );
    assertEquals(found.state, "failed");
    assert(found.message.startsWith("PUBLISH under Milvaion:JobScheduler: is refused"));
    assert(found.nextStep?.includes("ACL SETUSER"));
  },
);

serverTest(
  ["redis-server"],
  "doctor: of a Redis Cluster it names masters, slots and load, and each master that is not as it should be",
  async () => {
    await using servers = await RedisClusterServers.start();
    const redis = { url: servers.url, keyPrefix: "Milvaion:JobScheduler:" };
    const [first, second] = servers.masters;
    assert(first !== undefined && second !== undefined);
    await second.cli("config", "set", "maxmemory-policy", "allkeys-lru");
    const found = await examine({ redis });
    assertEquals(statesOf(found, "Redis"), {
      reachable: "ok",
      slots: "warning",
      coverage: "ok",
      load: "ok",
      version: "ok",
      permission: "ok",
      role: "ok",
      clock: "ok",
      connections: "ok",
      eviction: "warning",
      persistence: "warning",
      encryption: "ok",
    });
    const { message } = checkOf(found, "Redis", "slots");
    assert(message.startsWith("16,384 of 16,384 slots are served by 3 masters"), message);
    for (const { port } of servers.masters) {
      assert(message.includes(`127.0.0.1:${port} 5,46`), message);
      assert(checkOf(found, "Redis", "load").message.includes(`127.0.0.1:${port}: 0 keys`));
      assert(checkOf(found, "Redis", "reachable").message.includes(`127.0.0.1:${port}`));
    }
    const eviction = checkOf(found, "Redis", "eviction").message;
    assert(eviction.startsWith(`127.0.0.1:${second.port}: Redis may evict keys`), eviction);
    assert(checkOf(found, "Redis", "persistence").message.startsWith("All 3 masters: "));

    await second.cli("config", "set", "cluster-require-full-coverage", "yes");
    const few = await examine({ redis: { ...redis, partitions: 1 } });
    assert(checkOf(few, "Redis", "coverage").message.includes(`yes on 127.0.0.1:${second.port}`));
    assert(checkOf(few, "Redis", "load").message.includes("1 part for 3 masters"));

    await first.kill();
    const less = await examine({ redis });
    const reachable = checkOf(less, "Redis", "reachable");
    assertEquals(reachable.state, "warning");
    assert(
      reachable.message.includes(`another master does not: 127.0.0.1:${first.port}: `),
      reachable.message,
    );
    assertEquals(checkOf(less, "Redis", "version").state, "ok");
    const lost = checkOf(less, "Redis", "slots");
    assertEquals(lost.state, "warning");
    assert(lost.message.includes(`not all of the masters answer (127.0.0.1:${first.port}`), lost.message);
  },
);

serverTest(
  ["redis-server"],
  "doctor: of Redis by Sentinel it names quorum and replicas, and what is wrong with name, password or quorum",
  async () => {
    const secrets = { password: "of-the-servers", sentinelPassword: "of-the-sentinels" };
    await using servers = await RedisSentinelServers.start(secrets);
    const keyPrefix = "Milvaion:JobScheduler:";
    const sentinel = { user: null, password: secrets.sentinelPassword };
    const look = async (change: { readonly url?: string; readonly password?: string } = {}) => {
      const found = await examine({
        redis: {
          url: change.url ?? servers.url,
          sentinel: { ...sentinel, password: change.password ?? sentinel.password },
          keyPrefix,
        },
      });
      assert(!JSON.stringify(found).includes("of-the-se"), "no secret is shown");
      return found;
    };
    const { message, state } = checkOf(await look(), "Redis", "sentinels");
    assertEquals(state, "ok");
    const { port } = await servers.master();
    assertEquals(
      message,
      `3 of 3 sentinels answer and name 127.0.0.1:${port}; quorum 2 of 3, 1 replica.`,
    );

    const wrongName = checkOf(
      await look({ url: servers.url.replace(/main$/, "other") }),
      "Redis",
      "reachable",
    );
    assertEquals(wrongName.state, "failed");
    assert(wrongName.nextStep?.includes("redis+sentinel://…/name"), wrongName.message);
    const wrongPassword = checkOf(await look({ password: "wrong" }), "Redis", "reachable");
    assert(wrongPassword.nextStep?.includes("REDIS_SENTINEL_PASSWORD"), wrongPassword.message);
    const wrongServer = checkOf(
      await look({ url: servers.url.replace(secrets.password, "wrong") }),
      "Redis",
      "reachable",
    );
    assert(wrongServer.nextStep?.includes("password of REDIS_URL"), wrongServer.message);

    await servers.sentinels[0]?.kill();
    await servers.sentinels[1]?.kill();
    const few = await until(async () => {
      const found = checkOf(await look(), "Redis", "sentinels");
      return found.state === "failed" && found;
    }, "the sentinel that is left misses the others");
    assert(few.message.includes("no failover is possible"), few.message);
  },
);
