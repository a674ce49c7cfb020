/**
 * Progress of running attempts, and that they were given their abort signal: unconfirmed, not persistent. Of progress
 * only the newest of each attempt. What is lost on the way is followed by newer progress, or by the attempt's report.
 */
import type { SignalNotice } from "../../actors/domain/message.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { ProgressReport } from "../../actors/ports/queue.ts";
import { KeptChannel } from "./kept_channel.ts";
import type { Identity } from "./identity.ts";
import type { Link } from "./link.ts";
import type { Publisher } from "./publisher.ts";
import type { Topology } from "./topology.ts";
import { decode, encode, readHints } from "./wire.ts";

const SEND_EACH_MS = 50;
const HANDLE_AGAIN_MS = 50;

/** The newest progress of each attempt, and all signals. */
class Newest {
  #byAttempt = new Map<string, ProgressReport>();
  #signals: SignalNotice[] = [];

  add(progress: ProgressReport): void {
    this.#byAttempt.set(`${progress.occurrenceId}/${progress.token}`, progress);
  }

  addSignal(signal: SignalNotice): void {
    this.#signals.push(signal);
  }

  takeSignals(): readonly SignalNotice[] {
    return this.#signals.splice(0);
  }

  take(): readonly ProgressReport[] {
    const all = [...this.#byAttempt.values()];
    this.#byAttempt.clear();
    return all;
  }

  get isEmpty(): boolean {
    return this.#byAttempt.size === 0 && this.#signals.length === 0;
  }
}

export class ProgressSender {
  readonly #newest = new Newest();
  #cancel: (() => void) | null = null;

  constructor(
    private readonly options: {
      readonly publisher: Publisher;
      /** Where it goes. */
      readonly queue: () => string;
      readonly identity: Identity;
      readonly clock: Clock;
    },
  ) {}

  send(progress: ProgressReport): void {
    this.#newest.add(progress);
    this.#plan();
  }

  sendSignal(signal: SignalNotice): void {
    this.#newest.addSignal(signal);
    this.#plan();
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  #plan(): void {
    this.#cancel ??= this.options.clock.timer(SEND_EACH_MS, () => this.#flush());
  }

  #flush(): void {
    this.#cancel = null;
    const { publisher, queue, identity } = this.options;
    const signals = this.#newest.takeSignals();
    publisher.publish([{
      exchange: "",
      key: queue(),
      content: encode({ progress: this.#newest.take(), ...(signals.length === 0 ? {} : { signals }) }),
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
      /** The queue of progress or its standby. */
      readonly queue: string;
      readonly identity: Identity;
      readonly clock: Clock;
      readonly log: Log;
      readonly progress: (progress: readonly ProgressReport[]) => Promise<void>;
      readonly signals: (signals: readonly SignalNotice[]) => Promise<void>;
    },
  ) {
    const { link, topology, queue, clock, log, identity } = options;
    this.#channel = new KeptChannel({
      link,
      act: "receive progress",
      clock,
      log,
      setUp: async (channel) => {
        await topology.declareProgress(channel, queue);
        await channel.consume(queue, (message) => {
          if (message === null) return this.#channel.queueIsGone("the broker cancelled the consumer");
          if (!identity.isOurs(message.properties.headers?.storeId)) return;
          const decoded = decode(message.content, readHints);
          if (!decoded.ok) return;
          for (const progress of decoded.value.progress) this.#newest.add(progress);
          for (const signal of decoded.value.signals) this.#newest.addSignal(signal);
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
      const [progress, signals] = [this.#newest.take(), this.#newest.takeSignals()];
      if (signals.length > 0) await this.options.signals(signals);
      if (progress.length > 0) await this.options.progress(progress);
    } catch {
      // The handler has said why; a newer one follows. Not at once, or a store that is away is asked in a circle.
      await new Promise<void>((resolve) => this.options.clock.timer(HANDLE_AGAIN_MS, resolve));
    }
  }
}
