/**
 * `milvaion doctor`: looks at everything that is configured, side by side, and says of each thing whether it is well
 * and what to do if not. It changes nothing that lasts.
 */
import type { Clock, Random } from "../../actors/ports/clock.ts";
import { type CheckResult, examine } from "./check.ts";
import { dataFolderExamination } from "./data_folder.ts";
import { type ApiAddress, machineChecks } from "./machine.ts";
import { postgresExamination, reachPostgres, readStoreId } from "./postgres.ts";
import { rabbitmqExamination } from "./rabbitmq.ts";
import { countInstances, reachRedis, redisExamination } from "./redis.ts";

export type { CheckResult, CheckState } from "./check.ts";
export { formatDoctor, hasFailed } from "./format.ts";

export interface DoctorOptions {
  /** Folder of the embedded store; null on a cluster. */
  readonly dataDir: string | null;
  /** Where the API would listen; null where there is none. */
  readonly api: ApiAddress | null;
  readonly postgres: { readonly url: string } | null;
  /** `keyPrefix`: `MilvaionConfig.Redis.KeyPrefix`. */
  readonly redis: { readonly url: string; readonly keyPrefix: string } | null;
  readonly rabbitmq: {
    readonly url: string;
    /** `MilvaionConfig.RabbitMQ.QueueType`. */
    readonly queueType: "quorum" | "classic";
    /** Patterns whose queues are looked at where they are there. */
    readonly routingPatterns: readonly string[];
  } | null;
  /** Worker processes of the cluster; null counts those that announce themselves now. */
  readonly workers: number | null;
  /** This machine's own clock, not the cluster's: it is one of the things looked at. */
  readonly clock: Clock;
  readonly random: Random;
}

/** Results in a fixed order. Never rejects; takes some seconds at most, whatever does not answer. */
export async function runDoctor(options: DoctorOptions): Promise<readonly CheckResult[]> {
  const { dataDir, api, postgres, redis, rabbitmq, clock, random } = options;
  let counted: Promise<number | null> | null = null;
  const workers = () => counted ??= countWorkers(options);
  const results = await Promise.all([
    examine({
      subject: "Machine",
      reach: () => Promise.resolve(null),
      explain: (error) => ({ state: "unknown", message: error.message, nextStep: null }),
      checks: machineChecks(api),
      leave: () => Promise.resolve(),
    }, clock),
    dataDir === null ? [] : examine(dataFolderExamination(dataDir, random), clock),
    postgres === null ? [] : examine(postgresExamination({ ...postgres, clock, workers }), clock),
    redis === null ? [] : examine(redisExamination({ ...redis, clock, random, workers }), clock),
    rabbitmq === null ? [] : examine(rabbitmqExamination({ ...rabbitmq, clock, random }), clock),
  ]);
  return results.flat();
}

/** The workers of this store that announce themselves in Redis; null when that cannot be found out. */
async function countWorkers({ workers, postgres, redis, clock }: DoctorOptions): Promise<number | null> {
  if (workers !== null || postgres === null || redis === null) return workers;
  try {
    const database = await reachPostgres(postgres.url);
    const storeId = await readStoreId(database).finally(() => database.end());
    if (storeId === null) return 0;
    const connection = await reachRedis(redis.url, clock);
    return await countInstances(connection, redis.keyPrefix, storeId).finally(() => connection.close());
  } catch {
    return null; // the checks of both servers say what is wrong
  }
}
