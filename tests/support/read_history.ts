/** Reads a history for the ledger checker straight from the files of a stopped embedded store, by SQL of its own. */
import { DatabaseSync } from "node:sqlite";
import { OCCURRENCE_STATUSES } from "../../actors/domain/occurrence.ts";
import type { LedgerHistory } from "./ledger_checker.ts";

interface Row {
  readonly [column: string]: string | number | null;
}

export type StoredHistory = Pick<LedgerHistory, "occurrences" | "ranges" | "changes"> & {
  /** job id → the first due time that is not decided yet. */
  readonly nextDueAt: ReadonlyMap<string, number | null>;
  readonly createdAt: ReadonlyMap<string, number>;
  /** What SQLite says of the file: `ok`. */
  readonly integrity: string;
};

export function readEmbeddedHistory(folder: string): StoredHistory {
  const database = new DatabaseSync(`${folder}/milvaion.db`);
  try {
    const all = (sql: string) => database.prepare(sql).all() as unknown as Row[];
    const nameOf = (status: unknown) => OCCURRENCE_STATUSES[Number(status)] ?? `status ${status}`;
    const occurrences = all(`
      SELECT o.id, j.id AS job_id, o.twin, o.scheduled_for, o.status, o.token
      FROM occurrences o JOIN jobs j ON j.seq = o.job`);
    const ranges = all(
      "SELECT j.id AS job_id, from_at, to_at, count FROM verdict_ranges r JOIN jobs j ON j.seq = r.job",
    );
    // Attempts before the newest each say how they ended; the newest is part of its occurrence's row.
    const attempts = all(`
      SELECT o.id, a.token FROM attempts a JOIN occurrences o ON o.seq = a.occurrence ORDER BY o.id, a.token`);
    const before = Map.groupBy(attempts, (one) => String(one["id"]));
    const jobs = all(
      "SELECT id, next_due_at, json_extract(definition, '$.createdAt') AS created_at FROM jobs",
    );
    return {
      occurrences: occurrences.map((row) => ({
        id: String(row["id"]),
        jobId: String(row["job_id"]),
        scheduled: row["twin"] === 0,
        dueAt: Number(row["scheduled_for"]),
        status: nameOf(row["status"]),
        token: Number(row["token"]),
      })),
      ranges: ranges.map((row) => ({
        jobId: String(row["job_id"]),
        from: Number(row["from_at"]),
        to: Number(row["to_at"]),
        count: Number(row["count"]),
      })),
      changes: occurrences.flatMap((row) => {
        const id = String(row["id"]);
        const earlier = (before.get(id) ?? []).filter((one) => one["token"] !== row["token"]);
        return [
          ...earlier.flatMap((one) => [
            { occurrenceId: id, to: "Running", token: Number(one["token"]) },
            { occurrenceId: id, to: "Queued", token: Number(one["token"]) },
          ]),
          { occurrenceId: id, to: nameOf(row["status"]), token: Number(row["token"]) },
        ];
      }),
      nextDueAt: new Map(jobs.map((row) => [String(row["id"]), row["next_due_at"] as number | null])),
      createdAt: new Map(jobs.map((row) => [String(row["id"]), Number(row["created_at"])])),
      integrity: String(all("PRAGMA integrity_check")[0]?.["integrity_check"]),
    };
  } finally {
    database.close();
  }
}

/** One line of the witness file that RecorderJob writes. */
interface Witness {
  readonly event: "start" | "end";
  readonly occurrenceId: string;
  readonly jobId: string;
  readonly token: number;
  readonly at: number;
}

/** The runs that the jobs themselves wrote down; `killedAt` are the moments at which every run was cut off. */
export async function readRuns(file: string, killedAt: readonly number[]): Promise<LedgerHistory["runs"]> {
  const lines = (await Deno.readTextFile(file)).split("\n").filter((line) => line.endsWith("}"));
  const witnesses: Witness[] = lines.map((line) => JSON.parse(line));
  const ends = new Map(
    witnesses.filter((one) => one.event === "end").map((one) => [`${one.occurrenceId}/${one.token}`, one.at]),
  );
  return witnesses.filter((one) => one.event === "start").map((one) => ({
    occurrenceId: one.occurrenceId,
    jobId: one.jobId,
    token: one.token,
    start: one.at,
    end: ends.get(`${one.occurrenceId}/${one.token}`) ?? null,
    deadAt: killedAt.find((at) => at >= one.at) ?? null,
  }));
}
