/** What the Redis adapters do when a Redis Cluster moves slots or loses masters. */
import type { LiveEvent } from "../../actors/ports/events.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { systemClock } from "../../infra/clock.ts";
import { RedisDueIndex } from "../../infra/redis/due_index.ts";
import { DEFAULT_KEY_PREFIX, openLink } from "../../infra/redis/redis.ts";
import { RedisKeys } from "../../infra/redis/keys.ts";
import type { RedisLink } from "../../infra/redis/link.ts";
import { readLoad } from "../../infra/redis/node_load.ts";
import { slotOf } from "../../infra/redis/slots.ts";
import { Inbox } from "../contract/inbox.ts";
import { until } from "../support/program.ts";
import { RedisClusterServers } from "../support/redis_cluster_servers.ts";
import { instance, isWhole, jobChanged, STORE, worker } from "../support/redis_instance.ts";
import { serverTest } from "../support/servers.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";

const KEYS = new RedisKeys(DEFAULT_KEY_PREFIX, STORE);
const PARTITIONS = 16;

async function linkTo(url: string): Promise<AsyncDisposable & { readonly link: RedisLink }> {
  const { link } = openLink({ url, name: "test", timeoutMs: 2000, clock: systemClock });
  await until(() => Promise.resolve(link.isWhole), "all masters are connected");
  return { link, [Symbol.asyncDispose]: () => link.close() };
}

serverTest(
  ["redis-server"],
  "redis cluster: the due index lies on all masters, and what each has to do is shown",
  async () => {
    await using servers = await RedisClusterServers.start();
    await using a = await instance("a", servers);
    await using way = await linkTo(servers.url);
    const jobs = 6000;
    await a.redis.dueIndex.put(Array.from({ length: jobs }, (_, at) => ({ jobId: `job ${at}`, dueAt: at })));
    await a.redis.dueIndex.markBuilt("epoch 1");
    assertEquals([await a.redis.dueIndex.size(), await a.redis.dueIndex.builtBy()], [jobs, "epoch 1"]);
    assert(await a.redis.leases.acquire("leader", "a", 60_000));
    await a.redis.presence.announce(worker("w"));

    const load = await readLoad(way.link);
    const dueTimes: number[] = [];
    assertEquals(
      load.map(({ place }) => place),
      servers.masters.map(({ port }) => `127.0.0.1:${port}`).sort(),
    );
    assertEquals(
      load.reduce((sum, { keys }) => sum + keys, 0),
      2 * PARTITIONS + 1 + 4,
      "marks, lock, presence",
    );
    for (const master of servers.masters) {
      const sizes = await Promise.all(
        Array.from({ length: PARTITIONS }, async (_, partition) => {
          const key = KEYS.due(partition);
          const isHere = await servers.masterOf(key) === master;
          return isHere ? Number(await master.cli("zcard", key)) : 0;
        }),
      );
      dueTimes.push(sizes.reduce((sum, size) => sum + size, 0));
    }
    console.log("figures: " + JSON.stringify({ dueTimes, load }));
    assert(dueTimes.every((count) => count > jobs / 10), `each has a share: ${dueTimes}`);
  },
);

serverTest(
  ["redis-server"],
  "redis cluster: while slots are on their way to another master every call finds its keys",
  async () => {
    await using servers = await RedisClusterServers.start();
    await using a = await instance("a", servers);
    await using b = await instance("b", servers);
    const entries = Array.from({ length: 2000 }, (_, at) => ({ jobId: `job ${at}`, dueAt: at }));
    await a.redis.dueIndex.put(entries);
    await a.redis.presence.announce(worker("w"));
    assert(await a.redis.leases.acquire("leader", "a", 60_000));
    const presence = async () => (await b.redis.presence.list()).map(({ instanceId }) => instanceId);

    for (
      const key of [KEYS.due(0), KEYS.due(7), KEYS.lease("leader"), KEYS.lease("new"), KEYS.presence("seen")]
    ) {
      const from = await servers.masterOf(key);
      const to = servers.masters.find((one) => one !== from);
      assert(to !== undefined);
      const migration = await servers.migrate(slotOf(key), from, to);
      // A key that is still there is served there; one that is not is asked for at its new master (ASK).
      assert(await b.redis.leases.acquire("new", "b", 60_000));
      await b.redis.leases.release("new", "b");
      assertEquals(await a.redis.leases.renew("leader", "a", 60_000), true);
      assertEquals((await b.redis.dueIndex.due(Infinity, 5000)).length, entries.length);
      // Several keys of which some have not moved yet (TRYAGAIN) wait for the end of it.
      const announced = a.redis.presence.announce(worker("w2"));
      await migration.finish();
      await announced;
      // Both still believe that it is where it was (MOVED).
      await a.redis.dueIndex.put(entries);
      assertEquals(await b.redis.dueIndex.due(Infinity, 5000), entries);
      assertEquals(await presence(), ["w", "w2"]);
      assertEquals(
        [await b.redis.leases.holder("leader"), await a.redis.leases.renew("leader", "a", 60_000)],
        [
          "a",
          true,
        ],
      );
    }
    assertEquals(a.log.complaints, []);
  },
);

serverTest(
  ["redis-server"],
  "redis cluster: a slot emptied first and moved later is asked for at its new master at once",
  async () => {
    await using servers = await RedisClusterServers.start();
    await using way = await linkTo(servers.url);
    const index = new RedisDueIndex(way.link, KEYS, 1);
    const from = await servers.masterOf(KEYS.due(0));
    const to = servers.masters.find((one) => one !== from);
    assert(to !== undefined);
    const slot = String(slotOf(KEYS.due(0)));
    const migration = await servers.migrate(Number(slot), from, to);
    await index.put([{ jobId: "j", dueAt: 5 }]);
    assertEquals([await index.nextAt(), await from.cli("cluster", "countkeysinslot", slot)], [5, "0"]);
    await index.markBuilt("epoch 1");
    await migration.finish();
    assertEquals([await index.nextAt(), await index.builtBy()], [5, "epoch 1"]);
  },
);

serverTest(
  ["redis-server"],
  "redis cluster: a master that is lost without a replica takes its keys away and no others, until it is back",
  async () => {
    await using servers = await RedisClusterServers.start();
    await using a = await instance("a", servers);
    await using b = await instance("b", servers);
    const heard = new Inbox<LiveEvent>();
    b.redis.events.subscribe(["jobChanged"], (events) => heard.push(events));
    await until(() => Promise.resolve(a.redis.events.wants("jobChanged")), "a hears that b listens");
    await a.redis.dueIndex.put([{ jobId: "j", dueAt: 5 }]);
    await a.redis.dueIndex.markBuilt("epoch 1");
    const lost = await servers.masterOf(KEYS.due(0));
    const other = names().find((name) => isOn(name, false));
    const gone = names().find((name) => isOn(name, true));
    assert(other !== undefined && gone !== undefined);

    await lost.kill();
    await until(() => Promise.resolve(a.log.complaints.length > 0), "the loss is seen");
    assertEquals(a.log.complaints, ["A master of the Redis Cluster is away"]);
    assertEquals(a.redis.state().connected, true);
    const error = await assertRejects(
      () => a.redis.dueIndex.due(9, 9),
      Unavailable,
      "Cannot read what is due: ",
    );
    assert(error.message.includes(`127.0.0.1:${lost.port}`), error.message);
    await assertRejects(() => a.redis.leases.acquire(gone, "a", 1000), Unavailable);
    assert(await a.redis.leases.acquire(other, "a", 60_000), "other keys are served");
    // b listened there, or did not: it listens to another node now.
    await until(() => {
      a.redis.events.publish([jobChanged("meanwhile")]);
      return Promise.resolve(heard.length > 0);
    }, "b hears a while a master is away");
    await heard.take(heard.length);

    await until(() => Promise.resolve(!isWhole(b)), "b has seen the loss too");
    await lost.start();
    await until(() => Promise.resolve([a, b].every(isWhole)), "both are whole again");
    await until(async () => [await a.redis.dueIndex.size()], "the lost keys are served again");
    assertEquals([await a.redis.dueIndex.builtBy(), await b.redis.dueIndex.builtBy()], [null, null]);
    assert(await a.redis.leases.acquire(gone, "a", 60_000));

    function names(): readonly string[] {
      return Array.from({ length: 40 }, (_, at) => `lease ${at}`);
    }
    function isOn(name: string, isLost: boolean): boolean {
      const third = Math.floor(slotOf(KEYS.lease(name)) / (16_384 / 3));
      return (servers.masters[third] === lost) === isLost;
    }
  },
);

serverTest(
  ["redis-server"],
  "redis cluster: a replica takes over from a master that was killed, and the due index counts as not built",
  async () => {
    await using servers = await RedisClusterServers.start({ replicas: 1 });
    await using a = await instance("a", servers);
    await a.redis.dueIndex.put([{ jobId: "j", dueAt: 5 }]);
    await a.redis.dueIndex.markBuilt("epoch 1");
    await a.redis.presence.announce(worker("w"));
    const killedAt = performance.now();
    await (await servers.masterOf(KEYS.due(0))).kill();
    const builder = await until(
      async () => [await a.redis.dueIndex.builtBy()],
      "the partition is served again",
    );
    console.log("figures: " + JSON.stringify({ servedAgainMs: Math.round(performance.now() - killedAt) }));
    assertEquals(builder, [null], "what was written last may be missing there");
    await a.redis.dueIndex.put([{ jobId: "j", dueAt: 6 }]);
    await a.redis.dueIndex.markBuilt("epoch 1");
    assertEquals([await a.redis.dueIndex.builtBy(), await a.redis.dueIndex.nextAt()], ["epoch 1", 6]);
    await a.redis.presence.announce(worker("w"));
    assertEquals((await a.redis.presence.list()).length, 1);
  },
);

serverTest(
  ["redis-server"],
  "redis cluster: whoever listens on any node is known to publishers on all, and heard no more when it ends",
  async () => {
    await using servers = await RedisClusterServers.start();
    await using stack = new AsyncDisposableStack();
    const all = [];
    for (const name of ["a", "b", "c", "d", "e", "f"]) all.push(stack.use(await instance(name, servers)));
    const ends = all.slice(1).map(({ redis }) => redis.events.subscribe(["workersChanged"], () => {}));
    const [first] = all;
    assert(first !== undefined);
    await until(
      () => Promise.resolve(first.redis.events.wants("workersChanged")),
      "a knows that others listen",
    );
    await until(async () => {
      const counts = await Promise.all(
        servers.masters.map((one) => one.cli("pubsub", "numsub", KEYS.channel("workersChanged"))),
      );
      return counts.filter((text) => !text.endsWith("\n0")).length > 1;
    }, "listeners are spread");
    for (const end of ends) end();
    await until(
      () => Promise.resolve(!first.redis.events.wants("workersChanged")),
      "a knows that nobody listens",
    );
  },
);
