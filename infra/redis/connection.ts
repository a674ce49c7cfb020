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
import type { Meter } from "../../actors/ports/meter.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { describeRedis, placeOfEndpoint, type RedisAddress } from "./address.ts";
import type { Guide } from "./guide.ts";
import type { Answer, RedisLink } from "./link.ts";

export interface ConnectionOptions {
  /** One server; where it is a cluster's or the sentinels' address, `guide` says which server. */
  readonly address: RedisAddress;
  readonly guide?: Guide;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  /** Milliseconds until an unanswered command is given up. */
  readonly timeoutMs: number;
  readonly clock: Pick<Clock, "timer" | "mono">;
  /** Told how long each call took. */
  readonly meter?: Pick<Meter, "observe"> | undefined;
}

/** What sentinels want to hear, which is not what the servers want. */
export interface SentinelCredentials {
  readonly user: string | null;
  readonly password: string | null;
}

const RETRY_FIRST_MS = 50;
const RETRY_AT_MOST_MS = 1000;
/** A socket that is to close is destroyed after this time: a frozen server never says goodbye. */
const GOODBYE_MS = 200;
/** Answers of a server that does not serve now, or not this key: as good as out of reach. */
const NOT_NOW = /^(CLUSTERDOWN|MASTERDOWN|LOADING|READONLY|TRYAGAIN|MOVED|ASK|NOREPLICAS) /;

/** How one call is sent. */
interface Manner {
  /** All or nothing. */
  readonly isAtomic: boolean;
  /** The key is on its way to this server: it is told that it is asked all the same. */
  readonly isAsking?: boolean;
}

export class RedisConnection implements RedisLink {
  readonly client: Redis;
  readonly #options: ConnectionOptions;
  readonly #listeners = new Set<(isReady: boolean) => void>();
  #lastError: string | null = null;
  #cancelStart: () => void = () => {};
  #isClosed = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { timeoutMs } = options;
    this.client = new Redis({
      ...targetOf(options),
      connectionName: options.name,
      commandTimeout: timeoutMs,
      connectTimeout: timeoutMs,
      // Longer than a command's time, so that one slow answer does not cut the connection.
      socketTimeout: timeoutMs * 2,
      disconnectTimeout: GOODBYE_MS,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      // Subscriptions are the business of `RedisEvents`.
      autoResubscribe: false,
      // 0: what waits for an answer is refused as soon as the connection breaks.
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => {
        this.#turn();
        return Math.min(RETRY_FIRST_MS * 2 ** Math.min(times - 1, 10), RETRY_AT_MOST_MS);
      },
      // A primary that became a replica: whoever resolves the name anew, or asks Sentinel, finds the new primary.
      reconnectOnError: (error) => error.message.startsWith("READONLY"),
    });
    this.client.on("error", (error) => this.#lastError = error.message || String(error));
    this.client.on("ready", () => {
      this.#lastError = null;
      this.#tell(true);
    });
    this.client.on("close", () => this.#tell(false));
    // An attempt that was called off before it had a socket ends the client for good; the next one is ours to make.
    this.client.on("end", () => {
      if (!this.#isClosed) this.#cancelStart = options.clock.timer(RETRY_FIRST_MS, () => this.#start());
    });
    options.guide?.onMove(() => this.#move());
  }

  /** Host and port, without credentials. */
  get place(): string {
    const { address, guide } = this.#options;
    if (guide === undefined) return describeRedis(address);
    const endpoint = guide.endpoint();
    if (endpoint === null) return describeRedis(address);
    const { host = "", port = 0 } = this.client.options;
    return placeOfEndpoint({ host, port });
  }

  get isWhole(): boolean {
    return this.isReady;
  }

  get isReady(): boolean {
    // One that the server has ended, or that is being left, says "ready" for up to `GOODBYE_MS` more.
    return this.client.status === "ready" && this.client.stream.writable;
  }

  /** What the last failed attempt to connect said; null while connected. */
  get lastError(): string | null {
    return this.#lastError ?? this.#options.guide?.lastError ?? null;
  }

  /** Tells each change: true when commands are accepted, false when an attempt failed or the connection broke. */
  onChange(listener: (isReady: boolean) => void): void {
    this.#listeners.add(listener);
  }

  async ask<T>(act: string, _key: string | null, command: (client: Redis) => Promise<T>): Promise<T> {
    return await this.send(act, command, false);
  }

  async askAll(
    act: string,
    _key: string | null,
    fill: (commands: ChainableCommander) => void,
  ): Promise<readonly unknown[]> {
    return await this.sendAll(act, fill, { isAtomic: false });
  }

  async askAtOnce(
    act: string,
    _key: string,
    fill: (commands: ChainableCommander) => void,
  ): Promise<readonly unknown[]> {
    return await this.sendAll(act, fill, { isAtomic: true });
  }

  async askEach<T>(act: string, command: (client: Redis) => Promise<T>): Promise<readonly Answer<T>[]> {
    return [{ place: this.place, answer: await this.send(act, command, false) }];
  }

  /** Sends one command here. `isAsking`: see `Manner`. */
  async send<T>(act: string, command: (client: Redis) => Promise<T>, isAsking: boolean): Promise<T> {
    if (!this.isReady) throw this.#failure(act, new Error("not connected"));
    const { meter, clock } = this.#options;
    const began = clock.mono();
    try {
      if (isAsking) this.#sayAsking();
      return await command(this.client);
    } catch (error) {
      throw this.#failure(act, error as Error);
    } finally {
      // One that was given up counts too: it is the slowest.
      meter?.observe("redis_call_seconds", (clock.mono() - began) / 1000);
    }
  }

  /** Sends several commands here. */
  async sendAll(
    act: string,
    fill: (commands: ChainableCommander) => void,
    { isAtomic, isAsking = false }: Manner,
  ): Promise<readonly unknown[]> {
    const answers = await this.send(act, (client) => {
      // Asking holds for one command; a transaction counts as one.
      const commands = isAtomic || isAsking ? client.multi() : client.pipeline();
      fill(commands);
      return commands.exec();
    }, isAsking);
    return (answers ?? []).map(([error, answer]) => {
      if (error !== null) throw this.#failure(act, error);
      return answer;
    });
  }

  /** Ends the connection; what is on its way is refused. Twice is fine. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listeners.clear();
    this.#cancelStart();
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

  /** The next attempt goes where the guide says. */
  #turn(): void {
    const endpoint = this.#options.guide?.endpoint() ?? null;
    if (endpoint !== null) Object.assign(this.client.options, endpoint);
  }

  /** Leaves the server of now for the one that the guide says. */
  #move(): void {
    if (this.#isClosed) return;
    this.#turn();
    const { status } = this.client;
    if (!["wait", "reconnecting", "end"].includes(status)) return this.client.disconnect(true);
    // At once, and not only when the next attempt was due.
    this.#start();
  }

  /** A failure is told by its own event. */
  #start(): void {
    this.client.connect().catch(() => {});
  }

  #sayAsking(): void {
    // Its failure is that of the command behind it.
    this.client.asking().catch(() => {});
  }

  #tell(isReady: boolean): void {
    for (const listener of this.#listeners) listener(isReady);
  }

  #failure(act: string, cause: Error): Error {
    const sentence = `${act}: ${this.#stateOf(cause)} (Redis at ${this.place})`;
    // What the server itself said would be said again.
    return cause.name === "ReplyError" && !NOT_NOW.test(refusalOf(cause))
      ? new Error(sentence, { cause })
      : new Unavailable(sentence, { cause });
  }

  #stateOf(error: Error): string {
    const message = refusalOf(error);
    if (message === "Command timed out") return `no answer within ${this.#options.timeoutMs} ms`;
    if (!this.isReady) {
      return this.lastError === null ? "not connected" : `not connected, ${this.lastError}`;
    }
    return message;
  }
}

/**
 * What the server said. Of a transaction that was given up, that is what its first refused command was told: when the
 * connection broke, the error itself.
 */
export function refusalOf(error: Error & { readonly previousErrors?: readonly Error[] }): string {
  return (error.previousErrors?.[0] ?? error).message;
}

/** What ioredis is told about whom to connect to. */
function targetOf({ address, guide }: ConnectionOptions) {
  const { endpoints, isEncrypted, database, user, password } = address;
  const endpoint = guide === undefined ? endpoints[0] ?? null : guide.endpoint();
  return {
    ...(endpoint ?? {}),
    // Nobody knows yet: the guide will say.
    lazyConnect: endpoint === null,
    ...(user === null ? {} : { username: user }),
    ...(password === null ? {} : { password }),
    db: database,
    ...(isEncrypted ? { tls: {} } : {}),
  };
}
