/**
 * How many messages wait in each queue, asked by passive declaration: nothing is created. A queue that is missing
 * ends the channel it was asked on, so the question has a channel to itself.
 */
import type { Channel } from "amqplib";
import type { Clock } from "../../actors/ports/clock.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { within } from "./deadline.ts";
import type { Link } from "./link.ts";
import { isNotFound } from "./topology.ts";

export interface QueueCount {
  readonly messages: number;
  readonly consumers: number;
}

const ANSWER_MS = 5000;

export class Depths {
  #channel: Channel | null = null;
  /** One question at a time. */
  #asking: Promise<unknown> = Promise.resolve();

  constructor(private readonly link: Link, private readonly clock: Clock) {}

  /** In the order of the names; null where there is no such queue. */
  count(queues: readonly string[]): Promise<readonly (QueueCount | null)[]> {
    const asked = this.#asking.catch(() => {}).then(() => this.#countAll(queues));
    this.#asking = asked;
    return asked;
  }

  async close(): Promise<void> {
    await this.#asking.catch(() => {});
    const channel = this.#channel;
    this.#channel = null;
    if (channel !== null) {
      await within(this.clock, 1000, "close a channel", channel.close()).catch(() => {});
    }
  }

  async #countAll(queues: readonly string[]): Promise<readonly (QueueCount | null)[]> {
    const counts: (QueueCount | null)[] = [];
    for (const queue of queues) counts.push(await this.#countOne(queue));
    return counts;
  }

  async #countOne(queue: string): Promise<QueueCount | null> {
    const channel = await this.#open();
    try {
      const { messageCount, consumerCount } = await within(
        this.clock,
        ANSWER_MS,
        "count messages",
        channel.checkQueue(queue),
      );
      return { messages: messageCount, consumers: consumerCount };
    } catch (error) {
      if (isNotFound(error)) return null;
      throw new Unavailable("Cannot count messages: " + (error as Error).message, { cause: error });
    }
  }

  async #open(): Promise<Channel> {
    if (this.#channel !== null) return this.#channel;
    const { model } = this.link;
    if (model === null) throw new Unavailable("Cannot count messages: not connected to RabbitMQ");
    const channel = await within(this.clock, ANSWER_MS, "count messages", model.createChannel());
    channel.on("error", () => {});
    channel.on("close", () => {
      if (this.#channel === channel) this.#channel = null;
    });
    this.#channel = channel;
    return channel;
  }
}
