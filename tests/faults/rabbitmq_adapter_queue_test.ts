/** The RabbitMQ queue: runs that take long, queues that are deleted or declared otherwise, and what is shared. */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { connect } from "amqplib";
import type { Delivery } from "../../actors/ports/queue.ts";
import { Inbox } from "../contract/inbox.ts";
import { message } from "../support/messages.ts";
import { until } from "../support/program.ts";
import { deleteNames, openTestRabbit } from "../support/rabbit.ts";
import { behindTheirBack, ownBrokerTest, SAMPLE, sharedBrokerTest } from "../support/rabbit_adapter.ts";

ownBrokerTest(
  "a run longer than the acknowledgement timeout neither runs twice nor costs its neighbours their channel",
  async (server) => {
    const worker = await openTestRabbit({
      prefix: "",
      url: server.url,
      role: "worker",
      ackEarlyAfterMs: 500,
    });
    const inbox = new Inbox<Delivery>();
    await worker.queue.consume(
      { ...SAMPLE, pool: "pool", prefetch: 2 },
      (deliveries) => inbox.push(deliveries),
    );
    await worker.queue.publish([message(1), message(2), message(3)]);
    const [long, other] = await inbox.take(2);
    other?.ack();
    const [third] = await inbox.take(1);
    await worker.queue.publish([message(4)]);

    // A consumer that acknowledges nothing shows that the broker's timeout has struck meanwhile.
    const careless = await connect(server.url);
    const channel = await careless.createChannel();
    let reason = "";
    channel.on("error", (error) => reason = error.message);
    await channel.assertQueue("careless");
    channel.sendToQueue("careless", Buffer.from("x"));
    await channel.consume("careless", () => {});
    await until(() => reason.includes("acknowledgement on channel"), "the timeout strikes: " + reason);
    await careless.close();

    // Both lanes were acknowledged long ago, and are busy all the same: nothing more was delivered to them.
    assertEquals(inbox.length, 0);
    assertEquals(worker.log.complaints, []);
    long?.ack();
    assertEquals((await inbox.take(1))[0]?.message.occurrenceId, message(4).occurrenceId);
    // Given back after it was acknowledged: published anew.
    third?.requeue();
    assertEquals((await inbox.take(1))[0]?.message.occurrenceId, message(3).occurrenceId);
    await worker.close();
  },
  { config: "consumer_timeout = 2000", advanced: "{channel_tick_interval, 1000}" },
);

sharedBrokerTest(
  "what one call brings beyond the bound is answered full, and that there is room again is said, though it came first",
  async (prefix) => {
    const rabbit = await openTestRabbit({ prefix, unconfirmedAtMost: 10 });
    const news = new Inbox<string>();
    const end = rabbit.queue.onDrained((jobType, why) => why === "room" && news.push([jobType]));
    const inbox = new Inbox<Delivery>();
    await rabbit.queue.consume(
      { ...SAMPLE, pool: "pool", prefetch: 100 },
      (deliveries) => inbox.push(deliveries),
    );
    const answers = await rabbit.queue.publish(Array.from({ length: 30 }, (_, index) => message(index)));
    assertEquals([answers[0], answers.at(-1)], ["accepted", "full"]);
    assertEquals(await news.take(1), ["SampleJob"]);
    end();
    await rabbit.close();
  },
);

ownBrokerTest(
  "a queue with a bound of its own answers full, and is said to have room when it may be asked again, not at once",
  async (server) => {
    const rabbit = await openTestRabbit({ prefix: "", url: server.url });
    const news = new Inbox<string>();
    const end = rabbit.queue.onDrained((jobType, why) => why === "room" && news.push([jobType]));
    const inbox = new Inbox<Delivery>();
    const subscription = await rabbit.queue.consume(
      { ...SAMPLE, pool: "pool", prefetch: 1 },
      (deliveries) => inbox.push(deliveries),
    );
    await server.ctl("set_policy", "bound", "jobs", '{"max-length":2,"overflow":"reject-publish"}');
    let published = 0;
    const answers: string[] = [];
    while (answers.at(-1) !== "full") answers.push(...await rabbit.queue.publish([message(published++)]));
    const roomIsSaid = async () => {
      assertEquals(news.length, 0);
      assertEquals(await news.take(1), ["SampleJob"]);
    };
    await roomIsSaid();
    assertEquals(await rabbit.queue.publish([message(published)]), ["full"]);
    subscription.setPrefetch(10);
    await inbox.take(published - 1);
    await roomIsSaid();
    assertEquals(await rabbit.queue.publish([message(published)]), ["accepted"]);
    end();
    await rabbit.close();
  },
);

sharedBrokerTest(
  "the queue deleted under its consumer is made again, and the API hears of it",
  async (prefix) => {
    const api = await openTestRabbit({ prefix, role: "api" });
    const worker = await openTestRabbit({ prefix, role: "worker" });
    const news = new Inbox<string>();
    const end = api.queue.onDrained((jobType, why) => news.push([`${jobType} ${why}`]));
    const inbox = new Inbox<Delivery>();
    await worker.queue.consume(
      { ...SAMPLE, pool: "pool", prefetch: 10 },
      (deliveries) => inbox.push(deliveries),
    );
    assertEquals(await news.take(1), ["SampleJob new"]);
    await behindTheirBack(async (channel) => void await channel.deleteQueue(`${prefix}jobs.sample.wildcard`));
    assertEquals(await news.take(1), ["SampleJob new"]);
    assertEquals(await api.queue.publish([message(1)]), ["accepted"]);
    assertEquals((await inbox.take(1))[0]?.message, message(1));
    end();
    await worker.close();
    await api.close();
  },
);

sharedBrokerTest(
  "a queue that is deleted and at once wanted by a publisher: what it takes from then on reaches its consumer",
  async (prefix) => {
    const knownTypes = () => [{ ...SAMPLE, pools: ["pool"] }];
    const api = await openTestRabbit({ prefix, role: "api", knownTypes });
    const worker = await openTestRabbit({ prefix, role: "worker" });
    const inbox = new Inbox<Delivery>();
    await worker.queue.consume(
      { ...SAMPLE, pool: "pool", prefetch: 20 },
      (deliveries) => inbox.push(deliveries),
    );
    const before = Array.from({ length: 10 }, (_, index) => message(index));
    await api.queue.publish(before);
    // Whoever had deliveries before is sent as many into the void, when the broker moves it to the new queue.
    for (const { ack } of await inbox.take(before.length)) ack();
    await behindTheirBack(async (channel) => void await channel.deleteQueue(`${prefix}jobs.sample.wildcard`));

    const after = Array.from({ length: 10 }, (_, index) => message(100 + index));
    assertEquals(await api.queue.publish(after), after.map(() => "accepted"));
    const brought = await inbox.take(after.length);
    assertEquals(
      brought.map(({ message }) => message.occurrenceId).sort(),
      after.map(({ occurrenceId }) => occurrenceId).sort(),
    );
    await worker.close();
    await api.close();
  },
);

sharedBrokerTest(
  "a queue with other arguments is named with its remedy, and its neighbours work on",
  async (prefix) => {
    await behindTheirBack(async (channel) =>
      void await channel.assertQueue(`${prefix}jobs.sample.wildcard`, { durable: true })
    );
    const worker = await openTestRabbit({ prefix, role: "worker" });
    const inbox = new Inbox<Delivery>();
    const options = { ...SAMPLE, pool: "pool", prefetch: 1 };
    const refused = await worker.queue.consume(options, () => {}).catch((error: Error) => error.message);
    assert(
      String(refused).includes(`rabbitmqctl delete_queue ${prefix}jobs.sample.wildcard`),
      String(refused),
    );
    const other = { jobType: "OtherJob", routingPattern: "other.*" };
    await worker.queue.consume(
      { ...other, pool: "pool", prefetch: 1 },
      (deliveries) => inbox.push(deliveries),
    );
    assertEquals(await worker.queue.publish([{ ...message(1), jobType: "OtherJob" }]), ["accepted"]);
    await inbox.take(1);
    await worker.close();
    await deleteNames(prefix, [null, "pool"].map((pool) => ({ routingPattern: "other.*", pool })));
  },
);

sharedBrokerTest(
  "a message that is given back 300 times is not parked by the broker's limit",
  async (prefix) => {
    const worker = await openTestRabbit({ prefix, role: "worker" });
    const done = Promise.withResolvers<void>();
    let times = 0;
    await worker.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 5 }, (deliveries) => {
      for (const delivery of deliveries) {
        times += 1;
        if (times < 300) delivery.requeue();
        else {
          delivery.ack();
          done.resolve();
        }
      }
    });
    await worker.queue.publish([message(1)]);
    await done.promise;
    assertEquals(await worker.parked(), 0);
    await worker.close();
  },
);

sharedBrokerTest("two types that share a pattern each get their own messages", async (prefix) => {
  const pattern = { routingPattern: "sample.*", pool: "pool", prefetch: 5 };
  const patternOf = () => "sample.*";
  const one = await openTestRabbit({ prefix, patternOf, instanceId: "worker-1" });
  const two = await openTestRabbit({ prefix, patternOf, instanceId: "worker-2", role: "worker" });
  const first = new Inbox<Delivery>();
  const second = new Inbox<Delivery>();
  await one.queue.consume({ ...pattern, jobType: "FirstJob" }, (deliveries) => first.push(deliveries));
  await two.queue.consume({ ...pattern, jobType: "SecondJob" }, (deliveries) => second.push(deliveries));
  const sent = Array.from({ length: 10 }, (_, index) => ({
    ...message(index),
    jobType: index % 2 === 0 ? "FirstJob" : "SecondJob",
  }));
  await one.queue.publish(sent);
  const types = async (inbox: Inbox<Delivery>) => {
    const deliveries = await inbox.take(5);
    return new Set(deliveries.map((delivery) => delivery.message.jobType));
  };
  assertEquals(await Promise.all([types(first), types(second)]), [
    new Set(["FirstJob"]),
    new Set(["SecondJob"]),
  ]);
  await one.close();
  await two.close();
});

sharedBrokerTest(
  "pinned messages take lanes too, and what no lane takes goes to another worker",
  async (prefix) => {
    const busy = await openTestRabbit({ prefix, instanceId: "worker-1" });
    const idle = await openTestRabbit({ prefix, instanceId: "worker-2", role: "worker" });
    const first = new Inbox<Delivery>();
    const second = new Inbox<Delivery>();
    const options = { ...SAMPLE, prefetch: 2 };
    await busy.queue.consume({ ...options, pool: "pool" }, (deliveries) => first.push(deliveries));
    await busy.queue.publish([1, 2].map((index) => ({ ...message(index), pool: "pool" })));
    const pinned = await first.take(2);
    await busy.queue.publish([message(3), message(4)]);
    await idle.queue.consume({ ...options, pool: "other" }, (deliveries) => second.push(deliveries));
    const elsewhere = await second.take(2);
    assertEquals(
      elsewhere.map((one) => one.message.occurrenceId).sort(),
      [message(3), message(4)].map((one) => one.occurrenceId),
    );
    assertEquals(first.length, 0);
    for (const delivery of [...pinned, ...elsewhere]) delivery.ack();
    await busy.queue.publish([message(5), message(6)]);
    await until(() => first.length + second.length === 2, "both are delivered");
    await busy.close();
    await idle.close();
    await deleteNames(prefix, [{ ...SAMPLE, pool: "other" }]);
  },
);
