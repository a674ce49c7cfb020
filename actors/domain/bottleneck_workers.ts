/** Rules about workers: their queues and lanes, memory, job data and event loops. */
import { EVENT_LOOP_DELAY_MS } from "./bottleneck_api.ts";
import type { Evidence, QueueEvidence, WorkerEvidence } from "./bottleneck_evidence.ts";
import { type Bottleneck, mebibytes, percent, proof, rounded, severityOf } from "./bottleneck_finding.ts";

/** Messages a second by which a queue grows; below, it may be the odd burst. */
export const QUEUE_GROWTH = { warning: 1, critical: 20 };
/** Part of the looks at which it must have grown: a slope through one jump is no growth. */
export const QUEUE_RISING_SHARE = 0.6;
/** With fewer messages nobody waits long. */
export const QUEUE_LEAST = 20;
/** Part of the looks with every lane busy and something waiting. */
export const LANES_FULL_SHARE = 0.8;
export const WORKER_MEMORY = { warning: 0.8, critical: 0.95 };
/** Job data from this size on are worth a reference instead: a message is about 500 bytes otherwise, and 256 KiB are taken. */
export const PAYLOAD_BYTES = 64 * 1024;

export function workerRules({ queues, workers }: Evidence): readonly Bottleneck[] {
  return [
    ...queues.flatMap(growing),
    ...queues.flatMap(lanesFull),
    ...workers.flatMap(memory),
    ...workers.flatMap(payload),
    ...workers.flatMap(lateEventLoop),
  ];
}

/** The guide: RabbitMQ queue depth growing ← workers too slow → add workers. */
function growing(queue: QueueEvidence): readonly Bottleneck[] {
  const { ready, growthPerSecond, risingShare } = queue;
  if (ready < QUEUE_LEAST || risingShare < QUEUE_RISING_SHARE) return [];
  const severity = severityOf(growthPerSecond, QUEUE_GROWTH);
  if (severity === null) return [];
  return [{
    code: "queue-growing",
    severity,
    place: placeOf(queue),
    symptom: `Queue depth growing: ${ready} runs of ${placeOf(queue)} wait, ${
      rounded(growthPerSecond)
    } more each second.`,
    proof: [
      proof("growth", growthPerSecond, "1/s", QUEUE_GROWTH.warning),
      proof("ready", ready, "messages"),
      ...lanesProof(queue),
    ],
    cause: queue.workers === 0
      ? "No worker offers this type."
      : `Workers too slow: more comes than ${
        queue.workers === 1 ? "1 worker does" : `${queue.workers} workers do`
      }.`,
    changes: addWorkers(queue),
  }];
}

function lanesFull(queue: QueueEvidence): readonly Bottleneck[] {
  const { lanes, fullShare, ready } = queue;
  if (lanes === 0 || ready === 0 || fullShare < LANES_FULL_SHARE) return [];
  return [{
    code: "lanes-full",
    severity: "warning",
    place: placeOf(queue),
    symptom: `All ${lanes} lanes for ${placeOf(queue)} are busy while ${ready} runs wait.`,
    proof: [
      proof("fullShare", fullShare, "of the looks", LANES_FULL_SHARE),
      proof("ready", ready, "messages"),
      ...lanesProof(queue),
    ],
    cause: "Every lane runs something: what waits gets one only when another run ends.",
    changes: [
      `Where runs mostly wait for others (I/O): more lanes, JobConsumers__${queue.jobType}__MaxParallelJobs and ` +
      "Worker__MaxParallelJobs.",
      ...addWorkers(queue),
    ],
  }];
}

function lanesProof({ lanes, lanesBusy, workers }: QueueEvidence) {
  return [proof("lanesBusy", lanesBusy, "lanes", lanes), proof("workers", workers, "workers")];
}

function addWorkers({ jobType, pool, workers, wanted }: QueueEvidence): readonly string[] {
  if (workers === 0) return [`Start one: milvaion worker --types ${jobType}`];
  const known = wanted !== null && wanted.workers > wanted.present ? wanted : null;
  const name = pool ?? known?.pool ?? null;
  const count = known?.workers ?? "<n>";
  const deployment = name === null ? "<pool>" : name.toLowerCase().replaceAll("_", "-");
  return [
    `Add workers${name === null ? "" : ` to ${name}`}: ` +
    (known === null
      ? ""
      : `${count} would do what comes now, there ${known.present === 1 ? "is" : "are"} ${known.present}: `) +
    `kubectl -n milvaion scale deployment ${deployment} --replicas=${count}, or docker compose up -d --scale ` +
    `${name ?? "<pool>"}=${count}. milvaion capacity says how many do how much.`,
    "Let KEDA do it: infra/deploy/kubernetes has a ScaledObject that goes by the queue's depth.",
  ];
}

/** The guide: worker high memory ← job data too large → optimize job payloads. */
function memory(worker: WorkerEvidence): readonly Bottleneck[] {
  const { rssBytes, memoryLimitBytes, largestPayload } = worker;
  if (memoryLimitBytes === null || memoryLimitBytes === 0) return [];
  const severity = severityOf(rssBytes / memoryLimitBytes, WORKER_MEMORY);
  if (severity === null) return [];
  const isLarge = (largestPayload?.bytes ?? 0) >= PAYLOAD_BYTES;
  return [{
    code: "worker-memory",
    severity,
    place: placeOfWorker(worker),
    symptom: `Worker high memory: ${mebibytes(rssBytes)} of ${mebibytes(memoryLimitBytes)}, ${
      percent(rssBytes / memoryLimitBytes)
    }.`,
    proof: [
      proof("residentMemory", rssBytes, "bytes", memoryLimitBytes),
      ...(largestPayload === null ? [] : [
        proof(`jobData of ${largestPayload.jobType}`, largestPayload.bytes, "bytes", PAYLOAD_BYTES),
      ]),
    ],
    cause: isLarge && largestPayload !== null
      ? `Job data too large: up to ${
        Math.round(largestPayload.bytes / 1024)
      } KiB in a run of ${largestPayload.jobType}.`
      : "Job data are small: it is what job code itself keeps, or more Web Workers than fit.",
    changes: [
      ...(isLarge
        ? ["Optimize job payloads: put large data where the job can fetch it, and its address into jobData."]
        : []),
      "Fewer Web Workers: JobConsumers__<Job>__Threads or Worker__MaxParallelJobs; a lower Worker__HeapLimitMb ends a " +
      "host that takes too much.",
      "More memory: resources.limits.memory of its Deployment, and Worker__MemoryLimitMb to match.",
    ],
  }];
}

function payload(worker: WorkerEvidence): readonly Bottleneck[] {
  const { largestPayload } = worker;
  if (largestPayload === null || largestPayload.bytes < PAYLOAD_BYTES) return [];
  return [{
    code: "payload-size",
    // What is accepted is no failure, however large.
    severity: "warning",
    place: largestPayload.jobType,
    symptom: `Job data of ${largestPayload.jobType} are large: ${
      Math.round(largestPayload.bytes / 1024)
    } KiB.`,
    proof: [proof("jobData", largestPayload.bytes, "bytes", PAYLOAD_BYTES)],
    cause:
      "Each run fetches its data from the store and hands it on between two processes; to a worker without " +
      "DATABASE_URL it comes through the broker.",
    changes: [
      "Optimize job payloads: put large data where the job can fetch it, and its address into jobData.",
    ],
  }];
}

function lateEventLoop(worker: WorkerEvidence): readonly Bottleneck[] {
  const severity = severityOf(worker.eventLoopDelayMs, EVENT_LOOP_DELAY_MS);
  if (severity === null) return [];
  return [{
    code: "worker-event-loop",
    severity,
    place: placeOfWorker(worker),
    symptom: `The event loop of ${placeOfWorker(worker)} is late: 1 of 100 timers by ${
      rounded(worker.eventLoopDelayMs)
    } ms or more.`,
    proof: [proof("eventLoopDelayP99", worker.eventLoopDelayMs, "ms", EVENT_LOOP_DELAY_MS.warning)],
    cause: "The worker did not get a processor when it wanted one: its own job code, or busy neighbours.",
    changes: [
      "CPU-bound jobs: a pool of their own with fewer lanes (the guide's report worker has 4): " +
      "Worker__MaxParallelJobs=4.",
      "Spread over more machines: kubectl -n milvaion scale deployment <pool> --replicas=<n>.",
    ],
  }];
}

function placeOf({ jobType, pool }: QueueEvidence): string {
  return pool === null ? jobType : `${jobType} in ${pool}`;
}

function placeOfWorker({ workerId, instanceId }: WorkerEvidence): string {
  return `${workerId} ${instanceId}`;
}
