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

/** One line of the witness file that RecorderJob writes. `stop`: it threw, because it was to or was told to stop. */
interface Witness {
  readonly event: "start" | "beat" | "end" | "stop";
  readonly occurrenceId: string;
  readonly jobId: string;
  readonly token: number;
  readonly pid: number;
  readonly at: number;
}

/** The runs that the jobs themselves wrote down; `killedAt` are the moments at which every run was cut off. */
export async function readRuns(
  file: string,
  killedAt: readonly number[] = [],
): Promise<LedgerHistory["runs"]> {
  const text = await Deno.readTextFile(file).catch(() => ""); // nothing ran
  const witnesses: Witness[] = text.split("\n").filter((line) => line.endsWith("}")).map((line) =>
    JSON.parse(line)
  );
  const byRun = Map.groupBy(witnesses, (one) => `${one.occurrenceId}/${one.token}/${one.pid}`);
  return [...byRun.values()].flatMap((lines) => {
    const starts = lines.filter((one) => one.event === "start");
    // A token that ran twice in one process: each start is a run of its own, and the checker will say so.
    return starts.map((start) => ({
      occurrenceId: start.occurrenceId,
      jobId: start.jobId,
      token: start.token,
      pid: start.pid,
      start: start.at,
      beats: lines.filter((one) => one.event === "beat").map((one) => one.at),
      end: lines.find((one) => one.event === "end")?.at ?? null,
      stoppedAt: lines.find((one) => one.event === "stop")?.at ?? null,
      deadAt: killedAt.find((at) => at >= start.at) ?? null,
    }));
  });
}
