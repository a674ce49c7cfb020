/** Clients that cancel, edit, disable and delete in the very moment in which something fires, starts or ends. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { type SeededRandom, seededRandom } from "../../../actors/runtime/seeded_random.ts";
import { cancelRaces } from "../../support/cancel_races.ts";
import { recovers, rowsOf, workerOf } from "../../support/recovery.ts";
import { Cluster } from "../../support/cluster.ts";
import { readWitness } from "../../support/postgres_witness.ts";
import { until } from "../../support/program.ts";
import { serverTest } from "../../support/servers.ts";
import { needsOf, TestServers } from "../../support/test_servers.ts";
import { faultTest } from "../../support/under_load.ts";

const RACES = 300;
const EDITS_MS = 20_000;
const EDITED = 4;
/** How far the clocks of this test and of the database may be apart. Milliseconds. */
const CLOCK_MS = 50;

faultTest(
  "cancels race with claims, with ends and with each other, through any instance: one final status, no run after it",
  { cluster: { apis: 2, workers: 2 }, load: { jobsPerPolicy: 1, triggersPerSecond: 2, cancelShare: 0.5 } },
  (ground) => cancelRaces(ground, RACES),
);

faultTest(
  "what is cancelled while its worker is out of reach is Cancelled when its lease is over, and never runs again",
  { cluster: { apis: 2, workers: 2 }, load: { jobsPerPolicy: 1, triggersPerSecond: 2 } },
  async (ground) => {
    const { cluster, load } = ground;
    const job = await load.createJob({ policy: "Allow", workMs: 15_000, isTriggered: true });
    const id = await load.trigger(job);
    const worker = await workerOf(ground, id);
    await recovers(ground, "cancelled while its worker is frozen", async () => {
      await worker.pause();
      const answers = await Promise.all(
        cluster.apis.map((api) => cluster.request("POST", `/api/v1/occurrences/${id}/cancel`, {}, { api })),
      );
      // The second may come when the first has asked already.
      assert(answers.some(({ status }) => status === 202), answers.map(({ text }) => text).join("\n"));
      assertEquals((await cluster.ended(id)).status, "Cancelled");
      await worker.resume();
    }, { isFreeze: true });
    await load.progress(20);
    assertEquals((await load.runs()).filter(({ occurrenceId }) => occurrenceId === id).length, 1);
  },
);

serverTest(
  needsOf(),
  "jobs are edited, paused, resumed and deleted while they fire each second: no due time is decided by a stale version",
  async () => {
    await using servers = await TestServers.start();
    await using cluster = await Cluster.start({ ...servers.forCluster, apis: 2, workers: 1 });
    const jobs = await Promise.all(Array.from({ length: EDITED }, (_, index) =>
      cluster.createJob({
        displayName: `edited ${index}`,
        jobType: "SampleJob",
        cronExpression: "* * * * * *",
        concurrentExecutionPolicy: "Allow",
      })));
    const random = seededRandom(8, Date);
    const over = performance.now() + EDITS_MS;
    const edits = (await Promise.all(jobs.map((id) => edit(cluster, id, random, over)))).flat();
    const firstEnd = Math.min(...edits.map(({ endedAt }) => endedAt));
    const lastStart = Math.max(...edits.map(({ invokedAt }) => invokedAt));
    await delay(2000); // whatever was due by then is decided
    const answers = Object.fromEntries(
      [...Map.groupBy(edits, ({ kind, status }) => `${kind} ${status}`)].map((
        [what, all],
      ) => [what, all.length]),
    );

    const { edges } = await readWitness(cluster.databaseUrl);
    const versions = new Map(
      (await rowsOf(
        cluster,
        "SELECT o.id, t.job_version, o.scheduled_for FROM occurrences o JOIN terms t ON t.seq = o.terms",
      )).map((row) => [String(row["id"]), row]),
    );
    const fired = edges.filter(({ from }) => from === null).map((edge) => ({
      ...edge,
      version: Number(versions.get(edge.occurrenceId)?.["job_version"]),
      dueAt: Number(versions.get(edge.occurrenceId)?.["scheduled_for"]),
    }));
    const stale = fired.filter(({ jobId, at, version }) =>
      edits.some((one) => one.jobId === jobId && one.endedAt + CLOCK_MS < at && one.version > version)
    );
    assertEquals(stale, [], "fired by a version that had been replaced before");
    const paused = fired.filter(({ jobId, to, dueAt }) =>
      to === "Queued" && pausesOf(edits, jobId).some(({ from, until }) => dueAt > from && dueAt < until)
    );
    assertEquals(paused, [], "fired while it was paused");

    // Each second is decided: by an occurrence, or by a range that says why there is none.
    const ranges = await rowsOf(
      cluster,
      "SELECT j.id, r.from_at, r.to_at, r.reason FROM verdict_ranges r JOIN jobs j ON j.seq = r.job",
    );
    const undecided = jobs.flatMap((id) => {
      const own = fired.filter(({ jobId }) => jobId === id).map(({ dueAt }) => dueAt);
      return eachSecond(firstEnd, lastStart).filter((due) =>
        !own.includes(due) &&
        !ranges.some((range) =>
          range["id"] === id && Number(range["from_at"]) <= due && Number(range["to_at"]) >= due
        )
      ).map((due) => `${id} ${new Date(due).toISOString()}`);
    });
    assertEquals(undecided, [], "due times that nobody decided");

    // Deleted in the moment in which it fires: in use, or gone for good.
    const deleted: Record<string, number> = {};
    await Promise.all(jobs.map((id) =>
      until(async () => {
        const { status } = await cluster.request("DELETE", `/api/v1/jobs/${id}`);
        deleted[status] = (deleted[status] ?? 0) + 1;
        return status === 204;
      }, `${id} is deleted`)
    ));
    await delay(3000);
    const left = await rowsOf(cluster, "SELECT id FROM occurrences");
    assertEquals(left.length, 0, "a deleted job has fired");
    console.log(`figures: ${JSON.stringify({ test: "edits", fired: fired.length, answers, deleted })}`);
    assert(fired.length > EDITED * 3, `${fired.length} fired`);
  },
);

/** Every full second after `from` and before `until`. */
function eachSecond(from: number, until: number): number[] {
  const due: number[] = [];
  for (let at = Math.floor(from / 1000) * 1000 + 1000; at < until; at += 1000) due.push(at);
  return due;
}

interface Edit {
  readonly jobId: string;
  readonly kind: string;
  readonly status: number;
  /** That the job has since. */
  readonly version: number;
  readonly invokedAt: number;
  readonly endedAt: number;
}

/** Edits, pauses and resumes one job without a break, through any instance. */
async function edit(cluster: Cluster, jobId: string, random: SeededRandom, over: number): Promise<Edit[]> {
  const edits: Edit[] = [];
  for (let round = 0; performance.now() < over; round += 1) {
    const api = cluster.apis[Math.floor(random.next() * cluster.apis.length)];
    assert(api !== undefined);
    const kind = ["edit", "edit", "edit", "pause", "resume"][Math.floor(random.next() * 5)] ?? "";
    const invokedAt = Date.now();
    const { status, body, text } = kind === "edit"
      ? await cluster.request("PUT", `/api/v1/jobs/${jobId}`, {
        displayName: `edited for the ${round}th time`,
        jobType: "SampleJob",
        cronExpression: "* * * * * *",
        concurrentExecutionPolicy: "Allow",
      }, { api, headers: { "if-match": "*" } })
      : await cluster.request("POST", `/api/v1/jobs/${jobId}/${kind}`, { reason: "race" }, { api });
    assert(status < 500, `${kind} ${status}: ${text}`);
    const version = Number(body?.version ?? 0);
    edits.push({ jobId, kind, status, version, invokedAt, endedAt: Date.now() });
  }
  return edits;
}

/** From when to when a job was surely paused. */
function pausesOf(
  edits: readonly Edit[],
  jobId: string,
): readonly { readonly from: number; readonly until: number }[] {
  const own = edits.filter((one) => one.jobId === jobId && one.kind !== "edit");
  return own.flatMap(({ kind, endedAt }, index) => {
    const next = own.slice(index + 1).find((one) => one.kind === "resume");
    if (kind !== "pause" || next === undefined) return [];
    return [{ from: endedAt + CLOCK_MS, until: next.invokedAt - CLOCK_MS }];
  });
}
