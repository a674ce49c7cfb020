/**
 * Every key there is, under the scaling guide's own names. A key stands here only when the program uses it, or when
 * it belongs to the servers of a cluster and then says so (`isClusterOnly`): an accepted key that does nothing
 * would be a lie.
 */
import { ISOLATIONS } from "../actors/domain/job_type.ts";
import {
  choice,
  clusterUrl,
  flag,
  folder,
  integer,
  Key,
  list,
  permission,
  secret,
  type Section,
  serverUrl,
  serverUrls,
  text,
  type ValuesOf,
} from "./config_key.ts";
import { EXPECTED_REDIS_URL, parseRedisUrl } from "./redis/address.ts";
import { MOST_PARTITIONS } from "./redis/keys.ts";

const DAY = 86_400;

/** Why an address of Redis cannot be used; null when it can. */
function redisProblem(given: string): string | null {
  try {
    parseRedisUrl(given);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The sections whose keys are all known by name. */
export const FIXED_SECTIONS = {
  MilvaionConfig: {
    DataDir: text({
      about: "Folder of the embedded store, and of a worker's outbox.",
      default: "./milvaion-data",
      variable: "MILVAION_DATA_DIR",
      pattern: /^[^\0]+$/,
      expected: "the path of a folder",
    }),
    Api: {
      Host: text({
        about: "Address to listen on. Anything but loopback needs a token.",
        default: "127.0.0.1",
        variable: "HOST",
        pattern: /^[A-Za-z0-9.:_-]+$/,
        expected: "a host name or address without port, such as 127.0.0.1 or 0.0.0.0",
      }),
      Port: integer({
        about: "Port to listen on; 0 takes any free one.",
        default: 5000,
        variable: "PORT",
        min: 0,
        max: 65_535,
      }),
      AllowedHosts: list({
        about: "Names that a proxy in front passes as Host, besides the loopback ones.",
        default: [],
        item: "host names",
      }),
      MaxJobDataKiB: integer({
        about: "Largest jobData of a job, a trigger or a replay. A whole request has at most 1 MiB.",
        default: 256,
        unit: "KiB",
        min: 1,
        max: 1000,
      }),
      Token: secret({
        about: "Bearer token that callers of the API must show.",
        variable: "MILVAION_API_TOKEN",
        expected: "at least 16 visible ASCII characters",
        isValid: (given) => /^[\x21-\x7e]{16,}$/.test(given),
      }),
    },
    JobDispatcher: {
      LockTtlSeconds: integer({
        about: "How long a lead lasts without renewal. A leader that dies is followed after this time.",
        default: 15,
        unit: "seconds",
        min: 3,
        max: DAY,
      }),
      MisfireThresholdSeconds: integer({
        about: "A due time older than this when it is decided counts as missed.",
        default: 60,
        unit: "seconds",
        min: 1,
        max: DAY,
      }),
      CatchUpSpacingSeconds: integer({
        about: "Pause between the runs of one job that make up for missed due times; 0 is none.",
        default: 1,
        unit: "seconds",
        min: 0,
        max: 3600,
      }),
      CatchUpPerSecond: integer({
        about: "Most runs of all jobs a second that make up for missed due times.",
        default: 50,
        min: 1,
        max: 10_000,
      }),
      BatchSize: integer({
        about: "Most jobs decided in one transaction.",
        default: 1000,
        min: 1,
        max: 10_000,
      }),
      PollingIntervalSeconds: integer({
        about:
          "How often the store itself is asked for due jobs. Only a safety net: due times wake the dispatcher.",
        default: 5,
        unit: "seconds",
        min: 1,
        max: 3600,
      }),
    },
    Retention: {
      CompletedDays: integer({
        about: "How long completed and skipped occurrences are kept, where the job does not say.",
        default: 30,
        unit: "days",
        min: 1,
        max: 36_500,
      }),
      FailedDays: integer({
        about: "How long failed, timed out and cancelled occurrences are kept, where the job does not say.",
        default: 90,
        unit: "days",
        min: 1,
        max: 36_500,
      }),
      KeepLast: integer({
        about: "The newest so many occurrences of each job are kept however old they are.",
        default: 10,
        min: 0,
        max: 100_000,
      }),
      LineDays: integer({
        about: "How long log lines are kept; they go with their occurrence at the latest.",
        default: 30,
        unit: "days",
        min: 1,
        max: 36_500,
      }),
      UnresolvedDays: integer({
        about: "How long a failed occurrence waits to be resolved; resolved, it goes FailedDays later.",
        default: 365,
        unit: "days",
        min: 1,
        max: 36_500,
      }),
      IntervalMinutes: integer({
        about: "How often the leader removes what has reached its age.",
        default: 60,
        unit: "minutes",
        min: 1,
        max: 10_080,
      }),
    },
    JobAutoDisable: {
      Enabled: flag({
        about: "Disable jobs that keep failing. A job may say otherwise, as for each of these.",
        default: true,
      }),
      ConsecutiveFailureThreshold: integer({
        about: "Failures in a row that disable a job: Failed, TimedOut and lost for good count.",
        default: 5,
        min: 1,
        max: 1000,
      }),
      FailureWindowMinutes: integer({
        about: "What they lie within.",
        default: 60,
        unit: "minutes",
        min: 1,
        max: 43_200,
      }),
      CooldownMinutes: integer({
        about:
          "Then one run probes whether the job works again; each probe that fails doubles it, up to a day. 0: only a person enables it.",
        default: 30,
        unit: "minutes",
        min: 0,
        max: 43_200,
      }),
    },
    Watchdog: {
      IntervalSeconds: integer({
        about: "How often each API instance compares what is due with what was decided.",
        default: 60,
        unit: "seconds",
        min: 5,
        max: 3600,
      }),
      ToleranceSeconds: integer({
        about:
          "What is late by less is no difference; and what is found is looked at again after this time " +
          "before an alert is raised.",
        default: 30,
        unit: "seconds",
        min: 1,
        max: 3600,
      }),
    },
    Postgres: {
      Url: serverUrl({
        about: "The store of a cluster.",
        variable: "DATABASE_URL",
        schemes: ["postgres", "postgresql"],
        isClusterOnly: true,
      }),
      ReadUrls: serverUrls({
        about: "Read replicas of the store, for lists, dashboards and reports of API instances.",
        variable: "DATABASE_READ_URLS",
        schemes: ["postgres", "postgresql"],
        isClusterOnly: true,
      }),
      MaxReplicaLagSeconds: integer({
        about: "A replica that lags longer is not read from until it has caught up.",
        default: 10,
        unit: "seconds",
        min: 1,
        max: 3600,
        isClusterOnly: true,
      }),
      MaxConnections: integer({
        about: "Most connections of an API instance to the database, and to each replica. A worker has 2.",
        default: 10,
        min: 2,
        max: 500,
        isClusterOnly: true,
      }),
      PreparedStatements: flag({
        about: "Prepare statements by name. Turn off behind a PgBouncer that pools by transaction.",
        default: true,
        isClusterOnly: true,
      }),
    },
    Redis: {
      Url: secret({
        about:
          "Locks, due index, presence and live events of a cluster: one server, a Redis Cluster, or Sentinel.",
        variable: "REDIS_URL",
        expected: EXPECTED_REDIS_URL,
        isValid: (given) => redisProblem(given) === null,
        explain: redisProblem,
        isClusterOnly: true,
      }),
      SentinelUser: text({
        about: "User of the sentinels; empty is their default user. Means nothing without redis+sentinel://.",
        default: "",
        variable: "REDIS_SENTINEL_USER",
        pattern: /^\S{0,100}$/,
        expected: "a name without spaces",
        isClusterOnly: true,
      }),
      SentinelPassword: secret({
        about:
          "Password of the sentinels, which is not that of the servers. Means nothing without redis+sentinel://.",
        variable: "REDIS_SENTINEL_PASSWORD",
        expected: "at least one character",
        isValid: (given) => given !== "",
        isClusterOnly: true,
      }),
      KeyPrefix: text({
        about: "Begins every Redis key.",
        default: "Milvaion:JobScheduler:",
        pattern: /^[^\s{}]{1,100}$/,
        expected: "1 to 100 characters without spaces and braces",
        isClusterOnly: true,
      }),
      DueIndexPartitions: integer({
        about:
          "Parts of the due index, spread over the masters of a Redis Cluster; 0 is 16 there and 1 elsewhere. The same on all instances.",
        default: 0,
        min: 0,
        max: MOST_PARTITIONS,
        isClusterOnly: true,
      }),
    },
    RabbitMQ: {
      Url: clusterUrl({
        about: "The queue of a cluster. The nodes of a RabbitMQ cluster with commas between.",
        variable: "AMQP_URL",
        schemes: ["amqp", "amqps"],
        isClusterOnly: true,
      }),
      QueueType: choice(["quorum", "classic"], {
        about: "Kind of the job queues.",
        default: "quorum",
        isClusterOnly: true,
      }),
      InlinePayloadKiB: integer({
        about:
          "Larger jobData stays in PostgreSQL and comes with the claim; larger results are written there by workers with DATABASE_URL.",
        default: 16,
        unit: "KiB",
        min: 1,
        max: 1000,
        isClusterOnly: true,
      }),
    },
    Bottlenecks: {
      LookIntervalSeconds: integer({
        about:
          "How often an API instance looks at itself, workers and servers for the bottleneck advisor; 13 looks count.",
        default: 5,
        unit: "seconds",
        min: 1,
        max: 60,
      }),
    },
    Logging: {
      Level: choice(["debug", "info", "warn", "error"], {
        about: "The least important lines that are written.",
        default: "info",
      }),
      Format: choice(["auto", "json", "pretty"], {
        about: "auto is pretty on a terminal, JSON elsewhere.",
        default: "auto",
      }),
    },
  },
  Worker: {
    WorkerId: text({
      about: "Name of the pool this worker belongs to; jobs can be pinned to it.",
      default: "local",
      pattern: /^[A-Za-z0-9_-]{1,64}$/,
      expected: "1 to 64 letters, digits, - or _",
    }),
    MaxParallelJobs: integer({
      about: "Most attempts that run at once in this process.",
      default: (machine) => machine.cores * 2,
      min: 1,
      max: 1000,
    }),
    ExecutionTimeoutSeconds: integer({
      about: "Run time after which an attempt is timed out, where neither job nor job type says.",
      default: 3600,
      unit: "seconds",
      min: 1,
      max: 30 * DAY,
    }),
    JobFolders: list({
      about: "Folders with job files, besides the samples.",
      default: [],
      item: "folders",
    }),
    JobTypes: list({
      about: "Offer only these job types, by name or routing pattern, e.g. report.*; empty offers all found.",
      default: [],
      item: "job types",
    }),
    Samples: flag({
      about: "Offer the sample jobs that come with the program.",
      default: true,
    }),
    LeaseSeconds: integer({
      about:
        "A worker not heard of for this long has lost its attempts. At least 3 × Heartbeat.IntervalSeconds.",
      default: 15,
      unit: "seconds",
      min: 3,
      max: 3600,
    }),
    KillGraceSeconds: integer({
      about: "Time between the abort signal and the end by force.",
      default: 5,
      unit: "seconds",
      min: 1,
      max: 3600,
    }),
    ShutdownGraceSeconds: integer({
      about:
        "Time that running jobs get when the program stops; their abort signal comes KillGraceSeconds before its end. Below the 30 s that Kubernetes waits.",
      default: 25,
      unit: "seconds",
      min: 1,
      max: 3600,
    }),
    MaxResultKiB: integer({
      about:
        "Largest result that is kept whole; of a larger one its size and beginning, with a line that says so.",
      default: 64,
      unit: "KiB",
      min: 1,
      max: 4096,
    }),
    HeapLimitMb: integer({
      about: "Heap of each Web Worker; one that needs more takes its executor host down.",
      default: 512,
      unit: "MiB",
      min: 64,
      max: 65_536,
    }),
    MemoryLimitMb: integer({
      about:
        "Memory this process and its executor hosts may take, which the bottleneck advisor goes by; 0 is what the machine has.",
      default: 0,
      unit: "MiB",
      min: 0,
      max: 16_777_216,
    }),
    OutboxDir: folder({
      about:
        "Folder in which reports wait while the broker is away, below it in outbox/. Without it: MilvaionConfig.DataDir.",
      variable: "MILVAION_OUTBOX_DIR",
      isClusterOnly: true,
    }),
    HealthPort: integer({
      about: "Port on 127.0.0.1 where a worker answers /livez, /readyz and /metrics; 0 is none.",
      default: 0,
      variable: "HEALTH_PORT",
      min: 0,
      max: 65_535,
      isClusterOnly: true,
    }),
    Heartbeat: {
      IntervalSeconds: integer({
        about: "How often presence is announced.",
        default: 5,
        unit: "seconds",
        min: 1,
        max: 1200,
      }),
    },
  },
} satisfies Section;

/** The keys of `JobConsumers.<job type>`. What is not given is the job file's to say. */
export const CONSUMER_SECTION = {
  MaxParallelJobs: integer({
    about: "Lanes of this type; at most the worker's MaxParallelJobs count.",
    min: 1,
    max: 1000,
  }),
  ExecutionTimeoutSeconds: integer({
    about: "Run time after which an attempt of this type is timed out.",
    unit: "seconds",
    min: 1,
    max: 30 * DAY,
  }),
  MaxRetries: integer({
    about: "Retries after the first attempt.",
    min: 0,
    max: 100,
  }),
  BaseRetryDelaySeconds: integer({
    about: "First back-off; each further one is twice as long, with full jitter.",
    unit: "seconds",
    min: 0,
    max: 3600,
  }),
  MaxRetryDelaySeconds: integer({
    about: "Longest back-off, 3600 when nobody says.",
    unit: "seconds",
    min: 1,
    max: 7 * DAY,
  }),
  RetryBudgetSeconds: integer({
    about: "Time from the start of the first attempt after which no further one is made ready.",
    unit: "seconds",
    min: 1,
    max: 30 * DAY,
  }),
  RoutingPattern: text({
    about: "Routing keys this type listens to, instead of <type>.*",
    pattern: /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.[*#]$/,
    expected: "words with dots between, ending in .* or .#, such as report.*",
  }),
  Threads: integer({
    about: "Web Workers that the lanes are spread over.",
    min: 1,
    max: 16,
  }),
  Isolation: choice(ISOLATIONS, {
    about: "What attempts share: lane (a Web Worker), thread (a host), process (nothing with other types).",
  }),
  Permissions: {
    net: permission("Hosts that job code may reach."),
    read: permission("Paths that job code may read."),
    write: permission("Paths that job code may write."),
    env: permission("Environment variables that job code may read."),
    sys: permission("System facts that job code may ask for."),
  },
} satisfies Section;

type Consumer = ValuesOf<typeof CONSUMER_SECTION>;

/** What was said about one job type. Keys that nobody gave are absent. */
export type ConsumerConfig =
  & { readonly [K in Exclude<keyof Consumer, "Permissions">]?: Consumer[K] }
  & { readonly Permissions?: { readonly [K in keyof Consumer["Permissions"]]?: Consumer["Permissions"][K] } };

/** The whole configuration, under the names of the file. Durations are in the unit that the key names. */
export type Config = ValuesOf<typeof FIXED_SECTIONS> & {
  readonly JobConsumers: { readonly [jobType: string]: ConsumerConfig };
};

/** Where `JobConsumers` sections are: their names are job types, which nobody knows beforehand. */
export const CONSUMERS = "JobConsumers";

/** Names that a job type can have. */
export const JOB_TYPE_NAME = /^[A-Za-z][A-Za-z0-9_]{0,99}$/;

/**
 * What stands under a path of names: a key, a section, or nothing. `["JobConsumers"]` itself is answered with an
 * empty section, since every job type may stand there.
 */
export function nodeAt(path: readonly string[]): Key<unknown> | Section | null {
  let node: Key<unknown> | Section = FIXED_SECTIONS;
  let names = path;
  if (path[0] === CONSUMERS) {
    if (path[1] === undefined) return {};
    if (!JOB_TYPE_NAME.test(path[1])) return null;
    node = CONSUMER_SECTION;
    names = path.slice(2);
  }
  for (const name of names) {
    if (node instanceof Key || !Object.hasOwn(node, name)) return null;
    const child: Key<unknown> | Section | undefined = node[name];
    if (child === undefined) return null;
    node = child;
  }
  return node;
}

/** Each key of a section with its path below that section. */
export function keysOf(section: Section, above: readonly string[] = []): [string[], Key<unknown>][] {
  return Object.entries(section).flatMap(([name, node]): [string[], Key<unknown>][] =>
    node instanceof Key ? [[[...above, name], node]] : keysOf(node, [...above, name])
  );
}
