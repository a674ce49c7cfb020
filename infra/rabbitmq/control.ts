/**
 * What workers tell all API instances at once: "this queue is new". Lost news does no harm; recovery looks by itself,
 * only later.
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import { messageOf } from "./deadline.ts";
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

/** Says that a queue had neither messages nor consumers when this worker came. */
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

/** An API instance's ear, on a queue of its own that goes when it goes. */
export class ControlEar {
  readonly #channel: KeptChannel;

  constructor(
    deps: ControlDeps & {
      readonly link: Link;
      readonly isOurs: (storeId: unknown) => boolean;
      readonly onQueueReady: (ready: QueueReady) => void;
    },
  ) {
    this.#channel = new KeptChannel({
      link: deps.link,
      act: "listen to workers",
      clock: deps.clock,
      log: deps.log,
      setUp: async (channel) => {
        await deps.topology.declareExchanges(channel);
        const { queue } = await channel.assertQueue("", { exclusive: true, autoDelete: true });
        await channel.bindQueue(queue, deps.topology.control, "");
        await channel.consume(queue, (message) => {
          if (message === null) return this.#channel.restart("the broker cancelled the consumer");
          if (!deps.isOurs(message.properties.headers?.storeId)) return;
          const decoded = decode(message.content, (fields) => ({
            type: id(fields, "type"),
            jobType: id(fields, "jobType"),
            pool: id(fields, "pool"),
          }));
          if (!decoded.ok) deps.log.warn("A control message cannot be read: " + decoded.reason);
          else if (decoded.value.type === "queueReady") deps.onQueueReady(decoded.value);
        }, { noAck: true });
      },
    });
    this.#channel.open();
  }

  whenUp(): Promise<void> {
    return this.#channel.whenUp();
  }

  close(): Promise<void> {
    return this.#channel.close();
  }
}
