/** The guide's worker affinity and specialised workers, on real servers. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "amqplib";
import { Cluster } from "../support/cluster.ts";
import { configuredWorker, withServers } from "../support/configured_worker.ts";
import {
  createPoolJob,
  GUIDE_POOLS,
  type GuidePool,
  poolInstance,
  runsByInstance,
  runsOf,
  triggerMany,
} from "../support/guide_pools.ts";
import { until } from "../support/program.ts";
import { serverTest } from "../support/servers.ts";

const NEEDS = ["postgres", "redis", "rabbitmq", "rabbitmqctl"] as const;

/** Three instead of the guide's ten email workers: each takes about 150 MB here. The other pools are as drawn. */
const INSTANCES = new Map([["email-worker", 3], ["report-worker", 2], ["migration-worker", 1]]);

/**
 * As many runs as fill all lanes of a pool three times, so that a third of an instance's fair share is one filling of
 * its own lanes. That much no speed can take from it: the broker deals in turns to all that have room, and an instance
 * has room until its lanes are full, however slowly it runs what it holds. What is beyond goes to whoever is done
 * first, which on a busy machine is not even. So only an instance that is passed over has less.
 */
const FILLINGS = 3;
/** Runs that last while messages wait: half a second of waiting, some tenths of computing. */
const LASTING: Readonly<Record<string, GuidePool["jobData"]>> = {
  SendEmailJob: { to: "a@example.com" },
  GenerateReportJob: { upTo: 1_000_000 },
  MigrationJob: { batches: 1, batchMs: 100 },
};

/** Names of all queues of jobs in a vhost, with the messages that wait there. */
async function messagesIn(
  amqp: string,
  queues: readonly string[],
): Promise<Readonly<Record<string, number>>> {
  const connection = await connect(amqp);
  const channel = await connection.createChannel();
  const counts: Record<string, number> = {};
  for (const queue of queues) counts[queue] = (await channel.checkQueue(queue)).messageCount;
  await channel.close();
  await connection.close();
  return counts;
}

serverTest(
  NEEDS,
  "the guide's pools: each type lands in its own pool only, each message in one queue, each instance has its share",
  () =>
    withServers(async (place) => {
      await using cluster = await Cluster.start({ ...place, apis: 1, workers: 0 });
      const jobs = new Map<string, string>();
      for (const pool of GUIDE_POOLS) jobs.set(pool.jobType, await createPoolJob(cluster, pool));
      const jobOf = (jobType: string) => jobs.get(jobType) ?? "";

      // Workers make the queues, and leave: now all messages can be counted where they wait.
      const own = GUIDE_POOLS.map(({ queue }) => queue);
      const pinned = GUIDE_POOLS.map(({ queue, workerId }) => queue.replace("jobs.", `jobs.${workerId}.`));
      const first = await Promise.all(GUIDE_POOLS.map((pool) => poolInstance(place, pool, 0)));
      await until(async () => {
        const { body } = await cluster.request("GET", "/api/v1/queues");
        const names = body.items.map(({ name }: { name: string }) => name);
        return [...own, ...pinned].every((queue) => names.includes(queue));
      }, "all queues are there");
      for (const worker of first) {
        await worker.process.stop();
        await worker[Symbol.asyncDispose]();
      }
      for (const [index, pool] of GUIDE_POOLS.entries()) {
        await triggerMany(cluster, jobOf(pool.jobType), 5 + index);
      }
      const expected = Object.fromEntries([
        ...own.map((queue, index) => [queue, 5 + index]),
        ...pinned.map((queue) => [queue, 0]),
      ]);
      const waiting = await until(async () => {
        const counts = await messagesIn(place.servers.amqp, [...own, ...pinned]);
        const sum = Object.values(counts).reduce((all, count) => all + count, 0);
        return sum >= 18 && counts;
      }, "all messages wait");
      assertEquals(waiting, expected);

      await using stack = new AsyncDisposableStack();
      for (const pool of GUIDE_POOLS) {
        for (let number = 1; number <= (INSTANCES.get(pool.workerId) ?? 0); number++) {
          stack.use(await poolInstance(place, pool, number));
        }
      }
      const ended = async (jobType: string) => {
        const runs = await runsOf(cluster, jobOf(jobType));
        return runs.every(({ status }) => status === "Completed") && runs;
      };
      for (const pool of GUIDE_POOLS) {
        await until(() => ended(pool.jobType), `what waited of ${pool.jobType} has run`);
      }
      // Now that all instances are there, each gets some.
      for (const pool of GUIDE_POOLS) {
        const wanted = INSTANCES.get(pool.workerId) ?? 0;
        const runs = await until(async () => {
          await triggerMany(cluster, jobOf(pool.jobType), 10 * wanted);
          const all = await until(() => ended(pool.jobType), `all of ${pool.jobType} have run`);
          return runsByInstance(all).size >= wanted && all;
        }, `each instance of ${pool.workerId} has run something`);
        assertEquals(new Set(runs.map(({ workerId }) => workerId)), new Set([pool.workerId]));
      }
      // And while more waits than they can hold, a share each.
      for (const pool of GUIDE_POOLS) {
        const instances = INSTANCES.get(pool.workerId) ?? 0;
        const job = await createPoolJob(cluster, pool, LASTING[pool.jobType]);
        const count = instances * pool.maxParallelJobs * FILLINGS;
        await triggerMany(cluster, job, count);
        const isAny = async (status: string) => {
          const { body } = await cluster.request(
            "GET",
            `/api/v1/occurrences?jobId=${job}&status=${status}&limit=1`,
          );
          return body.items.length > 0;
        };
        const all = await until(async () => {
          // All of them are asked for only when it is likely to be the last time.
          if (await isAny("Queued") || await isAny("Running")) return false;
          const runs = await runsOf(cluster, job);
          return runs.every(({ status }) => status === "Completed") && runs;
        }, `all that waited for ${pool.workerId} have run`);
        const shares = [...runsByInstance(all).values()];
        assertEquals(shares.reduce((sum, share) => sum + share, 0), count);
        console.log(`figures: ${pool.workerId}: ${shares.join(", ")} runs`);
        assertEquals(shares.length, instances);
        for (const share of shares) {
          assert(
            share >= pool.maxParallelJobs,
            `${pool.workerId}: one of ${shares.join(", ")} is no fair share`,
          );
        }
      }
      assertEquals(
        await messagesIn(place.servers.amqp, [...own, ...pinned, "milvaion.parked"]),
        Object.fromEntries([...own, ...pinned, "milvaion.parked"].map((queue) => [queue, 0])),
      );
    }),
);

const SPECIALISED = [
  {
    lanes: 100,
    printed: `{
"Worker": {
"WorkerId": "email-worker",
"MaxParallelJobs": 100
}
}`,
    startUp: [/email-worker: 100 lanes/, /SendEmailJob +100 lanes on up to 16 Web Workers/],
  },
  {
    lanes: 4,
    printed: `{
"Worker": {
"WorkerId": "report-worker",
"MaxParallelJobs": 4
}
}`,
    startUp: [/report-worker: 4 lanes/, /GenerateReportJob +4 lanes on up to 4 Web Workers/],
  },
] as const;

for (const { lanes, printed, startUp } of SPECIALISED) {
  const { WorkerId } = JSON.parse(printed).Worker;
  serverTest(
    NEEDS,
    `the guide's ${WorkerId} runs as printed: ${lanes} jobs that wait are under way at once, and never one more`,
    () =>
      withServers(async (place) => {
        await using cluster = await Cluster.start({ ...place, apis: 1, workers: 0 });
        await using worker = await configuredWorker(place, { config: printed });
        for (const line of startUp) assertMatch(worker.process.output, line);
        await cluster.knowsWorkers(1);
        const job = await cluster.createJob({
          displayName: "waits",
          jobType: "LongRunningJob",
          triggerOnly: true,
          concurrentExecutionPolicy: "Allow",
          workerId: WorkerId,
          jobData: { seconds: 3600 },
        });
        await triggerMany(cluster, job, lanes + 10);
        const counts = async () => {
          const runs = await runsOf(cluster, job);
          return [
            runs.filter(({ status }) => status === "Running").length,
            runs.filter(({ status }) => status === "Queued").length,
          ];
        };
        await until(async () => {
          const [running = 0] = await counts();
          assert(running <= lanes, `${running} run`);
          return running === lanes;
        }, `${lanes} run at once`);
        // In the job code itself, not only claimed: each says how far it is.
        await until(async () => {
          const { body } = await cluster.request(
            "GET",
            `/api/v1/occurrences?jobId=${job}&status=Running&limit=200`,
          );
          return body.items.filter((one: { progress: unknown }) => one.progress !== null).length === lanes;
        }, "all of them are in their code");
        assertEquals(await counts(), [lanes, 10]);
      }),
  );
}
