/** Processors that are full for real: by a worker's own job code, and by another program on the machine. */
import { assert, assertMatch } from "@std/assert";
import {
  bottlenecks,
  found,
  type Get,
  LOOKS,
  pause,
  preferredProgram,
  proves,
  silent,
} from "../support/advisor.ts";
import { Cluster } from "../support/cluster.ts";
import { until } from "../support/program.ts";
import { serverTest } from "../support/servers.ts";
import { needsOf, TestServers } from "../support/test_servers.ts";

const PROCESSORS = navigator.hardwareConcurrency;

Deno.test("jobs that compute are named as what fills a worker's processors, and nothing is laid on the disk", async () => {
  await using program = await preferredProgram({
    env: {
      Worker__Heartbeat__IntervalSeconds: "1",
      Worker__MaxParallelJobs: String(PROCESSORS),
      JobConsumers__CpuBurnJob__MaxParallelJobs: String(PROCESSORS),
    },
  });
  const get: Get = (path) => program.get(path);
  const { body: job } = await program.post("/api/v1/jobs", {
    displayName: "Computes",
    jobType: "CpuBurnJob",
    triggerOnly: true,
    concurrentExecutionPolicy: "Allow",
    jobData: { seconds: 600 },
  });
  await silent(get, "worker-cpu");

  await program.post(`/api/v1/jobs/${job.id}/trigger-many`, {
    items: Array.from({ length: PROCESSORS }, () => ({})),
  });
  const full = await found(get, { codes: ["worker-cpu"] }, () => pause(200));
  proves(full);
  assertMatch(full.symptom, /Worker CPU full: it takes [\d.]+ of \d+ processors?/);
  assertMatch(full.cause, /Job code computes/);
  assertMatch(full.changes.join(" "), /More machines, not more lanes/);
  const { bottlenecks: named } = await bottlenecks(get);
  assert(!named.some(({ code }) => code === "store-sync"), JSON.stringify(named));
  const { body } = await program.get("/api/v1/bottlenecks");
  const cpu = (body.resources as { resource: string; place: string; share: number }[])
    .filter(({ resource }) => resource === "cpu");
  assert(cpu.some(({ place, share }) => place.startsWith("worker ") && share >= 0.25), JSON.stringify(cpu));
});

serverTest(
  needsOf(),
  "a worker of a cluster whose jobs compute tells its processors, and late answers are not laid on Redis or PostgreSQL",
  async () => {
    await using servers = await TestServers.start();
    await using cluster = await Cluster.start({
      ...servers.forCluster,
      apis: 1,
      workers: 1,
      env: {
        ...LOOKS,
        Worker__Heartbeat__IntervalSeconds: "1",
        Worker__MaxParallelJobs: String(PROCESSORS),
        JobConsumers__CpuBurnJob__MaxParallelJobs: String(PROCESSORS),
      },
    });
    const get: Get = (path) => cluster.request("GET", path, undefined, { deadlineMs: 20_000 });
    const job = await cluster.createJob({
      displayName: "Computes",
      jobType: "CpuBurnJob",
      jobData: { seconds: 600 },
      triggerOnly: true,
      concurrentExecutionPolicy: "Allow",
    });
    await cluster.request("POST", `/api/v1/jobs/${job}/trigger-many`, {
      items: Array.from({ length: PROCESSORS }, () => ({})),
    });
    await until(async () => {
      const { resources } = (await get("/api/v1/bottlenecks")).body as {
        resources: { resource: string; place: string; used: number }[];
      };
      return resources.some(({ resource, place, used }) =>
        resource === "cpu" && place.startsWith("worker ") && used > 0
      );
    }, "the worker's processors are told");
    // Where other programs leave it little, the machine is named instead.
    proves(await found(get, { codes: ["worker-cpu", "machine-cpu"] }, () => pause(200)));
    const { bottlenecks: named } = await bottlenecks(get);
    assert(!named.some(({ code }) => /^(redis|postgres)-latency$/.test(code)), JSON.stringify(named));
  },
);

Deno.test("another program that fills the machine is named, and not the worker, which does nothing", async () => {
  await using program = await preferredProgram();
  const get: Get = (path) => program.get(path);
  const spinning = Array.from(
    { length: PROCESSORS },
    () => new Deno.Command("sh", { args: ["-c", "while :; do :; done"], stdin: "null" }).spawn(),
  );
  try {
    const full = await found(get, { codes: ["machine-cpu"] }, () => pause(200));
    proves(full);
    assertMatch(full.cause, /Other programs on the machine/);
    const { bottlenecks: named } = await bottlenecks(get);
    assert(!named.some(({ code }) => code === "worker-cpu"), JSON.stringify(named));
  } finally {
    for (const one of spinning) one.kill("SIGKILL");
    await Promise.all(spinning.map((one) => one.status));
  }
});
