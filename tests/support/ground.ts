/**
 * What a node of a flow test stands on: the embedded store in a folder, or PostgreSQL, Redis and RabbitMQ. The same
 * flows run on both. A ground outlives its nodes: another one may be started on it after a crash.
 */
import type { Clock, Random } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import { type Adapters, openAdapters } from "../../infra/adapters.ts";
import { LEASE_NAME } from "../../actors/leader.ts";
import { openPostgresStore } from "../../infra/postgres/store.ts";
import { openRabbit } from "../../infra/rabbitmq/rabbit.ts";
import { openRedis } from "../../infra/redis/redis.ts";
import { Activity } from "./activity.ts";
import { deleteNames, randomPrefix } from "./rabbit.ts";
import { SERVERS, temporaryDatabase, temporaryPrefix } from "./servers.ts";

export interface World {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly instanceId: string;
}

export interface Standing {
  readonly adapters: Adapters;
  /** Until nothing that was asked of the adapters is under way. */
  settle(): Promise<void>;
  /** How often something was asked of the adapters, or came from them. */
  turns(): number;
  /** Cuts the node off from everything, as its death does. */
  close(): Promise<void>;
}

export interface Ground extends AsyncDisposable {
  readonly name: string;
  /** Milliseconds after which the attempts of a node that died are noticed, with a lease of 15 s. */
  readonly lossNoticedMs: number;
  open(world: World): Promise<Standing>;
}

const HEARTBEAT_MS = 5000;
/** The job types of flow tests whose queues are looked at. */
const TYPES = ["SampleJob", "OtherJob"];
/** All of them: their queues are deleted at the end. */
const ALL_TYPES = [...TYPES, "ThirdJob", "FourthJob", "FifthJob"];
/** The pools to which flow tests pin jobs; null: not pinned. */
const POOLS = [null, "local", "mail"];
const patternOf = (jobType: string) => `${jobType.toLowerCase()}.*`;

export async function embeddedGround(): Promise<Ground> {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-flow-" });
  return {
    name: "embedded",
    // The lock of the folder proves that the other process is gone.
    lossNoticedMs: 0,
    async open(world) {
      const adapters = await openAdapters({ dataDir: folder, heartbeatMs: HEARTBEAT_MS, ...world });
      const { jobs, lines } = adapters.store;
      const activity = new Activity();
      let writtenAfter = -1;
      return {
        adapters: activity.watch(adapters),
        // An empty write to each file comes back when those before it are on the disk; there are none when nothing
        // was asked since the last.
        settle: async () => {
          if (activity.turns === writtenAfter && !activity.isUnderWay) return;
          writtenAfter = activity.turns;
          await Promise.all([jobs.resume("", 0), lines.append([])]).catch(() => {}); // a closed store
        },
        turns: () => activity.turns,
        close: () => adapters.store.close(),
      };
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/**
 * On the shared servers, apart from others by a database and by prefixes: a vhost of its own would take seconds more.
 * `brokerThrough` gives the address under which the broker is reached, e.g. through a proxy.
 */
export async function clusterGround(brokerThrough: (url: string) => string = (url) => url): Promise<Ground> {
  const database = await temporaryDatabase();
  const redis = temporaryPrefix();
  const brokerPrefix = randomPrefix();
  return {
    name: "cluster",
    lossNoticedMs: 20_000,
    async open(world) {
      const { store, attempts } = await openPostgresStore({
        url: database.url,
        maxConnections: 5,
        prepare: true,
        migrate: true,
        ...world,
      });
      const { storeId } = store;
      const cache = await openRedis({
        url: redis.url,
        prefix: redis.prefix,
        storeId,
        lifetimeMs: 3 * HEARTBEAT_MS,
        ...world,
      });
      const broker = await openRabbit({
        url: brokerThrough(SERVERS.amqp),
        prefix: brokerPrefix,
        role: "both",
        storeId,
        patternOf,
        knownTypes: () =>
          TYPES.map((jobType) => ({ jobType, routingPattern: patternOf(jobType), pools: [] })),
        ...world,
      });
      await broker.whenUp();
      const activity = new Activity();
      return {
        adapters: activity.watch({
          store,
          attempts,
          queue: broker.queue,
          reports: broker.reports,
          dueIndex: cache.dueIndex,
          leases: cache.leases,
          presence: cache.presence,
          events: cache.events,
          description: "a cluster",
          soleProcess: false,
        }),
        settle: () => activity.quiet(),
        turns: () => activity.turns,
        close: async () => {
          // The lock of a dead leader lapses by Redis' own time, which no manual clock moves on.
          await cache.leases.release(LEASE_NAME, world.instanceId);
          await Promise.all([broker.close(), cache.close()]);
          await store.close();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await deleteNames(
        brokerPrefix,
        ALL_TYPES.flatMap((jobType) => POOLS.map((pool) => ({ routingPattern: patternOf(jobType), pool }))),
      );
      await redis[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}
