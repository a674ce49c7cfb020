/** What one of each thing takes, asked of the servers: a scheduled job, a heartbeat, a lock, a queued message. */
import { delay } from "@std/async";
import { Redis } from "ioredis";
import { shell } from "../support/processes.ts";
import { until } from "../support/program.ts";
import type { Bench, Run } from "./benchmark.ts";
import { ClusterBed } from "./cluster_bed.ts";

const WORKERS = 3;
const QUEUE = "jobs.wait.wildcard";

export async function measureMemory(bench: Bench): Promise<Run> {
  await using bed = await ClusterBed.start({ workers: WORKERS, lanes: 4, jobType: "NoOpJob,WaitJob" });
  const { redis: url, redisPrefix, vhost } = bed.servers;
  const count = bench.count(10_000);
  const redis = new Redis(url);
  const sizeOf = async (part: RegExp) => {
    let bytes = 0;
    let cursor = "0";
    do {
      const [next, keys] = await redis.scan(cursor, "MATCH", `${redisPrefix}*`, "COUNT", 1000);
      for (const key of keys.filter((one) => part.test(one))) {
        bytes += Number(await redis.call("MEMORY", "USAGE", key, "SAMPLES", "0"));
      }
      cursor = next;
    } while (cursor !== "0");
    return bytes;
  };
  try {
    const dueBefore = await sizeOf(/due/);
    await createDaily(bed, count);
    const job = (await sizeOf(/due/) - dueBefore) / count;
    const lock = await sizeOf(/leader/);
    // What an instance says once (its types, their schemas), and that it was said, is no part of a heartbeat.
    const announcement = await sizeOf(/presence.*:(about|edition)$/) / WORKERS;
    const heartbeat = async () => await sizeOf(/presence.*:(seen|busy)$/) / WORKERS;
    const idle = await until(
      async () => await sizeOf(/presence.*:busy$/) === 0 && heartbeat(),
      "workers are idle",
    );

    const before = await queueOf(vhost);
    // They wait behind runs that do not end.
    const waiting = await bed.createJob({ jobType: "WaitJob", triggerOnly: true, jobData: { ms: 600_000 } });
    await bed.trigger(waiting, count);
    const after = await until(async () => {
      const queue = await queueOf(vhost);
      return queue.messages >= count && queue.bytes > 0 && await isSettled(vhost, queue) && queue;
    }, `${count} messages are queued`);
    const queued = after.messages - before.messages;
    const body = (after.bytes - before.bytes) / queued;
    // Bodies lie in the log that all quorum queues share, what the queue knows of them in its own memory.
    const inQueue = (after.memory - before.memory) / queued;
    return {
      "scheduled job": job,
      heartbeat: idle,
      "heartbeat while all lanes are busy": await heartbeat(),
      lock,
      announcement,
      "queued message": body + inQueue,
      "its body": body,
      "its part of the queue's memory": inQueue,
    };
  } finally {
    await redis.quit();
  }
}

interface QueueSize {
  readonly messages: number;
  /** Of the bodies. */
  readonly bytes: number;
  /** Of the queue's process. */
  readonly memory: number;
}

/** What the broker says of the queue of waiting jobs. */
async function queueOf(vhost: string): Promise<QueueSize> {
  const text = await shell(
    'rabbitmqctl --quiet list_queues -p "$1" --no-table-headers name messages memory',
    vhost,
  );
  const line = text.split("\n").map((one) => one.split("\t")).find(([name]) => name === QUEUE);
  if (line === undefined) throw new Error(`There is no queue ${QUEUE}`);
  // `list_queues message_bytes` is empty for a quorum queue (RabbitMQ 3.10); here is what the management page shows.
  const bytes = await shell(
    `rabbitmqctl --quiet eval "
      case ets:lookup(queue_metrics, {resource, <<\\"$1\\">>, queue, <<\\"$2\\">>}) of
        [{_, Facts, _}] -> proplists:get_value(message_bytes, Facts, 0);
        [] -> 0
      end."`,
    vhost,
    QUEUE,
  );
  return { messages: Number(line[1]), memory: Number(line[2]), bytes: Number(bytes) };
}

/** The broker counts bytes every five seconds: they are whole when a later count says the same. */
async function isSettled(vhost: string, queue: QueueSize): Promise<boolean> {
  await delay(6000);
  return (await queueOf(vhost)).bytes === queue.bytes;
}

/** Jobs that are due once a day, at a minute of their own, by the thousand. */
export async function createDaily(bed: ClusterBed, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1000) {
    const jobs = Array.from({ length: Math.min(left, 1000) }, () => ({
      displayName: "bench",
      jobType: "NoOpJob",
      cronExpression: "H H * * *",
      concurrentExecutionPolicy: "Allow",
    }));
    await bed.request("POST", "/api/v1/jobs/create-many", { jobs });
  }
}
