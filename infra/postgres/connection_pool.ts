/**
 * A pool of connections, each of them one client of one connection.
 *
 * The client has a pool of its own, but tells nobody which connection a transaction is on; when that one is cut
 * between two statements, the client writes to a socket that is no more, outside of any promise, and the program
 * ends. Here a connection that was closed, or failed, or answered too late is never used again.
 */
import postgres from "postgres";
import { systemClock } from "../clock.ts";
import { endsConnection } from "./fault.ts";
import type { Bindable } from "./literal.ts";

/** A row: the columns in the order of the select list. */
export type Row = readonly unknown[];

export type ClientOptions = NonNullable<Parameters<typeof postgres>[1]>;

/** Milliseconds after which a connection is replaced, so that servers share the load anew and memory is given back. */
const LIFETIME_MS = 45 * 60_000;

export class Connection {
  isClosed = false;
  /** A statement has been answered on it. */
  isOpen = false;
  readonly openedAt = systemClock.mono();
  readonly #sql: ReturnType<typeof postgres>;

  constructor(url: string, options: ClientOptions) {
    this.#sql = postgres(url, {
      ...options,
      max: 1,
      // It would end a connection between two statements of a transaction.
      max_lifetime: null,
      onclose: () => {
        this.isClosed = true;
      },
    });
  }

  async rows(text: string, parameters: readonly Bindable[], prepare: boolean): Promise<readonly Row[]> {
    if (this.isClosed) {
      throw Object.assign(new Error("the connection was closed"), { code: "CONNECTION_CLOSED" });
    }
    try {
      const rows = await this.#sql.unsafe(text, parameters as Bindable[], { prepare }).values() as Row[];
      this.isOpen = true;
      return rows;
    } catch (error) {
      if (endsConnection(error)) this.isClosed = true;
      throw error;
    }
  }

  /** Statements under way are rejected. */
  async end(): Promise<void> {
    this.isClosed = true;
    await this.#sql.end({ timeout: 0 }).catch(() => {});
  }

  /** Ends in order; nothing is under way. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.#sql.end({ timeout: 5 }).catch(() => {});
  }
}

export class ConnectionPool {
  readonly #idle: Connection[] = [];
  readonly #waiting: ((connection: Connection) => void)[] = [];
  readonly #ending = new Set<Promise<void>>();
  #open = 0;

  constructor(
    private readonly most: number,
    private readonly connect: () => Connection,
  ) {}

  /** Runs `work` on a connection that nobody else uses meanwhile; calls wait in the order they came. */
  async use<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.#take();
    try {
      return await work(connection);
    } finally {
      this.#giveBack(connection);
    }
  }

  /** Ends this connection, and those that nobody uses: they may be as dead, and new ones are cheap. */
  distrust(connection: Connection): void {
    this.#end(connection);
    for (const idle of this.#idle.splice(0)) {
      this.#open -= 1;
      this.#end(idle);
    }
  }

  /** Closes what is idle; nothing may be under way. */
  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((connection) => connection.close()));
    await Promise.all(this.#ending);
  }

  #take(): Promise<Connection> | Connection {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (!idle.isClosed) return idle;
      this.#open -= 1;
      this.#end(idle);
    }
    if (this.#open < this.most) {
      this.#open += 1;
      return this.connect();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #giveBack(connection: Connection): void {
    const isSpent = connection.isClosed || systemClock.mono() - connection.openedAt > LIFETIME_MS;
    if (isSpent) this.#end(connection);
    const next = this.#waiting.shift();
    if (next !== undefined) next(isSpent ? this.connect() : connection);
    else if (isSpent) this.#open -= 1;
    else this.#idle.push(connection);
  }

  #end(connection: Connection): void {
    const ending = connection.end().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }
}
