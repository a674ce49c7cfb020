/** What the Redis adapters do when Sentinel makes another server the master. */
import type { LiveEvent } from "../../actors/ports/events.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { RedisKeys } from "../../infra/redis/keys.ts";
import { DEFAULT_KEY_PREFIX } from "../../infra/redis/redis.ts";
import { Inbox } from "../contract/inbox.ts";
import { until } from "../support/program.ts";
import {
  changesOf,
  instance,
  isWhole,
  jobChanged,
  openInstance,
  STORE,
  worker,
} from "../support/redis_instance.ts";
import { RedisSentinelServers } from "../support/redis_sentinel_servers.ts";
import { serverTest } from "../support/servers.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";

const LEASE_TTL_MS = 5000;
const KEYS = new RedisKeys(DEFAULT_KEY_PREFIX, STORE);

serverTest(
  ["redis-server"],
  "redis by Sentinel: after the master is killed a replica serves, and the due index counts as not built",
  async () => {
    const secrets = { password: "s3cret of servers", sentinelPassword: "s3cret-of-sentinels" };
    await using servers = await RedisSentinelServers.start(secrets);
    const place = { url: servers.url, sentinelPassword: secrets.sentinelPassword };
    await using a = await instance("a", place);
    await using b = await instance("b", place);
    const heard = new Inbox<LiveEvent>();
    b.redis.events.subscribe(["jobChanged"], (events) => heard.push(events));
    await a.redis.dueIndex.put([{ jobId: "j", dueAt: 5 }]);
    await a.redis.dueIndex.markBuilt("epoch 1");
    assertEquals(await b.redis.dueIndex.builtBy(), "epoch 1");

    const killed = await servers.master();
    const [replica] = servers.servers.filter((one) => one !== killed);
    assert(replica !== undefined);
    await until(async () => await replica.cli("zcard", KEYS.due(0)) === "1", "the replica has it");
    const killedAt = performance.now();
    await killed.kill();
    await until(() => Promise.resolve(!a.redis.state().connected), "the loss is seen");
    await assertRejects(() => a.redis.dueIndex.size(), Unavailable, "Cannot count due times: not connected");
    await servers.masterAfter(killed);
    const promotedAt = performance.now();
    await until(() => Promise.resolve([a, b].every(isWhole)), "connected to the new master");
    await until(
      async () => await a.redis.leases.acquire("leader", "a", LEASE_TTL_MS),
      "leases are taken again",
    );
    console.log(
      "figures: " + JSON.stringify({
        promotedMs: Math.round(promotedAt - killedAt),
        servedAgainMs: Math.round(performance.now() - killedAt),
      }),
    );
    assertEquals(await a.redis.dueIndex.builtBy(), null);
    await a.redis.presence.announce(worker("w"));
    assertEquals((await b.redis.presence.list()).length, 1);
    await until(() => {
      a.redis.events.publish([jobChanged("after")]);
      return Promise.resolve(heard.length > 0);
    }, "b hears a again");
    assert(!/s3cret/.test(JSON.stringify([a.log.lines, b.log.lines])), "no secret is logged");

    // The old one is back, and takes itself for a master until a sentinel tells it otherwise: nobody writes to it.
    await killed.start();
    await a.redis.dueIndex.put([{ jobId: "k", dueAt: 6 }]);
    assertEquals([await b.redis.dueIndex.size(), await replica.cli("zcard", KEYS.due(0))], [2, "2"]);
  },
);

serverTest(
  ["redis-server"],
  "redis by Sentinel: a master that was frozen and wakes is left, and without sentinels the server goes on serving",
  async () => {
    await using servers = await RedisSentinelServers.start();
    await using a = await instance("a", servers);
    const frozen = await servers.master();
    frozen.pause();
    const promoted = await servers.masterAfter(frozen);
    frozen.resume();
    // What it took meanwhile at the old one is lost, and taken anew.
    await until(async () => {
      await a.redis.leases.acquire("leader", "a", 60_000);
      return await promoted.cli("get", KEYS.lease("leader")) === "a";
    }, "the lease is written to the new master");

    for (const sentinel of servers.sentinels) await sentinel.kill();
    assert(await a.redis.leases.renew("leader", "a", 60_000));
    await using later = await openInstance("later", servers);
    assertEquals(later.redis.state().connected, false, "who starts now is told no server");
    await assertRejects(
      () => later.redis.dueIndex.size(),
      Unavailable,
      "Cannot count due times: not connected",
    );
    assertEquals(later.log.complaints, ["Redis is away, trying again"]);
    await Promise.all(servers.sentinels.map((sentinel) => sentinel.start()));
    await until(() => Promise.resolve(later.redis.state().connected), "connected once a sentinel is there");
  },
);

serverTest(
  ["redis-server"],
  "redis by Sentinel: while other replicas are still led to the new master nobody goes back to the old one, which answers",
  async () => {
    const password = "of the servers";
    await using servers = await RedisSentinelServers.start({
      password,
      replicas: 2,
      failoverTimeoutMs: 60_000,
    });
    const masterauth = (secret: string) =>
      Promise.all(servers.servers.map((one) => one.cli("config", "set", "masterauth", secret)));
    await using a = await instance("a", servers);
    await using b = await instance("b", servers);
    await using c = await instance("c", servers);
    const old = await servers.master();

    // Whichever is promoted, the other cannot follow it yet. To the sentinel that leads the old one is the master
    // until then, in the words of SENTINEL MASTER, and to the others it is not.
    await masterauth("wrong");
    await servers.sentinels[0]?.cli("sentinel", "failover", "main");
    const promoted = await servers.masterAfter(old);
    await until(
      () => Promise.resolve([a, b, c].every((one) => isWhole(one) && changesOf(one).length > 1)),
      "moved",
    );
    assert(await servers.isFailingOver());
    await masterauth(password);
    await until(async () => !await servers.isFailingOver(), "the failover is over");

    for (const one of [a, b, c]) {
      assertEquals(changesOf(one), [
        "Redis is connected",
        "Redis is away, trying again",
        "Redis is connected",
      ]);
    }
    await a.redis.dueIndex.put([{ jobId: "j", dueAt: 5 }]);
    assertEquals(await promoted.cli("zscore", KEYS.due(0), "j"), "5");
  },
);
