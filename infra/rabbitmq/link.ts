/**
 * One connection to the broker that comes back by itself, for ever. Of a cluster it is a connection to one node; when
 * it is lost, or cannot be made, the next node is tried.
 *
 *   down ──connected──► up ──lost: socket, heartbeat, broker──► down, tried again after 100 ms … 1 s
 *
 * Each change of state is one line in the log; a try that fails says nothing more. Only a first connection that the
 * broker ends by an internal error is no warning: it is what becomes of some of those that declare one quorum queue
 * for the first time at the same moment, and the next connection finds the queue.
 */
import { type ChannelModel, connect } from "amqplib";
import type { Writable } from "node:stream";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import { messageOf, pause, within } from "./deadline.ts";
import { gatherWrites } from "./gathered_writes.ts";

export interface LinkOptions {
  /** The nodes of the broker, tried in this order. */
  readonly urls: readonly [string, ...string[]];
  /** What the connection is for; the broker shows it too. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface LinkListener {
  readonly up?: (model: ChannelModel) => void;
  /** The broker takes nothing more for now (memory or disk alarm), and takes it again. */
  readonly blocked?: (reason: string) => void;
  readonly unblocked?: () => void;
}

/** Seconds. Silence of two to three of them ends a connection. */
const HEARTBEAT_SECONDS = 5;
const CONNECT_MS = 5000;
const CLOSE_MS = 1000;
const AGAIN_MS = 100;
const AGAIN_AT_MOST_MS = 1000;
/** The reply code with which a broker ends a connection because of an error of its own. */
const INTERNAL_ERROR = 541;

export class Link {
  #model: ChannelModel | null = null;
  #blockedReason: string | null = null;
  #lastError: string | null = null;
  readonly #listeners = new Set<LinkListener>();
  readonly #closing = new AbortController();
  #running: Promise<void> | null = null;
  #turn = 0;

  constructor(private readonly options: LinkOptions) {}

  /** The connection while it is up. */
  get model(): ChannelModel | null {
    return this.#model;
  }

  /** Why the broker takes nothing, or null when it does. */
  get blockedReason(): string | null {
    return this.#blockedReason;
  }

  /** Why it is not connected, as far as known. */
  get lastError(): string | null {
    return this.#lastError;
  }

  /** Begins to connect. Settles with the first try, whether it succeeds or not. */
  open(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running ??= this.#run(resolve);
    return promise;
  }

  /** Calls `up` at once when it is up already. The result ends it. */
  listen(listener: LinkListener): () => void {
    this.#listeners.add(listener);
    if (this.#model !== null) listener.up?.(this.#model);
    return () => this.#listeners.delete(listener);
  }

  /** Ends this connection as if it had been lost; a new one is made. */
  restart(): void {
    if (this.#model !== null) cut(this.#model, new Error("given up"));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const model = this.#model;
    if (model !== null) {
      await within(this.options.clock, CLOSE_MS, "close the connection", model.close()).catch(() =>
        cut(model, new Error("closed"))
      );
    }
    await this.#running;
  }

  async #run(triedOnce: () => void): Promise<void> {
    const { clock, log, name } = this.options;
    const { signal } = this.#closing;
    let againMs = AGAIN_MS;
    let isKnownDown = false;
    let connections = 0;
    while (!signal.aborted) {
      let why: unknown;
      try {
        const model = await this.#connect();
        connections += 1;
        const lost = this.#watch(model);
        log.info(isKnownDown ? "Connected to RabbitMQ again" : "Connected to RabbitMQ", {
          connection: name,
          ...(this.options.urls.length === 1 ? {} : { node: new URL(this.#url).host }),
        });
        isKnownDown = false;
        againMs = AGAIN_MS;
        for (const listener of [...this.#listeners]) listener.up?.(model);
        triedOnce();
        if (signal.aborted) cut(model, new Error("closed"));
        why = await lost;
      } catch (error) {
        why = error;
      }
      this.#lastError = messageOf(why);
      this.#turn += 1;
      triedOnce();
      if (signal.aborted) return;
      const isRace = connections === 1 && (why as { code?: unknown }).code === INTERNAL_ERROR;
      if (!isKnownDown) {
        log[isRace ? "info" : "warn"]("Not connected to RabbitMQ, trying again: " + this.#lastError, {
          connection: name,
        });
      }
      // After a race the next failure is news.
      isKnownDown = !isRace;
      await pause(clock, againMs, signal);
      againMs = Math.min(againMs * 2, AGAIN_AT_MOST_MS);
    }
  }

  get #url(): string {
    const { urls } = this.options;
    return urls[this.#turn % urls.length] ?? urls[0];
  }

  async #connect(): Promise<ChannelModel> {
    const url = new URL(this.#url);
    if (!url.searchParams.has("heartbeat")) url.searchParams.set("heartbeat", String(HEARTBEAT_SECONDS));
    const model = await connect(url.href, {
      timeout: CONNECT_MS,
      noDelay: true,
      keepAlive: true,
      clientProperties: { connection_name: `milvaion ${this.options.name}` },
    });
    gatherWrites(streamOf(model));
    return model;
  }

  /** Settles with the reason when the connection is gone. */
  #watch(model: ChannelModel): Promise<Error> {
    this.#model = model;
    let why: Error | null = null;
    model.on("error", (error) => why ??= error);
    model.on("blocked", (reason) => {
      this.#blockedReason = reason;
      this.options.log.warn("RabbitMQ takes no messages: " + reason, { connection: this.options.name });
      for (const listener of [...this.#listeners]) listener.blocked?.(reason);
    });
    model.on("unblocked", () => this.#unblocked());
    return new Promise((resolve) =>
      model.on("close", (error) => {
        this.#model = null;
        this.#blockedReason = null;
        // A peer that is frozen never answers the end of the stream: nothing is to be waited for.
        streamOf(model).destroy();
        resolve(why ?? error ?? new Error("closed"));
      })
    );
  }

  #unblocked(): void {
    this.#blockedReason = null;
    this.options.log.info("RabbitMQ takes messages again", { connection: this.options.name });
    for (const listener of [...this.#listeners]) listener.unblocked?.();
  }
}

/** amqplib has no way to end a connection without the other side's consent; its stream has. */
function streamOf(model: ChannelModel): Writable {
  return (model.connection as unknown as { readonly stream: Writable }).stream;
}

function cut(model: ChannelModel, why: Error): void {
  (model.connection as unknown as { onSocketError(error: Error): void }).onSocketError(why);
}
