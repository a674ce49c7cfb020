/**
 * Workers that cannot reach the broker while runs end: their reports wait on disk, through kills and stops, and each
 * outcome is recorded once. Without a disk that outlives the process the runs are taken for lost and run again.
 */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { Cluster, type ClusterOptions } from "../support/cluster.ts";
import { ClusterProcess } from "../support/cluster_process.ts";
import { readWitness } from "../support/postgres_witness.ts";
import { until } from "../support/program.ts";
import { readRuns } from "../support/read_history.ts";
import {
  SERVERS,
  serverTest,
  temporaryDatabase,
  temporaryPrefix,
  temporaryVhost,
} from "../support/servers.ts";
import { needsOf, TestServers } from "../support/test_servers.ts";

const NEEDS = ["postgres", "redis", "rabbitmq", "rabbitmqctl"] as const;
const RUNS = 12;
/** Longer than the lease of 6 s, and than all that the leader adds before it takes a run for lost. */
const PAST_THE_LEASE_MS = 10_000;

interface Scene {
  readonly cluster: Cluster;
  readonly worker: ClusterProcess;
  /** Of the runs whose reports are held back. */
  readonly occurrenceIds: readonly string[];
  /** The file in which runs write themselves down. */
  readonly witness: string;
  /** A further worker with a folder of its own. */
  readonly another: () => ClusterProcess;
}

/** Twelve runs have ended on a worker that has lost the broker, and wait in its outbox. */
async function withReportsHeldBack(
  options: Pick<ClusterOptions, "workersHaveDatabase">,
  work: (scene: Scene) => Promise<void>,
): Promise<void> {
  await using database = await temporaryDatabase();
  await using keys = temporaryPrefix();
  await using vhost = await temporaryVhost();
  const servers = { postgres: database.url, redis: SERVERS.redis, amqp: vhost.url };
  const witness = await Deno.makeTempFile({ prefix: "milvaion-witness-" });
  await using cluster = await Cluster.start({
    servers,
    redisPrefix: keys.prefix,
    apis: 1,
    workers: 1,
    hasProxies: true,
    ...options,
  });
  const [worker] = cluster.workers;
  assert(worker?.proxies);
  const job = await cluster.createJob({
    displayName: "x",
    jobType: "RecorderJob",
    triggerOnly: true,
    concurrentExecutionPolicy: "Allow",
    jobData: { file: witness, workMs: 2000 },
  });
  const { body } = await cluster.request("POST", `/api/v1/jobs/${job}/trigger-many`, {
    items: Array.from({ length: RUNS }, () => ({})),
  });
  await until(async () => (await readRuns(witness, [])).length === RUNS, "all run");
  await worker.proxies.amqp.down();
  await heldBack(worker, RUNS);
  await work({
    cluster,
    worker,
    occurrenceIds: body.occurrenceIds,
    witness,
    another: () => cluster.addWorker("another"),
  });
  await Deno.remove(witness);
}

/** Waits until a worker says that so many reports wait on its disk. */
async function heldBack(worker: ClusterProcess, count: number): Promise<void> {
  await until(async () => {
    const response = await fetch(`${worker.url}/metrics`);
    return (await response.text()).includes(`milvaion_reports_held_back ${count}\n`);
  }, `${worker.name} holds ${count} reports back`);
}

async function statuses({ cluster, occurrenceIds }: Scene): Promise<readonly string[]> {
  const seen = await Promise.all(occurrenceIds.map(async (id) => {
    const { body } = await cluster.request("GET", `/api/v1/occurrences/${id}`);
    return body.status;
  }));
  return [...new Set(seen)];
}

/** Each has ended as Completed, in its first attempt, was run once, and nothing came too late. */
async function eachRecordedOnce(scene: Scene): Promise<void> {
  const { cluster, occurrenceIds, witness } = scene;
  for (const id of occurrenceIds) {
    const { status, attempt } = await cluster.ended(id);
    assertEquals([status, attempt], ["Completed", 1]);
  }
  assertEquals((await readRuns(witness, [])).length, RUNS, "nothing was run twice");
  assertEquals((await readWitness(cluster.databaseUrl)).lateReports, 0);
}

/** Names of the databases in a worker's outbox. */
function files(dataDir: string): readonly string[] {
  return [...Deno.readDirSync(`${dataDir}/outbox`)].map(({ name }) => name)
    .filter((name) => name.endsWith(".db"));
}

serverTest(
  NEEDS,
  "a worker killed with reports that it could not send: the next one on its folder keeps their leases and sends them, each recorded once",
  () =>
    withReportsHeldBack({}, async (scene) => {
      const { cluster, worker } = scene;
      await until(async () => {
        const { body } = await cluster.request("GET", "/api/v1/workers");
        return body.items[0]?.reportsHeldBack === RUNS;
      }, "the API shows how many wait");
      const { body: shown } = await cluster.request("GET", "/api/v1/workers");
      assertEquals(shown.items[0].lanesBusy, 0, "their lanes are free");
      await delay(PAST_THE_LEASE_MS);
      assertEquals(await statuses(scene), ["Running"], "the leases are kept past their length");

      await worker.kill();
      await worker.launch();
      await heldBack(worker, RUNS);
      await delay(PAST_THE_LEASE_MS);
      assertEquals(await statuses(scene), ["Running"], "the next one keeps them");

      worker.proxies?.amqp.up();
      await eachRecordedOnce(scene);
      await heldBack(worker, 0);
      await until(() => Promise.resolve(files(worker.dataDir).length === 1), "the orphan's file is gone");
    }),
);

serverTest(
  NEEDS,
  "a worker without a database keeps the leases of held reports by its presence alone",
  () =>
    withReportsHeldBack({ workersHaveDatabase: false }, async (scene) => {
      await delay(PAST_THE_LEASE_MS);
      assertEquals(await statuses(scene), ["Running"]);
      scene.worker.proxies?.amqp.up();
      await eachRecordedOnce(scene);
    }),
);

serverTest(
  NEEDS,
  "a worker told to stop while it cannot reach the broker exits 0 within its grace, and the next start sends what it left",
  () =>
    withReportsHeldBack({}, async (scene) => {
      const { worker } = scene;
      const { code } = await worker.stop();
      assertEquals(code, 0, worker.output);
      assertEquals(files(worker.dataDir).length, 1);
      await worker.launch();
      await heldBack(worker, RUNS);
      worker.proxies?.amqp.up();
      await eachRecordedOnce(scene);
      await worker.stop();
      assertEquals(files(worker.dataDir), [], "nothing waits, so no file is left");
    }),
);

serverTest(
  NEEDS,
  "without the folder of the worker that died its runs are taken for lost and run again; found later, its reports are kept as evidence",
  () =>
    withReportsHeldBack({}, async (scene) => {
      const { cluster, worker, occurrenceIds, witness } = scene;
      await worker.kill();
      await using other = scene.another();
      await other.start();
      for (const id of occurrenceIds) assertEquals((await cluster.ended(id)).status, "Completed");
      assertEquals((await readRuns(witness, [])).length, 2 * RUNS, "each was run again");
      assertEquals((await readWitness(cluster.databaseUrl)).lateReports, 0);

      worker.proxies?.amqp.up();
      await worker.start();
      await heldBack(worker, 0);
      await until(
        async () => (await readWitness(cluster.databaseUrl)).lateReports === RUNS,
        "the late reports are kept",
      );
      for (const id of occurrenceIds) assertEquals((await cluster.ended(id)).status, "Completed");
    }),
);

serverTest(
  needsOf(["rabbitmq"]),
  "a broker that takes no reports keeps no lane: a worker runs on through a memory alarm, and the broker's crash in it loses nothing",
  async () => {
    await using servers = await TestServers.start({ own: ["rabbitmq"] });
    const witness = await Deno.makeTempFile({ prefix: "milvaion-witness-" });
    await using cluster = await Cluster.start({
      ...servers.forCluster,
      apis: 1,
      workers: 1,
      env: { Worker__MaxParallelJobs: "4" },
    });
    const [worker] = cluster.workers;
    assert(worker !== undefined);
    const job = await cluster.createJob({
      displayName: "x",
      jobType: "RecorderJob",
      triggerOnly: true,
      concurrentExecutionPolicy: "Allow",
      jobData: { file: witness, workMs: 1000 },
    });
    const { body } = await cluster.request("POST", `/api/v1/jobs/${job}/trigger-many`, {
      items: Array.from({ length: 40 }, () => ({})),
    });
    await until(async () => (await readRuns(witness, [])).length > 0, "they begin");
    await servers.rabbitmq.ctl("set_vm_memory_high_watermark", "0.00001");
    // More than ten times the lanes: the messages of ended runs are acknowledged, so new ones come.
    await until(
      async () => (await readRuns(witness, [])).filter(({ end }) => end !== null).length === 40,
      "all come to their end",
    );
    const held = await until(async () => {
      const { body: seen } = await cluster.request("GET", "/api/v1/workers");
      return seen.items[0]?.reportsHeldBack;
    }, "reports are held back");
    assert(held > 8, `${held} wait, more than could in the lanes`);
    await servers.rabbitmq.kill();
    await servers.rabbitmq.start();
    for (const id of body.occurrenceIds) {
      const { status, attempt } = await cluster.ended(id);
      assertEquals([status, attempt], ["Completed", 1]);
    }
    assertEquals((await readRuns(witness, [])).length, 40, "nothing was run twice");
    console.log(`figures: ${JSON.stringify({ reportsHeldBack: held })}`);
    await Deno.remove(witness);
  },
);

/** Mounting needs a user namespace, which some containers refuse. */
function canMount(): boolean {
  try {
    return new Deno.Command("unshare", {
      args: ["-rm", "sh", "-c", "mount -t tmpfs none /mnt"],
      stdout: "null",
      stderr: "null",
    }).outputSync().success;
  } catch {
    return false;
  }
}

Deno.test({
  name:
    "a full disk leaves reports to their senders; what it holds goes out, and it is used again once there is room",
  ignore: !canMount(),
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "milvaion-full-" });
    const { success, stdout, stderr } = await new Deno.Command("unshare", {
      args: [
        "-rm",
        "sh",
        "-c",
        'mount -t tmpfs -o size=2m none "$0" && "$@" "$0"',
        folder,
        Deno.execPath(),
        "run",
        "--no-prompt",
        "--allow-read",
        "--allow-write",
        "--allow-env",
        "--allow-sys",
        new URL("outbox_on_small_disk.ts", import.meta.url).pathname,
      ],
    }).output();
    const said = new TextDecoder();
    assert(success, said.decode(stdout) + said.decode(stderr));
    await Deno.remove(folder, { recursive: true });
  },
});
