/** `api` and `worker` as separate processes: who serves what, who finds which work, and how many run at once. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "../support/cluster.ts";
import { ClusterProcess } from "../support/cluster_process.ts";
import { configuredWorker, withServers } from "../support/configured_worker.ts";
import { Program, taskCommand, until } from "../support/program.ts";
import { SERVERS, serverTest } from "../support/servers.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { readRuns } from "../support/read_history.ts";

const NEEDS = ["postgres", "redis", "rabbitmq", "rabbitmqctl"] as const;
const RECORDER_JOBS = new URL("../support/recorder_jobs", import.meta.url).pathname;

serverTest(
  NEEDS,
  "any API instance serves any request: created by one, triggered by another, cancelled by a third",
  () =>
    withServers(async (place) => {
      await using cluster = await Cluster.start({ ...place, apis: 3, workers: 1 });
      const [one, two, three] = cluster.apis;
      const { body: job } = await cluster.request("POST", "/api/v1/jobs", {
        displayName: "Long",
        jobType: "LongRunningJob",
        triggerOnly: true,
        jobData: { seconds: 60 },
      }, { api: one });
      const { body: triggered } = await cluster.request("POST", `/api/v1/jobs/${job.id}/trigger`, {}, {
        api: two,
      });
      const path = `/api/v1/occurrences/${triggered.occurrenceId}`;
      await until(
        async () => (await cluster.request("GET", path, undefined, { api: three })).body.status === "Running",
        "it runs",
      );
      const again = await cluster.request("POST", `/api/v1/jobs/${job.id}/trigger`, {}, { api: one });
      assertEquals([again.status, again.body.code], [409, "already_running"], "Skip holds across instances");
      await cluster.request("POST", `${path}/cancel`, { reason: "not needed" }, { api: three });
      const ended = await cluster.ended(triggered.occurrenceId);
      assertEquals(ended.status, "Cancelled");
      assertMatch(ended.reason, /not needed/);
    }),
);

serverTest(
  NEEDS,
  "the guide's specialised workers run as printed, and each finds the work of its types and of its pool",
  () =>
    withServers(async (place) => {
      await using cluster = await Cluster.start({ ...place, apis: 1, workers: 0 });
      await using email = await configuredWorker(
        place,
        {
          config: { Worker: { WorkerId: "email-worker", MaxParallelJobs: 100 } },
          args: ["--types", "SendEmailJob"],
        },
      );
      await using report = await configuredWorker(
        place,
        {
          config: { Worker: { WorkerId: "report-worker", MaxParallelJobs: 4 } },
          args: ["--types", "GenerateReportJob,SampleJob"],
        },
      );
      assertMatch(email.process.output, /email-worker: 100 lanes/);
      assertMatch(email.process.output, /SendEmailJob +100 lanes on up to 16 Web Workers/);
      assertMatch(report.process.output, /GenerateReportJob +4 lanes on up to 4 Web Workers/);
      await cluster.knowsWorkers(2);

      const { body: queues } = await cluster.request("GET", "/api/v1/queues");
      const names = queues.items.map((one: { name: string }) => one.name);
      assert(names.includes("jobs.sendemail.wildcard"), `KEDA's queue is there: ${names}`);

      const ranBy = async (definition: Readonly<Record<string, unknown>>) => {
        const id = await cluster.createJob({ displayName: "x", triggerOnly: true, ...definition });
        const { body } = await cluster.request("POST", `/api/v1/jobs/${id}/trigger`, {});
        const ended = await cluster.ended(body.occurrenceId);
        assertEquals(ended.status, "Completed", JSON.stringify(ended));
        return ended.workerId;
      };
      const mail = { to: "a@example.com", subject: "s" };
      assertEquals(await ranBy({ jobType: "SendEmailJob", jobData: mail }), "email-worker");
      assertEquals(await ranBy({ jobType: "SampleJob", workerId: "report-worker" }), "report-worker");

      // Pinned to a pool that does not offer the type: it waits, and says for what.
      const id = await cluster.createJob({
        displayName: "x",
        triggerOnly: true,
        jobType: "SampleJob",
        workerId: "email-worker",
      });
      const { body } = await cluster.request("POST", `/api/v1/jobs/${id}/trigger`, {});
      const waiting = await until(async () => {
        const { body: seen } = await cluster.request("GET", `/api/v1/occurrences/${body.occurrenceId}`);
        return /none offers SampleJob in pool email-worker/.test(seen.reason ?? "") && seen;
      }, "it says what it waits for");
      assertEquals(waiting.status, "Queued");
    }),
);

serverTest(
  NEEDS,
  "the guide's two levels of MaxParallelJobs bound what runs at once, and the smaller counts",
  () =>
    withServers(async (place) => {
      const witness = await Deno.makeTempFile({ prefix: "milvaion-witness-" });
      await using cluster = await Cluster.start({ ...place, apis: 1, workers: 0 });
      await using worker = await configuredWorker(place, {
        config: {
          Worker: { MaxParallelJobs: 10 },
          JobConsumers: {
            SendEmailJob: { MaxParallelJobs: 20 },
            GenerateReportJob: { MaxParallelJobs: 2 },
            RecorderJob: { MaxParallelJobs: 3 },
          },
        },
        args: ["--jobs", RECORDER_JOBS],
      });
      assertMatch(
        worker.process.output,
        /JobConsumers\.SendEmailJob\.MaxParallelJobs is 20, more than .* 10 counts/,
      );
      assertMatch(worker.process.output, /GenerateReportJob +2 lanes/);
      await cluster.knowsWorkers(1);
      const job = await cluster.createJob({
        displayName: "x",
        jobType: "RecorderJob",
        triggerOnly: true,
        concurrentExecutionPolicy: "Allow",
        jobData: { file: witness, workMs: 200 },
      });
      const { body } = await cluster.request("POST", `/api/v1/jobs/${job}/trigger-many`, {
        items: Array.from({ length: 12 }, () => ({})),
      });
      for (const id of body.occurrenceIds) await cluster.ended(id);
      const runs = await readRuns(witness, []);
      const atOnce = runs.map(({ start }) =>
        runs.filter((other) => other.start <= start && (other.end ?? Infinity) > start).length
      );
      assertEquals([runs.length, Math.max(...atOnce)], [12, 3]);
      await Deno.remove(witness);
    }),
);

serverTest(
  NEEDS,
  "a full worker leaves waiting messages to one that has a lane",
  () =>
    withServers(async (place) => {
      await using cluster = await Cluster.start({
        ...place,
        apis: 1,
        workers: 2,
        env: { Worker__MaxParallelJobs: "2" },
      });
      const long = { displayName: "x", triggerOnly: true, concurrentExecutionPolicy: "Allow" };
      const filler = await cluster.createJob({
        ...long,
        jobType: "LongRunningJob",
        jobData: { seconds: 60 },
      });
      const sample = await cluster.createJob({ ...long, jobType: "SampleJob" });
      // Three of the four lanes are taken for a minute: whichever worker is full, the other has one left.
      await cluster.request("POST", `/api/v1/jobs/${filler}/trigger-many`, { items: [{}, {}, {}] });
      const running = `/api/v1/occurrences?jobId=${filler}&status=Running`;
      await until(async () => (await cluster.request("GET", running)).body.items.length === 3, "three run");
      const { body } = await cluster.request("POST", `/api/v1/jobs/${sample}/trigger-many`, {
        items: Array.from({ length: 20 }, () => ({})),
      });
      for (const id of body.occurrenceIds) assertEquals((await cluster.ended(id)).status, "Completed");
      assertEquals((await cluster.request("GET", running)).body.items.length, 3, "the long ones still run");
    }),
);

serverTest(
  NEEDS,
  "a leader that stops in order is followed at once, and nothing is missed",
  () =>
    withServers(async (place) => {
      await using cluster = await Cluster.start({
        ...place,
        apis: 2,
        workers: 1,
        // The guide's lock time: nobody could wait for it.
        env: { MilvaionConfig__JobDispatcher__LockTtlSeconds: "600" },
      });
      const leader = await cluster.leader();
      const job = await cluster.createJob({
        displayName: "x",
        jobType: "SampleJob",
        cronExpression: "* * * * * *",
      });
      const seen = async () => (await cluster.request("GET", `/api/v1/occurrences?jobId=${job}`)).body.items;
      await until(async () => (await seen()).length >= 2, "it fires");
      const { code } = await leader.stop();
      assertEquals(code, 0);
      const stoppedAt = Date.now();
      await cluster.leaderAfter(leader);
      console.log(`figures: ${JSON.stringify({ leadsAgainMs: Date.now() - stoppedAt })}`);
      const before = (await seen()).length;
      await until(async () => (await seen()).length >= before + 3, "it goes on");
      const times = (await seen()).map((one: { scheduledFor: string }) => Date.parse(one.scheduledFor))
        .sort();
      for (const [index, at] of times.entries()) {
        if (index > 0) assertEquals(at - times[index - 1], 1000, "each second has its occurrence");
      }
    }),
);

serverTest(
  NEEDS,
  "an API instance that starts before its database is alive, says what it waits for, and goes on when it comes",
  () =>
    withServers(async (place) => {
      await using proxy = TcpProxy.start(Number(new URL(place.servers.postgres).port || 5432));
      await proxy.down();
      await using api = new ClusterProcess({
        role: "api",
        name: "early",
        servers: { ...place.servers, postgres: proxy.through(place.servers.postgres) },
        args: [],
        env: { MilvaionConfig__Redis__KeyPrefix: place.redisPrefix },
        hasProxies: false,
        hasDatabase: true,
      });
      await api.launch();
      const ask = async (path: string) => {
        const response = await fetch(api.url + path);
        return { status: response.status, text: await response.text() };
      };
      const waiting = await until(async () => {
        const answer = await ask("/readyz");
        return answer.text.includes("waits for PostgreSQL") && answer;
      }, "it says what it waits for");
      assertEquals(waiting.status, 503);
      assertEquals((await ask("/livez")).status, 200);
      proxy.up();
      await until(async () => (await ask("/readyz")).status === 200, "it is ready");
    }),
);

serverTest(
  ["postgres"],
  "a password that is refused ends the program with a sentence, and is not shown",
  async () => {
    const url = new URL(SERVERS.postgres);
    url.username = "nobody_of_this_name";
    url.password = "hunter2";
    const program = await Program.launch({
      command: [Deno.execPath(), ...await taskCommand("api")],
      env: { DATABASE_URL: url.href, REDIS_URL: SERVERS.redis, AMQP_URL: SERVERS.amqp },
    });
    const { code } = await program.child.status;
    await program.kill();
    await Deno.remove(program.dataDir, { recursive: true });
    assertEquals(code, 78, program.output);
    assertMatch(program.output, /error: PostgreSQL \(.*nobody_of_this_name/);
    assert(!program.output.includes("hunter2"));
  },
);
