/**
 * One connection to Redis that never makes anybody wait.
 *
 * While it is down, calls are refused at once and nothing is queued: whoever asks has something better to do (the
 * leader works on from the store). A call that is not answered within its time is given up; the server may still
 * carry it out. A connection on which nothing arrives for longer is cut and made anew, for ever, at most a second
 * apart. Commands that were on their way when a connection broke are not sent again.
 */
import { type ChainableCommander, Redis } from "ioredis";
import type { Clock } from "../../actors/ports/clock.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";

export interface ConnectionOptions {
  /** `redis://user:password@host:port/database`, or `rediss://` for TLS. */
  readonly url: string;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  /** Milliseconds until an unanswered command is given up. */
  readonly timeoutMs: number;
  readonly clock: Pick<Clock, "timer">;
}

const RETRY_FIRST_MS = 50;
const RETRY_AT_MOST_MS = 1000;
/** A socket that is to close is destroyed after this time: a frozen server never says goodbye. */
const GOODBYE_MS = 200;

export class RedisConnection {
  readonly client: Redis;
  /** Host and port, without credentials. */
  readonly server: string;
  readonly #options: ConnectionOptions;
  readonly #listeners = new Set<(isReady: boolean) => void>();
  #lastError: string | null = null;
  #isClosed = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.client = new Redis(options.url, {
      connectionName: options.name,
      commandTimeout: options.timeoutMs,
      connectTimeout: options.timeoutMs,
      // Longer than a command's time, so that one slow answer does not cut the connection.
      socketTimeout: options.timeoutMs * 2,
      disconnectTimeout: GOODBYE_MS,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      // Subscriptions are the business of `RedisEvents`.
      autoResubscribe: false,
      // 0: what waits for an answer is refused as soon as the connection breaks.
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(RETRY_FIRST_MS * 2 ** Math.min(times - 1, 10), RETRY_AT_MOST_MS),
      // A primary that became a replica: whoever resolves the name anew finds the new primary.
      reconnectOnError: (error) => error.message.startsWith("READONLY"),
    });
    this.server = `${this.client.options.host}:${this.client.options.port}`;
    this.client.on("error", (error) => this.#lastError = error.message || String(error));
    this.client.on("ready", () => {
      this.#lastError = null;
      this.#tell(true);
    });
    this.client.on("close", () => this.#tell(false));
  }

  get isReady(): boolean {
    return this.client.status === "ready";
  }

  /** What the last failed attempt to connect said; null while connected. */
  get lastError(): string | null {
    return this.#lastError;
  }

  /** Tells each change: true when commands are accepted, false when an attempt failed or the connection broke. */
  onChange(listener: (isReady: boolean) => void): void {
    this.#listeners.add(listener);
  }

  /**
   * Sends one command. A failure reads "`act`: what is the matter", with its cause; it is `Unavailable` when Redis is
   * out of reach or did not answer in time.
   */
  async ask<T>(act: string, command: (client: Redis) => Promise<T>): Promise<T> {
    if (!this.isReady) throw this.#failure(act, new Error("not connected"));
    try {
      return await command(this.client);
    } catch (error) {
      throw this.#failure(act, error as Error);
    }
  }

  /** Sends several commands at once and gives their answers in order. Fails when one of them fails. */
  async askAll(act: string, fill: (commands: ChainableCommander) => void): Promise<readonly unknown[]> {
    return await this.#send(act, (client) => client.pipeline(), fill);
  }

  /** Like `askAll`, but nobody sees some of the commands carried out and others not. */
  async askAtOnce(act: string, fill: (commands: ChainableCommander) => void): Promise<readonly unknown[]> {
    return await this.#send(act, (client) => client.multi(), fill);
  }

  /** Ends the connection; what is on its way is refused. Twice is fine. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listeners.clear();
    await new Promise<void>((resolve) => {
      // A client between two attempts to connect does not say that it has ended.
      const cancel = this.#options.clock.timer(GOODBYE_MS + 50, resolve);
      this.client.once("end", () => {
        cancel();
        resolve();
      });
      this.client.disconnect();
    });
  }

  async #send(
    act: string,
    begin: (client: Redis) => ChainableCommander,
    fill: (commands: ChainableCommander) => void,
  ): Promise<readonly unknown[]> {
    const answers = await this.ask(act, (client) => {
      const commands = begin(client);
      fill(commands);
      return commands.exec();
    });
    return (answers ?? []).map(([error, answer]) => {
      if (error !== null) throw this.#failure(act, error);
      return answer;
    });
  }

  #tell(isReady: boolean): void {
    for (const listener of this.#listeners) listener(isReady);
  }

  #failure(act: string, cause: Error): Error {
    const sentence = `${act}: ${this.#stateOf(cause)} (Redis at ${this.server})`;
    // What the server itself said would be said again.
    return cause.name === "ReplyError"
      ? new Error(sentence, { cause })
      : new Unavailable(sentence, { cause });
  }

  #stateOf(error: Error & { readonly previousErrors?: readonly Error[] }): string {
    // Of a transaction that was given up, the reason is what its first refused command was told: when the connection
    // broke, that is this error itself.
    const { message } = error.previousErrors?.[0] ?? error;
    if (message === "Command timed out") return `no answer within ${this.#options.timeoutMs} ms`;
    if (!this.isReady) {
      return this.#lastError === null ? "not connected" : `not connected, ${this.#lastError}`;
    }
    return message;
  }
}
