/**
 * A channel that is opened and set up again whenever it, or its connection, is lost.
 *
 * A channel dies alone when the broker refuses one of its calls (a queue with other arguments, an exchange that was
 * deleted); its neighbours on the connection do not notice.
 */
import type { ChannelModel, ConfirmChannel } from "amqplib";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { messageOf, pause, within } from "./deadline.ts";
import type { Link } from "./link.ts";

export interface KeptChannelOptions {
  readonly link: Link;
  /** What it is for, in messages: "consume SendEmailJob". */
  readonly act: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Declares and subscribes. The channel counts as up when this has settled. */
  readonly setUp: (channel: ConfirmChannel) => Promise<void>;
  readonly up?: () => void;
  readonly lost?: (why: Error) => void;
}

const SET_UP_MS = 10_000;
const CLOSE_MS = 1000;
const AGAIN_MS = 100;
const AGAIN_AT_MOST_MS = 2000;
/** So long after a queue was deleted it is not declared anew, milliseconds. */
export const QUEUE_GONE_MS = 500;

export class KeptChannel {
  #channel: ConfirmChannel | null = null;
  /** The one that is being set up. */
  #opening: ConfirmChannel | null = null;
  /** The channel is given up on purpose: who waits for it waits for the next one. */
  #isRestarting = false;
  /** Nothing is declared before this monotonic moment. */
  #notBefore = -Infinity;
  #lastError = "not connected to RabbitMQ";
  #ended: Promise<void> | null = null;
  #unlisten: () => void = () => {};
  #waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  readonly #closing = new AbortController();

  constructor(private readonly options: KeptChannelOptions) {}

  /** The channel while it is up. */
  get channel(): ConfirmChannel | null {
    return this.#channel;
  }

  /** The channel. Throws "Cannot <act>: …" while it is not up. */
  get up(): ConfirmChannel {
    if (this.#channel === null) throw this.#error();
    return this.#channel;
  }

  /** Opens it, now and for as long as it is not closed. */
  open(): void {
    this.#unlisten = this.options.link.listen({ up: (model) => this.#start(model) });
  }

  /** Settles when it is up; rejects when the present try fails, or at once without a connection. */
  whenUp(): Promise<void> {
    if (this.#channel !== null) return Promise.resolve();
    if (this.options.link.model === null || this.#closing.signal.aborted) {
      return Promise.reject(this.#error());
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Ends this channel as if it had been lost; a new one is made. */
  restart(why: string): void {
    this.#lastError = why;
    const channel = this.#channel ?? this.#opening;
    if (channel === null) return;
    this.#channel = null;
    this.#isRestarting = true;
    void this.#closeQuietly(channel);
  }

  /**
   * The same for a channel whose queue was deleted. It is declared anew only when every channel that consumed it has
   * heard of its end: RabbitMQ moves a consumer that has not to the new queue, and drops as many deliveries to it as it
   * had before (seen with 3.10, each time).
   */
  queueIsGone(why: string): void {
    this.#notBefore = this.options.clock.mono() + QUEUE_GONE_MS;
    this.restart(why);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#unlisten();
    if (this.#channel !== null) await this.#closeQuietly(this.#channel);
    await this.#ended;
  }

  #start(model: ChannelModel): void {
    const before = this.#ended;
    this.#ended = Promise.resolve(before).then(() => this.#keep(model));
  }

  async #keep(model: ChannelModel): Promise<void> {
    const { clock, log, act, link } = this.options;
    const { signal } = this.#closing;
    let againMs = AGAIN_MS;
    let said: string | null = null;
    while (!signal.aborted && link.model === model) {
      try {
        await this.#serve(model, () => {
          if (said !== null) log.info(`Can ${act} again`);
          said = null;
          againMs = AGAIN_MS;
        });
      } catch (error) {
        this.#lastError = messageOf(error);
      }
      if (signal.aborted || link.model !== model) break;
      if (!this.#isRestarting) this.#settle(this.#error());
      this.#isRestarting = false;
      if (said !== this.#lastError) log.warn(`Cannot ${act}, trying again: ${this.#lastError}`);
      said = this.#lastError;
      await pause(clock, Math.max(againMs, this.#notBefore - clock.mono()), signal);
      againMs = Math.min(againMs * 2, AGAIN_AT_MOST_MS);
    }
    if (link.model === null) this.#lastError = "not connected to RabbitMQ";
    this.#settle(this.#error());
  }

  /** One channel, from its opening to its end. */
  async #serve(model: ChannelModel, isUp: () => void): Promise<void> {
    const { clock, act, lost, setUp } = this.options;
    const channel = await within(clock, SET_UP_MS, act, model.createConfirmChannel());
    const ended = new Promise<void>((resolve) => channel.once("close", resolve));
    channel.on("error", (error) => this.#lastError = messageOf(error));
    this.#opening = channel;
    try {
      await within(clock, SET_UP_MS, act, setUp(channel));
    } catch (error) {
      // One that does not even close is left behind: the connection's own heartbeat says whether more is wrong.
      await within(clock, CLOSE_MS, act, channel.close()).catch(() => {});
      lost?.(error as Error);
      throw error;
    } finally {
      this.#opening = null;
    }
    if (this.#closing.signal.aborted) await this.#closeQuietly(channel);
    else {
      this.#channel = channel;
      isUp();
      this.options.up?.();
      this.#settle(null);
    }
    await ended;
    this.#channel = null;
    lost?.(this.#error());
  }

  async #closeQuietly(channel: ConfirmChannel): Promise<void> {
    const { clock, act, link } = this.options;
    try {
      await within(clock, CLOSE_MS, act, channel.close());
    } catch (error) {
      // Closed already, or the broker does not answer: then the connection is as good as lost.
      if (messageOf(error).includes("no answer")) link.restart();
    }
  }

  #settle(error: Error | null): void {
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (error === null) resolve();
      else reject(error);
    }
  }

  #error(): Error {
    return new Unavailable(`Cannot ${this.options.act}: ${this.#lastError}`);
  }
}
