/**
 * Many calls, one transaction, one sync.
 *
 * Write calls made while a commit is due are gathered and committed together; each promise settles after COMMIT.
 * Each call is atomic by itself without savepoints (which would copy every page they touch): when one throws, the
 * transaction is rolled back and the others run again without it. Calls therefore only read and write the database,
 * and what lives beside it (caches, counters) takes part as a `Participant`.
 *
 * A fault of the disk (full, read-only) rejects the whole group, and the next group tries anew.
 */
import { setImmediate } from "node:timers";
import { type Database, isRefusedRow } from "./database.ts";

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
const GROUP_MS = 8;

export class GroupCommit {
  #waiting: Call[] = [];
  #isScheduled = false;
  #isClosed = false;

  constructor(
    private readonly database: Database,
    private readonly participants: readonly Participant[] = [],
  ) {}

  /** Runs `work` inside the next transaction. Rejects with what it throws, or with what kept the commit. */
  write<T>(work: () => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(closed());
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ run: work, resolve: resolve as (value: unknown) => void, reject });
      this.#schedule();
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

  /** Commits what waits; later calls are rejected. */
  close(): void {
    if (this.#isClosed) return;
    while (this.#waiting.length > 0) this.#commitGroup();
    this.#isClosed = true;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#waiting.length > 0) this.#commitGroup();
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  #commitGroup(): void {
    const started = performance.now();
    const group = this.#waiting;
    this.#waiting = [];
    let outcomes: readonly Outcome[];
    try {
      outcomes = this.#runGroup(group, started);
      this.#waiting = [...group.slice(outcomes.length), ...this.#waiting];
    } catch (error) {
      const failure = new Error(`Cannot commit to ${this.database.path}: ${(error as Error).message}`, {
        cause: error,
      });
      for (const call of group) call.reject(failure);
      return;
    }
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.ok) group[index]?.resolve(outcome.value);
      else group[index]?.reject(outcome.error);
    }
  }

  /** Gives an outcome for each call that was reached in time. Throws when nothing could be committed. */
  #runGroup(group: readonly Call[], started: number): readonly Outcome[] {
    const refused = new Map<Call, unknown>();
    while (true) {
      const outcomes: Outcome[] = [];
      let current: Call | null = null;
      try {
        this.database.begin();
        for (const call of group) {
          current = call;
          outcomes.push(
            refused.has(call) ? { ok: false, error: refused.get(call) } : { ok: true, value: call.run() },
          );
          current = null;
          if (performance.now() - started > GROUP_MS && refused.size === 0) break;
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
