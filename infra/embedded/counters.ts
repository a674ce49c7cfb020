/** Totals that would take a walk over all rows to count: kept beside them, in the same transaction. */
import type { Database, Statement } from "./database.ts";
import type { Participant } from "./group_commit.ts";

export class Counters implements Participant {
  readonly #pending = new Map<string, number>();
  readonly #add: Statement;
  readonly #read: Statement;

  constructor(database: Database) {
    this.#add = database.prepare(
      "INSERT INTO counters (name, count) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count",
    );
    this.#read = database.prepare("SELECT name, count FROM counters");
  }

  add(name: string, amount: number): void {
    this.#pending.set(name, (this.#pending.get(name) ?? 0) + amount);
  }

  /** The committed totals. */
  read(): ReadonlyMap<string, number> {
    return new Map(this.#read.rows().map(([name, count]) => [String(name), Number(count)]));
  }

  beforeCommit(): void {
    for (const [name, amount] of this.#pending) if (amount !== 0) this.#add.execute(name, amount);
    this.#pending.clear();
  }

  rolledBack(): void {
    this.#pending.clear();
  }
}
