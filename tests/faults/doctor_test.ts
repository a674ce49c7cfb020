/**
 * What the doctor says of servers together: the workers that use them, clocks that differ, and servers that are not
 * there, say nothing or refuse. What it says of each server alone: `doctor_postgres_test.ts` and its neighbours.
 */
import { assert, assertEquals } from "@std/assert";
import { connect } from "amqplib";
import { systemClock } from "../../infra/clock.ts";
import { openRedis } from "../../infra/redis/redis.ts";
import { worker } from "../support/redis_instance.ts";
import { asOwner, checkOf, examine, migrate, postgresAt, rabbitmqAt } from "../support/doctor.ts";
import { freePort } from "../support/free_port.ts";
import { KeptLog } from "../support/quiet.ts";
import { RedisServer } from "../support/redis_server.ts";
import {
  SERVERS,
  serverTest,
  temporaryDatabase,
  temporaryPrefix,
  temporaryVhost,
} from "../support/servers.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";

serverTest(
  ["postgres", "redis", "rabbitmq", "rabbitmqctl"],
  "doctor: the workers that announce themselves are counted, and their queues are looked at",
  async () => {
    await using database = await temporaryDatabase();
    await using space = temporaryPrefix();
    await using vhost = await temporaryVhost();
    const postgres = postgresAt(database.url);
    await migrate(database.url);
    const storeId = "0199aaaa-0000-7000-8000-000000000001";
    await asOwner(database.url, `INSERT INTO facts (name, value) VALUES ('storeId', '${storeId}')`);
    const redis = await openRedis({
      ...space,
      storeId,
      instanceId: "w",
      clock: systemClock,
      log: new KeptLog(),
      lifetimeMs: 60_000,
    });
    await redis.presence.announce(worker("w"));
    await redis.close();
    const model = await connect(vhost.url);
    const channel = await model.createChannel();
    await channel.assertQueue("jobs.sample.wildcard", { durable: true });
    await model.close();

    const results = await examine({
      postgres,
      redis: { url: space.url, keyPrefix: space.prefix },
      rabbitmq: rabbitmqAt(vhost.url),
    });
    assert(
      checkOf(results, "PostgreSQL", "connections").message.includes(
        "; 1 worker × 2 + 0 API instances × 10 = 2, of ",
      ),
    );
    const { state, message } = checkOf(results, "RabbitMQ", "queues");
    assertEquals(state, "failed");
    assert(message.startsWith("jobs.sample.wildcard: declared otherwise"), message);
  },
);

serverTest(
  ["postgres", "redis"],
  "doctor: a machine whose clock is an hour wrong fails by the database's",
  async () => {
    await using database = await temporaryDatabase();
    const clock = { ...systemClock, now: () => systemClock.now() + 3_600_000 };
    await using space = temporaryPrefix();
    const results = await examine({
      clock,
      postgres: postgresAt(database.url),
      redis: { url: space.url, keyPrefix: space.prefix },
    });
    const { state, message } = checkOf(results, "PostgreSQL", "clock");
    assertEquals(state, "failed");
    assert(/^The database's clock is 3\d{3}\.\d\d s behind this machine's\.$/.test(message), message);
    assertEquals(checkOf(results, "Redis", "clock").state, "warning");
  },
);

serverTest(
  [],
  "doctor: servers that are not there fail with host and port, and without credentials",
  async () => {
    const [pg, redis, rabbit] = [freePort(), freePort(), freePort()];
    const results = await examine({
      postgres: postgresAt(`postgres://user:secret-word@127.0.0.1:${pg}/milvaion`),
      redis: { url: `redis://:secret-word@127.0.0.1:${redis}`, keyPrefix: "p" },
      rabbitmq: rabbitmqAt(`amqp://user:secret-word@127.0.0.1:${rabbit}`),
    });
    assertEquals(results.map(({ subject, check, state }) => [subject, check, state]), [
      ["PostgreSQL", "reachable", "failed"],
      ["Redis", "reachable", "failed"],
      ["RabbitMQ", "reachable", "failed"],
    ]);
    [pg, redis, rabbit].forEach((port, index) => {
      assert(
        results[index]?.message.startsWith(`127.0.0.1:${port} cannot be reached`),
        results[index]?.message,
      );
    });
    assert(!JSON.stringify(results).includes("secret-word"));
  },
);

serverTest(
  ["redis-server"],
  "doctor: servers that take connections and say nothing are given up",
  async () => {
    await using server = await RedisServer.start();
    await using silent = TcpProxy.start(server.port);
    silent.blackhole();
    const address = `127.0.0.1:${silent.port}`;
    const results = await examine({
      postgres: postgresAt(`postgres://user@${address}/milvaion`),
      redis: { url: `redis://${address}`, keyPrefix: "p" },
      rabbitmq: rabbitmqAt(`amqp://${address}`),
    });
    assertEquals(results.map(({ check, state }) => [check, state]), Array(3).fill(["reachable", "failed"]));
  },
);

serverTest(
  ["redis-server", "rabbitmq"],
  "doctor: wrong passwords are told from servers that are away",
  async () => {
    await using server = await RedisServer.start({ args: ["--requirepass", "right-word"] });
    const rabbit = new URL(SERVERS.amqp);
    rabbit.password = "wrong-word";
    const results = await examine({
      redis: { url: server.url.replace("//", "//:wrong-word@"), keyPrefix: "p" },
      rabbitmq: rabbitmqAt(rabbit.href),
    });
    for (const { message, state } of results) {
      assertEquals(state, "failed");
      assert(message.includes("refuses the user"), message);
      assert(!/wrong-word|right-word/.test(message));
    }
    const vhost = new URL(SERVERS.amqp);
    vhost.pathname = "/not-there";
    const [other] = await examine({ rabbitmq: rabbitmqAt(vhost.href) });
    assert(other?.nextStep?.startsWith("rabbitmqctl add_vhost 'not-there'"), JSON.stringify(other));
  },
);
