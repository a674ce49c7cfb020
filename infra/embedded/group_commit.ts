/**
 * Many calls, one transaction, one sync.
 *
 * Write calls gather while the group before them is on its way to the disk, are committed together, and their
 * promises settle once the sync that began after COMMIT is over. So the longer a sync takes, the more share it.
 *
 * Each call is atomic by itself without savepoints (which would copy every page they touch): when one throws, the
 * transaction is rolled back and the others run again without it. Calls therefore only read and write the database,
 * and what lives beside it (caches, counters) takes part as a `Participant`.
 *
 * A fault while writing (a full disk) rejects the whole group, nothing of it is kept, and the next group tries anew.
 * A sync that fails is another matter: what was committed may or may not be on the disk, and a later sync that
 * succeeds proves nothing about it. From then on every write is rejected, until the program starts again and reads
 * what is there.
 */
import { type Database, isRefusedRow } from "./database.ts";
import { type Pace, REAL_PACE } from "./pace.ts";

/** Something that lives beside the database and must follow its transactions. */
export interface Participant {
  /** Writes what is pending; part of the transaction. */
  beforeCommit(): void;
  /** Forgets everything that was pending or taken from a transaction that never happened. */
  rolledBack(): void;
}

interface Call {
  readonly run: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

type Outcome = { readonly ok: true; readonly value: unknown } | {
  readonly ok: false;
  readonly error: unknown;
};

/** A group takes no further call after this long, so that the event loop is never held for many calls. */
const GROUP_MS = 5;

export class GroupCommit {
  #waiting: Call[] = [];
  #committing: Promise<void> | null = null;
  #isClosed = false;
  #syncFault: Error | null = null;

  constructor(
    private readonly database: Database,
    private readonly participants: readonly Participant[] = [],
    private readonly pace: Pace = REAL_PACE,
  ) {}

  /** Runs `work` inside the next transaction. Rejects with what it throws, or with what kept it from the disk. */
  write<T>(work: () => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(closed());
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ run: work, resolve: resolve as (value: unknown) => void, reject });
      this.#committing ??= this.#commitAll();
    });
  }

  /** Reads what is committed. */
  read<T>(work: () => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(closed());
    try {
      return Promise.resolve(work());
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Refuses later calls and settles when those before are on the disk. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#committing;
  }

  async #commitAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      // What is called in this turn of the event loop goes together.
      await this.pace.turn();
      await this.#commitGroup();
    }
    this.#committing = null;
  }

  async #commitGroup(): Promise<void> {
    let calls = this.#waiting;
    this.#waiting = [];
    try {
      if (this.#syncFault !== null) throw this.#syncFault;
      const outcomes = this.#runGroup(calls);
      this.#waiting = calls.slice(outcomes.length);
      calls = calls.slice(0, outcomes.length);
      await this.#sync();
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome.ok) calls[index]?.resolve(outcome.value);
        else calls[index]?.reject(outcome.error);
      }
    } catch (error) {
      const failure = new Error(`Cannot commit to ${this.database.path}: ${(error as Error).message}`, {
        cause: error,
      });
      for (const call of calls) call.reject(failure);
    }
  }

  async #sync(): Promise<void> {
    try {
      await this.pace.sync(this.database);
    } catch (error) {
      this.#syncFault = new Error(
        `the disk failed to keep what was written, start again to see what is there: ${
          (error as Error).message
        }`,
        { cause: error },
      );
      throw this.#syncFault;
    }
  }

  /** Commits, and gives an outcome for each call that was reached in time. Throws when nothing was committed. */
  #runGroup(calls: readonly Call[]): readonly Outcome[] {
    const started = this.pace.mono();
    const refused = new Map<Call, unknown>();
    while (true) {
      const outcomes: Outcome[] = [];
      let current: Call | null = null;
      try {
        this.database.begin();
        for (const call of calls) {
          current = call;
          outcomes.push(
            refused.has(call) ? { ok: false, error: refused.get(call) } : { ok: true, value: call.run() },
          );
          current = null;
          if (this.pace.mono() - started > GROUP_MS && refused.size === 0) break;
        }
        for (const participant of this.participants) participant.beforeCommit();
        this.database.commit();
        return outcomes;
      } catch (error) {
        this.database.rollBack();
        for (const participant of this.participants) participant.rolledBack();
        if (current === null || !isRefusedRow(error)) throw error;
        refused.set(current, error);
      }
    }
  }
}

function closed(): Error {
  return new Error("Cannot use the store: it is closed");
}
