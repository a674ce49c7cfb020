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
    const postgres = stack.use(await PostgresServer.start(options.postgres));
    const redis = own.includes("redis") ? stack.use(await RedisServer.start({ args: redisArgs })) : null;
    const cluster = own.includes("redis-cluster")
      ? stack.use(await RedisClusterServers.start({ replicas: redisReplicas, args: redisArgs }))
      : null;
    const sentinel = own.includes("redis-sentinel")
      ? stack.use(await RedisSentinelServers.start({ args: redisArgs }))
      : null;
    const ownUrl = (redis ?? cluster ?? sentinel)?.url;
    const prefix = ownUrl === undefined ? stack.use(temporaryPrefix()) : null;
    const nodes: RabbitmqServer[] = [];
    if (own.includes("rabbitmq")) {
      const first = stack.use(await RabbitmqServer.start({ config: rabbitmqConfig }));
      nodes.push(first);
      for (let made = 1; made < rabbitmqNodes; made++) {
        nodes.push(stack.use(await RabbitmqServer.start({ config: rabbitmqConfig, cluster: first })));
      }
    }
    const vhost = nodes.length === 0 ? stack.use(await temporaryVhost()) : null;
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
