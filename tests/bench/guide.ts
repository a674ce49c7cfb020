/** The guide's four reference rows, on real servers: a job that logs, calls, inserts, sends. */
import { delay } from "@std/async";
import postgres from "postgres";
import { bareBroker, bareCalls, bareDatabase } from "./bare_limits.ts";
import type { Bench, Run } from "./benchmark.ts";
import { ClusterBed } from "./cluster_bed.ts";

/** A waiting row of the guide: `lanes` of one worker, each busy for `ms`. */
interface WaitingRow {
  readonly jobType: string;
  readonly lanes: number;
  readonly ms: number;
  readonly jobData: (bed: ClusterBed, url: string) => Readonly<Record<string, unknown>>;
  /** What a run waits for, with no scheduler around it. */
  readonly bare: (place: { readonly url: string; readonly sql: postgres.Sql }) => Promise<unknown>;
}

export const WAITING: Readonly<Record<"api" | "insert" | "email", WaitingRow>> = {
  api: {
    jobType: "ApiCallJob",
    lanes: 10,
    ms: 100,
    jobData: (_, url) => ({ url }),
    bare: async ({ url }) => await (await fetch(url)).text(),
  },
  insert: {
    jobType: "DatabaseInsertJob",
    lanes: 20,
    ms: 100,
    jobData: (bed) => ({ url: bed.servers.postgres, seconds: 0.1 }),
    bare: ({ sql }) =>
      sql`INSERT INTO bench_rows (at, value) SELECT ${Date.now()}, 'bare' FROM pg_sleep(0.1)`,
  },
  email: {
    jobType: "WaitJob",
    lanes: 10,
    ms: 500,
    jobData: () => ({ ms: 500 }),
    bare: () => delay(500),
  },
};

/** How long what is waited for is called directly in each run. */
const BARE_SECONDS = 5;

/**
 * Efficiency against Workers × MaxParallelJobs ÷ duration, of a job that waits for something else. The duration is the
 * runs' measured average, as in the guide's formula: a call of a service that answers after 100 ms takes a bit longer.
 */
export async function measureWaiting(bench: Bench, which: keyof typeof WAITING): Promise<readonly Run[]> {
  const { jobType, lanes, ms, jobData, bare } = WAITING[which];
  const service = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async () => {
    await delay(ms);
    return new Response("ok");
  });
  try {
    await using bed = await ClusterBed.start({
      workers: 1,
      lanes,
      jobType,
      env: {
        [`JobConsumers__${jobType}__Permissions__net`]: "true",
        // What the PostgreSQL client looks for.
        [`JobConsumers__${jobType}__Permissions__env`]: "true",
      },
    });
    const sql = postgres(bed.servers.postgres, { max: lanes, fetch_types: false, onnotice: () => {} });
    await sql`CREATE TABLE bench_rows (at bigint NOT NULL, value text NOT NULL)`;
    const url = `http://127.0.0.1:${service.addr.port}/`;
    const jobId = await bed.createJob({ jobType, triggerOnly: true, jobData: jobData(bed, url) });
    await bed.throughput(jobId, lanes * 10); // warm
    const ideal = lanes / (ms / 1000);
    const runs = await bench.repeat(async () => {
      const rate = await bed.steadyRate(jobId, ideal, [bench.count(3), Math.max(2, bench.count(13))]);
      const averageMs = await averageOfLast(bed, jobId);
      return {
        rate,
        "of measured duration": rate * averageMs / 1000 / lanes * 100,
        averageMs,
        alone: await bareCalls(
          { lanes, each: Math.ceil(bench.count(BARE_SECONDS * 10) * 100 / ms) },
          () => bare({ url, sql }),
        ),
      };
    });
    await sql.end();
    return runs;
  } finally {
    await service.shutdown();
  }
}

/** How long the last runs took on average, milliseconds. Throws when one of them did not complete. */
async function averageOfLast(bed: ClusterBed, jobId: string): Promise<number> {
  const { body } = await bed.request("GET", `/api/v1/occurrences?jobId=${jobId}&limit=200`);
  const runs: readonly { readonly status: string; readonly durationMs: number }[] = body.items;
  const failed = runs.filter(({ status }) => status !== "Completed").length;
  if (failed > 0) throw new Error(`${failed} of the last ${runs.length} runs did not complete`);
  return runs.reduce((sum, { durationMs }) => sum + durationMs, 0) / runs.length;
}

/** The guide's first row: a job that logs, at concurrency 50, beside the broker and the database alone. */
export async function measureLogging(bench: Bench): Promise<readonly Run[]> {
  await using bed = await ClusterBed.start({ workers: 1, lanes: 50, jobType: "LoggingJob" });
  const jobId = await bed.createJob({ jobType: "LoggingJob", triggerOnly: true });
  await bed.throughput(jobId, bench.count(5000)); // warm
  const jobs = bench.count(20_000);
  return await bench.repeat(async () => ({
    throughput: await bed.throughput(jobId, jobs),
    broker: await bareBroker(bed.amqpUrl, jobs),
    database: await bareDatabase(bed.servers.postgres, jobs),
  }));
}
