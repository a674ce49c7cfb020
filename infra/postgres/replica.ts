/**
 * One read replica: where it stands, and reads from it. It is looked at once a second over a connection of its own; a
 * replica that does not answer a look gives up all reads under way, so that they go elsewhere at once.
 */
import type { CopyState, Reader } from "../../actors/ports/reads.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { systemClock } from "../clock.ts";
import { type ConnectionOptions, Database } from "./database.ts";
import { isUnreachable, wordsOf } from "./fault.ts";
import { asNumber, asText } from "./literal.ts";
import { offsetOf } from "./wal_position.ts";

/** A look without an answer for so long says that the replica is away. */
const LOOK_MS = 2000;

/** What the primary had written at some time. */
export interface PrimarySample {
  readonly offset: bigint;
  /** Monotonic, of this machine. */
  readonly at: number;
  /** The primary's clock, epoch milliseconds. */
  readonly serverTime: number;
}

export interface ReplicaOptions extends ConnectionOptions {
  readonly storeId: string;
  readonly maxLagSeconds: number;
  /** The adapters of lists on this server. */
  readonly readerOf: (database: Database) => Reader;
}

export class Replica {
  readonly #database: Database;
  readonly #watch: Database;
  readonly #reader: Reader;
  readonly #underWay = new Set<(why: Error) => void>();
  #state: Omit<CopyState, "name"> = {
    isUsed: false,
    lagBytes: null,
    lagSeconds: null,
    problem: "not looked at yet",
  };
  /** What it had replayed when it was last asked. */
  #replayed = 0n;

  constructor(private readonly options: ReplicaOptions) {
    this.#database = new Database({ ...options, triesAgain: false });
    this.#watch = new Database({ ...options, maxConnections: 1, tryMs: LOOK_MS, triesAgain: false });
    this.#reader = options.readerOf(this.#database);
  }

  get state(): CopyState {
    return { name: this.#database.name, ...this.#state };
  }

  /** Reads under way. */
  get load(): number {
    return this.#underWay.size;
  }

  /** Looks where it stands, compared with what the primary wrote; the samples are in the order of time. Never rejects. */
  async look(samples: readonly PrimarySample[]): Promise<void> {
    const before = this.#state;
    try {
      const [row] = await this.#watch.call("look at a replica", (session) =>
        session.rows(
          `SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()::text,
             date_part('epoch', pg_last_xact_replay_timestamp()) * 1000,
             (SELECT value FROM facts WHERE name = 'storeId')`,
        ));
      const position = asText(row?.[1]);
      if (row?.[0] !== true || position === null) this.#away("it is no replica: it takes writes itself");
      else if (asText(row[3]) !== this.options.storeId) this.#away("it holds another store");
      else this.#found(offsetOf(position), asNumber(row[2]), samples);
    } catch (error) {
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
      this.#away(wordsOf(cause));
    }
    this.#tell(before);
  }

  /** Whether it has everything up to there; asks it when that is not known. */
  async has(offset: bigint): Promise<boolean> {
    if (this.#replayed >= offset) return true;
    try {
      const [row] = await this.#database.call(
        "ask a replica how far it is",
        (session) => session.rows("SELECT pg_last_wal_replay_lsn()::text"),
      );
      const position = asText(row?.[0]);
      if (position !== null) this.#replayed = offsetOf(position);
    } catch (error) {
      this.#doubt(error);
    }
    return this.#replayed >= offset;
  }

  /** Rejects as soon as the replica is known to be away. */
  async read<T>(work: (reader: Reader) => Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    this.#underWay.add(reject);
    try {
      return await Promise.race([work(this.#reader), promise]);
    } catch (error) {
      this.#doubt(error);
      throw error;
    } finally {
      this.#underWay.delete(reject);
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#database.close(), this.#watch.close()]);
  }

  /** Not used until the next look, when a read failed because nobody answered. */
  #doubt(error: unknown): void {
    if (!(error instanceof Unavailable) || !isUnreachable(error.cause)) return;
    const before = this.#state;
    this.#away(wordsOf(error.cause ?? error));
    this.#tell(before);
  }

  #found(replayed: bigint, commitTime: number | null, samples: readonly PrimarySample[]): void {
    this.#replayed = replayed;
    const newest = samples.at(-1);
    if (newest === undefined) {
      // The primary was never heard: nobody knows what this one lacks.
      this.#state = {
        isUsed: false,
        lagBytes: null,
        lagSeconds: null,
        problem: "the primary does not say what it wrote",
      };
      return;
    }
    const lagSeconds = lagOf(replayed, commitTime, samples);
    const { maxLagSeconds } = this.options;
    const isUsed = lagSeconds !== null && lagSeconds <= maxLagSeconds;
    this.#state = {
      isUsed,
      lagBytes: newest.offset > replayed ? Number(newest.offset - replayed) : 0,
      lagSeconds,
      problem: isUsed
        ? null
        : lagSeconds === null
        ? "it lags, nobody knows how long"
        : `it lags more than ${maxLagSeconds} s`,
    };
  }

  #away(problem: string): void {
    this.#replayed = 0n;
    this.#state = { isUsed: false, lagBytes: null, lagSeconds: null, problem };
    for (const giveUp of [...this.#underWay]) {
      giveUp(new Unavailable(`Cannot read from a replica: ${problem}`));
    }
  }

  #tell(before: Omit<CopyState, "name">): void {
    const { log } = this.options;
    const { isUsed, problem, lagSeconds } = this.#state;
    const replica = this.#database.name;
    if (isUsed && before.problem !== null) log.info("Lists are read from a replica", { replica });
    else if (!isUsed && problem !== before.problem) {
      log.warn(`Lists are not read from a replica: ${problem}`, { replica, lagSeconds });
    }
  }
}

/**
 * Seconds for which it has lacked something. By what the primary was seen to have written; where a replica was behind
 * from the first look on, by the time of the last commit that it has replayed. Null: it has replayed none.
 */
function lagOf(
  replayed: bigint,
  commitTime: number | null,
  samples: readonly PrimarySample[],
): number | null {
  const missing = samples.findIndex(({ offset }) => offset > replayed);
  const first = samples[missing];
  if (first === undefined) return 0;
  const seen = (systemClock.mono() - first.at) / 1000;
  if (missing > 0) return seen;
  return commitTime === null ? null : seen + Math.max(0, first.serverTime - commitTime) / 1000;
}
