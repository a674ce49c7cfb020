/** Reports over RabbitMQ while the store refuses one, is away, or does not answer. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import type { Report } from "../../actors/domain/message.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { Inbox } from "../contract/inbox.ts";
import { report } from "../support/messages.ts";
import { until } from "../support/program.ts";
import { openTestRabbit } from "../support/rabbit.ts";
import { behindTheirBack, DEAF, sharedBrokerTest } from "../support/rabbit_adapter.ts";

/** As long as the first call waits for a store that does not answer, about. */
const NO_ANSWER_MS = 4500;

sharedBrokerTest(
  "a report that the store refuses again and again is parked alone, and the others are recorded",
  async (prefix) => {
    const rabbit = await openTestRabbit({ prefix });
    const recorded = new Set<number>();
    const receiving = await rabbit.reports.receive({
      ...DEAF,
      reports: (items) => {
        if (items.some((one) => one.token === 13)) return Promise.reject(new Error("value out of range"));
        for (const one of items) recorded.add(one.token);
        return Promise.resolve();
      },
    });
    await rabbit.reports.sendReports(Array.from({ length: 250 }, (_, token) => report(token)));
    await until(
      () => recorded.size === 249 && rabbit.state().parked === 1,
      "249 are recorded, one is parked",
    );
    await behindTheirBack(async (channel) => {
      const parked = await channel.get(`${prefix}milvaion.parked`, { noAck: true });
      assert(parked !== false);
      assertEquals(JSON.parse(parked.content.toString()).reports.map((one: Report) => one.token), [13]);
      assertEquals(parked.properties.headers?.["x-reason"], "refused again and again: value out of range");
    });
    await receiving.stop();
    await rabbit.close();
  },
);

sharedBrokerTest(
  "while the store is away no report is parked, and another instance takes what this one cannot record",
  async (prefix) => {
    const away = await openTestRabbit({ prefix, instanceId: "api-1" });
    const well = await openTestRabbit({ prefix, instanceId: "api-2" });
    let refused = 0;
    const first = await away.reports.receive({
      ...DEAF,
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
      ...DEAF,
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

sharedBrokerTest(
  "an instance whose store does not answer gives reports to another after one try, and then holds one at a time until it answers",
  async (prefix) => {
    const away = await openTestRabbit({ prefix, instanceId: "api-1" });
    const well = await openTestRabbit({ prefix, instanceId: "api-2" });
    const held: number[] = [];
    let isAway = true;
    let taken = 0;
    const first = await away.reports.receive({
      ...DEAF,
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
      ...DEAF,
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
