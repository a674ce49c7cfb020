/**
 * What all API instances are told at once: "this queue is new". Lost news does no harm; recovery looks by itself,
 * only later.
 *
 * Whoever deletes the exchange deletes the bindings of all ears with it. Nobody is told: a worker declares the
 * exchange again, and what it says then goes nowhere. So each ear also sends a message to itself, and begins anew
 * when it does not hear it.
 */
import type { Channel, ConsumeMessage } from "amqplib";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { PublishAnswer } from "../../actors/ports/queue.ts";
import { messageOf } from "./deadline.ts";
import { Echo } from "./echo.ts";
import type { Identity } from "./identity.ts";
import { KeptChannel } from "./kept_channel.ts";
import type { Link } from "./link.ts";
import type { Publisher } from "./publisher.ts";
import type { Topology } from "./topology.ts";
import { decode, encode, id } from "./wire.ts";

export interface QueueReady {
  readonly jobType: string;
  readonly pool: string;
}

interface ControlDeps {
  readonly topology: Topology;
  readonly clock: Clock;
  readonly log: Log;
}

/** Says that a queue had neither messages nor consumers when it was declared. */
export function announceQueue(
  deps: ControlDeps & { readonly publisher: Publisher; readonly storeId: () => string | null },
  ready: QueueReady,
): void {
  deps.publisher.publish([{
    exchange: deps.topology.control,
    key: "",
    content: encode({ type: "queueReady", ...ready, isNew: true }),
    properties: {
      messageId: `queueReady/${ready.pool}/${ready.jobType}`,
      type: "queueReady",
      headers: { storeId: deps.storeId() },
    },
  }]).catch((error) =>
    deps.log.warn("Cannot say that a queue is new, recovery will look later: " + messageOf(error), {
      jobType: ready.jobType,
    })
  );
}

export interface ControlEarDeps extends ControlDeps {
  readonly link: Link;
  readonly publisher: Publisher;
  readonly identity: Identity;
  readonly onQueueReady: (ready: QueueReady) => void;
  /** It listens again, and may have missed what was said meanwhile. */
  readonly onListensAgain: () => void;
  /** How often it tests whether it hears. Milliseconds. */
  readonly testEachMs: number;
}

const ECHO = "echo";

/** An API instance's ear, on a queue of its own that goes when it goes. One that hears nothing begins anew. */
export class ControlEar {
  readonly #channel: KeptChannel;
  readonly #echo: Echo;
  /** The broker's name for its queue: nobody else has it. */
  #queue = "";
  #wasUp = false;

  constructor(private readonly deps: ControlEarDeps) {
    const { link, clock, log, testEachMs } = deps;
    this.#echo = new Echo({
      clock,
      eachMs: testEachMs,
      call: () => this.#callMyself(),
      onSilence: () => this.#channel.restart("its queue is no longer bound to the exchange"),
    });
    this.#channel = new KeptChannel({
      link,
      act: "listen to workers",
      clock,
      log,
      setUp: (channel) => this.#setUp(channel),
      up: () => this.#isUp(),
      lost: () => this.#echo.stop(),
    });
    this.#channel.open();
  }

  whenUp(): Promise<void> {
    return this.#channel.whenUp();
  }

  async close(): Promise<void> {
    this.#echo.stop();
    await this.#channel.close();
  }

  async #setUp(channel: Channel): Promise<void> {
    const { topology } = this.deps;
    await topology.declareExchanges(channel);
    const { queue } = await channel.assertQueue("", { exclusive: true, autoDelete: true });
    await channel.bindQueue(queue, topology.control, "");
    await channel.consume(queue, (message) => {
      if (message === null) this.#channel.restart("the broker cancelled the consumer");
      else this.#heard(message);
    }, { noAck: true });
    this.#queue = queue;
  }

  #isUp(): void {
    this.#echo.start();
    if (this.#wasUp) this.deps.onListensAgain();
    this.#wasUp = true;
  }

  #heard({ content, properties }: ConsumeMessage): void {
    const { identity, log, onQueueReady } = this.deps;
    if (!identity.isOurs(properties.headers?.storeId)) return;
    if (properties.type === ECHO) {
      if (properties.messageId === this.#queue) this.#echo.heard();
      return;
    }
    const decoded = decode(content, (fields) => ({
      type: id(fields, "type"),
      jobType: id(fields, "jobType"),
      pool: id(fields, "pool"),
    }));
    if (!decoded.ok) log.warn("A control message cannot be read: " + decoded.reason);
    else if (decoded.value.type === "queueReady") onQueueReady(decoded.value);
  }

  async #callMyself(): Promise<PublishAnswer> {
    const { topology, publisher, identity } = this.deps;
    // To publish to an exchange that is missing would end the publisher's channel, with the jobs that are under way.
    await topology.declareExchanges(this.#channel.up);
    const [answer] = await publisher.publish([{
      exchange: topology.control,
      key: "",
      content: encode({ type: ECHO }),
      properties: {
        messageId: this.#queue,
        type: ECHO,
        mandatory: true,
        headers: { storeId: identity.storeId },
      },
    }]);
    return answer ?? "full";
  }
}
