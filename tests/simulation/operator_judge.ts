/**
 * Judges what the ledger's judge does not know of: run limits, due times that were left out, bulk actions. Each in words;
 * empty when all is kept.
 */
import { DatabaseSync } from "node:sqlite";
import type { ClusterHistory } from "../support/cluster_history.ts";
import type { SimulatedJob } from "./clients.ts";
import type { LeftOut } from "./operators.ts";

export interface OperatorHistory {
  readonly jobs: readonly SimulatedJob[];
  readonly nextDueAt: ReadonlyMap<string, number | null>;
  readonly occurrences: ClusterHistory["occurrences"];
  readonly edges: ClusterHistory["edges"];
  readonly leftOut: readonly LeftOut[];
  readonly bulk: BulkHistory;
}

/** What the store says of bulk actions in the end. */
export interface BulkHistory {
  /** Actions with something left to do or to wait for. */
  readonly open: readonly string[];
  /** `action/failed occurrence` → replays that it began, where there is more than one. */
  readonly doubled: ReadonlyMap<string, number>;
}

export function judgeOperators(history: OperatorHistory): readonly string[] {
  return [...checkRunLimits(history), ...checkLeftOut(history), ...checkBulk(history)];
}

/** No more due times run than may; a schedule that has ended has had all of them. */
function checkRunLimits({ jobs, nextDueAt, occurrences, edges }: OperatorHistory): string[] {
  const scheduled = new Set(occurrences.filter((one) => one.scheduled).map(({ id }) => id));
  const begun = Map.groupBy(
    edges.filter(({ from, to, occurrenceId }) =>
      from === null && to !== "Skipped" && scheduled.has(occurrenceId)
    ),
    ({ jobId }) => jobId,
  );
  return jobs.flatMap(({ id, runLimit, pattern }) => {
    if (runLimit === null) return [];
    const ran = begun.get(id)?.length ?? 0;
    if (ran > runLimit) return [`run limit: ${ran} due times of job ${id} ran, ${runLimit} may`];
    const hasEnded = pattern !== null && nextDueAt.get(id) === null;
    return hasEnded && ran < runLimit ? [`run limit: job ${id} has ended after ${ran} of ${runLimit}`] : [];
  });
}

/** What was left out has not run. */
function checkLeftOut({ leftOut, occurrences }: OperatorHistory): string[] {
  const decided = new Set(
    occurrences.filter((one) => one.scheduled).map(({ jobId, dueAt }) => `${jobId}/${dueAt}`),
  );
  return leftOut.filter(({ jobId, dueAt }) => decided.has(`${jobId}/${dueAt}`)).map(({ jobId, dueAt }) =>
    `left out: ${new Date(dueAt).toISOString()} of job ${jobId} has an occurrence`
  );
}

/** Each item is begun once, and each action comes to its end. */
function checkBulk({ bulk }: OperatorHistory): string[] {
  return [
    ...bulk.open.map((id) => `bulk: action ${id} is still under way`),
    ...[...bulk.doubled].map(([what, count]) => `bulk: ${what} was replayed ${count} times`),
  ];
}

/** Reads what became of bulk actions, from the files of a stopped store. */
export function readBulk(folder: string): BulkHistory {
  const database = new DatabaseSync(`${folder}/milvaion.db`, { readOnly: true });
  try {
    const open = database.prepare("SELECT id FROM bulk_actions WHERE is_settled = 0").all();
    const doubled = database.prepare(
      `SELECT action_id, failed_id, count(*) AS count FROM replays WHERE action_id IS NOT NULL
       GROUP BY action_id, failed_id HAVING count(*) > 1`,
    ).all();
    return {
      open: open.map((row) => String(row["id"])),
      doubled: new Map(
        doubled.map((row) => [`${row["action_id"]}/${row["failed_id"]}`, Number(row["count"])]),
      ),
    };
  } finally {
    database.close();
  }
}
