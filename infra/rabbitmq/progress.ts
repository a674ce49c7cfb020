/**
 * Progress of running attempts: unconfirmed, not persistent, only the newest of each attempt. What is lost on the
 * way is followed by a newer one.
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { ProgressReport } from "../../actors/ports/queue.ts";
import { KeptChannel } from "./kept_channel.ts";
import type { Identity } from "./identity.ts";
import type { Link } from "./link.ts";
import type { Publisher } from "./publisher.ts";
import type { Topology } from "./topology.ts";
import { decode, encode, readProgress } from "./wire.ts";

const SEND_EACH_MS = 50;
const HANDLE_AGAIN_MS = 50;

/** The newest progress of each attempt. */
class Newest {
  #byAttempt = new Map<string, ProgressReport>();

  add(progress: ProgressReport): void {
    this.#byAttempt.set(`${progress.occurrenceId}/${progress.token}`, progress);
  }

  take(): readonly ProgressReport[] {
    const all = [...this.#byAttempt.values()];
    this.#byAttempt.clear();
    return all;
  }

  get isEmpty(): boolean {
    return this.#byAttempt.size === 0;
  }
}

export class ProgressSender {
  readonly #newest = new Newest();
  #cancel: (() => void) | null = null;

  constructor(
    private readonly options: {
      readonly publisher: Publisher;
      readonly topology: Topology;
      readonly identity: Identity;
      readonly clock: Clock;
    },
  ) {}

  send(progress: ProgressReport): void {
    this.#newest.add(progress);
    this.#cancel ??= this.options.clock.timer(SEND_EACH_MS, () => this.#flush());
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  #flush(): void {
    this.#cancel = null;
    const { publisher, topology, identity } = this.options;
    publisher.publish([{
      exchange: "",
      key: topology.progress,
      content: encode({ progress: this.#newest.take() }),
      properties: { messageId: "progress", type: "progress", headers: { storeId: identity.storeId } },
    }]).catch(() => {
      // A newer one follows.
    });
  }
}

export class ProgressReceiver {
  readonly #channel: KeptChannel;
  readonly #newest = new Newest();
  #handling: Promise<void> | null = null;
  #isStopping = false;

  constructor(
    private readonly options: {
      readonly link: Link;
      readonly topology: Topology;
      readonly identity: Identity;
      readonly clock: Clock;
      readonly log: Log;
      readonly handle: (progress: readonly ProgressReport[]) => Promise<void>;
    },
  ) {
    const { link, topology, clock, log, identity } = options;
    this.#channel = new KeptChannel({
      link,
      act: "receive progress",
      clock,
      log,
      setUp: async (channel) => {
        await topology.declareProgress(channel);
        await channel.consume(topology.progress, (message) => {
          if (message === null) return this.#channel.restart("the broker cancelled the consumer");
          if (!identity.isOurs(message.properties.headers?.storeId)) return;
          const decoded = decode(message.content, readProgress);
          if (!decoded.ok) return;
          for (const progress of decoded.value) this.#newest.add(progress);
          this.#next();
        }, { noAck: true });
      },
    });
    this.#channel.open();
  }

  whenUp(): Promise<void> {
    return this.#channel.whenUp();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#channel.close();
    await this.#handling;
  }

  #next(): void {
    if (this.#handling !== null || this.#newest.isEmpty || this.#isStopping) return;
    this.#handling = this.#handle().finally(() => {
      this.#handling = null;
      this.#next();
    });
  }

  async #handle(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    try {
      await this.options.handle(this.#newest.take());
    } catch {
      // The handler has said why; a newer one follows. Not at once, or a store that is away is asked in a circle.
      await new Promise<void>((resolve) => this.options.clock.timer(HANDLE_AGAIN_MS, resolve));
    }
  }
}
