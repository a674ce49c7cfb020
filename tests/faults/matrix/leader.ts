/** What happens to leaders, at length: many rounds, half-open connections, all at once. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import type { ClusterProcess } from "../../support/cluster_process.ts";
import { until } from "../../support/program.ts";
import { recovers, rowsOf } from "../../support/recovery.ts";
import { faultTest, type Ground, stepsDown } from "../../support/under_load.ts";

const FREEZES = 8;
const SILENT_MS = 60_000;
/** What users have: how long a report may take is measured by it. */
const USUAL_LEASES = { Worker__LeaseSeconds: "15", Worker__Heartbeat__IntervalSeconds: "5" };
const ALL_GONE_MS = 10_000;

faultTest(
  `a leader frozen past its term ${FREEZES} times writes nothing when it wakes`,
  { cluster: { apis: 2, workers: 1 } },
  async ({ cluster, load, figure }) => {
    for (let round = 1; round <= FREEZES; round += 1) {
      const leader = await cluster.leader();
      await cluster.nemesis.during(`leader frozen past its term, ${round}`, async () => {
        await leader.pause();
        await cluster.leaderAfter(leader);
        const woken = stepsDown(leader);
        await leader.resume();
        await woken;
      });
      await load.progress(10);
    }
    const [row] = await rowsOf(cluster, "SELECT sum(refused_writes) AS refused FROM epochs");
    figure("refusedWrites", Number(row?.["refused"]));
  },
  // More when a candidate gave up waiting for what the frozen one held locked, and was served all the same.
  ({ figures }) => assert(figures.epochs > FREEZES),
);

faultTest(
  "a leader frozen in the middle of a transaction is followed, and cannot commit it when it wakes",
  { cluster: { apis: 2, workers: 1, hasProxies: true } },
  async ({ cluster, load, figure }) => {
    for (const round of [1, 2, 3]) {
      const leader = await cluster.leader();
      await cluster.nemesis.during(`leader frozen while it holds the epoch, ${round}`, async () => {
        await frozenInTransaction(cluster, leader);
        const from = performance.now();
        await cluster.leaderAfter(leader);
        figure(`followed after ms, ${round}`, Math.round(performance.now() - from));
        await leader.resume();
      });
      await load.progress(20);
    }
  },
);

faultTest(
  "a leader killed after it published and before it noted so: what is published twice is refused when it is claimed",
  { cluster: { apis: 2, workers: 1 } },
  async ({ cluster, load, figure }) => {
    const [worker] = cluster.workers;
    if (worker === undefined) throw new Error("no worker");
    for (const round of [1, 2, 3]) {
      const leader = await cluster.leader();
      await cluster.nemesis.during(`killed between publish and mark, ${round}`, async () => {
        // Nobody claims, so that all that is published stays a row which recovery may publish again.
        await worker.pause();
        const before = await unmarked(cluster);
        await until(async () => await unmarked(cluster) >= before + 10, "the leader publishes");
        await leader.kill();
        await cluster.leaderAfter(leader);
        await until(async () => await publishedAgain(cluster) >= 5, "recovery publishes what nobody marked");
        figure(`published twice, round ${round}`, await publishedAgain(cluster));
        await worker.resume();
      }, { isFreeze: true });
      await leader.start();
      await load.progress(60);
    }
  },
);

faultTest(
  "all API instances killed at once and started again: the due times of meanwhile are decided",
  { cluster: { apis: 3, workers: 1 } },
  async (ground) => {
    const { cluster, load } = ground;
    await recovers(ground, "all API instances killed, back after 10 s, all at once", async () => {
      await Promise.all(cluster.apis.map((api) => api.kill()));
      await delay(ALL_GONE_MS);
      await Promise.all(cluster.apis.map((api) => api.start()));
      await cluster.leader();
    });
    await load.progress(100);
  },
);

faultTest(
  "three instances started at once on an empty database make one schema, one store and one leader",
  { cluster: { apis: 3, workers: 1 }, load: { jobsPerPolicy: 1 } },
  async ({ cluster, load }) => {
    const [row] = await rowsOf(
      cluster,
      "SELECT count(*) FILTER (WHERE name = 'storeId') AS stores, (SELECT count(*) FROM epochs) AS epochs FROM facts",
    );
    assertEquals([Number(row?.["stores"]), Number(row?.["epochs"])], [1, 1]);
    await load.progress(100);
  },
  ({ figures }) => assertEquals(figures.epochs, 1),
);

for (const server of ["postgres", "redis", "amqp"] as const) {
  faultTest(
    `the leader's connections to ${server} go silent for 60 s: the cluster goes on`,
    { cluster: { apis: 2, workers: 1, hasProxies: true, env: USUAL_LEASES } },
    async (ground) => {
      const { cluster, load, figure } = ground;
      const leader = await cluster.leader();
      await recovers(ground, `${server} silent for the leader, 60 s`, async () => {
        const from = performance.now();
        leader.proxies?.[server].blackhole();
        const ended = await startedSince(cluster);
        await until(async () => await startedSince(cluster) > ended + 20, "due times are worked on");
        figure("dueTimesWorkedOnAgainAfterMs", Math.round(performance.now() - from));
        await delay(Math.max(0, SILENT_MS - (performance.now() - from)));
        leader.proxies?.[server].clear();
      });
      await recovers(ground, `${server} half open at once for the leader`, async () => {
        (await cluster.leader()).proxies?.[server].halfOpen();
        await load.progress(60);
      });
    },
  );
}

faultTest(
  "five API instances and jobs under Skip that last three times their interval: never two at once",
  { cluster: { apis: 5, workers: 1 }, load: { jobsPerPolicy: 1, triggersPerSecond: 4 } },
  async ({ cluster, load }) => {
    for (let count = 0; count < 3; count += 1) await load.createJob({ policy: "Skip", workMs: 3000 });
    // A change of the leader in the middle of it.
    await load.progress(150);
    const leader = await cluster.leader();
    await cluster.nemesis.during("leader killed", async () => {
      await leader.kill();
      await cluster.leaderAfter(leader);
    });
    await load.progress(150);
  },
  ({ figures }) => assert((figures.byStatus["Skipped"] ?? 0) > 20),
);

/** Freezes the leader at a moment at which it holds the row of the epoch, so that nobody can raise it. */
async function frozenInTransaction(cluster: Ground["cluster"], leader: ClusterProcess): Promise<void> {
  await until(async () => {
    await leader.pause();
    const [row] = await rowsOf(
      cluster,
      `SELECT count(*) AS count FROM pg_locks JOIN pg_stat_activity USING (pid)
       WHERE relation = 'leadership'::regclass AND mode = 'RowShareLock'
         AND application_name LIKE '${leader.name}.%' AND state = 'idle in transaction'`,
    );
    const isInside = Number(row?.["count"]) > 0;
    if (!isInside) await leader.resume();
    return isInside;
  }, `${leader.name} is frozen inside a transaction`);
}

/** Rows that were committed and that nobody has marked as published or claimed. */
async function unmarked(cluster: Ground["cluster"]): Promise<number> {
  const [row] = await rowsOf(
    cluster,
    "SELECT count(*) AS count FROM occurrences WHERE status = 0 AND looks = 0 AND next_action_at IS NOT NULL",
  );
  return Number(row?.["count"]);
}

/** Rows that wait for their claim and that recovery has published once more. */
async function publishedAgain(cluster: Ground["cluster"]): Promise<number> {
  const [row] = await rowsOf(
    cluster,
    "SELECT count(*) AS count FROM occurrences WHERE status = 0 AND looks > 0",
  );
  return Number(row?.["count"]);
}

/** Scheduled occurrences that have been started. */
async function startedSince(cluster: Ground["cluster"]): Promise<number> {
  const [row] = await rowsOf(
    cluster,
    "SELECT count(*) AS count FROM occurrences WHERE twin = 0 AND started_at IS NOT NULL",
  );
  return Number(row?.["count"]);
}
