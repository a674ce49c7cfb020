/**
 * Reads from replicas. A read goes to the replica with the fewest reads under way among those that
 *
 *   answer · lag no more than allowed · have replayed the position that the caller shows, and all that callers of
 *   this instance have written
 *
 * else to the primary. A read that a replica fails is made on the primary, so that callers never see a replica fail.
 * The position is compared with what the replica has replayed at that moment: a caller never misses its own write,
 * whatever the lag is. A replica that is away or behind is looked at once a second and used again when it is back.
 */
import type { CopyState, Position, Reader, Reads } from "../../actors/ports/reads.ts";
import { systemClock } from "../clock.ts";
import type { Database } from "./database.ts";
import { codeOf } from "./fault.ts";
import { Gather } from "./gather.ts";
import { type PrimarySample, Replica, type ReplicaOptions } from "./replica.ts";
import { later, offsetOf, readWritten, type WalSample } from "./wal_position.ts";

/** How often replicas are looked at, milliseconds. */
const LOOK_EVERY_MS = 1000;
/** An answer to a write waits no longer for its position. */
const WRITTEN_MS = 1000;
/** Changes of the primary's position that are remembered; a lag longer than this many seconds is told as that. */
const SAMPLES_AT_MOST = 3600;

export interface ReplicasOptions extends Omit<ReplicaOptions, "url" | "schema"> {
  readonly urls: readonly string[];
  readonly schema?: string;
  readonly primary: Database;
}

export class Replicas implements Reads {
  readonly #replicas: readonly Replica[];
  readonly #primary: Reader;
  readonly #samples: PrimarySample[] = [];
  readonly #asking: Gather<void, Position>;
  readonly #closing = new AbortController();
  readonly #loops: readonly Promise<void>[];
  /** After all that callers of this instance wrote. */
  #own: Position | null = null;
  /** A write whose position nobody could tell. */
  #isOwnUnknown = false;
  #turn = 0;

  constructor(private readonly options: ReplicasOptions) {
    const { urls, primary, ...common } = options;
    this.#primary = options.readerOf(primary);
    this.#replicas = urls.map((url) => new Replica({ ...common, url }));
    this.#asking = new Gather({
      run: async (calls) => {
        const position = await this.#sample();
        return calls.map(() => position);
      },
      weigh: () => 0,
      most: 1,
      lanes: 1,
    });
    this.#loops = this.#replicas.map((replica) => this.#follow(replica));
  }

  reader(after: Position | "latest" | null): Reader {
    if (after === "latest") return this.#primary;
    const read = <T>(work: (reader: Reader) => Promise<T>) => this.#read(after, work);
    return {
      jobs: { list: (...given) => read(({ jobs }) => jobs.list(...given)) },
      history: {
        occurrences: (...given) => read(({ history }) => history.occurrences(...given)),
        counts: () => read(({ history }) => history.counts()),
        ranges: (...given) => read(({ history }) => history.ranges(...given)),
      },
      lines: { read: (...given) => read(({ lines }) => lines.read(...given)) },
      workload: {
        runs: (...given) => read(({ workload }) => workload.runs(...given)),
        count: (...given) => read(({ workload }) => workload.count(...given)),
        runsOfType: (...given) => read(({ workload }) => workload.runsOfType(...given)),
        waiting: (...given) => read(({ workload }) => workload.waiting(...given)),
        hasTakenRuns: (...given) => read(({ workload }) => workload.hasTakenRuns(...given)),
        // Connections are the primary's.
        connections: () => this.#primary.workload.connections(),
      },
    };
  }

  async written(): Promise<Position | null> {
    try {
      const position = await soon(this.#asking.add());
      this.#own = later(this.#own, position);
      return position;
    } catch {
      this.#isOwnUnknown = true;
      return null;
    }
  }

  copies(): readonly CopyState[] {
    return this.#replicas.map(({ state }) => state);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#loops);
    await Promise.all(this.#replicas.map((replica) => replica.close()));
  }

  async #read<T>(after: Position | null, work: (reader: Reader) => Promise<T>): Promise<T> {
    const replica = this.#isOwnUnknown ? null : await this.#choose(later(after, this.#own));
    if (replica === null) return await work(this.#primary);
    try {
      return await replica.read(work);
    } catch (error) {
      if (isOfTheCall(error)) throw error;
      return await work(this.#primary);
    }
  }

  /** The least busy one that has everything up to there; of equals the next in turn. */
  async #choose(after: Position | null): Promise<Replica | null> {
    const turn = this.#turn++;
    const inTurn = this.#replicas.map((_, index) => this.#replicas[(turn + index) % this.#replicas.length])
      .filter((replica) => replica !== undefined).sort((left, right) => left.load - right.load);
    const offset = after === null ? 0n : offsetOf(after);
    for (const replica of inTurn) {
      if (replica.state.isUsed && await replica.has(offset)) return replica;
    }
    return null;
  }

  async #follow(replica: Replica): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      // With the primary away, what it wrote last stays the measure: lists can be read all the same.
      await soon(this.#asking.add()).catch(() => {});
      if (signal.aborted) return;
      await replica.look(this.#samples);
      await pause(LOOK_EVERY_MS, signal);
    }
  }

  async #sample(): Promise<Position> {
    const isUnknown = this.#isOwnUnknown;
    const sample = await this.options.primary.call("read the position of the log", readWritten);
    this.#remember(sample);
    if (isUnknown) {
      this.#own = later(this.#own, sample.position);
      this.#isOwnUnknown = false;
    }
    return sample.position;
  }

  #remember({ position, serverTime }: WalSample): void {
    const offset = offsetOf(position);
    const last = this.#samples.at(-1);
    if (last !== undefined && last.offset >= offset) return;
    this.#samples.push({ offset, at: systemClock.mono(), serverTime });
    if (this.#samples.length > SAMPLES_AT_MOST) this.#samples.shift();
  }
}

/** It would fail on the primary as well, or take as long there. */
function isOfTheCall(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return error instanceof RangeError || codeOf(cause) === "57014";
}

function soon<T>(work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = systemClock.timer(
      WRITTEN_MS,
      () => reject(new Error(`no answer within ${WRITTEN_MS} ms`)),
    );
    work.then(resolve, reject).finally(cancel);
  });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const cancel = systemClock.timer(ms, done);
    signal.addEventListener("abort", done);
  });
}
