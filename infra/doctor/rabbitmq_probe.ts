/** A connection to RabbitMQ for looking: each question on a channel of its own, since a refusal ends the channel. */
import { type Channel, type ChannelModel, connect } from "amqplib";
import { Buffer } from "node:buffer";
import type { Clock } from "../../actors/ports/clock.ts";
import { asError, CONNECT_MS } from "./check.ts";

const GOODBYE_MS = 1000;
const CONFIRM_MS = 2000;

/** A refusal of the broker. Codes are those of AMQP: 403 access refused, 404 not found, 406 precondition failed. */
export interface BrokerError extends Error {
  readonly code?: unknown;
}

export class RabbitmqProbe {
  #blocked: Promise<string | null> | null = null;

  private constructor(
    private readonly url: string,
    private readonly clock: Pick<Clock, "timer">,
    private readonly model: ChannelModel,
  ) {}

  /** Rejects when there is no connection to be had. */
  static async reach(url: string, clock: Pick<Clock, "timer">): Promise<RabbitmqProbe> {
    return new RabbitmqProbe(url, clock, await open(url));
  }

  /** e.g. `3.13.1`; empty when the broker does not say. */
  get version(): string {
    return String(this.model.connection.serverProperties.version ?? "");
  }

  get product(): string {
    return String(this.model.connection.serverProperties.product ?? "");
  }

  /** Rejects with a `BrokerError` when the broker refuses. */
  async ask<T>(question: (channel: Channel) => Promise<T>): Promise<T> {
    const channel = await this.model.createChannel();
    let refusal: Error | null = null;
    channel.on("error", (error) => refusal ??= error);
    try {
      const answer = await question(channel);
      await channel.close();
      return answer;
    } catch (error) {
      // The reason of the channel's end comes as an event; a call only learns that it is closed.
      throw refusal ?? error;
    }
  }

  /** Why the broker takes no messages (memory or disk alarm), or null when it takes them. Asked once. */
  blocked(): Promise<string | null> {
    this.#blocked ??= this.#tryToPublish();
    return this.#blocked;
  }

  async close(): Promise<void> {
    await end(this.model, this.clock);
  }

  /** On a connection of its own: a broker with an alarm reads nothing more from one that publishes. */
  async #tryToPublish(): Promise<string | null> {
    const model = await open(this.url);
    try {
      const channel = await model.createConfirmChannel();
      let refusal: Error | null = null;
      channel.on("error", (error) => refusal ??= error);
      return await new Promise<string | null>((resolve, reject) => {
        const cancel = this.clock.timer(
          CONFIRM_MS,
          () => reject(new Error("a message was not confirmed in time")),
        );
        const settle = (reason: string | null) => {
          cancel();
          resolve(reason);
        };
        model.on("blocked", (reason) => settle(reason || "an alarm is on"));
        // A key that leads nowhere: the message is confirmed and gone.
        channel.publish("", "milvaion.doctor.nowhere", Buffer.alloc(0));
        channel.waitForConfirms().then(() => settle(null), (error) => {
          cancel();
          reject(refusal ?? error);
        });
      });
    } finally {
      await end(model, this.clock);
    }
  }
}

async function open(url: string): Promise<ChannelModel> {
  try {
    const model = await connect(url, {
      timeout: CONNECT_MS,
      clientProperties: { connection_name: "milvaion doctor" },
    });
    model.on("error", () => {}); // whoever waits for an answer is told
    return model;
  } catch (error) {
    throw asError(error);
  }
}

/** Ends the connection, by force where the broker does not answer. */
async function end(model: ChannelModel, clock: Pick<Clock, "timer">): Promise<void> {
  await new Promise<void>((resolve) => {
    const cancel = clock.timer(GOODBYE_MS, resolve);
    model.close().catch(() => {}).finally(() => {
      cancel();
      resolve();
    });
  });
  (model.connection as unknown as { readonly stream: { destroy(): void } }).stream.destroy();
}
