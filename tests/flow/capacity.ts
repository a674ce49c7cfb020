/** Planning over runs that really were: measured, predicted, and seen to come true. One suite, two grounds. */
import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import type { Ground } from "../support/ground.ts";
import { completed, offer } from "../support/in_process_pool.ts";
import { Node, settle } from "../support/node.ts";
import { askNode } from "../support/node_api.ts";

const START = Date.UTC(2026, 0, 1, 12, 0, 0, 500);
const LANES = 4;
const SECONDS = 2;

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function capacitySuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
): void {
  const promise = (sentence: string, work: (node: Node, clock: ManualClock) => Promise<void>) =>
    test(`${name} capacity: ${sentence}`, async () => {
      await using ground = await openGround();
      const clock = new ManualClock({ now: START });
      const offers = [offer("SampleJob", { maxParallelJobs: LANES })];
      const behaviour = () => ({ afterMs: SECONDS * 1000, outcome: completed });
      await Node.during({ ground, clock, offers, behaviour }, (node) => work(node, clock));
    });

  /** Runs some, so that there is something to measure. */
  async function warm(node: Node, clock: ManualClock): Promise<string> {
    const job = await node.createJob({ concurrentExecutionPolicy: "Allow" });
    await node.trigger(job.id, LANES);
    await clock.advance(SECONDS * 1000);
    await settle(node);
    return job.id;
  }

  const openOf = async (node: Node, jobId: string) =>
    (await node.occurrences(jobId)).filter(({ endedAt }) => endedAt === null).length;

  promise("what is measured is what ran, and a backlog drains when it is said to", async (node, clock) => {
    const id = await warm(node, clock);
    await node.trigger(id, 10 * LANES);
    const { pools, connections } = await askNode(node, "capacity?jobType=SampleJob&load=0");
    const [plan] = pools[0].types;
    assertEquals([pools[0].pool, plan.workers, plan.averageSeconds, plan.jobsPerSecond], [
      "local",
      1,
      SECONDS,
      LANES / SECONDS,
    ]);
    assertEquals([plan.backlog, plan.drain, plan.drainSeconds], [9 * LANES, "drains", 9 * SECONDS]);
    assertEquals(
      connections.map((one: { server: string }) => one.server),
      name === "embedded" ? [] : ["PostgreSQL", "Redis", "RabbitMQ"],
    );
    // Then the last of them have begun, and no sooner.
    await clock.advance(8 * SECONDS * 1000);
    await settle(node);
    assertEquals(await openOf(node, id), 2 * LANES);
    await clock.advance(2 * SECONDS * 1000);
    await settle(node);
    assertEquals(await openOf(node, id), 0);
  });

  promise(
    "a scaler is told of a backlog, of what runs, and of nothing when nothing is left",
    async (node, clock) => {
      const id = await warm(node, clock);
      const path = "pools/local/scaling?targetWaitSeconds=6&windowSeconds=60";
      await node.trigger(id, 16 * LANES);
      const busy = await askNode(node, path);
      assertEquals([busy.currentReplicas, busy.waiting, busy.needs[0].code], [1, 15 * LANES, "backlog"]);
      // 15 rounds of 2 s within 6 s are 5 workers, and what comes meanwhile.
      assert(busy.wantedReplicas >= 5 && busy.wantedReplicas <= 7, JSON.stringify(busy));
      await clock.advance(16 * SECONDS * 1000);
      await settle(node);
      await clock.advance(61_000);
      await settle(node);
      const idle = await askNode(node, path);
      assertEquals([idle.wantedReplicas, idle.waiting], [0, 0]);
      assertEquals((await askNode(node, `${path}&minimum=2`)).wantedReplicas, 2);
    },
  );
}
