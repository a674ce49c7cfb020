/** The contract of `Queue`: what is accepted is delivered until it is acknowledged. */
import type { JobMessage } from "../../actors/domain/message.ts";
import { defaultRoutingPattern } from "../../actors/domain/job_type.ts";
import type { Delivery, Queue } from "../../actors/ports/queue.ts";
import { assert, assertEquals } from "@std/assert";
import { message } from "../support/messages.ts";
import { Inbox } from "./inbox.ts";

export interface QueueUnderTest {
  readonly queue: Queue;
  close(): Promise<void>;
}

/** Opens a new, empty queue that holds at most `bound` waiting messages of a type. */
export type QueueFactory = (options: { readonly bound: number }) => Promise<QueueUnderTest>;

/** What an adapter cannot promise, each with its reason; such promises are skipped by name. */
export interface QueueLimits {
  /** It does not know how many messages wait, so it cannot answer full. */
  readonly bound?: string;
  /** It takes a message twice. */
  readonly deduplication?: string;
  /** What comes back comes before younger ones, but among itself in the order of coming back. */
  readonly orderAmongRequeued?: string;
}

const BOUND = 10;

export function queueContract(name: string, factory: QueueFactory, limits: QueueLimits = {}): void {
  const promise = (sentence: string, body: (queue: Queue) => Promise<void>, limit?: string) =>
    Deno.test({
      name: `${name} queue: ${sentence}` + (limit === undefined ? "" : ` (skipped: ${limit})`),
      ignore: limit !== undefined,
      fn: async () => {
        const { queue, close } = await factory({ bound: BOUND });
        try {
          await body(queue);
        } finally {
          await close();
        }
      },
    });

  promise("delivers in the order of publishing, within the prefetch", async (queue) => {
    const inbox = new Inbox<Delivery>();
    await consume(queue, inbox, { prefetch: 3 });
    assertEquals(await queue.publish(messages(0, 8)), Array(8).fill("accepted"));
    const order: string[] = [];
    for (const expected of [3, 3, 2]) {
      const deliveries = await inbox.take(expected);
      order.push(...ids(deliveries));
      assertEquals(inbox.length, 0, "no more than the prefetch");
      for (const delivery of deliveries) delivery.ack();
    }
    assertEquals(order, messages(0, 8).map((message) => message.occurrenceId));
  });

  promise("gives back each field of a message", async (queue) => {
    const inbox = new Inbox<Delivery>();
    await consume(queue, inbox, { pool: "mail" });
    const sent = { ...message(1), pool: "mail", jobData: '{"to":"ü😀"}', executionTimeoutSeconds: 1.5 };
    await queue.publish([sent]);
    assertEquals((await inbox.take(1))[0]?.message, sent);
  });

  promise("answers unroutable while nobody offers the type, and calls when somebody comes", async (queue) => {
    const called = new Inbox<string>();
    const end = queue.onDrained((jobType) => called.push([jobType]));
    assertEquals(await queue.publish([message(1), { ...message(2), jobType: "OtherJob" }]), [
      "unroutable",
      "unroutable",
    ]);
    const inbox = new Inbox<Delivery>();
    await consume(queue, inbox);
    assertEquals(await called.take(1), ["SampleJob"]);
    assertEquals(await queue.publish([message(1)]), ["accepted"]);
    assertEquals(ids(await inbox.take(1)), ids([{ message: message(1) }]));
    end();
  });

  promise("answers full beyond its bound, and calls when half of it is gone", async (queue) => {
    const called = new Inbox<string>();
    const end = queue.onDrained((jobType) => called.push([jobType]));
    const inbox = new Inbox<Delivery>();
    const subscription = await consume(queue, inbox, { prefetch: 0 });
    const answers = await queue.publish(messages(0, BOUND + 2));
    assertEquals(answers, [...Array(BOUND).fill("accepted"), "full", "full"]);
    assertEquals(called.length, 0);
    subscription.setPrefetch(BOUND);
    const deliveries = await inbox.take(BOUND);
    for (const delivery of deliveries) delivery.ack();
    assertEquals(await called.take(1), ["SampleJob"]);
    assertEquals(await queue.publish([message(BOUND)]), ["accepted"]);
    end();
  }, limits.bound);

  promise("does not double a message that waits or is being worked on", async (queue) => {
    const inbox = new Inbox<Delivery>();
    await consume(queue, inbox, { prefetch: 1 });
    await queue.publish([message(1), message(2)]);
    assertEquals(await queue.publish([message(1), message(2)]), ["accepted", "accepted"]);
    const [first] = await inbox.take(1);
    first?.ack();
    const [second] = await inbox.take(1);
    second?.ack();
    assertEquals(ids([first, second]), ids([{ message: message(1) }, { message: message(2) }]));
    assertEquals(totals(await queue.depth()), [0, 0]);
    await queue.publish([{ ...message(1), token: 1 }]);
    assertEquals((await inbox.take(1))[0]?.message.token, 1);
  }, limits.deduplication);

  promise("a message that is given back goes to whoever has room, before younger ones", async (queue) => {
    const one = new Inbox<Delivery>();
    const two = new Inbox<Delivery>();
    const first = await consume(queue, one, { prefetch: 2 });
    await queue.publish(messages(0, 4));
    const held = await one.take(2);
    first.setPrefetch(0);
    await consume(queue, two, { prefetch: 1 });
    const [third] = await two.take(1);
    held[1]?.requeue();
    held[0]?.requeue();
    while (totals(await queue.depth())[0] < 3) await new Promise((resolve) => setTimeout(resolve, 0));
    third?.ack();
    const [again] = await two.take(1);
    const older = limits.orderAmongRequeued === undefined ? held.slice(0, 1) : held;
    assert(ids(older).includes(again?.message.occurrenceId ?? ""), "a younger message came first");
  });

  promise("shares deliveries out among consumers", async (queue) => {
    const one = new Inbox<Delivery>();
    const two = new Inbox<Delivery>();
    await consume(queue, one, { prefetch: 2 });
    await consume(queue, two, { prefetch: 2 });
    await queue.publish(messages(0, 4));
    const all = [...await one.take(2), ...await two.take(2)];
    assertEquals(new Set(ids(all)).size, 4);
  });

  promise(
    "takes back what a consumer held when it stops, in order, and delivers nothing more to it",
    async (queue) => {
      const one = new Inbox<Delivery>();
      const subscription = await consume(queue, one, { prefetch: 3 });
      await queue.publish(messages(0, 5));
      const held = await one.take(3);
      await subscription.stop();
      const two = new Inbox<Delivery>();
      await consume(queue, two, { prefetch: 10 });
      const again = await two.take(5);
      assertEquals(ids(again), messages(0, 5).map((one) => one.occurrenceId));
      assertEquals(one.length, 0);
      for (const delivery of held) delivery.ack();
      assertEquals(
        totals(await queue.depth()),
        [0, 5],
        "a late acknowledgement of the old delivery counts for nothing",
      );
    },
  );

  promise("delivers a pinned message to its pool only", async (queue) => {
    const mail = new Inbox<Delivery>();
    const other = new Inbox<Delivery>();
    await consume(queue, other, { pool: "other" });
    const pinned = { ...message(1), pool: "mail" };
    assertEquals(await queue.publish([pinned]), ["unroutable"]);
    await consume(queue, mail, { pool: "mail" });
    assertEquals(await queue.publish([pinned]), ["accepted"]);
    assertEquals(ids(await mail.take(1)), ids([{ message: pinned }]));
    assertEquals(other.length, 0);
  });

  promise("a lane that comes free takes a pinned message as well as any other", async (queue) => {
    const inbox = new Inbox<Delivery>();
    await consume(queue, inbox, { pool: "mail", prefetch: 1 });
    await queue.publish([message(1)]);
    const [first] = await inbox.take(1);
    await queue.publish([{ ...message(2), pool: "mail" }]);
    first?.ack();
    assertEquals(ids(await inbox.take(1)), ids([{ message: message(2) }]));
  });

  promise("tells its depth", async (queue) => {
    const inbox = new Inbox<Delivery>();
    await consume(queue, inbox, { prefetch: 2 });
    await queue.publish(messages(0, 5));
    await inbox.take(2);
    const depth = (await queue.depth()).filter((one) => one.pool === null);
    assertEquals(depth, [{
      jobType: "SampleJob",
      pool: null,
      ready: 3,
      unacknowledged: 2,
      consumers: 1,
    }]);
  });
}

function messages(from: number, count: number): JobMessage[] {
  return Array.from({ length: count }, (_, index) => message(from + index));
}

function consume(
  queue: Queue,
  inbox: Inbox<Delivery>,
  options: { readonly prefetch?: number; readonly pool?: string } = {},
) {
  return queue.consume({
    jobType: "SampleJob",
    routingPattern: defaultRoutingPattern("SampleJob"),
    pool: options.pool ?? "pool",
    prefetch: options.prefetch ?? 100,
  }, (deliveries) => inbox.push(deliveries));
}

function ids(deliveries: readonly ({ readonly message: JobMessage } | undefined)[]): string[] {
  return deliveries.map((delivery) => {
    assert(delivery !== undefined, "a delivery is missing");
    return delivery.message.occurrenceId;
  });
}

function totals(
  depth: Awaited<ReturnType<Queue["depth"]>>,
): readonly [ready: number, unacknowledged: number] {
  return [
    depth.reduce((sum, one) => sum + one.ready, 0),
    depth.reduce((sum, one) => sum + one.unacknowledged, 0),
  ];
}
