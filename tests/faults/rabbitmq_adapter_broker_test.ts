/** The RabbitMQ adapters while their broker is stopped, killed, frozen and short of memory. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Delivery } from "../../actors/ports/queue.ts";
import { Inbox } from "../contract/inbox.ts";
import { message, report } from "../support/messages.ts";
import { until } from "../support/program.ts";
import { openTestRabbit } from "../support/rabbit.ts";
import { DEAF, ownBrokerTest, SAMPLE } from "../support/rabbit_adapter.ts";
import type { RabbitmqServer } from "../support/rabbitmq_server.ts";

for (const how of ["stopped", "killed"] as const) {
  ownBrokerTest(
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

ownBrokerTest("frozen, every call ends by its deadline, and all goes on when it wakes", async (server) => {
  const load = await Load.start(server);
  await until(() => load.accepted.size > 100, "the first messages are accepted");
  server.pause();
  const frozen = performance.now();
  await until(() => load.rejections > 0, "publishing is rejected");
  assertMatch(
    load.firstRejection,
    /not confirmed within \d+ ms$/,
    "by its deadline, before the silence is noticed",
  );
  await until(() => !load.api.state().connected, "the silence is noticed");
  console.log(`a frozen broker is noticed after ${Math.round(performance.now() - frozen)} ms`);
  server.resume();
  const before = load.accepted.size;
  await until(() => load.accepted.size > before + 100, "publishing goes on");
  await load.stopPublishing();
  await until(() => load.isAllDelivered, "each accepted message is delivered");
  await load.close();
});

ownBrokerTest("short of memory, it answers full at once and says when there is room", async (server) => {
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
  firstRejection = "";
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
      ...DEAF,
      reports: (items) => {
        for (const one of items) load.received.add(one.token);
        return Promise.resolve();
      },
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
      } catch (error) {
        if (this.rejections === 0) this.firstRejection = (error as Error).message;
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
