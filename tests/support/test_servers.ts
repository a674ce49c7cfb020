/**
 * The servers of one fault test: a PostgreSQL of its own, which keeps the order of commits, and a Redis and a
 * RabbitMQ that are shared, apart from others by prefix and vhost, or its own where the test breaks them.
 */
import type { ClusterServers } from "./cluster_process.ts";
import { type PostgresOptions, PostgresServer } from "./postgres_server.ts";
import { RabbitmqServer } from "./rabbitmq_server.ts";
import { RedisServer } from "./redis_server.ts";
import { type Need, temporaryPrefix, temporaryVhost } from "./servers.ts";

export interface TestServersOptions {
  /** Servers that the test stops, kills, freezes or configures. */
  readonly own?: readonly ("redis" | "rabbitmq")[];
  readonly postgres?: PostgresOptions;
  /** Arguments of an own redis-server. */
  readonly redisArgs?: readonly string[];
  /** Lines of an own broker's rabbitmq.conf. */
  readonly rabbitmqConfig?: string;
}

/** What `serverTest` has to know for these servers. */
export function needsOf(own: TestServersOptions["own"] = []): readonly Need[] {
  return [
    "initdb",
    ...(own.includes("redis") ? ["redis-server"] as const : ["redis"] as const),
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
    private readonly ownRabbitmq: RabbitmqServer | null,
  ) {}

  static async start(options: TestServersOptions = {}): Promise<TestServers> {
    const { own = [], redisArgs = [], rabbitmqConfig = "" } = options;
    await using stack = new AsyncDisposableStack();
    const postgres = stack.use(await PostgresServer.start(options.postgres));
    const redis = own.includes("redis") ? stack.use(await RedisServer.start({ args: redisArgs })) : null;
    const prefix = redis === null ? stack.use(temporaryPrefix()) : null;
    const rabbitmq = own.includes("rabbitmq")
      ? stack.use(await RabbitmqServer.start({ config: rabbitmqConfig }))
      : null;
    const vhost = rabbitmq === null ? stack.use(await temporaryVhost()) : null;
    const servers = {
      postgres: await postgres.createDatabase("cluster"),
      redis: redis?.url ?? prefix?.url ?? "",
      amqp: rabbitmq?.url ?? vhost?.url ?? "",
    };
    return new TestServers(
      stack.move(),
      { servers, redisPrefix: prefix?.prefix ?? "Milvaion:Test:" },
      postgres,
      redis,
      rabbitmq,
    );
  }

  /** The own Redis. */
  get redis(): RedisServer {
    if (this.ownRedis === null) throw new Error('This test shares its Redis: ask for own: ["redis"]');
    return this.ownRedis;
  }

  /** The own RabbitMQ. */
  get rabbitmq(): RabbitmqServer {
    if (this.ownRabbitmq === null) {
      throw new Error('This test shares its RabbitMQ: ask for own: ["rabbitmq"]');
    }
    return this.ownRabbitmq;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}
