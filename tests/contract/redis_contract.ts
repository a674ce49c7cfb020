/** Every contract of Redis, kept by its adapters, and what two instances hear of each other: on whatever Redis. */
import { systemClock } from "../../infra/clock.ts";
import type { SentinelCredentials } from "../../infra/redis/connection.ts";
import { RedisDueIndex } from "../../infra/redis/due_index.ts";
import { RedisKeys } from "../../infra/redis/keys.ts";
import { RedisLeases } from "../../infra/redis/leases.ts";
import type { RedisLink } from "../../infra/redis/link.ts";
import { RedisPresence } from "../../infra/redis/presence.ts";
import { openLink, type OpenRedis, openRedis } from "../../infra/redis/redis.ts";
import type { LiveEvent } from "../../actors/ports/events.ts";
import type { WorkerInstance } from "../../actors/ports/presence.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import { until } from "../support/program.ts";
import { KeptLog } from "../support/quiet.ts";
import { type Need, serverTest, whyMissing } from "../support/servers.ts";
import { assert, assertEquals } from "@std/assert";
import { dueIndexContract } from "./due_index_contract.ts";
import { eventsContract } from "./events_contract.ts";
import { Inbox } from "./inbox.ts";
import { leasesContract } from "./leases_contract.ts";
import { presenceContract } from "./presence_contract.ts";

const LIFETIME_MS = 3000;

/** Keys that nobody else uses, on a Redis; they are gone afterwards. */
export interface RedisSpace extends AsyncDisposable {
  readonly url: string;
  readonly sentinel?: SentinelCredentials;
  readonly prefix: string;
}

/** A way to Redis, once it is there. */
export async function openedLink(
  { url, sentinel }: Pick<RedisSpace, "url" | "sentinel">,
): Promise<{ readonly link: RedisLink; close(): Promise<void> }> {
  const { link, sentinels } = openLink({ url, sentinel, name: "test", timeoutMs: 2000, clock: systemClock });
  await new Promise<void>((resolve) => link.onChange(() => link.isWhole && resolve()));
  return {
    link,
    async close() {
      await Promise.all([link.close(), sentinels?.close()]);
    },
  };
}

export function redisContract(name: string, need: Need, spaceOf: () => RedisSpace): void {
  async function connect() {
    const space = spaceOf();
    const { link, close } = await openedLink(space);
    return {
      link,
      keys: new RedisKeys(space.prefix, "store"),
      async close() {
        await close();
        await space[Symbol.asyncDispose]();
      },
    };
  }

  /** As many instances of one cluster. */
  async function open<Names extends string>(
    names: readonly Names[],
    clock: Clock = systemClock,
  ): Promise<Record<Names, OpenRedis> & AsyncDisposable> {
    const space = spaceOf();
    const opened = await Promise.all(names.map(async (instanceId) => {
      const log = new KeptLog();
      return [
        instanceId,
        await openRedis({ ...space, storeId: "store", instanceId, clock, log, lifetimeMs: LIFETIME_MS }),
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

  if (whyMissing(need) === null) {
    for (const partitions of [1, 4]) {
      dueIndexContract(`${name} (partitions: ${partitions})`, async () => {
        const { link, keys, close } = await connect();
        return { index: new RedisDueIndex(link, keys, partitions), close };
      });
    }
    leasesContract(name, async () => {
      const { link, keys, close } = await connect();
      return {
        leases: new RedisLeases(link, keys),
        // Instead of waiting: what is left of each lease is made that much shorter.
        async pass(ms) {
          const key = keys.lease("lead");
          const left = await link.ask("pttl", key, (client) => client.pttl(key));
          if (left >= 0) await link.ask("pexpire", key, (client) => client.pexpire(key, left - ms));
        },
        close,
      };
    });
    presenceContract(name, async (clock, lifetimeMs) => {
      const { link, keys, close } = await connect();
      return {
        presence: new RedisPresence(link, keys, clock, lifetimeMs),
        pass: (ms) => clock.advance(ms),
        close,
      };
    });
    eventsContract(name, async () => {
      const cluster = await open(["a"]);
      return { events: cluster.a.events, close: async () => await cluster[Symbol.asyncDispose]() };
    });
  } else serverTest([need], `${name}: due index, leases, presence and events keep their contracts`, () => {});

  serverTest(
    [need],
    `${name} due index: a partition that was lost makes the index one that nobody built`,
    async () => {
      const { link, keys, close } = await connect();
      try {
        const index = new RedisDueIndex(link, keys, 4);
        await index.put(Array.from({ length: 100 }, (_, at) => ({ jobId: `job ${at}`, dueAt: at })));
        await index.markBuilt("epoch 7");
        assertEquals([await index.builtBy(), await index.size()], ["epoch 7", 100]);
        await link.ask("del", keys.due(2), (client) => client.del(keys.due(2), keys.dueBuiltBy(2)));
        assertEquals(await index.builtBy(), null);
        const due = await index.due(50, 10);
        assertEquals(due, due.toSorted((a, b) => a.dueAt - b.dueAt));
      } finally {
        await close();
      }
    },
  );

  serverTest(
    [need],
    `${name} leases: the loser of two instances may take what the winner released`,
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
    [need],
    `${name} presence: instances see what others offer and run, changes included`,
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

  serverTest([need], `${name} presence: who stays silent leaves nothing behind`, async () => {
    const { link, keys, close } = await connect();
    try {
      let now = 1_000_000;
      const clock = { now: () => now, mono: () => now };
      const presence = new RedisPresence(link, keys, clock, LIFETIME_MS);
      await presence.announce(instance("silent", 1));
      now += 11 * LIFETIME_MS;
      await presence.announce(instance("here", 0));
      assertEquals((await presence.list()).map((one) => one.instanceId), ["here"]);
      const [seen, about, busy] = await link.askAtOnce("look", keys.presence("seen"), (commands) => {
        commands.zrange(keys.presence("seen"), 0, "-1").hkeys(keys.presence("about")).exists(
          keys.presence("busy"),
        );
      });
      assertEquals([seen, about, busy], [["here"], ["here"], 0]);
    } finally {
      await close();
    }
  });

  serverTest([need], `${name} events: instances hear each other, in order, and themselves once`, async () => {
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
    [need],
    `${name} events: an instance is told that another begins to listen, and that it stopped`,
    async () => {
      await using cluster = await open(["a", "b"]);
      const { a, b } = cluster;
      // Until it has asked each master it takes everything for wanted.
      await until(
        () => Promise.resolve(!a.events.wants("occurrenceProgress")),
        "a knows that nobody listens",
      );
      const end = b.events.subscribe(["occurrenceProgress"], () => {});
      await until(() => Promise.resolve(a.events.wants("occurrenceProgress")), "a wants what b listens to");
      assertEquals(a.events.wants("jobChanged"), false);
      end();
      await until(() => Promise.resolve(!a.events.wants("occurrenceProgress")), "a wants it no more");
    },
  );

  serverTest(
    [need],
    `${name} events: another store's events and what is no event are not heard`,
    async () => {
      const space = spaceOf();
      const deps = {
        ...space,
        clock: systemClock,
        log: new KeptLog(),
        lifetimeMs: 3000,
      };
      const here = await openRedis({ ...deps, storeId: "here", instanceId: "a" });
      const near = await openRedis({ ...deps, storeId: "here", instanceId: "b" });
      const elsewhere = await openRedis({ ...deps, storeId: "elsewhere", instanceId: "c" });
      const { link, close } = await connect();
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
          await link.ask("publish", null, (client) => client.publish(channel, text));
        }
        near.events.publish([jobChanged("ours")]);
        assertEquals(await heard.take(1), [jobChanged("ours")]);
      } finally {
        await Promise.all([here.close(), near.close(), elsewhere.close(), close()]);
        await space[Symbol.asyncDispose]();
      }
    },
  );

  serverTest(
    [need],
    `${name}: closing twice is fine, and what was published before is still sent`,
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

  serverTest(
    [need],
    `${name} due index: its mark holds for its number of partitions only, and emptying empties all that ever were`,
    async () => {
      const { link, keys, close } = await connect();
      try {
        const many = new RedisDueIndex(link, keys, 16);
        const few = new RedisDueIndex(link, keys, 4);
        const entries = Array.from({ length: 200 }, (_, at) => ({ jobId: `job ${at}`, dueAt: at }));
        await many.put(entries);
        await many.markBuilt("epoch 7");
        assertEquals([await many.builtBy(), await few.builtBy()], ["epoch 7", null]);
        await few.clear();
        assertEquals([await many.size(), await many.builtBy()], [0, null]);
      } finally {
        await close();
      }
    },
  );

  serverTest([need], `${name} due index: reading merges the partitions, earliest first`, async () => {
    const { link, keys, close } = await connect();
    try {
      const index = new RedisDueIndex(link, keys, 16);
      const entries = Array.from(
        { length: 300 },
        (_, at) => ({ jobId: `job ${at}`, dueAt: (at * 37) % 300 }),
      );
      await index.put(entries);
      const sorted = entries.toSorted((a, b) => a.dueAt - b.dueAt);
      assertEquals(await index.due(149, 1000), sorted.slice(0, 150));
      assertEquals(await index.due(149, 20), sorted.slice(0, 20));
      assertEquals([await index.nextAt(), await index.size()], [0, 300]);
    } finally {
      await close();
    }
  });
}

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
    reportsHeldBack: 0,
    load: null,
    isStopping: false,
  };
}
