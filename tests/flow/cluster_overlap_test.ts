/** Skip and Queue on real servers: five API instances trigger at once beside a cron, and the job itself looks. */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../support/cluster.ts";
import { until } from "../support/program.ts";
import { drained, rowsOf } from "../support/recovery.ts";
import { serverTest } from "../support/servers.ts";
import { needsOf, TestServers } from "../support/test_servers.ts";

const ROUNDS = 8;
const APIS = 5;
/** Triggers of a round: two through each instance. */
const AT_ONCE = 2 * APIS;

interface Policy {
  readonly policy: "Skip" | "Queue";
  readonly workMs: number;
}

const POLICIES: readonly Policy[] = [{ policy: "Skip", workMs: 700 }, { policy: "Queue", workMs: 40 }];

for (const { policy, workMs } of POLICIES) {
  serverTest(
    needsOf(),
    `under ${policy} no run ever meets another, although five instances trigger at once, and all is accounted for`,
    async () => {
      await using servers = await TestServers.start();
      await using cluster = await Cluster.start({ ...servers.forCluster, apis: APIS, workers: 2 });
      const folder = await Deno.makeTempDir({ prefix: "milvaion-overlap-" });
      try {
        const file = `${folder}/runs.jsonl`;
        const jobId = await cluster.createJob({
          displayName: policy,
          jobType: "ExclusiveJob",
          concurrentExecutionPolicy: policy,
          cronExpression: "* * * * * *",
          jobData: { marker: `${folder}/marker`, file, workMs },
        });
        const answers = await triggered(cluster, jobId);
        await cluster.request("POST", `/api/v1/jobs/${jobId}/pause`, { reason: "the test is over" });
        await drained(cluster, "the triggers");
        const events = await eventsOf(file);
        const rows = await rowsOf(
          cluster,
          `SELECT o.id, o.status, o.twin, o.blocked_by, o.reason FROM occurrences o`,
        );

        assertEquals(events.filter(({ event }) => event === "overlap"), []);
        const accepted = answers.filter(({ status }) => status === 202).map(({ body }) => body.occurrenceId);
        const refused = answers.filter(({ status }) => status === 409).map(({ body }) => body.code);
        assertEquals(accepted.length + refused.length, ROUNDS * AT_ONCE);
        assertEquals(refused, refused.map(() => "already_running"));
        const byTrigger = rows.filter(({ twin }) => Number(twin) !== 0).map(({ id }) => id);
        assertEquals(byTrigger.sort(), accepted.sort(), "each accepted trigger is one occurrence");

        const completed = rows.filter(({ status }) => status === 2).map(({ id }) => id);
        const skipped = rows.filter(({ status }) => status === 7);
        assertEquals(completed.length + skipped.length, rows.length, "each occurrence ran or was skipped");
        assertEquals(
          events.map(({ occurrenceId }) => occurrenceId).sort(),
          completed.sort(),
          "each ran once",
        );
        if (policy === "Queue") {
          assertEquals(skipped, []);
          assertEquals(refused, []);
        } else {
          assert(refused.length > 0, "the triggers met a run");
          for (const { reason } of skipped) {
            assert(completed.some((id) => String(reason).includes(String(id))));
          }
        }
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  );
}

/** Rounds of triggers through all instances at once; the next one begins when the job has moved on. */
async function triggered(cluster: Cluster, jobId: string) {
  const answers = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = await ended(cluster);
    answers.push(
      ...await Promise.all(
        Array.from(
          { length: AT_ONCE },
          (_, index) =>
            cluster.request("POST", `/api/v1/jobs/${jobId}/trigger`, {}, {
              api: cluster.apis[index % cluster.apis.length],
              deadlineMs: 30_000,
            }),
        ),
      ),
    );
    await until(async () => await ended(cluster) > before, "a run has ended");
  }
  return answers;
}

async function ended(cluster: Cluster): Promise<number> {
  const [row] = await rowsOf(cluster, "SELECT count(*) AS count FROM occurrences WHERE status = 2");
  return Number(row?.["count"]);
}

async function eventsOf(file: string): Promise<{ readonly event: string; readonly occurrenceId: string }[]> {
  const text = await Deno.readTextFile(file);
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}
