/** The RabbitMQ adapters while their broker is stopped, killed, frozen, short of memory, and fed with nonsense. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { Buffer } from "node:buffer";
import { type AddressInfo, createServer, type Server } from "node:net";
import { type Channel, connect } from "amqplib";
import type { JobMessage, Report } from "../../actors/domain/message.ts";
import type { Delivery } from "../../actors/ports/queue.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { Link } from "../../infra/rabbitmq/link.ts";
import { openRabbit } from "../../infra/rabbitmq/rabbit.ts";
import { Inbox } from "../contract/inbox.ts";
import { AMQP_URL, deleteNames, openTestRabbit, randomPrefix, STORE_ID } from "../support/rabbit.ts";
import { KeptLog } from "../support/quiet.ts";
import { RabbitmqServer } from "../support/rabbitmq_server.ts";
import { serverTest } from "../support/servers.ts";

const SAMPLE = { jobType: "SampleJob", routingPattern: "sample.*" };
/** Longer than this means never. */
const NEVER_MS = 60_000;
/** As long as the first call waits for a store that does not answer, about. */
const NO_ANSWER_MS = 4500;

/** A promise that needs the machine's broker only. */
function shared(sentence: string, body: (prefix: string) => Promise<void>): void {
  serverTest(["rabbitmq"], `rabbitmq: ${sentence}`, async () => {
    const prefix = randomPrefix();
    try {
      await body(prefix);
    } finally {
      await deleteNames(prefix, [null, "pool"].map((pool) => ({ ...SAMPLE, pool })));
    }
  });
}

/** A promise that needs a broker of its own. */
function own(
  sentence: string,
  body: (server: RabbitmqServer) => Promise<void>,
  options: Parameters<typeof RabbitmqServer.start>[0] = {},
): void {
  serverTest(["rabbitmq-server", "rabbitmqctl"], `rabbitmq: ${sentence}`, async () => {
    await using server = await RabbitmqServer.start(options);
    await body(server);
  });
}

for (const how of ["stopped", "killed"] as const) {
  own(
    `${how} and started under load, nothing that was accepted is lost and all goes on by itself`,
    async (server) => {
      const load = await Load.start(server);
      // RabbitMQ 3.10 may never serve a quorum queue again when it is killed within a second of its declaration.
      await until(() => load.accepted.size > 4000, "the first messages are accepted");
      await (how === "stopped" ? server.stop() : server.kill());
      await until(() => load.rejections > 0, "publishing is rejected while the broker is away");
      const before = load.accepted.size;
      await server.start();
      const back = performance.now();
      await until(() => load.accepted.size > before + 500, "publishing goes on");
      console.log(`publishing goes on ${Math.round(performance.now() - back)} ms after the start`);
      await load.stopPublishing();
      await until(() => load.isAllDelivered, "each accepted message is delivered");
      await until(() => load.isAllReported, "each safe report is received");
      assert(
        load.news.has("LostJob new"),
        "a known type whose queue is empty after the outage is published anew",
      );
      console.log(
        `${load.accepted.size} accepted, 0 lost, ${load.duplicates} delivered twice; ` +
          `${load.safe.size} reports safe, 0 lost`,
      );
      // One line for each change of state of each part, not for each try.
      assert(load.worker.log.complaints.length <= 30, load.worker.log.complaints.join("\n"));
      await load.close();
    },
  );
}

own("frozen, every call ends by its deadline, and all goes on when it wakes", async (server) => {
  const load = await Load.start(server);
  await until(() => load.accepted.size > 100, "the first messages are accepted");
  server.pause();
  const frozen = performance.now();
  await until(() => load.rejections > 0, "publishing is rejected");
  assert(performance.now() - frozen < 8000, "later than its deadline");
  await until(() => !load.api.state().connected, "the silence is noticed");
  console.log(`a frozen broker is noticed after ${Math.round(performance.now() - frozen)} ms`);
  server.resume();
  const before = load.accepted.size;
  await until(() => load.accepted.size > before + 100, "publishing goes on");
  await load.stopPublishing();
  await until(() => load.isAllDelivered, "each accepted message is delivered");
  await load.close();
});

own("short of memory, it answers full at once and says when there is room", async (server) => {
  const rabbit = await openTestRabbit({ prefix: "", url: server.url });
  const inbox = new Inbox<Delivery>();
  const room = new Inbox<string>();
  await rabbit.queue.consume(
    { ...SAMPLE, pool: "pool", prefetch: 100 },
    (deliveries) => inbox.push(deliveries),
  );
  const end = rabbit.queue.onDrained((jobType, why) => why === "room" && room.push([jobType]));
  await server.ctl("set_vm_memory_high_watermark", "0.00001");
  // The broker says so only to a connection that publishes.
  const first = await rabbit.queue.publish([message(1)]);
  await until(() => rabbit.state().blocked !== null, "the connection is blocked");
  assertEquals(await rabbit.queue.publish([message(2)]), ["full"]);
  await server.ctl("set_vm_memory_high_watermark", "0.6");
  await room.take(1);
  assertEquals(await rabbit.queue.publish([message(2)]), ["accepted"]);
  const ids = (await inbox.take(2)).map((delivery) => delivery.message.occurrenceId);
  assertEquals(ids, [message(1).occurrenceId, message(2).occurrenceId], `the first was answered ${first}`);
  end();
  await rabbit.close();
});

own(
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

shared("the queue deleted under its consumer is made again, and the API hears of it", async (prefix) => {
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
  await raw(async (channel) => void await channel.deleteQueue(`${prefix}jobs.sample.wildcard`));
  assertEquals(await news.take(1), ["SampleJob new"]);
  assertEquals(await api.queue.publish([message(1)]), ["accepted"]);
  assertEquals((await inbox.take(1))[0]?.message, message(1));
  end();
  await worker.close();
  await api.close();
});

shared(
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

    await raw(async (channel) => {
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

shared(
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
    await raw(async (channel) => void await channel.deleteExchange(`${prefix}milvaion.control`));
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

shared("an ear that hears itself stays as it is", async (prefix) => {
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

shared(
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

for (
  const [what, destroy] of [
    ["queue", (channel, prefix) => channel.deleteQueue(`${prefix}milvaion.parked`)],
    ["exchange", (channel, prefix) => channel.deleteExchange(`${prefix}milvaion.dlx`)],
  ] as const satisfies [string, (channel: Channel, prefix: string) => Promise<unknown>][]
) {
  shared(
    `the ${what} for parked messages deleted: what cannot be read is parked once it is back`,
    async (prefix) => {
      const rabbit = await openTestRabbit({ prefix });
      await rabbit.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 10 }, () => {});
      const receiving = await rabbit.reports.receive({
        reports: () => Promise.resolve(),
        lines: () => Promise.resolve(),
        progress: () => Promise.resolve(),
      });
      rabbit.serveAttempts({ claim: () => Promise.resolve([]), renew: () => Promise.resolve([]) });
      const queues = ["jobs.sample.wildcard", "milvaion.reports", "milvaion.attempts"];
      await raw(async (channel) => {
        await destroy(channel, prefix);
        await rabbit.whenUp();
        for (const queue of queues) {
          channel.sendToQueue(prefix + queue, Buffer.from("{"), { headers: { storeId: STORE_ID } });
        }
      });
      await until(() => rabbit.state().parked === queues.length, "all are parked");
      assertEquals(await rabbit.parked(), queues.length);
      await receiving.stop();
      await rabbit.close();
    },
  );
}

shared("a second worker that joins a queue in use is no news", async (prefix) => {
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

shared(
  "a queue with other arguments is named with its remedy, and its neighbours work on",
  async (prefix) => {
    await raw(async (channel) =>
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

shared(
  "poisoned messages of every kind are parked with a reason, and what comes behind them arrives",
  async (prefix) => {
    const rabbit = await openTestRabbit({ prefix });
    const inbox = new Inbox<Delivery>();
    const reports = new Inbox<Report>();
    await rabbit.queue.consume(
      { ...SAMPLE, pool: "pool", prefetch: 10 },
      (deliveries) => inbox.push(deliveries),
    );
    const receiving = await rabbit.reports.receive({
      reports: (items) => Promise.resolve(reports.push(items)),
      lines: () => Promise.resolve(),
      progress: () => Promise.resolve(),
    });
    rabbit.serveAttempts({ claim: () => Promise.resolve([]), renew: () => Promise.resolve([]) });
    const job = JSON.stringify({ v: 1, ...message(1) });
    const bad = [
      "not json",
      "",
      "[]",
      "null",
      job.replace('"v":1', '"v":99'),
      job.replace('"occurrenceId"', '"occurrence"'),
      job.replace('"token":0', '"token":"0"'),
      job.replace('"token":0', '"token":-1'),
      job.replace('"jobData":"{}"', '"jobData":{}'),
    ];
    const headers = { storeId: STORE_ID };
    await raw(async (channel) => {
      for (const text of bad) {
        channel.publish(`${prefix}milvaion.jobs`, "sample.x", Buffer.from(text), { headers });
        for (const queue of ["reports", "lines", "progress", "attempts"]) {
          channel.sendToQueue(`${prefix}milvaion.${queue}`, Buffer.from(text), { headers });
        }
      }
      channel.publish(`${prefix}milvaion.jobs`, "sample.x", Buffer.from(job), {
        headers: { storeId: "another" },
      });
      await channel.assertQueue(`${prefix}milvaion.parked`, {
        durable: true,
        arguments: { "x-queue-type": "quorum" },
      });
    });
    await rabbit.queue.publish([message(1)]);
    await rabbit.reports.sendReports([report(1)]);
    assertEquals((await inbox.take(1))[0]?.message, message(1));
    assertEquals((await reports.take(1))[0], report(1));
    // Jobs, reports, lines and requests each; one of another store. Progress is thrown away.
    const expected = bad.length * 4 + 1;
    await until(() => rabbit.state().parked === expected, "all are parked");
    await raw(async (channel) => {
      for (let index = 0; index < expected; index += 1) {
        const parked = await channel.get(`${prefix}milvaion.parked`, { noAck: true });
        assert(parked !== false, `only ${index} are in the parking queue`);
        assert(String(parked.properties.headers?.["x-reason"]).length > 3);
        assert(String(parked.properties.headers?.["x-queue"]).startsWith(prefix));
      }
    });
    await receiving.stop();
    await rabbit.close();
  },
);

shared(
  "a report that the store refuses again and again is parked alone, and the others are recorded",
  async (prefix) => {
    const rabbit = await openTestRabbit({ prefix });
    const recorded = new Set<number>();
    const receiving = await rabbit.reports.receive({
      reports: (items) => {
        if (items.some((one) => one.token === 13)) return Promise.reject(new Error("value out of range"));
        for (const one of items) recorded.add(one.token);
        return Promise.resolve();
      },
      lines: () => Promise.resolve(),
      progress: () => Promise.resolve(),
    });
    await rabbit.reports.sendReports(Array.from({ length: 250 }, (_, token) => report(token)));
    await until(
      () => recorded.size === 249 && rabbit.state().parked === 1,
      "249 are recorded, one is parked",
    );
    await raw(async (channel) => {
      const parked = await channel.get(`${prefix}milvaion.parked`, { noAck: true });
      assert(parked !== false);
      assertEquals(JSON.parse(parked.content.toString()).reports.map((one: Report) => one.token), [13]);
      assertEquals(parked.properties.headers?.["x-reason"], "refused again and again: value out of range");
    });
    await receiving.stop();
    await rabbit.close();
  },
);

shared(
  "while the store is away no report is parked, and another instance takes what this one cannot record",
  async (prefix) => {
    const away = await openTestRabbit({ prefix, instanceId: "api-1" });
    const well = await openTestRabbit({ prefix, instanceId: "api-2" });
    const nothing = { lines: () => Promise.resolve(), progress: () => Promise.resolve() };
    let refused = 0;
    const first = await away.reports.receive({
      ...nothing,
      reports: () => {
        refused += 1;
        return Promise.reject(new Error("connection refused"));
      },
    });
    await away.reports.sendReports([report(1), report(2), report(3)]);
    await until(() => refused > 7, "it is tried again and again");
    assertEquals(away.state().parked, 0);
    const recorded = new Inbox<Report>();
    const second = await well.reports.receive({
      ...nothing,
      reports: (items) => Promise.resolve(recorded.push(items)),
    });
    assertEquals((await recorded.take(3)).map((one) => one.token).sort(), [1, 2, 3]);
    assertEquals([away.state().parked, well.state().parked], [0, 0]);
    await first.stop();
    await second.stop();
    await away.close();
    await well.close();
  },
);

shared(
  "an instance whose store does not answer gives reports to another after one try, and then holds one at a time until it answers",
  async (prefix) => {
    const away = await openTestRabbit({ prefix, instanceId: "api-1" });
    const well = await openTestRabbit({ prefix, instanceId: "api-2" });
    const nothing = { lines: () => Promise.resolve(), progress: () => Promise.resolve() };
    const held: number[] = [];
    let isAway = true;
    let taken = 0;
    const first = await away.reports.receive({
      ...nothing,
      reports: async (items) => {
        if (!isAway) {
          taken += items.length;
          return;
        }
        held.push(items.length);
        await delay(NO_ANSWER_MS);
        throw new Unavailable("no answer");
      },
    });
    await Promise.all([1, 2, 3].map((token) => away.reports.sendReports([report(token)])));
    await until(() => held.length === 1, "it has them");
    const recorded = new Inbox<Report>();
    const second = await well.reports.receive({
      ...nothing,
      reports: (items) => Promise.resolve(recorded.push(items)),
    });
    assertEquals((await recorded.take(3)).map((one) => one.token).sort(), [1, 2, 3]);
    assertEquals(held.length, 1, "it tried once");
    await second.stop();

    // One after another, so that each is a message of its own.
    for (const token of [4, 5, 6]) await well.reports.sendReports([report(token)]);
    await until(() => held.length === 2, "it tries again after a rest");
    assertEquals(held[1], 1);
    isAway = false;
    await until(() => taken === 3, "it takes them all");
    await first.stop();
    await away.close();
    await well.close();
  },
);

shared("a message that is given back 300 times is not parked by the broker's limit", async (prefix) => {
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
});

shared("two types that share a pattern each get their own messages", async (prefix) => {
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

shared("pinned messages take lanes too, and what no lane takes goes to another worker", async (prefix) => {
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
});

Deno.test("rabbitmq: without a broker it opens, rejects calls at once, and closes", async () => {
  const rabbit = await openRabbit({
    url: "amqp://guest:guest@127.0.0.1:1",
    storeId: STORE_ID,
    instanceId: "instance-1",
    role: "both",
    clock: systemClock,
    random: systemRandom,
    log: new KeptLog(),
  });
  assertEquals(rabbit.state().connected, false);
  const calls = [
    rabbit.queue.publish([message(1)]),
    rabbit.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 1 }, () => {}),
    rabbit.parked(),
    rabbit.reports.receive({
      reports: () => Promise.resolve(),
      lines: () => Promise.resolve(),
      progress: () => Promise.resolve(),
    }),
    rabbit.attempts().hello(),
  ];
  const started = performance.now();
  const said = await Promise.allSettled(calls);
  assert(performance.now() - started < 1000);
  for (const one of said) {
    assert(
      one.status === "rejected" && /not connected to RabbitMQ/.test(one.reason.message),
      String(one.status),
    );
  }
  await rabbit.close();
});

for (const [code, level] of [[541, "info"], [320, "warn"]] as const) {
  Deno.test(`rabbitmq: a first connection that the broker ends with ${code} is said as ${level}, and the next as warn`, async () => {
    using broker = await EndingBroker.start(code);
    const log = new KeptLog();
    const link = new Link({ url: broker.url, name: "test", clock: systemClock, log });
    await link.open();
    await until(() => broker.ended >= 4, "it tries again and again");
    await link.close();
    const said = log.lines.filter(({ message }) => message.startsWith("Not connected"));
    assertEquals(said.slice(0, 2).map((one) => one.level), [level, "warn"]);
  });
}

shared("nobody who serves attempts answers: a claim is rejected by its deadline", async (prefix) => {
  const worker = await openTestRabbit({ prefix, role: "worker" });
  const answer = await worker.attempts().hello().catch((error: Error) => error.message);
  assertEquals(answer, "Cannot ask for attempts: no API instance answered within 5000 ms");
  await worker.close();
});

// --------------------------------------------------------------------------------------------------------- the load

/** Publishes, runs and reports for as long as it is told to, and keeps count. */
class Load {
  readonly accepted = new Set<string>();
  readonly delivered = new Set<string>();
  /** Reports whose sending was confirmed. */
  readonly safe = new Set<number>();
  readonly received = new Set<number>();
  /** What the API instance heard of queues. */
  readonly news = new Set<string>();
  duplicates = 0;
  rejections = 0;
  #next = 0;
  #isOver = false;
  #publishing: Promise<void> = Promise.resolve();
  #stopReceiving: () => Promise<void> = () => Promise.resolve();
  #endNews: () => void = () => {};

  private constructor(
    readonly api: Awaited<ReturnType<typeof openTestRabbit>>,
    readonly worker: Awaited<ReturnType<typeof openTestRabbit>>,
  ) {}

  static async start(server: RabbitmqServer): Promise<Load> {
    const knownTypes = () => [{ jobType: "LostJob", routingPattern: "lost.*", pools: [] }];
    const open = (role: "api" | "worker") =>
      openTestRabbit({ prefix: "", url: server.url, role, instanceId: role, knownTypes });
    const load = new Load(await open("api"), await open("worker"));
    load.#endNews = load.api.queue.onDrained((jobType, why) => load.news.add(`${jobType} ${why}`));
    const { stop } = await load.api.reports.receive({
      reports: (items) => {
        for (const one of items) load.received.add(one.token);
        return Promise.resolve();
      },
      lines: () => Promise.resolve(),
      progress: () => Promise.resolve(),
    });
    load.#stopReceiving = stop;
    await load.worker.queue.consume(
      { ...SAMPLE, pool: "pool", prefetch: 100 },
      (deliveries) => load.#run(deliveries),
    );
    load.#publishing = load.#publish();
    return load;
  }

  get isAllDelivered(): boolean {
    return this.accepted.isSubsetOf(this.delivered);
  }

  get isAllReported(): boolean {
    return this.safe.isSubsetOf(this.received);
  }

  async stopPublishing(): Promise<void> {
    this.#isOver = true;
    await this.#publishing;
  }

  async close(): Promise<void> {
    await this.stopPublishing();
    await this.#stopReceiving();
    this.#endNews();
    await this.worker.close();
    await this.api.close();
  }

  async #publish(): Promise<void> {
    while (!this.#isOver) {
      const batch = Array.from({ length: 20 }, () => message(this.#next++));
      try {
        const answers = await this.api.queue.publish(batch);
        answers.forEach((answer, index) => {
          if (answer === "accepted") this.accepted.add(batch[index]?.occurrenceId ?? "");
        });
      } catch {
        this.rejections += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  #run(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const { occurrenceId, scheduledFor } = delivery.message;
      if (this.delivered.has(occurrenceId)) this.duplicates += 1;
      this.worker.reports.sendReports([report(scheduledFor)]).then(() => {
        this.safe.add(scheduledFor);
        this.delivered.add(occurrenceId);
        delivery.ack();
      }, () => {
        // Not safe: the delivery comes again, as it is not acknowledged.
        delivery.requeue();
      });
    }
  }
}

/** Speaks just enough AMQP to open a connection, and ends it soon after with a reply code. */
class EndingBroker implements Disposable {
  ended = 0;
  readonly #server: Server;

  private constructor(code: number) {
    const close = method(50, [code >> 8, code & 255, 0, 0, 0, 0, 0]);
    this.#server = createServer((socket) => {
      const answers = new Map([
        ["AMQP", method(10, [0, 9, 0, 0, 0, 0, ...longText("PLAIN"), ...longText("en_US")])], // Start
        ["StartOk", method(30, [0, 0, 0, 2, 0, 0, 0, 0])], // Tune
        ["Open", method(41, [0])], // OpenOk
      ]);
      socket.on("error", () => {});
      socket.on("data", (data) => {
        for (const said of saidIn(data)) {
          socket.write(Uint8Array.from(answers.get(said) ?? []));
          if (said === "CloseOk") socket.end();
          if (said !== "Open") continue;
          // Later, so that whoever opened it listens.
          setTimeout(() => {
            socket.write(Uint8Array.from(close));
            this.ended += 1;
          }, 5);
        }
      });
    });
  }

  static async start(code: number): Promise<EndingBroker> {
    const broker = new EndingBroker(code);
    await new Promise<void>((resolve) => broker.#server.listen(0, "127.0.0.1", resolve));
    return broker;
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  [Symbol.dispose](): void {
    this.#server.close();
  }
}

/** What a client says in one piece of the stream: its header, and methods of the class "connection". */
function saidIn(data: Buffer): readonly string[] {
  if (data.subarray(0, 4).toString() === "AMQP") return ["AMQP"];
  const names = new Map([[11, "StartOk"], [31, "TuneOk"], [40, "Open"], [51, "CloseOk"]]);
  const said: string[] = [];
  for (let at = 0; at < data.length; at += data.readUInt32BE(at + 3) + 8) {
    said.push(names.get(data[at + 10] ?? 0) ?? "");
  }
  return said;
}

/** A frame of channel 0 with a method of the class "connection". */
function method(id: number, content: readonly number[]): number[] {
  const size = content.length + 4;
  return [1, 0, 0, 0, 0, size >> 8, size & 255, 0, 10, 0, id, ...content, 0xce];
}

function longText(text: string): number[] {
  return [0, 0, 0, text.length, ...Buffer.from(text)];
}

function message(index: number): JobMessage {
  return {
    occurrenceId: `01a00000-0000-7000-8000-${String(index).padStart(12, "0")}`,
    scheduledFor: index,
    jobId: "01a00000-0000-7000-8000-999999999999",
    jobType: "SampleJob",
    pool: null,
    token: 0,
    attempt: 0,
    maxAttempts: 3,
    jobData: "{}",
    executionTimeoutSeconds: null,
  };
}

function report(token: number): Report {
  return {
    occurrenceId: "01a00000-0000-7000-8000-000000000001",
    scheduledFor: 0,
    jobId: "01a00000-0000-7000-8000-000000000002",
    token,
    workerId: "pool",
    instanceId: "worker-1",
    startedAt: 1,
    endedAt: 2,
    durationMs: 1,
    outcome: { kind: "completed", result: null },
  };
}

/** Does something to the broker behind the adapters' back. */
async function raw(
  body: (
    channel: Awaited<ReturnType<Awaited<ReturnType<typeof connect>>["createConfirmChannel"]>>,
  ) => Promise<void>,
): Promise<void> {
  const connection = await connect(AMQP_URL);
  try {
    const channel = await connection.createConfirmChannel();
    await body(channel);
    await channel.waitForConfirms();
  } finally {
    await connection.close();
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + NEVER_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
