/** Pools, pinned jobs, and workers whose types share too few lanes: no message waits where nobody can run it. */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../support/cluster.ts";
import { ClusterProcess } from "../../support/cluster_process.ts";
import { Load } from "../../support/load.ts";
import { until } from "../../support/program.ts";
import { drained } from "../../support/recovery.ts";
import { serverTest } from "../../support/servers.ts";
import { needsOf, TestServers } from "../../support/test_servers.ts";

const LANES = 4;
/** After 30 s recovery publishes what nobody claims, whether the full worker gives it back or not. */
const GIVEN_UP_MS = 25_000;
/** Longer than this test waits for anything. */
const FOR_EVER_SECONDS = 3600;

serverTest(
  needsOf(),
  "pinned jobs run in their pool only; what waits at a full worker goes to one that has a lane, whichever type fills it",
  async () => {
    await using servers = await TestServers.start();
    await using cluster = await Cluster.start({
      ...servers.forCluster,
      apis: 1,
      workers: 1,
      env: {
        Worker__LeaseSeconds: "3",
        Worker__Heartbeat__IntervalSeconds: "1",
        Worker__MaxParallelJobs: String(LANES),
      },
    });
    await using load = await Load.start(cluster, { jobsPerPolicy: 0, triggersPerSecond: 1 });
    const [full] = cluster.workers;
    assert(full !== undefined);

    // All lanes of the first worker are taken by another type; what comes then waits there at first.
    const filler = await cluster.createJob({
      displayName: "fills all lanes",
      jobType: "LongRunningJob",
      triggerOnly: true,
      concurrentExecutionPolicy: "Allow",
      jobData: { seconds: FOR_EVER_SECONDS },
    });
    const fillers = await Promise.all(Array.from({ length: LANES }, async () => {
      const { body } = await cluster.request("POST", `/api/v1/jobs/${filler}/trigger`, { reason: "fill" });
      return String(body.occurrenceId);
    }));
    await until(async () => {
      const { body } = await cluster.request("GET", "/api/v1/occurrences?status=Running&limit=50");
      return body.items.filter(({ jobType }: { jobType: string }) => jobType === "LongRunningJob").length ===
        LANES;
    }, "all lanes are taken");
    const waiting = await load.createJob({ policy: "Allow", workMs: 100, isTriggered: true });
    const first = await Promise.all(Array.from({ length: LANES }, () => load.trigger(waiting)));

    const pool = (name: string, workerId: string) =>
      new ClusterProcess({
        role: "worker",
        name,
        servers: servers.forCluster.servers,
        args: ["--jobs", new URL("../../support/recorder_jobs", import.meta.url).pathname],
        env: {
          Worker__WorkerId: workerId,
          Worker__LeaseSeconds: "3",
          Worker__Heartbeat__IntervalSeconds: "1",
          Worker__MaxParallelJobs: String(LANES),
          MilvaionConfig__Redis__KeyPrefix: servers.forCluster.redisPrefix,
        },
        hasProxies: false,
        hasDatabase: true,
      });
    await using idle = pool("worker-idle", "local");
    await idle.start();
    const startedAt = performance.now();
    for (const id of first) await cluster.ended(id);
    const takenAfterMs = Math.round(performance.now() - startedAt);

    assert(takenAfterMs < GIVEN_UP_MS, `given back by the full worker only after ${takenAfterMs} ms`);

    // Both are there now. One is full: nothing may wait in it while the other has a lane.
    const longest: number[] = [];
    for (let round = 0; round < 10; round += 1) {
      const at = performance.now();
      await cluster.ended(await load.trigger(waiting));
      longest.push(Math.round(performance.now() - at));
    }

    await using other = pool("worker-other", "other");
    await other.start();
    const pinned = await load.createJob({
      policy: "Allow",
      workMs: 3000,
      isTriggered: true,
      change: { workerId: "other" },
    });
    for (let round = 0; round < LANES + 1; round += 1) {
      const id = await load.trigger(pinned);
      if (round > 0) continue;
      const { pid } = await until(
        async () => (await load.runs()).find((one) => one.occurrenceId === id),
        "the pinned job runs",
      );
      assert(pid !== undefined && (await other.hosts()).includes(pid), "the pinned job runs in its pool");
    }
    for (const id of fillers) await cluster.request("POST", `/api/v1/occurrences/${id}/cancel`, {});
    await drained(cluster);
    const { body } = await cluster.request("GET", `/api/v1/occurrences?jobId=${pinned}&limit=50`);
    for (const { workerId } of body.items) assertEquals(workerId, "other");
    await load.judge();
    console.log(
      `figures: ${
        JSON.stringify({
          test: "lanes",
          waitedAtTheFullWorkerTakenAfterMs: takenAfterMs,
          slowestOf10: Math.max(...longest),
          byRound: longest,
          pinned: body.items.length,
        })
      }`,
    );
  },
);
