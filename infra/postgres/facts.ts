/** Single values of the installation, in the table that also keeps the store's id. */
import type { Facts } from "../../actors/ports/facts.ts";
import type { Database } from "./database.ts";

export class PostgresFacts implements Facts {
  constructor(private readonly database: Database) {}

  async read(name: string): Promise<string | null> {
    const [row] = await this.database.call(
      `read ${name}`,
      (session) => session.rows("SELECT value FROM facts WHERE name = $1::text", [name]),
    );
    return row === undefined ? null : String(row[0]);
  }

  async write(name: string, value: string): Promise<void> {
    await this.database.call(`write ${name}`, (session) =>
      session.rows(
        `INSERT INTO facts (name, value) VALUES ($1::text, $2::text)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
        [name, value],
      ));
  }
}
