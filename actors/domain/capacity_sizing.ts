/**
 * Sizes of the servers, by the guide's figures and by those measured on this program (tests/bench/README.md), and the
 * guide's row that is large enough. All in bytes; a KB of the guide is 1,000.
 */
import { amountText, bytesText, roundText } from "./capacity_words.ts";

/** The guide's: a scheduled job, a worker's heartbeat, a lock in Redis; a message that waits in RabbitMQ. */
export const GUIDE_BYTES = { job: 1000, heartbeat: 100, lock: 500, message: 500 } as const;

/**
 * Measured from the servers: tests/bench/capacity_bytes.ts, memory.ts and postgres_bench.ts. Rows of PostgreSQL are
 * with their indexes; a run that has ended takes more than one that waits.
 */
export const MEASURED_BYTES = {
  job: 145,
  jobOnDisk: 45,
  jobRow: 1540,
  heartbeat: 63,
  manyHeartbeats: 135,
  lock: 168,
  /** Body and properties, of small job data: what of it exceeds some ten bytes comes on top, up to 16 KiB. */
  message: 543,
  /** While it lies in the broker's log of writes, where it is also kept in memory. */
  messageInMemory: 1450,
  messageOnDisk: 790,
  waitingRow: 480,
  run: 1000,
} as const;
/** Of RabbitMQ with nothing in it, and the log of writes of its quorum queues. */
const BROKER_BYTES = 72e6;
const BROKER_LOG_BYTES = 512e6;
/** From this part of the machine's memory on RabbitMQ takes no more messages (`vm_memory_high_watermark`). */
const BROKER_MEMORY_SHARE = 0.4;
/** Of the machine's memory, as PostgreSQL's manual advises for `shared_buffers`: what is used all the time fits into it. */
const DATABASE_CACHE_SHARE = 0.25;
const GB = 1e9;
/** Above this many instances a heartbeat takes more: Redis keeps them in another form. */
const FEW_INSTANCES = 128;
/** PostgreSQL's processor time of a run, from creation to outcome. */
const DATABASE_SECONDS_A_RUN = 65e-6;
/** A server has twice the room of what lies in it: for copies while it writes its file, for vacuum, for bursts. */
const HEADROOM = 2;
const DAY_SECONDS = 86_400;

export interface SizingQuestion {
  readonly scheduledJobs: number;
  /** Messages that wait. */
  readonly backlog: number;
  readonly instances: number;
  readonly runsPerSecond: number;
  readonly historyDays: number;
}

export const WORKLOADS = ["Small", "Medium", "Large"] as const;
export type Workload = (typeof WORKLOADS)[number];

export interface Sizing {
  readonly redis: ServerSize & { readonly workload: Workload; readonly notes: string };
  readonly rabbitmq: ServerSize;
  readonly postgres: ServerSize & {
    /** What runs leave. */
    readonly bytesADay: number;
    readonly workload: Workload;
    readonly vCpu: number;
    /** False: more than the guide's largest row. */
    readonly isEnough: boolean;
  };
  readonly sentences: readonly string[];
}

/** What lies in a server, and the machine that has room for it. */
export interface ServerSize {
  readonly memory: Bytes;
  readonly disk: Bytes;
  readonly ramGb: number;
  readonly storageGb: number;
}

export interface Bytes {
  /** Null: the guide says nothing of it. */
  readonly guideBytes: number | null;
  readonly measuredBytes: number;
}

const REDIS_ROWS = [
  { workload: "Small", ramGb: 1, notes: "Single instance" },
  { workload: "Medium", ramGb: 4, notes: "Single instance with persistence" },
  { workload: "Large", ramGb: 8, notes: "Redis Cluster or Redis Sentinel; 8 GB and more" },
] as const;

const POSTGRES_ROWS = [
  { workload: "Small", vCpu: 2, ramGb: 4, storageGb: 50 },
  { workload: "Medium", vCpu: 4, ramGb: 8, storageGb: 100 },
  { workload: "Large", vCpu: 8, ramGb: 16, storageGb: 500 },
] as const;

/** What the servers of a cluster need for this. */
export function sizing(question: SizingQuestion): Sizing {
  const redis = redisSize(question);
  const rabbitmq = rabbitmqSize(question);
  const postgres = postgresSize(question);
  const { scheduledJobs, backlog, runsPerSecond, historyDays } = question;
  const jobs = amountText(scheduledJobs, "scheduled job");
  return {
    redis,
    rabbitmq,
    postgres,
    sentences: [
      `Redis: ${jobs}, ${sizeText(redis)}: ${redis.workload.toLowerCase()}, ${machineText(redis)}.`,
      `RabbitMQ: ${amountText(backlog, "waiting message")}, ${sizeText(rabbitmq)}: ${machineText(rabbitmq)}.`,
      `PostgreSQL: ${jobs}, ${amountText(backlog, "waiting run")}, and ${
        roundText(runsPerSecond)
      } runs a second, ` +
      `which leave ${bytesText(postgres.bytesADay)} a day, ${
        bytesText(postgres.bytesADay * historyDays)
      } in ${amountText(historyDays, "day")}: ${sizeText(postgres)}: ${postgres.workload.toLowerCase()}, ` +
      `${postgres.vCpu} vCPU, ${postgres.ramGb} GB of memory, ${postgres.storageGb} GB SSD` +
      (postgres.isEnough ? "." : ", which is not enough: keep less history, or more machine."),
    ],
  };
}

function redisSize(question: SizingQuestion): Sizing["redis"] {
  const { scheduledJobs, instances } = question;
  const heartbeat = instances > FEW_INSTANCES ? MEASURED_BYTES.manyHeartbeats : MEASURED_BYTES.heartbeat;
  const guideBytes = redisBytes(question, GUIDE_BYTES);
  const row = REDIS_ROWS.find(({ ramGb }) => ramGb * GB >= guideBytes * HEADROOM) ?? REDIS_ROWS[2];
  const onDisk = scheduledJobs * MEASURED_BYTES.jobOnDisk + instances * heartbeat + MEASURED_BYTES.lock;
  return {
    ...row,
    memory: { guideBytes, measuredBytes: redisBytes(question, { ...MEASURED_BYTES, heartbeat }) },
    disk: { guideBytes: null, measuredBytes: onDisk },
    storageGb: wholeGb(onDisk * HEADROOM),
  };
}

function rabbitmqSize({ backlog }: SizingQuestion): ServerSize {
  const guideBytes = backlog * GUIDE_BYTES.message;
  const inMemory = backlog * MEASURED_BYTES.messageInMemory;
  const onDisk = backlog * MEASURED_BYTES.messageOnDisk;
  return {
    // The guide does not say where its bytes lie.
    memory: { guideBytes, measuredBytes: inMemory },
    disk: { guideBytes, measuredBytes: onDisk },
    ramGb: 2 ** Math.ceil(Math.log2(wholeGb((BROKER_BYTES + inMemory) / BROKER_MEMORY_SHARE))),
    storageGb: wholeGb(BROKER_LOG_BYTES + onDisk * HEADROOM),
  };
}

function postgresSize(
  { scheduledJobs, backlog, runsPerSecond, historyDays }: SizingQuestion,
): Sizing["postgres"] {
  const bytesADay = runsPerSecond * DAY_SECONDS * MEASURED_BYTES.run;
  // Jobs and what waits are looked at all the time, history hardly ever.
  const inUse = scheduledJobs * MEASURED_BYTES.jobRow + backlog * MEASURED_BYTES.waitingRow;
  const onDisk = inUse + bytesADay * historyDays;
  const isEnough = ({ vCpu, ramGb, storageGb }: (typeof POSTGRES_ROWS)[number]) =>
    storageGb * GB >= onDisk * HEADROOM && ramGb * GB * DATABASE_CACHE_SHARE >= inUse &&
    vCpu >= runsPerSecond * DATABASE_SECONDS_A_RUN * HEADROOM;
  const row = POSTGRES_ROWS.find(isEnough) ?? POSTGRES_ROWS[2];
  return {
    ...row,
    memory: { guideBytes: null, measuredBytes: inUse },
    disk: { guideBytes: null, measuredBytes: onDisk },
    bytesADay,
    isEnough: isEnough(row),
  };
}

function sizeText({ memory, disk }: ServerSize): string {
  const guide = memory.guideBytes === null ? "" : `${bytesText(memory.guideBytes)} by the guide, `;
  return `${guide}measured ${bytesText(memory.measuredBytes)} in memory and ${
    bytesText(disk.measuredBytes)
  } on disk`;
}

function machineText({ ramGb, storageGb }: ServerSize): string {
  return `${ramGb} GB of memory, ${storageGb} GB of disk`;
}

/** At least one. */
function wholeGb(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / GB));
}

function redisBytes(
  { scheduledJobs, instances }: SizingQuestion,
  bytes: { readonly job: number; readonly heartbeat: number; readonly lock: number },
): number {
  return scheduledJobs * bytes.job + instances * bytes.heartbeat + bytes.lock;
}

/** Connections of a server, beside how many it takes. */
export interface Connections {
  readonly server: "PostgreSQL" | "Redis" | "RabbitMQ";
  readonly wanted: number;
  readonly limit: number;
  /** False: the server's default, by the guide; it was not asked. */
  readonly isMeasured: boolean;
  readonly sentence: string;
}

export interface ConnectionQuestion {
  readonly workers: number;
  readonly apis: number;
  /** Of one API instance to PostgreSQL. */
  readonly apiConnections: number;
  /** What PostgreSQL allows, less what it keeps for its superuser. */
  readonly postgresLimit: number;
}

/** The guide's limits. */
const DEFAULT_LIMITS = { redis: 10_000, rabbitmq: 65_535 } as const;
const POSTGRES_A_WORKER = 2;
const REDIS_AN_INSTANCE = 3;
const RABBITMQ_AN_INSTANCE = 2;

/** What the instances want at most of each server. */
export function connections(question: ConnectionQuestion): readonly Connections[] {
  const { workers, apis, apiConnections, postgresLimit } = question;
  const instances = workers + apis;
  const postgres = workers * POSTGRES_A_WORKER + apis * apiConnections;
  const sum = `${amountText(workers, "worker")} × ${POSTGRES_A_WORKER} + ` +
    `${amountText(apis, "API instance")} × ${apiConnections}`;
  return [
    row("PostgreSQL", postgres, postgresLimit, { isMeasured: true, sum }),
    row("Redis", instances * REDIS_AN_INSTANCE, DEFAULT_LIMITS.redis, {
      isMeasured: false,
      sum: `${amountText(instances, "instance")} × ${REDIS_AN_INSTANCE}`,
    }),
    row("RabbitMQ", instances * RABBITMQ_AN_INSTANCE, DEFAULT_LIMITS.rabbitmq, {
      isMeasured: false,
      sum: `${amountText(instances, "instance")} × ${RABBITMQ_AN_INSTANCE}`,
    }),
  ];
}

function row(
  server: Connections["server"],
  wanted: number,
  limit: number,
  { isMeasured, sum }: { readonly isMeasured: boolean; readonly sum: string },
): Connections {
  const verdict = wanted > limit
    ? `too many: raise the limit to ${roundText(Math.ceil(wanted * 1.25))}`
    : wanted > limit * 0.8
    ? "more than four fifths"
    : "enough";
  const sentence = `${server}: ${sum} = ${roundText(wanted)} connections, of ${roundText(limit)}` +
    `${isMeasured ? "" : " (its default)"}: ${verdict}.`;
  return { server, wanted, limit, isMeasured, sentence };
}
