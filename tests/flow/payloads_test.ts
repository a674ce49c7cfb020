/** Large job data and results on real servers: what waits in the broker, what Redis holds, and what still works. */
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { connect } from "amqplib";
import { Redis } from "ioredis";
import { Cluster } from "../support/cluster.ts";
import { type Place, withServers } from "../support/configured_worker.ts";
import { until } from "../support/program.ts";
import { serverTest } from "../support/servers.ts";

const NEEDS = ["postgres", "redis", "rabbitmq", "rabbitmqctl"] as const;
const PAYLOAD_JOBS = new URL("../support/payload_jobs", import.meta.url).pathname;
const QUEUE = "jobs.echo.wildcard";
/** Stands in every payload and result, so that it can be looked for. */
const MARK = "mark-9f1c";
const LARGE = MARK + "x".repeat(200 * 1024);
const SMALL = MARK + "x".repeat(100);

/** The bodies of the messages that wait in a queue; they stay there. */
async function bodiesIn(place: Place, queue: string): Promise<readonly string[]> {
  const connection = await connect(place.servers.amqp);
  const channel = await connection.createChannel();
  const bodies: string[] = [];
  while (true) {
    const message = await channel.get(queue);
    if (message === false) break;
    bodies.push(message.content.toString());
  }
  channel.nackAll(true);
  await channel.close();
  await connection.close();
  return bodies;
}

async function purge(place: Place, queue: string): Promise<void> {
  const connection = await connect(place.servers.amqp);
  const channel = await connection.createChannel();
  await channel.purgeQueue(queue);
  await channel.close();
  await connection.close();
}

/** Everything that Redis holds under the prefix, as text. */
async function redisContents(place: Place): Promise<ReadonlyMap<string, string>> {
  const redis = new Redis(place.servers.redis);
  const contents = new Map<string, string>();
  let cursor = "0";
  do {
    const [next, keys] = await redis.scan(cursor, "MATCH", `${place.redisPrefix}*`, "COUNT", 1000);
    for (const key of keys) contents.set(key, JSON.stringify(await valueOf(redis, key)));
    cursor = next;
  } while (cursor !== "0");
  const ended = new Promise((resolve) => redis.once("end", resolve));
  await redis.quit();
  await ended;
  return contents;
}

async function valueOf(redis: Redis, key: string): Promise<unknown> {
  const type = await redis.type(key);
  switch (type) {
    case "none":
      return null;
    case "string":
      return await redis.get(key);
    case "hash":
      return await redis.hgetall(key);
    case "set":
      return await redis.smembers(key);
    case "zset":
      return await redis.zrange(key, 0, "-1");
    case "list":
      return await redis.lrange(key, 0, -1);
    case "stream":
      return await redis.xrange(key, "-", "+");
    default:
      throw new Error(`${key} is a ${type}, which this test cannot read`);
  }
}

async function assertNoPayloadInRedis(place: Place): Promise<void> {
  const contents = await redisContents(place);
  assert(contents.size > 2, `only ${contents.size} keys`);
  for (const [key, value] of contents) assert(!value.includes(MARK), `${key} holds a payload: ${value}`);
}

for (const workersHaveDatabase of [true, false]) {
  const way = workersHaveDatabase ? "claims in PostgreSQL" : "claims over RabbitMQ";
  serverTest(
    NEEDS,
    `a payload of 200 KiB waits as a message of some 500 bytes, runs, fails, runs again and is replayed (${way})`,
    () =>
      withServers(async (place) => {
        await using cluster = await Cluster.start({
          ...place,
          apis: 2,
          workers: 1,
          workersHaveDatabase,
          workerArgs: ["--jobs", PAYLOAD_JOBS],
          env: { Worker__MaxResultKiB: "1024" },
        });
        const [worker] = cluster.workers;
        assert(worker !== undefined);
        const job = (data: Readonly<Record<string, unknown>>) =>
          cluster.createJob({
            displayName: "echo",
            jobType: "EchoJob",
            triggerOnly: true,
            concurrentExecutionPolicy: "Allow",
            jobData: data,
          });
        const trigger = async (jobId: string, body: unknown = {}) =>
          (await cluster.request("POST", `/api/v1/jobs/${jobId}/trigger`, body)).body.occurrenceId;
        const jobOfLarge = await job({ text: LARGE });
        const jobOfSmall = await job({ text: SMALL });
        const doomed = await job({ text: SMALL, failures: 5 });

        await worker.stop();
        const large = await trigger(jobOfLarge);
        const own = await trigger(jobOfSmall, { jobData: { text: LARGE + "own" } });
        const retried = await trigger(jobOfLarge, { jobData: { text: LARGE, failures: 1 } });
        const failed = await trigger(doomed, { jobData: { text: LARGE, failures: 2 } });
        const waiting = await until(async () => {
          const bodies = await bodiesIn(place, QUEUE);
          return bodies.length === 4 && bodies;
        }, "all messages wait");
        console.log(`figures: ${JSON.stringify({ bytes: waiting.map((body) => body.length) })}`);
        for (const body of waiting) {
          assertLess(body.length, 500);
          assert(!body.includes(MARK), body);
        }
        const small = await trigger(jobOfSmall);
        const bodies = await until(async () => {
          const all = await bodiesIn(place, QUEUE);
          return all.length === 5 && all;
        }, "the small one waits too");
        assertEquals(bodies.filter((body) => body.includes(SMALL)).length, 1, "it travels as it always did");

        await assertNoPayloadInRedis(place);
        // What the broker loses comes again from the store.
        await purge(place, QUEUE);
        await worker.start();
        assertEquals((await cluster.ended(large)).result.text, LARGE);
        assertEquals((await cluster.ended(own)).result.text, LARGE + "own");
        assertEquals((await cluster.ended(small)).result.text, SMALL);
        const again = await cluster.ended(retried);
        assertEquals([again.status, again.attempt, again.result.text === LARGE], ["Completed", 2, true]);
        assertEquals(again.jobData, { text: LARGE, failures: 1 }, "the payload is shown as it was given");

        assertEquals((await cluster.ended(failed)).status, "Failed");
        const letter = await cluster.request("GET", `/api/v1/failed-occurrences/${failed}`);
        assertEquals(letter.body.jobData, { text: LARGE, failures: 2 });
        const replay = await cluster.request("POST", `/api/v1/failed-occurrences/${failed}/replay`, {
          jobData: { text: LARGE + "again" },
        });
        assertEquals(replay.status, 202, replay.text);
        assertEquals((await cluster.ended(replay.body.occurrenceId)).result.text, LARGE + "again");
        const same = await cluster.request("POST", `/api/v1/failed-occurrences/${failed}/replay`, {
          force: true,
        });
        assertEquals(same.status, 202, same.text);
        assertEquals((await cluster.ended(same.body.occurrenceId)).status, "Failed");

        await assertNoPayloadInRedis(place);
        assertEquals(await bodiesIn(place, "milvaion.parked"), []);
      }),
  );
}

for (const workersHaveDatabase of [true, false]) {
  const promise = workersHaveDatabase
    ? "a worker with a database writes a large result to the store, and its report is small"
    : "a worker without a database sends a large result in its report";
  serverTest(NEEDS, promise, () =>
    withServers(async (place) => {
      const folder = await Deno.makeTempDir({ prefix: "milvaion-gate-" });
      try {
        await using cluster = await Cluster.start({
          ...place,
          apis: 1,
          workers: 1,
          workersHaveDatabase,
          workerArgs: ["--jobs", PAYLOAD_JOBS],
          env: { Worker__MaxResultKiB: "1024" },
        });
        const [api] = cluster.apis;
        const gate = `${folder}/open`;
        const jobId = await cluster.createJob({
          displayName: "echo",
          jobType: "EchoJob",
          triggerOnly: true,
          jobData: { text: LARGE, gate },
        });
        const { body } = await cluster.request("POST", `/api/v1/jobs/${jobId}/trigger`, {});
        const path = `/api/v1/occurrences/${body.occurrenceId}`;
        await until(async () => (await cluster.request("GET", path)).body.status === "Running", "it runs");
        // With no API instance there, its report can be looked at.
        await api?.kill();
        await Deno.writeTextFile(gate, "");
        const [report = ""] = await until(async () => {
          const bodies = await bodiesIn(place, "milvaion.reports");
          return bodies.length > 0 && bodies;
        }, "its report waits");
        assertEquals(report.includes(MARK), !workersHaveDatabase);
        assertEquals(report.includes('"resultIsKept":true'), workersHaveDatabase);
        if (workersHaveDatabase) assertLess(report.length, 800);
        await api?.start();
        const ended = await cluster.ended(body.occurrenceId);
        assertEquals([ended.status, ended.attempt, ended.result.text === LARGE], ["Completed", 1, true]);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    }));
}

serverTest(
  NEEDS,
  "a result above Worker.MaxResultKiB is kept in part, and a line of the attempt says so",
  () =>
    withServers(async (place) => {
      await using cluster = await Cluster.start({
        ...place,
        apis: 1,
        workers: 1,
        workerArgs: ["--jobs", PAYLOAD_JOBS],
        env: { Worker__MaxResultKiB: "8" },
      });
      const jobId = await cluster.createJob({
        displayName: "echo",
        jobType: "EchoJob",
        triggerOnly: true,
        jobData: { text: LARGE },
      });
      const { body } = await cluster.request("POST", `/api/v1/jobs/${jobId}/trigger`, {});
      const ended = await cluster.ended(body.occurrenceId);
      assertEquals(ended.status, "Completed", "the work is done: it must not be done again");
      assertEquals([ended.result.truncated, ended.result.bytes], [true, LARGE.length + 11]);
      assert(ended.result.beginning.startsWith(`{"text":"${MARK}`));
      const lines = await until(async () => {
        const { body: seen } = await cluster.request("GET", `/api/v1/occurrences/${body.occurrenceId}/logs`);
        return seen.items.length > 0 && seen.items;
      }, "the line is there");
      assertMatch(
        lines[0].message,
        /has 204820 bytes, more than the 8192 that are kept \(Worker.MaxResultKiB\)/,
      );
    }),
);
