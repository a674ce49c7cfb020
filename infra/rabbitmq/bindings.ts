/**
 * Binds the queues of known types anew. Whoever deletes an exchange deletes its bindings too: declaring it again
 * brings none back, and workers, who bind once when they begin, do not notice. The publisher does: its messages come
 * back as unroutable although workers offer their type.
 */
import type { Channel } from "amqplib";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import { messageOf, within } from "./deadline.ts";
import type { KnownType } from "./job_queue.ts";
import { QUEUE_GONE_MS } from "./kept_channel.ts";
import type { Link } from "./link.ts";
import { isNotFound, type Topology } from "./topology.ts";

const BIND_MS = 5000;
/** A type is not bound again within this time: whoever asks meanwhile gets the last answer. */
const AGAIN_MS = 2000;

interface Try {
  readonly at: number;
  readonly bound: Promise<boolean>;
}

export class Bindings {
  readonly #tries = new Map<string, Try>();

  constructor(
    private readonly deps: {
      readonly link: Link;
      readonly topology: Topology;
      readonly clock: Clock;
      readonly log: Log;
      /** A queue had neither messages nor consumers: what was published to it before may be lost. */
      readonly onNewQueue: (jobType: string, pool: string) => void;
    },
  ) {}

  /** Gives those of the types whose queues are bound (again). Never throws. */
  async repair(types: readonly KnownType[]): Promise<ReadonlySet<string>> {
    const bound = await Promise.all(types.map((type) => this.#repair(type)));
    return new Set(types.flatMap(({ jobType }, index) => bound[index] === true ? [jobType] : []));
  }

  #repair(type: KnownType): Promise<boolean> {
    const { jobType } = type;
    const at = this.deps.clock.mono();
    const last = this.#tries.get(jobType);
    if (last !== undefined && at - last.at < AGAIN_MS) return last.bound;
    const bound = this.#isBound(type);
    this.#tries.set(jobType, { at, bound });
    return bound;
  }

  async #isBound(type: KnownType): Promise<boolean> {
    const { clock, log } = this.deps;
    const { jobType } = type;
    try {
      await within(clock, BIND_MS, "bind a queue", this.#bind(type));
      log.warn("A message came back although workers offer its type: the queue is bound anew", { jobType });
      return true;
    } catch (error) {
      log.warn("A message came back although workers offer its type: " + messageOf(error), { jobType });
      return false;
    }
  }

  async #bind(type: KnownType): Promise<void> {
    const { topology, onNewQueue, clock } = this.deps;
    const { jobType, routingPattern, pools } = type;
    // Not before those who consumed it know that it is gone.
    if (await this.#isMissing(type)) {
      await new Promise<void>((resolve) => void clock.timer(QUEUE_GONE_MS, resolve));
    }
    const channel = await this.#channel();
    await topology.declareExchanges(channel);
    let isNew = false;
    for (const pool of [null, ...pools]) {
      isNew = await topology.declareJobQueue(channel, routingPattern, pool) || isNew;
    }
    await channel.close();
    // Its worker, who declares it next, finds a message in it and has nothing to announce.
    const [pool] = pools;
    if (isNew && pool !== undefined) onNewQueue(jobType, pool);
  }

  async #isMissing({ routingPattern, pools }: KnownType): Promise<boolean> {
    const channel = await this.#channel();
    try {
      for (const pool of [null, ...pools]) {
        await channel.checkQueue(this.deps.topology.queue(routingPattern, pool));
      }
    } catch (error) {
      if (!isNotFound(error)) throw error;
      return true;
    }
    await channel.close();
    return false;
  }

  /** Of its own: a refusal ends it. */
  async #channel(): Promise<Channel> {
    const { model } = this.deps.link;
    if (model === null) throw new Error("not connected to RabbitMQ");
    const channel = await model.createChannel();
    channel.on("error", () => {}); // the call that was refused rejects with it
    return channel;
  }
}
