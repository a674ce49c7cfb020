/**
 * What a scheduled job and a waiting run take of each server, in memory and on disk: the figures of
 * `MEASURED_BYTES` in actors/domain/capacity_sizing.ts.
 *
 *   deno run -A tests/bench/capacity_bytes.ts
 *
 * RabbitMQ is one of its own: files of the broker of this machine belong to others as well.
 */
import { Redis } from "ioredis";
import postgres from "postgres";
import type { JobMessage } from "../../actors/domain/message.ts";
import { messageWith } from "../support/messages.ts";
import { openTestRabbit } from "../support/rabbit.ts";
import { SAMPLE } from "../support/rabbit_adapter.ts";
import { RabbitmqServer } from "../support/rabbitmq_server.ts";
import { ClusterBed } from "./cluster_bed.ts";
import { createDaily } from "./memory.ts";

const COUNT = 20_000;
const BATCH = 500;

async function stores(): Promise<Readonly<Record<string, number>>> {
  await using bed = await ClusterBed.start({ workers: 1, lanes: 1, jobType: "NoOpJob,WaitJob" });
  const { postgres: url, redis: redisUrl, redisPrefix } = bed.servers;
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  const redis = new Redis(redisUrl);
  try {
    const database = async () => {
      const [row] = await sql`SELECT pg_database_size(current_database())::float8 AS bytes`;
      return Number(row?.["bytes"]);
    };
    const due = async () => {
      const keys = (await redis.keys(`${redisPrefix}*`)).filter((key) => /due/.test(key));
      let memory = 0;
      let dump = 0;
      for (const key of keys) {
        memory += Number(await redis.call("MEMORY", "USAGE", key, "SAMPLES", "0"));
        // As it stands in a snapshot, and in the log of writes after it was rewritten.
        dump += (await redis.dumpBuffer(key))?.length ?? 0;
      }
      return { memory, dump };
    };
    const waiting = await bed.createJob({
      jobType: "WaitJob",
      triggerOnly: true,
      jobData: { ms: 3_600_000 },
    });
    const [empty, before] = [await database(), await due()];
    await createDaily(bed, COUNT);
    const [withJobs, after] = [await database(), await due()];
    await bed.trigger(waiting, COUNT);
    const withRuns = await database();
    return {
      "PostgreSQL, a scheduled job": (withJobs - empty) / COUNT,
      "PostgreSQL, a waiting run": (withRuns - withJobs) / COUNT,
      "Redis memory, a scheduled job": (after.memory - before.memory) / COUNT,
      "Redis disk, a scheduled job": (after.dump - before.dump) / COUNT,
    };
  } finally {
    await sql.end();
    await redis.quit();
  }
}

async function broker(): Promise<Readonly<Record<string, number>>> {
  await using server = await RabbitmqServer.start();
  const rabbit = await openTestRabbit({ prefix: "", url: server.url });
  // Declares the queue, and takes nothing from it.
  const subscription = await rabbit.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 0 }, () => {});
  const message = messageWith({ jobData: JSON.stringify({ ms: 3_600_000 }) });
  const memory = async () => {
    await server.ctl("eval", "[garbage_collect(P) || P <- processes()], ok.");
    return Number(await server.ctl("eval", "erlang:memory(total)."));
  };
  try {
    const before = [await memory(), folderBytes(`${server.folder}/data`)] as const;
    for (let sent = 0; sent < COUNT; sent += BATCH) {
      const messages = Array.from({ length: BATCH }, (_, index): JobMessage => ({
        ...message,
        occurrenceId: `01a00000-0000-7000-8000-${String(sent + index).padStart(12, "0")}`,
      }));
      await rabbit.queue.publish(messages);
    }
    const after = [await memory(), folderBytes(`${server.folder}/data`)] as const;
    return {
      "RabbitMQ memory, at rest": before[0],
      "RabbitMQ memory, a message": (after[0] - before[0]) / COUNT,
      "RabbitMQ disk, a message": (after[1] - before[1]) / COUNT,
    };
  } finally {
    await subscription.stop();
    await rabbit.close();
  }
}

function folderBytes(path: string): number {
  let bytes = 0;
  for (const { name, isDirectory } of Deno.readDirSync(path)) {
    bytes += isDirectory ? folderBytes(`${path}/${name}`) : Deno.statSync(`${path}/${name}`).size;
  }
  return bytes;
}

if (import.meta.main) {
  for (const [name, bytes] of Object.entries({ ...await stores(), ...await broker() })) {
    console.log(`${name}: ${Math.round(bytes).toLocaleString("en")} B`);
  }
}
