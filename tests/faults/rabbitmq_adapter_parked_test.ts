/** Messages that RabbitMQ brings and nobody can read: parked with a reason, in the way of nothing. */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import type { Channel } from "amqplib";
import type { Report } from "../../actors/domain/message.ts";
import type { Delivery } from "../../actors/ports/queue.ts";
import { Inbox } from "../contract/inbox.ts";
import { message, report } from "../support/messages.ts";
import { until } from "../support/program.ts";
import { openTestRabbit, STORE_ID } from "../support/rabbit.ts";
import { behindTheirBack, DEAF, SAMPLE, sharedBrokerTest } from "../support/rabbit_adapter.ts";

for (
  const [what, destroy] of [
    ["queue", (channel, prefix) => channel.deleteQueue(`${prefix}milvaion.parked`)],
    ["exchange", (channel, prefix) => channel.deleteExchange(`${prefix}milvaion.dlx`)],
  ] as const satisfies [string, (channel: Channel, prefix: string) => Promise<unknown>][]
) {
  sharedBrokerTest(
    `the ${what} for parked messages deleted: what cannot be read is parked once it is back`,
    async (prefix) => {
      const rabbit = await openTestRabbit({ prefix });
      await rabbit.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 10 }, () => {});
      const receiving = await rabbit.reports.receive(DEAF);
      rabbit.serveAttempts({ claim: () => Promise.resolve([]), renew: () => Promise.resolve([]) });
      const queues = ["jobs.sample.wildcard", "milvaion.reports", "milvaion.attempts"];
      await behindTheirBack(async (channel) => {
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

sharedBrokerTest(
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
      ...DEAF,
      reports: (items) => Promise.resolve(reports.push(items)),
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
    await behindTheirBack(async (channel) => {
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
    await behindTheirBack(async (channel) => {
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
