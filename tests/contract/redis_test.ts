/** Every contract of Redis, kept by its adapters, and what two instances hear of each other. */
import { systemClock } from "../../infra/clock.ts";
import { RedisConnection } from "../../infra/redis/connection.ts";
import { RedisDueIndex } from "../../infra/redis/due_index.ts";
import { RedisKeys } from "../../infra/redis/keys.ts";
import { RedisLeases } from "../../infra/redis/leases.ts";
import { RedisPresence } from "../../infra/redis/presence.ts";
import { type OpenRedis, openRedis } from "../../infra/redis/redis.ts";
import type { LiveEvent } from "../../actors/ports/events.ts";
import type { WorkerInstance } from "../../actors/ports/presence.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import { until } from "../support/program.ts";
import { KeptLog } from "../support/quiet.ts";
import { serverTest, temporaryPrefix, whyMissing } from "../support/servers.ts";
import { assert, assertEquals } from "@std/assert";
import { dueIndexContract } from "./due_index_contract.ts";
import { eventsContract } from "./events_contract.ts";
import { Inbox } from "./inbox.ts";
import { leasesContract } from "./leases_contract.ts";
import { presenceContract } from "./presence_contract.ts";

const LIFETIME_MS = 3000;

/** One connection, and keys that nobody else uses. */
async function connect() {
  const space = temporaryPrefix();
  const connection = new RedisConnection({
    url: space.url,
    name: "test",
    timeoutMs: 2000,
    clock: systemClock,
  });
  await new Promise<void>((resolve) => connection.onChange((isReady) => isReady && resolve()));
  return {
    connection,
    keys: new RedisKeys(space.prefix, "store"),
    async close() {
      await connection.close();
      await space[Symbol.asyncDispose]();
    },
  };
}

/** As many instances of one cluster. */
async function open<Names extends string>(
  names: readonly Names[],
  clock: Clock = systemClock,
): Promise<Record<Names, OpenRedis> & AsyncDisposable> {
  const space = temporaryPrefix();
  const opened = await Promise.all(names.map(async (instanceId) => {
    const { url, prefix } = space;
    const log = new KeptLog();
    return [
      instanceId,
      await openRedis({ url, prefix, storeId: "store", instanceId, clock, log, lifetimeMs: LIFETIME_MS }),
    ] as const;
  }));
  return {
    ...Object.fromEntries(opened) as Record<Names, OpenRedis>,
    async [Symbol.asyncDispose]() {
      await Promise.all(opened.map(([, redis]) => redis.close()));
      await space[Symbol.asyncDispose]();
    },
  };
}

if (whyMissing("redis") === null) {
  for (const partitions of [1, 4]) {
    dueIndexContract(`redis (partitions: ${partitions})`, async () => {
      const { connection, keys, close } = await connect();
      return { index: new RedisDueIndex(connection, keys, partitions), close };
    });
  }
  leasesContract("redis", async () => {
    const { connection, keys, close } = await connect();
    return {
      leases: new RedisLeases(connection, keys),
      // Instead of waiting: what is left of each lease is made that much shorter.
      async pass(ms) {
        const key = keys.lease("lead");
        const left = await connection.client.pttl(key);
        if (left >= 0) await connection.client.pexpire(key, left - ms);
      },
      close,
    };
  });
  presenceContract("redis", async (clock, lifetimeMs) => {
    const { connection, keys, close } = await connect();
    return {
      presence: new RedisPresence(connection, keys, clock, lifetimeMs),
      pass: (ms) => clock.advance(ms),
      close,
    };
  });
  eventsContract("redis", async () => {
    const cluster = await open(["a"]);
    return { events: cluster.a.events, close: async () => await cluster[Symbol.asyncDispose]() };
  });
} else serverTest(["redis"], "redis: due index, leases, presence and events keep their contracts", () => {});

serverTest(
  ["redis"],
  "redis due index: a partition that was lost makes the index one that nobody built",
  async () => {
    const { connection, keys, close } = await connect();
    try {
      const index = new RedisDueIndex(connection, keys, 4);
      await index.put(Array.from({ length: 100 }, (_, at) => ({ jobId: `job ${at}`, dueAt: at })));
      await index.markBuilt("epoch 7");
      assertEquals([await index.builtBy(), await index.size()], ["epoch 7", 100]);
      await connection.client.del(keys.due(2), keys.dueBuiltBy(2));
      assertEquals(await index.builtBy(), null);
      const due = await index.due(50, 10);
      assertEquals(due, due.toSorted((a, b) => a.dueAt - b.dueAt));
    } finally {
      await close();
    }
  },
);

serverTest(
  ["redis"],
  "redis leases: the loser of two instances may take what the winner released",
  async () => {
    await using cluster = await open(["a", "b"]);
    const { a, b } = cluster;
    assert(await a.leases.acquire("leader", "a", 10_000));
    assertEquals([await b.leases.acquire("leader", "b", 10_000), await b.leases.holder("leader")], [
      false,
      "a",
    ]);
    await a.leases.release("leader", "a");
    assert(await b.leases.acquire("leader", "b", 10_000));
    assertEquals(await a.leases.renew("leader", "a", 10_000), false);
  },
);

serverTest(
  ["redis"],
  "redis presence: instances see what others offer and run, changes included",
  async () => {
    await using cluster = await open(["a", "b"]);
    const { a, b } = cluster;
    await a.presence.announce(instance("a", 0));
    await b.presence.announce(instance("b", 2));
    assertEquals(await shown(a), [instance("a", 0), instance("b", 2)]);
    assertEquals(await shown(b), await shown(a));

    await a.presence.announce({ ...instance("a", 1), isStopping: true });
    await b.presence.announce({ ...instance("b", 0), version: "2" });
    const after = [{ ...instance("a", 1), isStopping: true }, { ...instance("b", 0), version: "2" }];
    assertEquals(await shown(a), after);
    assertEquals(await shown(b), after);
    await a.presence.leave("a");
    assertEquals(await shown(b), after.slice(1));
  },
);

serverTest(["redis"], "redis presence: who stays silent leaves nothing behind", async () => {
  const { connection, keys, close } = await connect();
  try {
    let now = 1_000_000;
    const clock = { now: () => now, mono: () => now };
    const presence = new RedisPresence(connection, keys, clock, LIFETIME_MS);
    await presence.announce(instance("silent", 1));
    now += 11 * LIFETIME_MS;
    await presence.announce(instance("here", 0));
    assertEquals((await presence.list()).map((one) => one.instanceId), ["here"]);
    const { client } = connection;
    assertEquals(await client.zrange(keys.presence("seen"), 0, "-1"), ["here"]);
    assertEquals(await client.hkeys(keys.presence("about")), ["here"]);
    assertEquals(await client.exists(keys.presence("busy")), 0);
  } finally {
    await close();
  }
});

serverTest(["redis"], "redis events: instances hear each other, in order, and themselves once", async () => {
  await using cluster = await open(["a", "b"]);
  const { a, b } = cluster;
  const own = new Inbox<LiveEvent>();
  const others = new Inbox<LiveEvent>();
  a.events.subscribe(["jobChanged"], (events) => own.push(events));
  await until(() => Promise.resolve(b.events.wants("jobChanged")), "b hears that a listens");
  b.events.subscribe(["jobChanged", "workersChanged"], (events) => others.push(events));
  // Told together with what it listens to itself, which would say nothing about the other.
  await until(() => Promise.resolve(a.events.wants("workersChanged")), "a hears that b listens");

  const sent = Array.from({ length: 50 }, (_, at) => jobChanged(`job ${at}`));
  for (const event of sent) a.events.publish([event]);
  assertEquals(await others.take(50), sent);
  b.events.publish([jobChanged("answer")]);
  assertEquals(
    await own.take(51),
    [...sent, jobChanged("answer")],
    "its own came back and was not heard twice",
  );
});

serverTest(
  ["redis"],
  "redis events: an instance is told that another begins to listen, and that it stopped",
  async () => {
    await using cluster = await open(["a", "b"]);
    const { a, b } = cluster;
    assertEquals(a.events.wants("occurrenceProgress"), false);
    const end = b.events.subscribe(["occurrenceProgress"], () => {});
    await until(() => Promise.resolve(a.events.wants("occurrenceProgress")), "a wants what b listens to");
    assertEquals(a.events.wants("jobChanged"), false);
    end();
    await until(() => Promise.resolve(!a.events.wants("occurrenceProgress")), "a wants it no more");
  },
);

serverTest(["redis"], "redis events: another store's events and what is no event are not heard", async () => {
  const space = temporaryPrefix();
  const deps = {
    url: space.url,
    prefix: space.prefix,
    clock: systemClock,
    log: new KeptLog(),
    lifetimeMs: 3000,
  };
  const here = await openRedis({ ...deps, storeId: "here", instanceId: "a" });
  const near = await openRedis({ ...deps, storeId: "here", instanceId: "b" });
  const elsewhere = await openRedis({ ...deps, storeId: "elsewhere", instanceId: "c" });
  const { connection, close } = await connect();
  try {
    const heard = new Inbox<LiveEvent>();
    here.events.subscribe(["jobChanged"], (events) => heard.push(events));
    elsewhere.events.subscribe(["jobChanged"], () => {});
    await until(
      () => Promise.resolve(near.events.wants("jobChanged")),
      "the other hears that somebody listens",
    );
    elsewhere.events.publish([jobChanged("foreign")]);
    const channel = new RedisKeys(space.prefix, "here").channel("jobChanged");
    const foreign = JSON.stringify({
      from: "x",
      events: [null, { type: "workersChanged" }, { type: "odd" }],
    });
    for (const text of ["", "null", "[1", "{}", '{"from":"x","events":7}', foreign]) {
      assertEquals(await connection.client.publish(channel, text), 1);
    }
    near.events.publish([jobChanged("ours")]);
    assertEquals(await heard.take(1), [jobChanged("ours")]);
  } finally {
    await Promise.all([here.close(), near.close(), elsewhere.close(), close()]);
    await space[Symbol.asyncDispose]();
  }
});

serverTest(
  ["redis"],
  "redis: closing twice is fine, and what was published before is still sent",
  async () => {
    await using cluster = await open(["a", "b"]);
    const { a, b } = cluster;
    const heard = new Inbox<LiveEvent>();
    b.events.subscribe(["leaderChanged"], (events) => heard.push(events));
    await until(() => Promise.resolve(a.events.wants("leaderChanged")), "a wants what b listens to");
    const last = { type: "leaderChanged", holder: null, epoch: 1, at: 1 } as const;
    a.events.publish([last]);
    await a.close();
    await a.close();
    assertEquals(await heard.take(1), [last]);
    assertEquals([a.state().connected, b.state().connected], [false, true]);
  },
);

function jobChanged(jobId: string): LiveEvent {
  return { type: "jobChanged", jobId, at: 1 };
}

async function shown(redis: OpenRedis): Promise<Omit<WorkerInstance, "lastSeenAt">[]> {
  return (await redis.presence.list()).map(({ lastSeenAt, ...instance }) => {
    assert(lastSeenAt > 0);
    return instance;
  });
}

function instance(instanceId: string, busy: number): Omit<WorkerInstance, "lastSeenAt"> {
  return {
    workerId: "pool",
    instanceId,
    hostName: "host",
    version: "1",
    startedAt: 1,
    maxParallelJobs: 4,
    jobTypes: [{
      name: "SendEmailJob",
      description: "Sends an e-mail",
      schema: { type: "object", properties: { to: { type: "string" } } },
      routingPattern: "sendemail.*",
      maxParallelJobs: 4,
      threads: 4,
      isolation: "lane",
      executionTimeoutSeconds: null,
      maxRetries: 3,
      baseRetryDelaySeconds: 1,
      lanesBusy: busy,
      lanesFree: 4 - busy,
    }],
    running: Array.from(
      { length: busy },
      (_, at) => ({ occurrenceId: `o${at}`, scheduledFor: at, token: at + 1 }),
    ),
    isStopping: false,
  };
}
