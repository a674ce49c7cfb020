/** Names of exchanges and queues, and how they are declared. Declaring what exists already is free. */
import type { Channel, Options } from "amqplib";
import { queueName } from "../../actors/domain/job_type.ts";

export type QueueType = "quorum" | "classic";

/** A job message that was given back this often goes to the parking queue (quorum queues count). */
const DELIVERY_LIMIT = 100;
/** Progress is worth nothing after this, milliseconds. */
const PROGRESS_TTL_MS = 30_000;
const PROGRESS_BOUND = 10_000;

export class Topology {
  readonly jobs: string;
  readonly dlx: string;
  readonly control: string;
  readonly parked: string;
  readonly reports: string;
  readonly lines: string;
  readonly progress: string;
  readonly attempts: string;

  constructor(private readonly prefix: string, private readonly queueType: QueueType) {
    this.jobs = `${prefix}milvaion.jobs`;
    this.dlx = `${prefix}milvaion.dlx`;
    this.control = `${prefix}milvaion.control`;
    this.parked = `${prefix}milvaion.parked`;
    this.reports = `${prefix}milvaion.reports`;
    this.lines = `${prefix}milvaion.lines`;
    this.progress = `${prefix}milvaion.progress`;
    this.attempts = `${prefix}milvaion.attempts`;
  }

  /** The queue of a pattern, or of a pattern in a pool. */
  queue(routingPattern: string, pool: string | null): string {
    return this.prefix + queueName(routingPattern, pool);
  }

  /** The key that binds a queue to the exchange of jobs. */
  bindingKey(routingPattern: string, pool: string | null): string {
    return pool === null ? routingPattern : `${pool}.${routingPattern}`;
  }

  /** The key of one message: the pattern's words, the id in place of each wildcard. */
  routingKey(routingPattern: string, pool: string | null, occurrenceId: string): string {
    return this.bindingKey(routingPattern, pool).replaceAll(/[*#]/g, occurrenceId);
  }

  async declareExchanges(channel: Channel): Promise<void> {
    await channel.assertExchange(this.jobs, "topic", { durable: true });
    await channel.assertExchange(this.dlx, "fanout", { durable: true });
    await channel.assertExchange(this.control, "fanout", { durable: true });
  }

  /** Declares the queue of a pattern and binds it. Answers whether nobody used it before. */
  async declareJobQueue(channel: Channel, routingPattern: string, pool: string | null): Promise<boolean> {
    const name = this.queue(routingPattern, pool);
    const { messageCount, consumerCount } = await declare(channel, name, {
      durable: true,
      arguments: {
        ...this.#kind(),
        ...(this.queueType === "quorum" ? { "x-delivery-limit": DELIVERY_LIMIT } : {}),
        "x-dead-letter-exchange": this.dlx,
      },
    });
    await channel.bindQueue(name, this.jobs, this.bindingKey(routingPattern, pool));
    return messageCount === 0 && consumerCount === 0;
  }

  async declareParked(channel: Channel): Promise<void> {
    await this.declareExchanges(channel);
    await declare(channel, this.parked, { durable: true, arguments: this.#kind() });
    await channel.bindQueue(this.parked, this.dlx, "");
  }

  /** `name`: that of reports or lines. */
  async declareDurable(channel: Channel, name: string): Promise<void> {
    await declare(channel, name, { durable: true, arguments: this.#kind() });
  }

  async declareProgress(channel: Channel): Promise<void> {
    await declare(channel, this.progress, {
      durable: true,
      arguments: {
        "x-queue-type": "classic",
        "x-message-ttl": PROGRESS_TTL_MS,
        "x-max-length": PROGRESS_BOUND,
      },
    });
  }

  async declareAttempts(channel: Channel): Promise<void> {
    await declare(channel, this.attempts, { durable: true, arguments: { "x-queue-type": "classic" } });
  }

  #kind(): { readonly "x-queue-type": QueueType } {
    return { "x-queue-type": this.queueType };
  }
}

const PRECONDITION_FAILED = 406;

/** Declares a queue. One that exists with other arguments is an error that says what to do. */
async function declare(channel: Channel, name: string, options: Options.AssertQueue) {
  try {
    return await channel.assertQueue(name, options);
  } catch (error) {
    if ((error as { code?: unknown }).code !== PRECONDITION_FAILED) throw error;
    throw new Error(
      `the queue ${name} exists with other arguments than ${JSON.stringify(options.arguments)}. ` +
        `Set MilvaionConfig.RabbitMQ.QueueType to what it is, or let it run empty and delete it: ` +
        `rabbitmqctl delete_queue ${name}`,
      { cause: error },
    );
  }
}
