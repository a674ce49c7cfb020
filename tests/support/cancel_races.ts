/** Cancels through two instances at once, at any moment between the claim of a run and after its end. */
import { assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { seededRandom } from "../../actors/runtime/seeded_random.ts";
import { recovers, rowsOf } from "./recovery.ts";
import type { Ground } from "./under_load.ts";

const AT_ONCE = 10;
/** Milliseconds: from before the claim to after the end of a run of `WORK_MS`. */
const WITHIN_MS = 250;
const WORK_MS = 60;

/** Races `count` runs against two cancels each; who was told that a run is cancelled must find it so. */
export async function cancelRaces(ground: Ground, count: number): Promise<void> {
  const { cluster, load, figure } = ground;
  const random = seededRandom(7, Date);
  const job = await load.createJob({ policy: "Allow", workMs: WORK_MS, isTriggered: true });
  const answers: Record<string, number> = {};
  const race = async () => {
    const id = await load.trigger(job);
    await delay(random.next() * WITHIN_MS);
    const cancels = await Promise.all(
      [0, 1].map((which) =>
        cluster.request("POST", `/api/v1/occurrences/${id}/cancel`, {}, { api: cluster.apis[which] })
      ),
    );
    for (const { status } of cancels) answers[status] = (answers[status] ?? 0) + 1;
    const { status } = await cluster.ended(id);
    // 200: it was not running, and never will be.
    if (cancels.some((answer) => answer.status === 200)) assertEquals(status, "Cancelled", id);
  };
  await recovers(ground, "cancel races", async () => {
    for (let done = 0; done < count; done += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, race));
    }
  });
  figure("cancels by answer", answers);
  const ends = await rowsOf(
    cluster,
    `SELECT o.status, count(*) FROM occurrences o JOIN jobs j ON j.seq = o.job WHERE j.id = '${job}' GROUP BY 1`,
  );
  figure(
    "occurrences by status number",
    Object.fromEntries(ends.map((row) => [row["status"], row["count"]])),
  );
}
