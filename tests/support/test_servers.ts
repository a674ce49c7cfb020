/**
 * The servers of one fault test: a PostgreSQL of its own, which keeps the order of commits, and a Redis and a
 * RabbitMQ that are shared, apart from others by prefix and vhost, or its own where the test breaks them.
 */
import type { ClusterServers } from "./cluster_process.ts";
import { type PostgresOptions, PostgresServer } from "./postgres_server.ts";
import { RabbitmqServer } from "./rabbitmq_server.ts";
import { RedisClusterServers } from "./redis_cluster_servers.ts";
import { RedisSentinelServers } from "./redis_sentinel_servers.ts";
import { RedisServer } from "./redis_server.ts";
import { type Need, temporaryPrefix, temporaryVhost } from "./servers.ts";

/** `redis-cluster`: three masters; `redis-sentinel`: a master, a replica and three sentinels. */
type Own = "redis" | "redis-cluster" | "redis-sentinel" | "rabbitmq";

export interface TestServersOptions {
  /** Servers that the test stops, kills, freezes or configures. */
  readonly own?: readonly Own[];
  readonly postgres?: PostgresOptions;
  /** Arguments of an own redis-server. */
  readonly redisArgs?: readonly string[];
  /** Of each master of a cluster. */
  readonly redisReplicas?: number;
  /** Lines of an own broker's rabbitmq.conf. */
  readonly rabbitmqConfig?: string;
  /** Nodes of an own broker; 1 when absent. */
  readonly rabbitmqNodes?: number;
}

/** What `serverTest` has to know for these servers. */
export function needsOf(own: TestServersOptions["own"] = []): readonly Need[] {
  return [
    "initdb",
    own.some((one) => one.startsWith("redis")) ? "redis-server" : "redis",
    ...(own.includes("rabbitmq") ? ["rabbitmq-server"] as const : ["rabbitmq"] as const),
    "rabbitmqctl",
  ];
}

export class TestServers implements AsyncDisposable {
  private constructor(
    private readonly stack: AsyncDisposableStack,
    /** For `Cluster.start`. */
    readonly forCluster: { readonly servers: ClusterServers; readonly redisPrefix: string },
    readonly postgres: PostgresServer,
    private readonly ownRedis: RedisServer | null,
    /** The nodes of the own RabbitMQ. */
    readonly rabbitmqNodes: readonly RabbitmqServer[],
    private readonly ownCluster: RedisClusterServers | null,
    private readonly ownSentinel: RedisSentinelServers | null,
  ) {}

  static async start(options: TestServersOptions = {}): Promise<TestServers> {
    const { own = [], redisArgs = [], redisReplicas = 0, rabbitmqConfig = "", rabbitmqNodes = 1 } = options;
    await using stack = new AsyncDisposableStack();
    const use = async <T extends AsyncDisposable>(starting: Promise<T>) => stack.use(await starting);
    const wants = (server: Own) => own.includes(server);
    const startNodes = async () => {
      const first = await use(RabbitmqServer.start({ config: rabbitmqConfig }));
      const others = Array.from(
        { length: rabbitmqNodes - 1 },
        () => use(RabbitmqServer.start({ config: rabbitmqConfig, cluster: first })),
      );
      await Promise.allSettled(others);
      return [first, ...await Promise.all(others)];
    };
    // At once: each waits for a process of its own most of the time.
    const starting = [
      use(PostgresServer.start(options.postgres)),
      wants("redis") ? use(RedisServer.start({ args: redisArgs })) : null,
      wants("redis-cluster")
        ? use(RedisClusterServers.start({ replicas: redisReplicas, args: redisArgs }))
        : null,
      wants("redis-sentinel") ? use(RedisSentinelServers.start({ args: redisArgs })) : null,
      wants("rabbitmq") ? startNodes() : [],
      wants("rabbitmq") ? null : use(temporaryVhost()),
    ] as const;
    // Where one fails, the others are ended with the stack, which must have them by then.
    await Promise.allSettled(starting);
    const [postgres, redis, cluster, sentinel, nodes, vhost] = await Promise.all(starting);
    const ownUrl = (redis ?? cluster ?? sentinel)?.url;
    const prefix = ownUrl === undefined ? stack.use(temporaryPrefix()) : null;
    const servers = {
      postgres: await postgres.createDatabase("cluster"),
      redis: ownUrl ?? prefix?.url ?? "",
      amqp: vhost?.url ?? nodes.map(({ url }) => url).join(","),
    };
    return new TestServers(
      stack.move(),
      { servers, redisPrefix: prefix?.prefix ?? "Milvaion:Test:" },
      postgres,
      redis,
      nodes,
      cluster,
      sentinel,
    );
  }

  /** The own Redis. */
  get redis(): RedisServer {
    if (this.ownRedis === null) throw new Error('This test shares its Redis: ask for own: ["redis"]');
    return this.ownRedis;
  }

  /** The own Redis Cluster. */
  get redisCluster(): RedisClusterServers {
    if (this.ownCluster === null) throw new Error('Ask for own: ["redis-cluster"]');
    return this.ownCluster;
  }

  /** The own Redis that Sentinel keeps. */
  get redisSentinel(): RedisSentinelServers {
    if (this.ownSentinel === null) throw new Error('Ask for own: ["redis-sentinel"]');
    return this.ownSentinel;
  }

  /** The own RabbitMQ; of several nodes the first. */
  get rabbitmq(): RabbitmqServer {
    const [first] = this.rabbitmqNodes;
    if (first === undefined) throw new Error('This test shares its RabbitMQ: ask for own: ["rabbitmq"]');
    return first;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}
