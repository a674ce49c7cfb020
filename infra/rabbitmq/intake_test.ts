import { assertEquals } from "@std/assert";
import type { Channel, ConsumeMessage } from "amqplib";
import fc from "fast-check";
import { Intake } from "./intake.ts";

/** A channel to a broker that answers in a later turn, and hands out what its consumers have room for. */
class FakeChannel {
  /** By tag: how much the consumer may have out. */
  readonly consumers = new Map<string, { readonly prefetch: number; readonly give: (tag: number) => void }>();
  #prefetch = 0;
  #tags = 0;

  async prefetch(count: number): Promise<void> {
    this.#prefetch = count;
    await turn();
  }

  async consume(_queue: string, give: (message: ConsumeMessage) => void): Promise<{ consumerTag: string }> {
    const consumerTag = `consumer ${this.#tags++}`;
    const prefetch = this.#prefetch;
    await turn();
    this.consumers.set(consumerTag, {
      prefetch,
      give: (deliveryTag) => give({ fields: { deliveryTag } } as ConsumeMessage),
    });
    return { consumerTag };
  }

  async cancel(tag: string): Promise<void> {
    await turn();
    this.consumers.delete(tag);
  }

  /** What the broker may send with nothing unacknowledged. */
  get room(): number {
    return [...this.consumers.values()].reduce((sum, { prefetch }) => sum + prefetch, 0);
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function settled(): Promise<void> {
  for (let turns = 0; turns < 50; turns += 1) await turn();
}

function openIntake() {
  const channel = new FakeChannel();
  const held: number[] = [];
  const intake = new Intake(channel as unknown as Channel, "jobs", {
    delivered: ({ fields }) => held.push(fields.deliveryTag),
    cancelled: () => {},
    failed: (error) => {
      throw error;
    },
  });
  return { channel, intake, held };
}

Deno.test("intake: of two targets in one turn the later one counts, also when the first asked for nothing", async () => {
  const { channel, intake } = openIntake();
  void intake.aim(0);
  await intake.aim(2);
  assertEquals(channel.room, 2);
});

Deno.test("intake: a delivery that is settled in the turn of a target leaves its room to the queue", async () => {
  const { channel, intake } = openIntake();
  await intake.aim(1);
  for (const { give } of channel.consumers.values()) give(1);
  await intake.aim(0);
  void intake.aim(1);
  intake.settled(1);
  await settled();
  assertEquals(channel.room, 1);
});

Deno.test("property: when all is settled the broker may send as much as the last target says", async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ aim: fc.integer({ min: 0, max: 4 }) }) },
    { weight: 3, arbitrary: fc.constant("deliver" as const) },
    { weight: 3, arbitrary: fc.constant("settle" as const) },
    { weight: 2, arbitrary: fc.constant("turn" as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { channel, intake, held } = openIntake();
      let target = 0;
      let tags = 0;
      for (const one of steps) {
        if (one === "turn") await turn();
        else if (one === "deliver") {
          const [consumer] = channel.consumers.values();
          if (consumer !== undefined && held.length < target) consumer.give(++tags);
        } else if (one === "settle") {
          const tag = held.shift();
          if (tag !== undefined) intake.settled(tag);
        } else void intake.aim(target = one.aim);
      }
      for (const tag of held.splice(0)) intake.settled(tag);
      await settled();
      assertEquals(channel.room, target);
    }),
  );
});
