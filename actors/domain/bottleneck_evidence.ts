/**
 * What is known about a running installation, as one API instance has seen it over the last minute: figures only, no
 * judgement. Null is what could not be asked; nothing is concluded from it.
 */

/** How long calls took, over a window. Milliseconds. */
export interface Latency {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Processors, as a process sees them. */
export interface CpuUse {
  /** Processor time by time, executor hosts included: 1 is one processor all the time. */
  readonly used: number;
  /** It may use, as its runtime says: those of the machine, or fewer where it is limited. */
  readonly processors: number;
  /** Part of its machine's processors that was busy, whoever used them; null where that may not be asked. */
  readonly machineShare: number | null;
}

/** The instance that was asked. */
export interface ApiEvidence {
  readonly instanceId: string;
  readonly hostName: string;
  /** Processor time by time: 1 is one processor all the time, which is what one event loop can use. */
  readonly cpuShare: number;
  /** Part of its machine's processors that was busy, whoever used them; null where that may not be asked. */
  readonly machineShare: number | null;
  /** The same between those two looks where it was the most. */
  readonly machinePeak: number | null;
  readonly rssBytes: number;
  readonly memoryLimitBytes: number | null;
  /** How late timers came. */
  readonly eventLoopDelay: Latency | null;
  readonly requestsPerSecond: number;
  /** Busiest first. */
  readonly routes: readonly RouteRate[];
  /** Clients of live events that are connected now. */
  readonly liveClients: number;
}

export interface RouteRate {
  /** Method and path, e.g. `GET /api/v1/occurrences`. */
  readonly route: string;
  /** It reads what live events would tell. */
  readonly isPoll: boolean;
  readonly perSecond: number;
  /** How many were being answered, on average over the window. */
  readonly inProgress: number;
}

export interface StoreEvidence {
  readonly createdPerSecond: number;
  readonly completedPerSecond: number;
  /** Of one sync to the disk; null where the store is a server. */
  readonly sync: Latency | null;
}

/** What waits for the workers of a type, or of a type in a pool. */
export interface QueueEvidence {
  readonly jobType: string;
  readonly pool: string | null;
  readonly ready: number;
  /** By how much `ready` grew a second, over the window: the slope of a line through all looks. */
  readonly growthPerSecond: number;
  /** Part of the looks at which more waited than at the look before. */
  readonly risingShare: number;
  readonly workers: number;
  readonly lanes: number;
  readonly lanesBusy: number;
  /** Part of the looks at which something waited and no lane was free. */
  readonly fullShare: number;
  /**
   * The pool that lacks most workers, how many it wants by the capacity planner, and how many it has; null when nobody
   * knows.
   */
  readonly wanted: { readonly pool: string; readonly workers: number; readonly present: number } | null;
}

export interface WorkerEvidence {
  /** The pool. */
  readonly workerId: string;
  readonly instanceId: string;
  readonly hostName: string;
  /** On average over the looks; null when it did not say. */
  readonly cpu: CpuUse | null;
  readonly rssBytes: number;
  readonly memoryLimitBytes: number | null;
  /** 99 of 100 timers were less late. */
  readonly eventLoopDelayMs: number;
  /** Of the job data of runs in the last minute; 0 when there was none. */
  readonly largestPayload: { readonly jobType: string; readonly bytes: number } | null;
}

export interface RedisServerEvidence {
  readonly place: string;
  readonly commandsPerSecond: number;
  readonly zsetPerSecond: number;
  readonly zsetMicrosPerCall: number;
  /** Part of one processor that sorted set commands take. */
  readonly zsetShare: number;
  /** Part of one processor that the server takes: it has one for commands. */
  readonly cpuShare: number;
  readonly usedBytes: number;
  /** Null: as much as there is. */
  readonly maxBytes: number | null;
  readonly clients: number;
  readonly maxClients: number | null;
}

export interface RedisEvidence {
  /** Of this instance's own calls. */
  readonly call: Latency;
  readonly servers: readonly RedisServerEvidence[];
}

export interface PostgresEvidence {
  /** Of this instance's own statements. */
  readonly statement: Latency;
  /** Rows inserted into the database, whoever did it. */
  readonly insertedPerSecond: number;
  /**
   * Sessions of the database that were active and waited for nothing, on average over the looks: each is on a
   * processor or in line for one. It stands for the server's processor time, which SQL does not tell.
   */
  readonly working: number;
  /** Sessions that waited for a lock, on average. */
  readonly waitingForLocks: number;
  /** Sessions that waited for the disk, on average. */
  readonly waitingForDisk: number;
  readonly connections: number;
  /** That may be had, without those kept for administrators. */
  readonly maxConnections: number;
  /** Those that cost most over the looks, as `pg_stat_statements` has them; null without it. */
  readonly slowStatements: readonly SlowStatement[] | null;
  readonly replicas: readonly {
    readonly name: string;
    readonly isUsed: boolean;
    readonly lagSeconds: number | null;
  }[];
}

export interface SlowStatement {
  /** With `$1` for each value. */
  readonly text: string;
  /** That ended within the window. */
  readonly calls: number;
  readonly meanMs: number;
  /** Sessions that it kept at work, on average: its time by time. */
  readonly share: number;
}

export interface Evidence {
  /** Epoch milliseconds. */
  readonly at: number;
  /** From the first look to the last. */
  readonly windowSeconds: number;
  readonly looks: number;
  readonly api: ApiEvidence | null;
  readonly store: StoreEvidence | null;
  readonly queues: readonly QueueEvidence[];
  readonly workers: readonly WorkerEvidence[];
  readonly redis: RedisEvidence | null;
  readonly postgres: PostgresEvidence | null;
}
