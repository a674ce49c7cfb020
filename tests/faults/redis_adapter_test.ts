/** What the Redis adapters do when their server restarts, forgets, freezes or is cut off. Each test has its own. */
import type { LiveEvent } from "../../actors/ports/events.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { Inbox } from "../contract/inbox.ts";
import { until } from "../support/program.ts";
import { instance, jobChanged, openInstance, type RedisPlace, worker } from "../support/redis_instance.ts";
import { RedisServer } from "../support/redis_server.ts";
import { serverTest } from "../support/servers.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";

const LEASE_TTL_MS = 2000;
/** Longer than any deadline, and than a busy machine is late; shorter than for ever. Milliseconds. */
const CALL_AT_MOST_MS = 20_000;

/** That server, with short leases. */
function at(url: string): RedisPlace {
  return { url, leaseTtlMs: LEASE_TTL_MS };
}

serverTest(
  ["redis-server"],
  "redis faults: after a restart everything works again by itself, and once more",
  async () => {
    await using server = await RedisServer.start();
    await using a = await instance("a", at(server.url));
    await using b = await instance("b", at(server.url));
    const heard = new Inbox<LiveEvent>();
    b.redis.events.subscribe(["jobChanged"], (events) => heard.push(events));
    await until(() => Promise.resolve(a.redis.events.wants("jobChanged")), "a hears that b listens");

    for (const round of [1, 2]) {
      await (round === 1 ? server.stop() : server.kill());
      await until(() => Promise.resolve(!a.redis.state().connected), "the connection's end is seen");
      const failure = await assertRejects(
        () => a.redis.dueIndex.size(),
        Error,
        "Cannot count due times: not connected",
      );
      assert(!failure.message.includes("@"), "no credentials");
      await assertRejects(
        () => a.redis.leases.acquire("leader", "a", LEASE_TTL_MS),
        Error,
        "Cannot take a lease",
      );
      assertEquals(a.redis.events.wants("jobChanged"), false, "nobody can be reached");
      a.redis.events.publish([jobChanged("lost")]);

      await server.start();
      await until(
        () => Promise.resolve(a.redis.state().connected && b.redis.state().connected),
        "connected again",
      );
      await until(() => {
        a.redis.events.publish([jobChanged("after")]);
        return Promise.resolve(heard.length > 0);
      }, "b hears a again");
      for (const event of await heard.take(heard.length)) assertEquals(event, jobChanged("after"));
      await a.redis.dueIndex.put([{ jobId: "j", dueAt: 5 }]);
      assertEquals(await b.redis.dueIndex.nextAt(), 5);
    }
    const states = a.log.lines.filter((line) => /^Redis is/.test(line.message)).map((line) => line.level);
    assertEquals(states, ["info", "warn", "info", "warn", "info"], "one line for each change of state");
  },
);

serverTest(["redis-server"], "redis faults: FLUSHALL is noticed, and nothing of it lasts", async () => {
  await using server = await RedisServer.start();
  await using a = await instance("a", at(server.url));
  await using b = await instance("b", at(server.url));
  await a.redis.dueIndex.put([{ jobId: "j", dueAt: 5 }]);
  await a.redis.dueIndex.markBuilt("epoch 1");
  await a.redis.presence.announce(worker("w"));
  assertEquals((await b.redis.presence.list()).length, 1);
  assert(await a.redis.leases.acquire("leader", "a", 60_000));

  await server.cli("flushall");
  assertEquals([await a.redis.dueIndex.builtBy(), await a.redis.dueIndex.size()], [null, 0]);
  assertEquals(await b.redis.presence.list(), []);
  await a.redis.presence.announce(worker("w"));
  assertEquals((await b.redis.presence.list()).map((one) => one.jobTypes), [worker("w").jobTypes]);
  assert(await b.redis.leases.acquire("leader", "b", 60_000), "the lease is free for another");
  assertEquals(await a.redis.leases.renew("leader", "a", 60_000), false);
});

serverTest(
  ["redis-server"],
  "redis faults: a server that keeps its data and restarts has a due index that nobody built: the last writes may lack",
  async () => {
    await using server = await RedisServer.start({
      args: ["--appendonly", "yes", "--appendfsync", "always"],
    });
    await using a = await instance("a", at(server.url));
    await a.redis.dueIndex.put([{ jobId: "j", dueAt: 5 }]);
    await a.redis.dueIndex.markBuilt("epoch 1");
    assertEquals(await a.redis.dueIndex.builtBy(), "epoch 1");
    await server.kill();
    await until(() => Promise.resolve(!a.redis.state().connected), "the loss is seen");
    await server.start();
    await until(() => Promise.resolve(a.redis.state().connected), "connected again");
    assertEquals([await a.redis.dueIndex.builtBy(), await a.redis.dueIndex.nextAt()], [null, 5]);
  },
);

serverTest(
  ["redis-server"],
  "redis faults: while it is frozen each call fails by its deadline, then all goes on",
  async () => {
    await using server = await RedisServer.start();
    await using a = await instance("a", at(server.url));
    server.pause();
    try {
      const late = (lease: boolean) => new RegExp(`no answer within ${lease ? LEASE_TTL_MS / 5 : 2000} ms`);
      const calls = [
        [a.redis.leases.renew("leader", "a", LEASE_TTL_MS), late(true)],
        [a.redis.dueIndex.due(1, 10), late(false)],
        [a.redis.dueIndex.put([{ jobId: "j", dueAt: 1 }]), late(false)],
        [a.redis.presence.announce(worker("w")), late(false)],
        [a.redis.presence.list(), late(false)],
        [a.redis.ping(300), /no answer within 300 ms/],
      ] as const;
      const startedAt = performance.now();
      await Promise.all(calls.map(async ([call, message]) => {
        const error = await call.then(() => null, (error: Error) => error);
        assert(error instanceof Unavailable);
        assert(message.test(error?.message ?? ""), `${error?.message} is not ${message}`);
      }));
      assert(performance.now() - startedAt < CALL_AT_MOST_MS, `took longer than ${CALL_AT_MOST_MS} ms`);
      await until(
        () => Promise.resolve(!a.redis.state().connected),
        "a connection without answers is given up",
      );
    } finally {
      server.resume();
    }
    await until(() => Promise.resolve(a.redis.state().connected), "connected again");
    assert(await a.redis.leases.acquire("leader", "a", LEASE_TTL_MS));
    await a.redis.presence.announce(worker("w"));
    assertEquals((await a.redis.presence.list()).length, 1);
  },
);

serverTest(
  ["redis-server"],
  "redis faults: what is on its way when the connection breaks is out of reach, several commands at once too",
  async () => {
    await using server = await RedisServer.start();
    await using a = await instance("a", at(server.url));
    server.pause();
    const list = assertRejects(() => a.redis.presence.list(), Unavailable, "Cannot read presence: ");
    await server.kill();
    await list;
  },
);

serverTest(["redis-server"], "redis faults: a closed adapter waits for no frozen server", async () => {
  await using server = await RedisServer.start();
  const a = await instance("a", at(server.url));
  server.pause();
  a.redis.events.publish([jobChanged("j")]);
  const startedAt = performance.now();
  await a.redis.close();
  assert(performance.now() - startedAt < CALL_AT_MOST_MS);
  server.resume();
});

serverTest(
  ["redis-server"],
  "redis faults: cut connections are made anew, half-open ones are found out",
  async () => {
    await using server = await RedisServer.start();
    await using proxy = TcpProxy.start(server.port);
    await using a = await instance("a", at(proxy.through(server.url)));
    await using b = await instance("b", at(server.url));
    const heard = new Inbox<LiveEvent>();
    a.redis.events.subscribe(["jobChanged"], (events) => heard.push(events));

    for (const harm of [() => proxy.reset(), () => proxy.halfOpen()]) {
      harm();
      await until(() => Promise.resolve(!a.redis.state().connected), "the loss is seen");
      await until(() => Promise.resolve(a.redis.state().connected), "connected again");
      await until(() => {
        b.redis.events.publish([jobChanged("j")]);
        return Promise.resolve(heard.length > 0);
      }, "a hears again");
      await heard.take(heard.length);
      // The connection for hearing and that for commands are not found out in the same moment.
      assertEquals(await until(async () => [await a.redis.dueIndex.size()], "a is served again"), [0]);
    }
  },
);

serverTest(
  ["redis-server"],
  "redis faults: opened while Redis is away, it works once Redis is there",
  async () => {
    await using server = await RedisServer.start();
    await server.stop();
    await using a = await openInstance("a", at(server.url));
    assertEquals(a.redis.state().connected, false);
    await assertRejects(() => a.redis.presence.list(), Unavailable, "Cannot read presence: not connected");
    await assertRejects(() => a.redis.ping(1000), Error, "Cannot reach Redis: not connected");
    await server.start();
    await until(() => Promise.resolve(a.redis.state().connected), "connected");
    await a.redis.ping(1000);
    await a.redis.presence.announce(worker("w"));
    assertEquals((await a.redis.presence.list()).length, 1);
  },
);

serverTest(
  ["redis-server"],
  "redis faults: a Redis that may evict keys is warned of, a full one refuses in words",
  async () => {
    await using server = await RedisServer.start({ args: ["--maxmemory-policy", "allkeys-lru"] });
    await using a = await instance("a", at(server.url));
    await until(() => Promise.resolve(a.log.complaints.length > 0), "the warning");
    assertEquals(a.log.complaints, [
      "Redis may evict keys: maxmemory-policy is allkeys-lru. Set it to noeviction",
    ]);
    await server.cli("config", "set", "maxmemory-policy", "noeviction");
    await server.cli("config", "set", "maxmemory", "1");
    await assertRejects(
      () => a.redis.dueIndex.put([{ jobId: "j", dueAt: 1 }]),
      Error,
      "Cannot put due times: OOM",
    );
    await assertRejects(
      () => a.redis.presence.announce(worker("w")),
      Error,
      "Cannot announce presence: OOM",
    );
    await server.cli("config", "set", "maxmemory", "0");
    await a.redis.presence.announce(worker("w"));
    assertEquals((await a.redis.presence.list()).length, 1);
  },
);

serverTest(["redis-server"], "redis faults: a wrong password is told, and no secret is", async () => {
  await using server = await RedisServer.start();
  await server.cli("config", "set", "requirepass", "right-password");
  await using a = await openInstance("a", at(server.url.replace("//", "//:wrong-password@")));
  const said = JSON.stringify(a.log.lines);
  assert(/WRONGPASS/.test(said), said);
  const error = await assertRejects(() => a.redis.dueIndex.size(), Error, "WRONGPASS");
  assert(!/wrong-password|right-password/.test(said + error.message));
});
