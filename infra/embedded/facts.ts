/** Single values of the installation, in the table that also keeps the store's id. */
import type { Facts } from "../../actors/ports/facts.ts";
import type { Database, Statement } from "./database.ts";
import type { GroupCommit } from "./group_commit.ts";

export class EmbeddedFacts implements Facts {
  readonly #read: Statement;
  readonly #write: Statement;

  constructor(database: Database, private readonly group: GroupCommit) {
    this.#read = database.prepare("SELECT value FROM facts WHERE name = ?");
    this.#write = database.prepare(
      "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    );
  }

  read(name: string): Promise<string | null> {
    return this.group.read(() => {
      const value = this.#read.row(name)?.[0];
      return typeof value === "string" ? value : null;
    });
  }

  async write(name: string, value: string): Promise<void> {
    await this.group.write(() => this.#write.execute(name, value));
  }
}
