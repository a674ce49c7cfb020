import { assertEquals } from "@std/assert";
import { messageWith } from "../tests/support/messages.ts";
import { FullQueues } from "./full_queues.ts";
import type { QueueName } from "./ports/store.ts";

const MINUTE = 60_000;
const mail = { jobType: "SendEmailJob", pool: null };
const pinned = { jobType: "SendEmailJob", pool: "linux" };
const report = { jobType: "ReportJob", pool: null };

function open() {
  const clock = { at: 0, mono: () => clock.at };
  const full = new FullQueues(clock);
  return {
    clock,
    full,
    add: (...queues: QueueName[]) => full.add(queues.map((one) => messageWith(one)), full.timesDrained),
  };
}

Deno.test("full queues: without one nothing is passed over, whatever was looked at", () => {
  const { full, add } = open();
  full.looked(5 * MINUTE, full.timesDrained);
  assertEquals(full.passedOver(), null);
  add(mail);
  assertEquals(full.passedOver(), { queues: [mail], from: -Infinity });
});

Deno.test("full queues: what was looked at is not read again, but for what is committed late", () => {
  const { full, add } = open();
  add(mail, mail, pinned);
  full.looked(5 * MINUTE, full.timesDrained);
  assertEquals(full.passedOver(), { queues: [mail, pinned], from: 4 * MINUTE });
});

Deno.test("full queues: a type that has room is looked at again, all of it", () => {
  const { full, add } = open();
  add(mail, report, pinned);
  full.looked(5 * MINUTE, full.timesDrained);
  full.drained("SendEmailJob");
  assertEquals(full.passedOver(), { queues: [report], from: -Infinity });
  full.drained("ReportJob");
  assertEquals(full.passedOver(), null);
});

Deno.test("full queues: news of room that came before the answer counts", () => {
  const { full, add } = open();
  add(report);
  const { timesDrained } = full;
  full.drained("SendEmailJob");
  full.add([messageWith(mail)], timesDrained);
  full.looked(5 * MINUTE, timesDrained);
  assertEquals(full.passedOver(), { queues: [report], from: -Infinity });
});

Deno.test("full queues: where no news of room comes they are asked again after ten seconds", () => {
  const { clock, full, add } = open();
  clock.at = 10 * MINUTE;
  add(mail);
  clock.at += 5000;
  add(report);
  full.looked(5 * MINUTE, full.timesDrained);
  assertEquals(full.passedOver()?.queues, [mail, report]);
  clock.at += 5000;
  assertEquals(full.passedOver(), null);
});
