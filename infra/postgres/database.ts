/**
 * The connections to one PostgreSQL database: deadlines, tries, transactions.
 *
 * Deadlines. The server ends a statement after `STATEMENT_MS` and a wait for a lock after `LOCK_MS`. A half-open
 * connection never answers, so each try has a deadline here too; when it passes, that connection is ended, and with it
 * all that are idle, for dead sockets would otherwise use up the pool one call at a time.
 *
 * Tries. A call whose connection failed is made again, a few times, quickly, within one deadline for all tries. When
 * nobody knows whether the first try was committed, the second is told (`isRetry`), and each caller sees to it that
 * doing it twice does it once. When all tries fail that way, the call is rejected with `Unavailable`.
 */
import { readFileSync } from "node:fs";
import type { Log } from "../../actors/ports/log.ts";
import type { Meter } from "../../actors/ports/meter.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { systemClock } from "../clock.ts";
import {
  codeOf,
  isOutage,
  isUnreachable,
  Late,
  mayTryAgain,
  PostgresError,
  Restart,
  wordsOf,
} from "./fault.ts";
import { type ClientOptions, Connection, ConnectionPool, type Row } from "./connection_pool.ts";
import type { Bindable } from "./literal.ts";

export type { Row };

export interface ConnectionOptions {
  /** `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=/path`. */
  readonly url: string;
  readonly maxConnections: number;
  /** False behind a pooler that gives each transaction another connection (PgBouncer). */
  readonly prepare: boolean;
  /** What the server shows of the connections; `application_name`. */
  readonly applicationName?: string;
  /** The schema that holds the tables; without it, what the role's search_path says. */
  readonly schema?: string;
  /** Milliseconds after which one try is given up and the connections are made anew. Default 6,500. */
  readonly tryMs?: number;
  /** False where the caller knows another server to ask: the first failure is then the call's. Default true. */
  readonly triesAgain?: boolean;
  /** Told how long each statement took. */
  readonly meter?: Pick<Meter, "observe">;
  readonly log: Log;
}

/** What statements run on: a transaction, or each by itself. */
export interface Session {
  rows(text: string, parameters?: readonly Bindable[]): Promise<readonly Row[]>;
}

const STATEMENT_MS = 5000;
const LOCK_MS = 4000;
const IDLE_IN_TRANSACTION_MS = 10_000;
const CONNECT_SECONDS = 3;
/** One try, as seen from here: longer than the server's own deadline. */
const TRY_MS = 6500;
/** All tries of a call. */
const CALL_MS = 10_000;
/** Waits between tries, milliseconds. */
const PAUSES_MS = [20, 60, 150, 400, 800, 1500, 2000, 2000] as const;

/**
 * Every statement here looks up rows by an index. Plans are kept, for planning would cost more than running; they are
 * made while a day's partition is small, so ways that only pay in small tables are left out, and costs say that
 * looking up is cheap and walking is not.
 */
const LOOKS_UP = {
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  random_page_cost: "0.01",
  cpu_tuple_cost: "0.1",
  cpu_index_tuple_cost: "0.1",
  jit: "off",
} as const;

const SETTINGS = {
  statement_timeout: `${STATEMENT_MS}`,
  lock_timeout: `${LOCK_MS}`,
  idle_in_transaction_session_timeout: `${IDLE_IN_TRANSACTION_MS}`,
  ...LOOKS_UP,
} as const;

/** Statements whose plans are remembered to be made anew. */
const PLANS_AT_MOST = 2000;

export class Database {
  readonly #pool: ConnectionPool;
  #isClosed = false;
  #pending = 0;
  #idle: (() => void) | null = null;
  /** A server that never answered is told of at once; one that did may come back. */
  #hasAnswered = false;
  /** How often each statement has run. */
  readonly #runs = new Map<string, number>();

  constructor(readonly options: ConnectionOptions) {
    const { plainUrl, ssl } = withRootCertificate(options.url);
    const client = { ...this.#client(), ...(ssl === null ? {} : { ssl }) };
    this.#pool = new ConnectionPool(options.maxConnections, () => new Connection(plainUrl, client));
  }

  /** `host:port/database`, for sentences. */
  get name(): string {
    return nameOf(this.options.url);
  }

  /** Runs statements each by itself. `action` completes the sentence "Cannot …" when it fails. */
  call<T>(action: string, work: (session: Session, isRetry: boolean) => Promise<T>): Promise<T> {
    // Behind a pooler settings live as long as a transaction.
    if (!this.options.prepare) return this.transaction(action, work);
    return this.#run(action, (connection, isRetry) => work(this.#session(connection), isRetry), CALL_MS);
  }

  /** Runs statements in one transaction (READ COMMITTED). Throw `Restart` to begin again. */
  transaction<T>(
    action: string,
    work: (session: Session, isRetry: boolean) => Promise<T>,
    options: { readonly deadlineMs?: number } = {},
  ): Promise<T> {
    return this.#run(action, async (connection, isRetry) => {
      const session = this.#session(connection);
      const begun = session.rows(this.options.prepare ? "BEGIN" : `BEGIN; ${this.#setLocally()}`);
      // It goes out together with the first statement, and saves a way there and back. Not on a new connection: when
      // that fails, the client takes what comes next to another one, where nothing has begun.
      if (connection.isOpen) begun.catch(() => {});
      else await begun;
      try {
        const value = await work(session, isRetry);
        await begun;
        await session.rows("COMMIT");
        return value;
      } catch (error) {
        // Otherwise the server has rolled back by itself.
        if (!connection.isClosed) await rollBack(session, connection);
        // What came after a BEGIN that failed has failed because of it.
        throw await begun.then(() => error, (first) => first);
      }
    }, options.deadlineMs ?? CALL_MS);
  }

  /** Lets calls under way end, then closes all connections. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#pending > 0) await new Promise<void>((resolve) => this.#idle = resolve);
    await this.#pool.close();
  }

  #client(): ClientOptions {
    const { prepare } = this.options;
    return {
      prepare,
      fetch_types: false,
      connect_timeout: CONNECT_SECONDS,
      onnotice: () => {},
      // A pooler refuses parameters that it does not know.
      connection: {
        application_name: this.options.applicationName ?? "milvaion",
        ...(prepare ? this.#settings() : {}),
      },
    };
  }

  #settings(): Record<string, string> {
    const { schema } = this.options;
    return { ...SETTINGS, ...(schema === undefined ? {} : { search_path: schema }) };
  }

  #setLocally(): string {
    return Object.entries(this.#settings())
      .map(([name, value]) => `SET LOCAL ${name} = '${value.replaceAll("'", "''")}'`).join("; ");
  }

  #session(connection: Connection): Session {
    const { prepare, meter } = this.options;
    return {
      rows: (text, parameters = []) => {
        const planned = prepare && parameters.length > 0 ? this.#planned(text) : text;
        const answer = connection.rows(planned, parameters, prepare);
        return meter === undefined ? answer : this.#measured(meter, answer);
      },
    };
  }

  /** One that fails counts too: it may be the slowest. */
  async #measured<T>(meter: Pick<Meter, "observe">, answer: Promise<T>): Promise<T> {
    const began = systemClock.mono();
    try {
      return await answer;
    } finally {
      meter.observe("postgres_statement_seconds", (systemClock.mono() - began) / 1000);
    }
  }

  /**
   * The statement under another name each time it has run twice as often: a kept plan is then made anew, for what
   * was best in an empty partition is not in a full one.
   */
  #planned(text: string): string {
    const runs = (this.#runs.get(text) ?? 0) + 1;
    if (runs === 1 && this.#runs.size >= PLANS_AT_MOST) this.#runs.clear();
    this.#runs.set(text, runs);
    return `${text} /* plan ${31 - Math.clz32(runs)} */`;
  }

  async #run<T>(
    action: string,
    work: (connection: Connection, isRetry: boolean) => Promise<T>,
    deadlineMs: number,
  ): Promise<T> {
    if (this.#isClosed) throw new Error(`Cannot ${action}: the store is closed`);
    this.#pending += 1;
    const endsAt = systemClock.mono() + deadlineMs;
    try {
      for (let tries = 0;; tries++) {
        try {
          const tryMs = deadlineMs === CALL_MS ? this.options.tryMs ?? TRY_MS : deadlineMs;
          const left = Math.min(tryMs, endsAt - systemClock.mono());
          const answer = await this.#pool.use((connection) =>
            this.#within(left, connection, () => work(connection, tries > 0))
          );
          this.#hasAnswered = true;
          return answer;
        } catch (error) {
          const pause = error instanceof Restart ? 0 : PAUSES_MS[tries];
          const isOver = pause === undefined || systemClock.mono() + pause >= endsAt ||
            this.options.triesAgain === false || !this.#hasAnswered && isUnreachable(error);
          // What the first try is still about to commit is in the second one's way.
          const isFirstInTheWay = tries > 0 && codeOf(error) === "23505";
          if (!mayTryAgain(error) && !isFirstInTheWay || isOver) throw failure(action, error);
          if (codeOf(error) !== "") {
            this.options.log.debug(`Trying again to ${action}: ${wordsOf(error)}`, { code: codeOf(error) });
          }
          await pauseFor(pause);
        }
      }
    } finally {
      this.#pending -= 1;
      if (this.#pending === 0) this.#idle?.();
    }
  }

  #within<T>(deadlineMs: number, connection: Connection, work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const cancel = systemClock.timer(deadlineMs, () => {
        this.options.log.warn(`No answer from PostgreSQL at ${this.name}: connecting anew`);
        this.#pool.distrust(connection);
        reject(new Late(Math.round(deadlineMs)));
      });
      work().then(resolve, reject).finally(cancel);
    });
  }
}

async function rollBack(session: Session, connection: Connection): Promise<void> {
  try {
    await session.rows("ROLLBACK");
  } catch {
    // Nobody knows what is open on it.
    connection.isClosed = true;
  }
}

function failure(action: string, error: unknown): Error {
  if (error instanceof PostgresError) return error;
  const sentence = `Cannot ${action}: ${wordsOf(error)}`;
  return isOutage(error)
    ? new Unavailable(sentence, { cause: error })
    : new Error(sentence, { cause: error });
}

/** A failure to open a database, as a sentence for people. */
export function openingFault(name: string, error: unknown): PostgresError {
  if (error instanceof PostgresError) return error;
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (isUnreachable(cause)) {
    return new PostgresError(
      "unreachable",
      `Cannot reach PostgreSQL at ${name}: ${
        wordsOf(cause)
      }. Is it running there, and is DATABASE_URL right?`,
      { cause },
    );
  }
  // 28: authorization, 3D: no such database, 42501: a permission is missing.
  const isOfAccess = /^(28|3D)/.test(codeOf(cause)) || codeOf(cause) === "42501";
  const remedy = isOfAccess ? ". Check user, password, database and permissions of DATABASE_URL." : "";
  return new PostgresError("refused", `PostgreSQL at ${name} refuses: ${wordsOf(cause)}${remedy}`, { cause });
}

function nameOf(url: string): string {
  try {
    const { hostname, port, pathname } = new URL(url);
    return `${hostname}:${port === "" ? 5432 : port}${pathname}`;
  } catch {
    return "an address that is no URL";
  }
}

/** The client knows `sslmode`; the certificate of the authority is read here. */
function withRootCertificate(url: string): {
  readonly plainUrl: string;
  readonly ssl: { readonly ca: string; readonly rejectUnauthorized: true } | null;
} {
  if (!/[?&]sslrootcert=/.test(url)) return { plainUrl: url, ssl: null };
  const parsed = new URL(url);
  const path = parsed.searchParams.get("sslrootcert");
  if (path === null || path === "system") return { plainUrl: url, ssl: null };
  parsed.searchParams.delete("sslrootcert");
  parsed.searchParams.delete("sslmode");
  return { plainUrl: parsed.href, ssl: { ca: readFileSync(path, "utf8"), rejectUnauthorized: true } };
}

function pauseFor(ms: number): Promise<void> {
  return new Promise((resolve) => systemClock.timer(ms, resolve));
}
