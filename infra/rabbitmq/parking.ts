/**
 * Where messages go that nobody can make sense of: a copy with the reason on the dead-letter exchange, then the
 * original is acknowledged. Nothing is thrown away, nothing blocks what comes behind it.
 */
import type { Buffer } from "node:buffer";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Publisher } from "./publisher.ts";
import type { Topology } from "./topology.ts";

const SAY_AGAIN_MS = 10_000;

export interface Unreadable {
  readonly content: Buffer;
  readonly properties: {
    readonly messageId?: unknown;
    readonly headers?: Readonly<Record<string, unknown>> | undefined;
  };
}

export class Parking {
  #count = 0;
  /** Reason → when it was said last, and how many came since. */
  readonly #said = new Map<string, { at: number; unsaid: number }>();

  constructor(
    private readonly deps: {
      readonly publisher: Publisher;
      readonly topology: Topology;
      readonly clock: Clock;
      readonly log: Log;
      readonly instanceId: string;
    },
  ) {}

  /** How many this process has parked. */
  get count(): number {
    return this.#count;
  }

  /** Settles when the copy is safe; only then may the original be acknowledged. */
  async park(message: Unreadable, queue: string, reason: string): Promise<void> {
    const { publisher, topology, clock, instanceId } = this.deps;
    const { messageId, headers } = message.properties;
    const [answer] = await publisher.publish([{
      exchange: topology.dlx,
      key: queue,
      content: message.content,
      properties: {
        messageId: typeof messageId === "string" ? messageId : "unknown",
        persistent: true,
        mandatory: true,
        headers: {
          ...harmless(headers),
          "x-reason": reason,
          "x-queue": queue,
          "x-parked-at": clock.now(),
          "x-parked-by": instanceId,
        },
      },
    }]);
    // Its queue was deleted: declared anew, and whoever parks tries again.
    if (answer === "unroutable") publisher.restart("the parking queue is missing");
    if (answer !== "accepted") throw new Error(`Cannot park a message: the broker answered ${answer}`);
    this.#count += 1;
    this.#say(queue, reason);
  }

  /** One line a reason and ten seconds: a flood of bad messages is no flood of lines. */
  #say(queue: string, reason: string): void {
    const { clock, log, topology } = this.deps;
    const about = `${queue}: ${reason}`;
    const said = this.#said.get(about);
    if (said !== undefined && clock.mono() - said.at < SAY_AGAIN_MS) {
      said.unsaid += 1;
      return;
    }
    log.error("A message cannot be used and was parked: " + reason, {
      queue,
      parkedIn: topology.parked,
      more: said?.unsaid ?? 0,
    });
    if (this.#said.size > 100) this.#said.clear();
    this.#said.set(about, { at: clock.mono(), unsaid: 0 });
  }
}

/** Headers of the broker itself cannot be sent back to it; texts and numbers can. */
function harmless(headers: Readonly<Record<string, unknown>> | undefined): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(headers ?? {}).filter(([name, value]) =>
      !name.startsWith("x-") && ["string", "number", "boolean"].includes(typeof value)
    ),
  );
}
