/**
 * A hand in the broker: does to its queues what a broken network, a careless operator or a broken program would do.
 * It speaks AMQP itself and knows nothing of the program's adapters but the names of queues.
 */
import { Buffer } from "node:buffer";
import { type ChannelModel, type ConfirmChannel, connect, type ConsumeMessage } from "amqplib";
import { delay } from "@std/async";
import type { SeededRandom } from "../../actors/runtime/seeded_random.ts";

/** How long a confirmation may take. Milliseconds. */
const CONFIRM_MS = 10_000;

export interface ShuffleOptions {
  /** Each message goes on after a random part of this time. Milliseconds. */
  readonly heldMs: number;
  /** Further copies of each, each after a random part of this time. Milliseconds. */
  readonly copies: number;
  readonly copiesWithinMs: number;
  readonly random: Pick<SeededRandom, "next">;
}

/** A message that was taken out of a queue. */
export interface Taken {
  readonly content: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

export class BrokerHand implements AsyncDisposable {
  private constructor(private readonly connection: ChannelModel, private readonly channel: ConfirmChannel) {}

  static async open(url: string): Promise<BrokerHand> {
    const connection = await connect(url, { timeout: 5000 });
    // The test breaks the broker: that this connection breaks with it is no news.
    connection.on("error", () => {});
    const channel = await connection.createConfirmChannel();
    channel.on("error", () => {});
    return new BrokerHand(connection, channel);
  }

  /** Puts a message into a queue, as bytes; waits until the broker has it. */
  async put(queue: string, content: string, headers: Readonly<Record<string, unknown>> = {}): Promise<void> {
    this.channel.publish("", queue, Buffer.from(content), { persistent: true, headers });
    await this.#confirmed();
  }

  /** Sends a message to an exchange; waits until the broker has it. */
  async send(
    exchange: string,
    content: string,
    headers: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    this.channel.publish(exchange, "", Buffer.from(content), { persistent: true, headers });
    await this.#confirmed();
  }

  /** Throws away what waits in a queue; gives how many that were. */
  async purge(queue: string): Promise<number> {
    return (await this.channel.purgeQueue(queue)).messageCount;
  }

  async deleteQueue(queue: string): Promise<void> {
    await this.channel.deleteQueue(queue);
  }

  async deleteExchange(exchange: string): Promise<void> {
    await this.channel.deleteExchange(exchange);
  }

  /** Declares a queue as an operator may have done by hand. */
  async declare(queue: string, args: Readonly<Record<string, unknown>>): Promise<void> {
    await this.channel.assertQueue(queue, { durable: true, arguments: args });
  }

  /** Messages that wait in a queue. */
  async count(queue: string): Promise<number> {
    return (await this.channel.checkQueue(queue)).messageCount;
  }

  /** Asks on a channel of its own: the broker closes the one that asks for a queue that is missing. */
  async exists(queue: string): Promise<boolean> {
    const channel = await this.connection.createChannel();
    channel.on("error", () => {});
    try {
      await channel.checkQueue(queue);
    } catch {
      return false;
    }
    await channel.close();
    return true;
  }

  /** Takes everything that waits in a queue. */
  async takeAll(queue: string): Promise<readonly Taken[]> {
    const taken: Taken[] = [];
    for (let message = await this.channel.get(queue); message; message = await this.channel.get(queue)) {
      taken.push({ content: message.content.toString(), headers: message.properties.headers ?? {} });
      this.channel.ack(message);
    }
    return taken;
  }

  /**
   * Stands in a queue beside its true consumers and passes on what it gets: late, in another order and more than
   * once. Give `end` to stop; what is held then goes on at once. Gives how many messages were sent on.
   */
  async shuffle(queue: string, options: ShuffleOptions): Promise<{ end(): Promise<number> }> {
    const { heldMs, copies, copiesWithinMs, random } = options;
    const stopping = new AbortController();
    const holding = new Set<Promise<void>>();
    let sent = 0;
    const passOn = async (message: ConsumeMessage, withinMs: number) => {
      await delay(random.next() * withinMs, { signal: stopping.signal }).catch(() => {});
      const { headers, type, messageId } = message.properties;
      // Marked, so that the same message is not shuffled for ever.
      this.channel.publish("", queue, message.content, {
        persistent: true,
        type,
        messageId,
        headers: { ...headers, shuffled: true },
      });
      sent += 1;
    };
    const hold = (message: ConsumeMessage, withinMs: number) => {
      const held = passOn(message, withinMs).finally(() => holding.delete(held));
      holding.add(held);
      return held;
    };
    await this.channel.prefetch(500);
    const { consumerTag } = await this.channel.consume(queue, (message) => {
      if (message === null) return;
      if (message.properties.headers?.["shuffled"] === true) {
        this.channel.nack(message, false, true); // for a true consumer
        return;
      }
      for (let copy = 0; copy < copies; copy += 1) void hold(message, copiesWithinMs);
      // Acknowledged when its copy is safe: this hand loses nothing.
      void hold(message, heldMs).then(() => this.#confirmed()).then(() => this.channel.ack(message));
    });
    return {
      end: async () => {
        await this.channel.cancel(consumerTag);
        stopping.abort();
        while (holding.size > 0) await Promise.all(holding);
        await this.#confirmed();
        return sent;
      },
    };
  }

  /** From now on sends this share of what an exchange gets once more. Gives how many that were, when it is asked. */
  async echo(
    exchange: string,
    share: number,
    random: Pick<SeededRandom, "next">,
  ): Promise<{ readonly sent: number }> {
    const { queue } = await this.channel.assertQueue("", { exclusive: true, autoDelete: true });
    await this.channel.bindQueue(queue, exchange, "#");
    const count = { sent: 0 };
    await this.channel.consume(queue, (message) => {
      if (message === null || message.properties.headers?.["echo"] === true) return;
      if (random.next() >= share) return;
      const { headers, type, messageId } = message.properties;
      this.channel.publish(exchange, message.fields.routingKey, message.content, {
        persistent: true,
        type,
        messageId,
        headers: { ...headers, echo: true },
      });
      count.sent += 1;
    }, { noAck: true });
    return count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.connection.once("close", () => resolve()));
    try {
      await this.connection.close();
      await closed;
    } catch {
      // The broker has gone, and the connection with it.
    }
  }

  async #confirmed(): Promise<void> {
    const late = new AbortController();
    await Promise.race([
      this.channel.waitForConfirms(),
      delay(CONFIRM_MS, { signal: late.signal }).then(() => {
        throw new Error(`Cannot put a message: not confirmed within ${CONFIRM_MS} ms`);
      }, () => {}),
    ]);
    late.abort();
  }
}
