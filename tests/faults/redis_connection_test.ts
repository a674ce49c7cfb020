/** What one connection to Redis says of itself while it ends, and where it goes when it is told of another server. */
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { systemClock } from "../../infra/clock.ts";
import { type Endpoint, parseRedisUrl } from "../../infra/redis/address.ts";
import { RedisConnection } from "../../infra/redis/connection.ts";
import type { Guide } from "../../infra/redis/guide.ts";
import { until } from "../support/program.ts";
import { RedisServer } from "../support/redis_server.ts";
import { serverTest } from "../support/servers.ts";
import { assertEquals, assertRejects } from "@std/assert";

/** Leads to one server after the other. */
class Leader implements Guide {
  readonly lastError = null;
  #endpoint: Endpoint | null = null;
  #tell: () => void = () => {};

  endpoint(): Endpoint | null {
    return this.#endpoint;
  }

  onMove(listener: () => void): void {
    this.#tell = listener;
  }

  lead({ port }: RedisServer): void {
    this.#endpoint = { host: "127.0.0.1", port };
    this.#tell();
  }
}

function connectionBy(guide: Guide): AsyncDisposable & { readonly connection: RedisConnection } {
  const address = parseRedisUrl("redis+sentinel://127.0.0.1/main");
  const connection = new RedisConnection({
    address,
    guide,
    name: "test",
    timeoutMs: 2000,
    clock: systemClock,
  });
  return { connection, [Symbol.asyncDispose]: () => connection.close() };
}

async function portOf({ client }: RedisConnection): Promise<number> {
  return Number(/^tcp_port:(\d+)/m.exec(await client.info("server"))?.[1]);
}

serverTest(
  ["redis-server"],
  "redis connection: from the moment that its server ends it, it counts as not connected and says so",
  async () => {
    await using server = await RedisServer.start();
    const leader = new Leader();
    await using way = connectionBy(leader);
    const { connection } = way;
    leader.lead(server);
    await until(() => Promise.resolve(connection.isReady), "connected");
    const ended = new Promise<void>((resolve) => connection.client.stream.once("end", resolve));
    const refused = ended.then(() =>
      assertRejects(
        () => connection.ask("Cannot ask", null, (client) => client.ping()),
        Unavailable,
        "Cannot ask: not connected",
      )
    );
    await Promise.all([server.stop(), refused]);
    assertEquals(connection.isReady, false);
  },
);

serverTest(
  ["redis-server"],
  "redis connection: nothing is sent to a server that is being left, even when that one is frozen and never says goodbye",
  async () => {
    await using frozen = await RedisServer.start();
    await using next = await RedisServer.start();
    const leader = new Leader();
    await using way = connectionBy(leader);
    const { connection } = way;
    leader.lead(frozen);
    await until(() => Promise.resolve(connection.isReady), "connected");
    frozen.pause();
    leader.lead(next);
    assertEquals(connection.isReady, false);
    await assertRejects(
      () => connection.ask("Cannot ask", null, (client) => client.ping()),
      Unavailable,
      "Cannot ask: not connected",
    );
    await until(() => Promise.resolve(connection.isReady), "connected to the next one");
    assertEquals(await portOf(connection), next.port);
  },
);

serverTest(
  ["redis-server"],
  "redis connection: led to another server before it began to connect to the first, it connects to the other",
  async () => {
    await using first = await RedisServer.start();
    await using second = await RedisServer.start();
    const leader = new Leader();
    await using way = connectionBy(leader);
    const { connection } = way;
    leader.lead(first);
    leader.lead(second);
    await until(() => Promise.resolve(connection.isReady), "connected");
    assertEquals(await portOf(connection), second.port);
  },
);
