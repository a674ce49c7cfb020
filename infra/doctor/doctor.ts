/**
 * `milvaion doctor`: looks at everything that is configured, side by side, and says of each thing whether it is well
 * and what to do if not. It changes nothing that lasts.
 */
import type { Clock, Random } from "../../actors/ports/clock.ts";
import { type CheckResult, examine } from "./check.ts";
import { dataFolderExamination } from "./data_folder.ts";
import { type ApiAddress, machineChecks } from "./machine.ts";
import { outboxExamination } from "./outbox.ts";
import { postgresExamination, reachPostgres, readStoreId } from "./postgres.ts";
import { nodesOf } from "../node_addresses.ts";
import { rabbitmqExamination, type RabbitmqQuestions } from "./rabbitmq.ts";
import { type AskApi, liveResults, runningExamination } from "./running.ts";
import type { Stage } from "./stage.ts";
import { replicaExamination } from "./replica.ts";
import { leaveRedis, reachRedis, readInstances, redisExamination, type RedisPlace } from "./redis.ts";

export type { CheckResult, CheckState } from "./check.ts";
export { formatDoctor, hasFailed } from "./format.ts";

export interface DoctorOptions {
  /** Folder of the embedded store; null on a cluster. */
  readonly dataDir: string | null;
  /** Folder in which a worker's reports would wait; null where no worker of a cluster runs. */
  readonly outboxDir: string | null;
  /** Where the API would listen; null where there is none. */
  readonly api: ApiAddress | null;
  readonly postgres: {
    readonly url: string;
    /** `MilvaionConfig.Postgres.MaxConnections`. */
    readonly apiConnections: number;
    /** `MilvaionConfig.Postgres.ReadUrls`. */
    readonly readUrls: readonly string[];
    /** `MilvaionConfig.Postgres.MaxReplicaLagSeconds`. */
    readonly maxReplicaLagSeconds: number;
  } | null;
  readonly redis: RedisPlace | null;
  readonly rabbitmq: {
    readonly url: string;
    /** `MilvaionConfig.RabbitMQ.QueueType`. */
    readonly queueType: "quorum" | "classic";
  } | null;
  /** Worker processes of the cluster; null counts those that announce themselves now. */
  readonly workers: number | null;
  /** A running installation that is asked, and what for; null looks at what is configured only. */
  readonly running?: {
    readonly stage: Stage;
    readonly ask: AskApi;
    /** Before scaling: record the baseline even where next to nothing is done now. */
    readonly replacesBaseline?: boolean;
  } | null;
  /** This machine's own clock, not the cluster's: it is one of the things looked at. */
  readonly clock: Clock;
  readonly random: Random;
}

/** Results in a fixed order. Never rejects; takes some seconds at most, whatever does not answer. */
export async function runDoctor(options: DoctorOptions): Promise<readonly CheckResult[]> {
  const { running = null, clock } = options;
  if (running === null) return await configured(options);
  const { stage, ask, replacesBaseline = false } = running;
  const [found, asked] = await Promise.all([
    configured(options),
    stage === "live"
      ? liveResults(ask)
      : examine(runningExamination(stage, ask, { replacesBaseline }), clock),
  ]);
  return [...asked, ...found.filter((one) => isOfStage(stage, one))];
}

/** What of the checks belongs to a stage. What cannot be reached is always told. */
const OF_STAGE: Readonly<Record<Exclude<Stage, "live">, readonly string[]>> = {
  "before-scaling": ["connections", "disk", "room", "free space", "alarms", "open files", "load", "lag"],
  "after-scaling": ["connections", "load"],
};

function isOfStage(stage: Stage, { check, state }: CheckResult): boolean {
  return stage === "live" || OF_STAGE[stage].includes(check) || (check === "reachable" && state !== "ok");
}

async function configured(options: DoctorOptions): Promise<readonly CheckResult[]> {
  const { dataDir, outboxDir, api, postgres, redis, clock, random } = options;
  let asked: Promise<Fleet | null> | null = null;
  const hasDiskCheck = options.running?.stage === "before-scaling";
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
    outboxDir === null ? [] : examine(outboxExamination(outboxDir, random), clock),
    postgres === null
      ? []
      : examine(postgresExamination({ ...postgres, clock, workers, hasDiskCheck }), clock),
    replicaChecks(options),
    redis === null
      ? []
      : examine(redisExamination({ ...redis, clock, random, workers, hasDiskCheck }), clock),
    rabbitmqChecks(options, { routingPatterns, workers }),
  ]);
  return results.flat();
}

/** Of each node. */
async function rabbitmqChecks(
  { rabbitmq, clock, random }: DoctorOptions,
  fleet: Pick<RabbitmqQuestions, "routingPatterns" | "workers">,
): Promise<readonly CheckResult[]> {
  if (rabbitmq === null) return [];
  const nodes = nodesOf(rabbitmq.url);
  const results = await Promise.all(nodes.map((url) =>
    examine(
      rabbitmqExamination({ ...rabbitmq, ...fleet, url, isOfCluster: nodes.length > 1, clock, random }),
      clock,
    )
  ));
  return results.flat();
}

async function replicaChecks({ postgres, clock }: DoctorOptions): Promise<readonly CheckResult[]> {
  if (postgres === null) return [];
  const { url: primaryUrl, readUrls, maxReplicaLagSeconds: maxLagSeconds } = postgres;
  const results = await Promise.all(
    readUrls.map((url) => examine(replicaExamination({ url, primaryUrl, maxLagSeconds }), clock)),
  );
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
    const probe = await reachRedis(redis, clock);
    const instances = await readInstances(probe.link, { keyPrefix: redis.keyPrefix, storeId, clock })
      .finally(() => leaveRedis(probe));
    const patterns = instances.flatMap(({ jobTypes }) => jobTypes.map((type) => type.routingPattern));
    return { workers: instances.length, routingPatterns: [...new Set(patterns)].sort() };
  } catch {
    return null; // the checks of both servers say what is wrong
  }
}
