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
import { reachRedis, readInstances, redisExamination } from "./redis.ts";

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
  let asked: Promise<Fleet | null> | null = null;
  const fleet = () => asked ??= readFleet(options);
  const workers = async () => options.workers ?? (await fleet())?.workers ?? null;
  const routingPatterns = async () => (await fleet())?.routingPatterns ?? [];
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
    rabbitmq === null
      ? []
      : examine(rabbitmqExamination({ ...rabbitmq, routingPatterns, clock, random }), clock),
  ]);
  return results.flat();
}

interface Fleet {
  readonly workers: number;
  /** Of the types that are offered, e.g. `sendemail.*`. */
  readonly routingPatterns: readonly string[];
}

/** The workers of this store that announce themselves in Redis; null when that cannot be found out. */
async function readFleet({ postgres, redis, clock }: DoctorOptions): Promise<Fleet | null> {
  if (postgres === null || redis === null) return null;
  try {
    const database = await reachPostgres(postgres.url);
    const storeId = await readStoreId(database).finally(() => database.end());
    if (storeId === null) return { workers: 0, routingPatterns: [] };
    const connection = await reachRedis(redis.url, clock);
    const instances = await readInstances(connection, { keyPrefix: redis.keyPrefix, storeId, clock })
      .finally(() => connection.close());
    const patterns = instances.flatMap(({ jobTypes }) => jobTypes.map((type) => type.routingPattern));
    return { workers: instances.length, routingPatterns: [...new Set(patterns)].sort() };
  } catch {
    return null; // the checks of both servers say what is wrong
  }
}
