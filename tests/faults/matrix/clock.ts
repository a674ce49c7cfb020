/** A machine whose wall clock is wrong: the cluster's time is the database's. */
import { assertEquals } from "@std/assert";
import type { Cluster } from "../../support/cluster.ts";
import { until } from "../../support/program.ts";
import { rowsOf } from "../../support/recovery.ts";
import { faultTest } from "../../support/under_load.ts";

const HOUR_S = 3600;

/** How far a moment in the history may be from its due time, when nothing else is wrong. Seconds. */
const NEAR_S = 60;

for (const { api, worker } of [{ api: HOUR_S, worker: -HOUR_S }, { api: -HOUR_S, worker: HOUR_S }]) {
  faultTest(
    `the clock of the leader is off by ${api} s and that of a worker by ${worker} s: nothing twice, nothing missed, and the history tells the right times`,
    { cluster: { apis: 2, workers: 2 }, needs: ["faketime"] },
    async ({ cluster, load }) => {
      const [wrongApi, rightApi] = cluster.apis;
      const [wrongWorker] = cluster.workers;
      if (wrongApi === undefined || rightApi === undefined || wrongWorker === undefined) return;
      const right = await instances(cluster);
      await cluster.nemesis.during("restarted with wrong clocks, the leader's among them", async () => {
        await wrongWorker.restart({ clock: offset(worker) });
        await until(async () => (await instances(cluster)).some((id) => !right.includes(id)), "it is known");
        await wrongApi.restart({ clock: offset(api) });
        // The one with the right clock goes, so that the wrong one leads.
        if (await cluster.leader() !== wrongApi) {
          await rightApi.stop();
          assertEquals(await cluster.leader(), wrongApi);
          await rightApi.start();
        }
      });
      await load.progress(150);
      // Job hosts do not take the wrong clock over from their worker, so the ends that they tell are not looked at.
      const wrong = await rowsOf(
        cluster,
        `SELECT id, scheduled_for, created_at, started_at, ended_at, instance_id
         FROM occurrences LEFT JOIN instances ON instances.seq = instance
         WHERE abs(extract(epoch FROM created_at - scheduled_for)) > $1
           OR abs(extract(epoch FROM started_at - scheduled_for)) > $1
           OR abs(extract(epoch FROM ended_at - scheduled_for)) > $1 AND instance_id = ANY(string_to_array($2, ' '))`,
        [NEAR_S, right.join(" ")],
      );
      assertEquals([...wrong], []);
    },
  );
}

/** The instance ids of the workers. */
async function instances(cluster: Cluster): Promise<string[]> {
  const { body } = await cluster.request("GET", "/api/v1/workers");
  return body.items.map((item: { readonly instanceId: string }) => item.instanceId);
}

function offset(seconds: number): string {
  return seconds < 0 ? `${seconds}` : `+${seconds}`;
}
