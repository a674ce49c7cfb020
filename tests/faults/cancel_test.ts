/**
 * A worker is cut off from everything while the end of one of its runs is asked for: that run ends, once, and is told
 * how; the other one is run elsewhere. And cancels that race with claims, ends and each other.
 */
import { assert, assertEquals } from "@std/assert";
import { until } from "../support/program.ts";
import { cancelRaces } from "../support/cancel_races.ts";
import type { ClusterProcess } from "../support/cluster_process.ts";
import { recovers, workerOf } from "../support/recovery.ts";
import { faultTest, type Ground } from "../support/under_load.ts";

/** `deno task faults` runs more. */
const RACES = 60;

faultTest(
  "a worker is cut off from everything: what is cancelled ends with its lease and never runs again, what is not runs elsewhere",
  {
    cluster: { apis: 1, workers: 2, hasProxies: true },
    load: { jobsPerPolicy: 1, triggersPerSecond: 2 },
  },
  async (ground) => {
    const { cluster, load } = ground;
    const job = await load.createJob({ policy: "Allow", workMs: 60_000, isTriggered: true });
    const cutOff = await load.trigger(job);
    const worker = await workerOf(ground, cutOff);
    const proxies = Object.values(worker.proxies ?? {});
    assert(proxies.length > 0, "the worker reaches its servers through proxies");
    const cancel = (id: string) =>
      cluster.request("POST", `/api/v1/occurrences/${id}/cancel`, { reason: "enough" });
    const left = await runAt(ground, worker, job, cancel);
    const read = async (id: string) => (await cluster.request("GET", `/api/v1/occurrences/${id}`)).body;

    await recovers(ground, "cancelled while its worker is cut off", async () => {
      await Promise.all(proxies.map((proxy) => proxy.down()));
      for (let asked = 0; asked < 2; asked++) assertEquals((await cancel(cutOff)).status, 202);
      assertEquals((await read(cutOff)).cancel.state, "requested");
      assertEquals((await cluster.ended(cutOff)).status, "Cancelled");
      const again = await until(
        async () => (await load.runs()).filter(({ occurrenceId }) => occurrenceId === left)[1],
        "what was not cancelled runs elsewhere",
      );
      assertEquals(again.token, 2);
      await cancel(left);
      assertEquals((await cluster.ended(left)).status, "Cancelled");
      for (const proxy of proxies) proxy.up();
    });
    const ended = (await read(cutOff)).cancel;
    assertEquals([ended.state, ended.reason, ended.signalledAt], ["ended", "enough", null]);

    // With its links up the same goes through its signal, and says so.
    const reached = await load.trigger(job);
    await workerOf(ground, reached);
    assertEquals((await cancel(reached)).status, 202);
    assertEquals((await cluster.ended(reached)).status, "Cancelled");
    const told = await until(async () => {
      const { cancel } = await read(reached);
      return cancel.rung === null ? undefined : cancel;
    }, "the report of the cancelled run");
    assert(told.signalledAt >= told.requestedAt && told.instanceId !== null, JSON.stringify(told));
    for (const id of [cutOff, reached]) {
      assertEquals((await load.runs()).filter(({ occurrenceId }) => occurrenceId === id).length, 1, id);
    }
    await load.progress(10);
  },
);

faultTest(
  "cancels race with claims, with ends and with each other through two instances: one final status, no run after it",
  { cluster: { apis: 2, workers: 2 }, load: { jobsPerPolicy: 1, triggersPerSecond: 2, cancelShare: 0.5 } },
  (ground) => cancelRaces(ground, RACES),
);

/** A run of this job at this worker; those that another one took are cancelled. */
async function runAt(
  ground: Ground,
  worker: ClusterProcess,
  job: string,
  cancel: (id: string) => Promise<unknown>,
): Promise<string> {
  return await until(async () => {
    const id = await ground.load.trigger(job);
    if (await workerOf(ground, id) === worker) return id;
    await cancel(id);
  }, `a run at ${worker.name}`);
}
