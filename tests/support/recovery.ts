/** How long a cluster needs to be itself again after a fault, by its database's word. */
import { delay } from "@std/async";
import postgres from "postgres";
import type { Cluster } from "./cluster.ts";
import type { ClusterProcess } from "./cluster_process.ts";
import { until } from "./program.ts";
import type { Ground } from "./under_load.ts";

/** After this it never recovers. Milliseconds. */
const NEVER_MS = 120_000;

/**
 * Does a fault and undoes it, all in `work`; then waits until nothing that was due by then is left undone, and
 * notes how long that took, in milliseconds.
 */
export async function recovers<T>(
  { cluster, figure }: Pick<Ground, "cluster" | "figure">,
  what: string,
  work: () => Promise<T>,
  options: { readonly isFreeze?: boolean } = {},
): Promise<T> {
  const done = await cluster.nemesis.during(what, work, options);
  figure(`${what}: drained after ms`, await drained(cluster, what));
  return done;
}

/** Waits until nothing that is due by now is left undone; gives how long that took. Milliseconds. */
export async function drained(cluster: Cluster, after = "the fault"): Promise<number> {
  const from = performance.now();
  const dueBefore = new Date();
  while (true) {
    const left = await leftUndone(cluster, dueBefore);
    if (left === 0) return Math.round(performance.now() - from);
    if (performance.now() - from > NEVER_MS) {
      const rows = await rowsOf(
        cluster,
        `SELECT id, status, token, attempt, looks, next_action_at, lease_until, blocked_by, reason FROM occurrences
         WHERE ended_at IS NULL AND scheduled_for < $1 ORDER BY scheduled_for LIMIT 5`,
        [dueBefore],
      );
      throw new Error(
        `${NEVER_MS} ms after ${after}, ${left} that were due by ${dueBefore.toISOString()} are left undone:\n` +
          rows.map((row) => JSON.stringify(row)).join("\n"),
      );
    }
    await delay(50);
  }
}

/** Asks the database of a cluster, as its owner. */
export async function rowsOf(
  cluster: Cluster,
  text: string,
  parameters: (string | number | Date)[] = [],
): Promise<readonly Record<string, unknown>[]> {
  const sql = postgres(cluster.databaseUrl, { max: 1, onnotice: () => {}, connect_timeout: 5 });
  try {
    return await sql.unsafe(text, parameters);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function leftUndone(cluster: Cluster, dueBefore: Date): Promise<number> {
  const [row] = await rowsOf(
    cluster,
    `SELECT (SELECT count(*) FROM occurrences WHERE ended_at IS NULL AND scheduled_for < $1)
          + (SELECT count(*) FROM jobs WHERE next_due_at < $1) AS count`,
    [dueBefore],
  );
  return Number(row?.["count"]);
}

/** Waits until an occurrence runs, and gives the worker that runs it. */
export async function workerOf(
  { cluster, load }: Pick<Ground, "cluster" | "load">,
  occurrenceId: string,
): Promise<ClusterProcess> {
  return await until(async () => {
    const run = (await load.runs()).findLast((one) => one.occurrenceId === occurrenceId);
    if (run?.pid === undefined || run.end !== null || (run.stoppedAt ?? null) !== null) return null;
    const { pid } = run;
    for (const worker of cluster.workers) {
      if ((await worker.hosts()).includes(pid)) return worker;
    }
    return null;
  }, `a worker runs ${occurrenceId}`);
}

/** The id by which messages say to which cluster they belong. */
export async function storeIdOf(cluster: Cluster): Promise<string> {
  const [row] = await rowsOf(cluster, "SELECT value FROM facts WHERE name = 'storeId'");
  return String(row?.["value"]);
}
