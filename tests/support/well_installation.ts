/** Evidence of an installation that is well, to be spoilt by tests of the bottleneck advisor. */
import type {
  ApiEvidence,
  Evidence,
  Latency,
  PostgresEvidence,
  QueueEvidence,
  RedisServerEvidence,
  WorkerEvidence,
} from "../../actors/domain/bottleneck_evidence.ts";

export const GB = 1024 ** 3;
export const calls = (p99Ms: number, count = 100): Latency => ({ count, p50Ms: p99Ms / 4, p99Ms });

export const API: ApiEvidence = {
  instanceId: "api-1",
  hostName: "machine-1",
  cpuShare: 0.1,
  machineShare: 0.4,
  machinePeak: 0.6,
  rssBytes: 100_000_000,
  memoryLimitBytes: GB,
  eventLoopDelay: calls(2, 600),
  requestsPerSecond: 5,
  routes: [{ route: "GET /api/v1/occurrences", isPoll: true, perSecond: 5, inProgress: 0.02 }],
  liveClients: 1,
};
export const QUEUE: QueueEvidence = {
  jobType: "SampleJob",
  pool: null,
  ready: 0,
  growthPerSecond: 0,
  risingShare: 0,
  workers: 2,
  lanes: 20,
  lanesBusy: 3,
  fullShare: 0,
  wanted: null,
};
export const WORKER: WorkerEvidence = {
  workerId: "local",
  instanceId: "worker-1",
  hostName: "machine-2",
  cpu: { used: 0.2, processors: 2, machineShare: 0.3 },
  rssBytes: 200_000_000,
  memoryLimitBytes: GB,
  eventLoopDelayMs: 3,
  largestPayload: { jobType: "SampleJob", bytes: 500 },
};
export const REDIS: RedisServerEvidence = {
  place: "redis:6379",
  commandsPerSecond: 100,
  zsetPerSecond: 50,
  zsetMicrosPerCall: 10,
  zsetShare: 0.0005,
  cpuShare: 0.01,
  usedBytes: 10_000_000,
  maxBytes: GB,
  clients: 10,
  maxClients: 10_000,
};
export const POSTGRES: PostgresEvidence = {
  statement: calls(5),
  insertedPerSecond: 100,
  working: 0.5,
  waitingForLocks: 0,
  waitingForDisk: 0,
  connections: 20,
  maxConnections: 97,
  slowStatements: null,
  replicas: [{ name: "replica:5432/m", isUsed: true, lagSeconds: 0.1 }],
};
/** Of an installation that is well. */
export const WELL: Evidence = {
  at: 0,
  windowSeconds: 60,
  looks: 13,
  api: API,
  store: { createdPerSecond: 50, completedPerSecond: 50, sync: calls(5) },
  queues: [QUEUE],
  workers: [WORKER],
  redis: { call: calls(2), servers: [REDIS] },
  postgres: POSTGRES,
};
