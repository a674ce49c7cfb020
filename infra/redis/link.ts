/**
 * The way to Redis: one server (`connection.ts`), or the masters of a Redis Cluster (`cluster.ts`).
 *
 * Each call names the key that it is about, so that a cluster knows where to send it; all keys of a call lie in the
 * same slot. A call without a key goes to any server.
 */
import type { ChainableCommander, Redis } from "ioredis";

export interface RedisLink {
  /** Where it leads, for people: without credentials. */
  readonly place: string;
  /** Commands are accepted, by one server at least. */
  readonly isReady: boolean;
  /** Each server that holds keys accepts commands. */
  readonly isWhole: boolean;
  /** What the last failed attempt to connect said; null while all are connected. */
  readonly lastError: string | null;
  /** Tells each change of a server, and whether commands are accepted now. */
  onChange(listener: (isReady: boolean) => void): void;
  /**
   * Sends one command. `command` may be called again where a cluster says that the key lies elsewhere. A failure
   * reads "`act`: what is the matter", with its cause; it is `Unavailable` when Redis is out of reach, did not answer
   * in time, or cannot serve that key now.
   */
  ask<T>(act: string, key: string | null, command: (client: Redis) => Promise<T>): Promise<T>;
  /** Sends several commands at once and gives their answers in order. Fails when one of them fails. */
  askAll(
    act: string,
    key: string | null,
    fill: (commands: ChainableCommander) => void,
  ): Promise<readonly unknown[]>;
  /** Like `askAll`, but nobody sees some of the commands carried out and others not. */
  askAtOnce(
    act: string,
    key: string,
    fill: (commands: ChainableCommander) => void,
  ): Promise<readonly unknown[]>;
  /** Asks each server that holds keys, or each of those that are connected. Fails when one of them does not answer. */
  askEach<T>(
    act: string,
    command: (client: Redis) => Promise<T>,
    among?: "all" | "connected",
  ): Promise<readonly Answer<T>[]>;
  /** Ends the connections; what is on its way is refused. Twice is fine. */
  close(): Promise<void>;
}

/** What one server answered. */
export interface Answer<T> {
  /** Of the server, as `host:port`. */
  readonly place: string;
  readonly answer: T;
}
