/** What the API hears of queues over RabbitMQ: news of each new one once, also after its ear was cut off. */
import { assertEquals } from "@std/assert";
import { delay } from "@std/async";
import type { Delivery } from "../../actors/ports/queue.ts";
import { Inbox } from "../contract/inbox.ts";
import { message } from "../support/messages.ts";
import { until } from "../support/program.ts";
import { deleteNames, openTestRabbit } from "../support/rabbit.ts";
import { behindTheirBack, SAMPLE, sharedBrokerTest } from "../support/rabbit_adapter.ts";

sharedBrokerTest(
  "an ear whose exchange was deleted hears again, and finds the queue that was lost meanwhile",
  async (prefix) => {
    const knownTypes = () => [{ ...SAMPLE, pools: ["pool"] }];
    const api = await openTestRabbit({ prefix, role: "api", knownTypes, testEarEachMs: 200 });
    const other = await openTestRabbit({ prefix, role: "api", testEarEachMs: 200 });
    const worker = await openTestRabbit({ prefix, role: "worker" });
    const news = new Inbox<string>();
    const end = api.queue.onDrained((jobType, why) => news.push([`${jobType} ${why}`]));
    await worker.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 10 }, () => {});
    assertEquals(await news.take(1), ["SampleJob new"]);

    await behindTheirBack(async (channel) => {
      await channel.deleteExchange(`${prefix}milvaion.control`);
      await channel.deleteQueue(`${prefix}jobs.sample.wildcard`);
    });
    assertEquals(await news.take(1), ["SampleJob new"]);
    for (const { log } of [api, other]) {
      await until(
        () => log.lines.some(({ message }) => message === "Can listen to workers again"),
        "it listens",
      );
    }
    // It hears what is said, not only what it finds by looking.
    const late = { jobType: "LateJob", routingPattern: "late.*" };
    await worker.queue.consume({ ...late, pool: "pool", prefetch: 1 }, () => {});
    while ((await news.take(1))[0] !== "LateJob new") { /* what it finds by looking, once more */ }
    end();
    for (const one of [worker, other, api]) await one.close();
    await deleteNames(prefix, [null, "pool"].map((pool) => ({ ...late, pool })));
  },
);

sharedBrokerTest(
  "a queue that holds something when an ear hears again is looked at until it is empty",
  async (prefix) => {
    const knownTypes = () => [{ ...SAMPLE, pools: ["pool"] }];
    const api = await openTestRabbit({ prefix, role: "api", knownTypes, testEarEachMs: 100 });
    const worker = await openTestRabbit({ prefix, role: "worker" });
    const news = new Inbox<string>();
    const end = api.queue.onDrained((jobType, why) => news.push([`${jobType} ${why}`]));
    const inbox = new Inbox<Delivery>();
    await worker.queue.consume(
      { ...SAMPLE, pool: "pool", prefetch: 1 },
      (deliveries) => inbox.push(deliveries),
    );
    assertEquals(await news.take(1), ["SampleJob new"]);
    await api.queue.publish([message(1), message(2)]);
    const [first] = await inbox.take(1);
    await behindTheirBack(async (channel) => void await channel.deleteExchange(`${prefix}milvaion.control`));
    await until(
      () => api.log.lines.some((one) => one.message === "Can listen to workers again"),
      "it listens",
    );
    await delay(300); // some three looks
    assertEquals(news.length, 0);
    first?.ack();
    assertEquals(await news.take(1), ["SampleJob new"]);
    end();
    await worker.close();
    await api.close();
  },
);

sharedBrokerTest("an ear that hears itself stays as it is", async (prefix) => {
  const api = await openTestRabbit({ prefix, role: "api", testEarEachMs: 20 });
  const worker = await openTestRabbit({ prefix, role: "worker" });
  const news = new Inbox<string>();
  const end = api.queue.onDrained((jobType) => news.push([jobType]));
  await delay(500); // some twenty tests
  await worker.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 10 }, () => {});
  assertEquals(await news.take(1), ["SampleJob"]);
  assertEquals(api.log.complaints, []);
  end();
  await worker.close();
  await api.close();
});

sharedBrokerTest(
  "a publisher that declares a lost queue before its worker does says that it is new",
  async (prefix) => {
    const knownTypes = () => [{ ...SAMPLE, pools: ["pool"] }];
    const leader = await openTestRabbit({ prefix, role: "api" });
    const publisher = await openTestRabbit({ prefix, role: "api", knownTypes });
    const news = new Inbox<string>();
    const end = leader.queue.onDrained((jobType, why) => news.push([`${jobType} ${why}`]));
    assertEquals(await publisher.queue.publish([message(1)]), ["accepted"]);
    assertEquals(await news.take(1), ["SampleJob new"]);
    end();
    await publisher.close();
    await leader.close();
  },
);

sharedBrokerTest("a second worker that joins a queue in use is no news", async (prefix) => {
  const api = await openTestRabbit({ prefix, role: "api" });
  const news = new Inbox<string>();
  const end = api.queue.onDrained((jobType) => news.push([jobType]));
  const workers = [];
  for (const instanceId of ["worker-1", "worker-2"]) {
    const worker = await openTestRabbit({ prefix, role: "worker", instanceId });
    await worker.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 10 }, () => {});
    workers.push(worker);
  }
  await news.take(1);
  // What comes after shows that nothing came between.
  await workers[0]?.queue.consume(
    { jobType: "LastJob", routingPattern: "last.*", pool: "pool", prefetch: 1 },
    () => {},
  );
  assertEquals(await news.take(1), ["LastJob"]);
  end();
  for (const worker of workers) await worker.close();
  await api.close();
  await deleteNames(prefix, [null, "pool"].map((pool) => ({ routingPattern: "last.*", pool })));
});
