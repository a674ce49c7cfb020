import { DatabaseSync } from "node:sqlite";
import { isFinal, mayBecome, OCCURRENCE_STATUSES, statusNumber } from "../../actors/domain/occurrence.ts";
import { assertEquals } from "@std/assert";
import { STORE_MIGRATIONS } from "./schema.ts";

Deno.test("the table itself refuses every change of status that is no edge", () => {
  const database = new DatabaseSync(":memory:");
  for (const migration of STORE_MIGRATIONS) database.exec(migration);
  const insert = database.prepare(
    `INSERT INTO occurrences (id, job, terms, origin, twin, holds_job, status, scheduled_for, created_at)
     VALUES (?, 1, 1, 2, ?, 0, ?, 0, 0) RETURNING seq`,
  );
  const update = database.prepare("UPDATE OR FAIL occurrences SET status = ? WHERE seq = ?");
  let twin = 0;
  for (const from of OCCURRENCE_STATUSES) {
    for (const to of OCCURRENCE_STATUSES) {
      twin += 1;
      const seq = Number(insert.get(`${from}-${to}`, twin, statusNumber(from))?.["seq"]);
      let isAllowed = true;
      try {
        update.run(statusNumber(to), seq);
      } catch {
        isAllowed = false;
      }
      assertEquals(isAllowed, mayBecome(from, to) || (from === to && !isFinal(from)), `${from} → ${to}`);
    }
  }
  database.close();
});
