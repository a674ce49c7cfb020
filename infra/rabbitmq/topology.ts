/**
 * Names of exchanges and queues, and how they are declared. Declaring what exists already is free.
 *
 * Progress and requests for attempts go over classic queues, for speed: what is in them is worth nothing a moment
 * later. A classic queue is away while its node is. Each has a standby of the configured kind, which API instances
 * serve as well; senders take it when the queue itself cannot be declared.
 */
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
  readonly attemptsStandby: string;
  readonly progressStandby: string;

  constructor(private readonly prefix: string, private readonly queueType: QueueType) {
    this.jobs = `${prefix}milvaion.jobs`;
    this.dlx = `${prefix}milvaion.dlx`;
    this.control = `${prefix}milvaion.control`;
    this.parked = `${prefix}milvaion.parked`;
    this.reports = `${prefix}milvaion.reports`;
    this.lines = `${prefix}milvaion.lines`;
    this.progress = `${prefix}milvaion.progress`;
    this.attempts = `${prefix}milvaion.attempts`;
    this.attemptsStandby = `${this.attempts}.standby`;
    this.progressStandby = `${this.progress}.standby`;
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

  /** `name`: the queue of progress or its standby. */
  async declareProgress(channel: Channel, name: string): Promise<void> {
    await declare(channel, name, {
      durable: true,
      arguments: {
        ...(name === this.progress ? CLASSIC : this.#kind()),
        "x-message-ttl": PROGRESS_TTL_MS,
        "x-max-length": PROGRESS_BOUND,
      },
    });
  }

  /** `name`: the queue of requests for attempts or its standby. */
  async declareAttempts(channel: Channel, name: string): Promise<void> {
    await declare(channel, name, {
      durable: true,
      arguments: name === this.attempts ? CLASSIC : this.#kind(),
    });
  }

  #kind(): { readonly "x-queue-type": QueueType } {
    return { "x-queue-type": this.queueType };
  }
}

const CLASSIC = { "x-queue-type": "classic" } as const;
const PRECONDITION_FAILED = 406;
const NOT_FOUND = 404;

/** The broker has no such queue, or its node is away. */
export function isNotFound(error: unknown): boolean {
  return (error as { code?: unknown }).code === NOT_FOUND;
}

/**
 * Where a sender sends: to a queue, or to its standby while the queue cannot be declared because its node is away.
 * Each failed declaration ends the channel, so that the next channel takes the other one; each new channel after a
 * good one begins with the queue itself.
 */
export class StandbyChoice {
  #name: string;
  #isQueueAway = false;

  constructor(private readonly queue: string, private readonly standby: string) {
    this.#name = queue;
  }

  get name(): string {
    return this.#name;
  }

  /** Declares it on a new channel. Rejects when that fails; the channel is over then. */
  async declare(declare: (name: string) => Promise<void>): Promise<void> {
    const name = this.#isQueueAway ? this.standby : this.queue;
    this.#isQueueAway = false;
    try {
      await declare(name);
    } catch (error) {
      // A queue that is not there is made: only one whose node is away is "not found".
      this.#isQueueAway = name === this.queue && isNotFound(error);
      throw error;
    }
    this.#name = name;
  }
}

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
