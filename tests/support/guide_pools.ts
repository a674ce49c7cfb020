/**
 * The three pools that the scaling guide draws: `sendemail.*` → ten email workers, `report.*` → two report workers,
 * `migration.*` → one migration worker, each with its MaxParallelJobs.
 */
import type { Cluster } from "./cluster.ts";
import { configuredWorker, type Place } from "./configured_worker.ts";

export interface GuidePool {
  readonly workerId: string;
  readonly jobType: string;
  readonly queue: string;
  readonly maxParallelJobs: number;
  /** As the guide draws it. */
  readonly instances: number;
  /** A payload whose run is short. */
  readonly jobData: Readonly<Record<string, unknown>>;
}

export const GUIDE_POOLS: readonly GuidePool[] = [
  {
    workerId: "email-worker",
    jobType: "SendEmailJob",
    queue: "jobs.sendemail.wildcard",
    maxParallelJobs: 100,
    instances: 10,
    jobData: { to: "a@example.com" },
  },
  {
    workerId: "report-worker",
    jobType: "GenerateReportJob",
    queue: "jobs.report.wildcard",
    maxParallelJobs: 4,
    instances: 2,
    jobData: { upTo: 1000 },
  },
  {
    workerId: "migration-worker",
    jobType: "MigrationJob",
    queue: "jobs.migration.wildcard",
    maxParallelJobs: 1,
    instances: 1,
    jobData: { batches: 1, batchMs: 1 },
  },
];

/** A further instance of a pool. */
export function poolInstance(
  place: Place,
  pool: GuidePool,
  number: number,
): ReturnType<typeof configuredWorker> {
  const { workerId, jobType, maxParallelJobs } = pool;
  return configuredWorker(place, {
    name: `${workerId}-${number}`,
    config: { Worker: { WorkerId: workerId, MaxParallelJobs: maxParallelJobs, JobTypes: [jobType] } },
  });
}

/** A job of the pool's type that is not pinned: the pattern of its type alone finds the pool. Needs no worker yet. */
export async function createPoolJob(
  cluster: Cluster,
  pool: GuidePool,
  jobData: GuidePool["jobData"] = pool.jobData,
): Promise<string> {
  const { status, body, text } = await cluster.request("POST", "/api/v1/jobs?allowUnknownType=true", {
    displayName: pool.jobType,
    jobType: pool.jobType,
    triggerOnly: true,
    concurrentExecutionPolicy: "Allow",
    jobData,
  });
  if (status !== 201) throw new Error(`Cannot create a job: ${status} ${text}`);
  return body.id;
}

export async function triggerMany(cluster: Cluster, jobId: string, count: number): Promise<void> {
  const items = Array.from({ length: count }, () => ({}));
  const { status, text } = await cluster.request("POST", `/api/v1/jobs/${jobId}/trigger-many`, { items });
  if (status !== 202) throw new Error(`Cannot trigger: ${status} ${text}`);
}

/** Of all occurrences of a job, where each was run. */
export interface PoolRun {
  readonly status: string;
  readonly workerId: string | null;
  readonly instanceId: string | null;
}

export async function runsOf(cluster: Cluster, jobId: string): Promise<readonly PoolRun[]> {
  const runs: PoolRun[] = [];
  let cursor: string | null = null;
  do {
    const more: string = cursor === null ? "" : `&cursor=${cursor}`;
    const { body } = await cluster.request("GET", `/api/v1/occurrences?jobId=${jobId}&limit=200${more}`);
    runs.push(...body.items);
    cursor = body.nextCursor;
  } while (cursor !== null);
  return runs;
}

/** Runs of each instance. */
export function runsByInstance(runs: readonly PoolRun[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { instanceId } of runs) {
    if (instanceId !== null) counts.set(instanceId, (counts.get(instanceId) ?? 0) + 1);
  }
  return counts;
}

/** Standard deviation ÷ mean: 0 is perfectly even. */
export function coefficientOfVariation(counts: readonly number[]): number {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / counts.length;
  return Math.sqrt(variance) / mean;
}
