/** The walk of a due job, on the real actors and real adapters, with a manual clock. One suite, two grounds. */
import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { completed, failed, offer } from "../support/in_process_pool.ts";
import type { Ground } from "../support/ground.ts";
import { Node, type NodeOptions, settle } from "../support/node.ts";

const START = Date.UTC(2026, 0, 1, 12, 0, 0, 500);

const second = (at: number) => Math.floor(at / 1000);

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function walkSuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
): void {
  const promise = (sentence: string, fn: () => Promise<void>) => test(`${name}: ${sentence}`, fn);

  /** Runs with a node on a new ground, which is cleared away afterwards. */
  async function withNode(
    options: Partial<NodeOptions>,
    work: (node: Node, clock: ManualClock, ground: Ground) => Promise<Node | void>,
  ): Promise<void> {
    await using ground = await openGround();
    const clock = new ManualClock({ now: START });
    await Node.during({ ground, clock, ...options }, (node) => work(node, clock, ground));
  }

  promise(
    "a due time becomes an occurrence, runs, is recorded with its log line, and the next one follows",
    () =>
      withNode({}, async (node, clock) => {
        const job = await node.createJob({ cronExpression: "*/5 * * * * *" });
        await clock.advance(11_000);
        await settle(node);
        const found = await node.occurrences(job.id);
        assertEquals(found.map((one) => one.status), ["Completed", "Completed"]);
        assertEquals(found.map((one) => new Date(one.scheduledFor).getUTCSeconds()), [5, 10]);
        assertEquals(found.map((one) => [one.attempt, one.token, one.origin]), [[1, 1, "schedule"], [
          1,
          1,
          "schedule",
        ]]);
        assertEquals(found.map((one) => one.startedAt), found.map((one) => one.scheduledFor));
        await clock.advance(100);
        const lines = await node.adapters.store.lines.read(found[0]?.id ?? "", 10, null);
        assertEquals(lines.items.map((line) => line.message), ["attempt 1"]);
      }),
  );

  promise(
    "under Skip a due time that finds a run in its way is skipped, and the row names that run",
    () =>
      withNode({ behaviour: () => ({ afterMs: 2500, outcome: completed }) }, async (node, clock) => {
        const job = await node.createJob({
          cronExpression: "* * * * * *",
          concurrentExecutionPolicy: "Skip",
        });
        await clock.advance(4000);
        await settle(node);
        const found = await node.occurrences(job.id);
        assertEquals(found.slice(0, 4).map((one) => one.status), [
          "Completed",
          "Skipped",
          "Skipped",
          "Running",
        ]);
        const [first, skipped] = found;
        assert(first !== undefined && skipped?.reason?.includes(first.id), skipped?.reason ?? "no reason");
        assertEquals(skipped?.startedAt, null);
      }),
  );

  promise(
    "under Queue runs follow each other in the order of their due times, one at a time",
    () =>
      withNode({ behaviour: () => ({ afterMs: 1500, outcome: completed }) }, async (node, clock) => {
        const job = await node.createJob({
          cronExpression: "* * * * * *",
          concurrentExecutionPolicy: "Queue",
        });
        await clock.advance(6200);
        await settle(node);
        const order = node.pool.started.map((one) => second(one.scheduledFor));
        assertEquals(order, [...order].sort((a, b) => a - b));
        const running = (await node.occurrences(job.id)).filter((one) => one.status === "Running");
        assertEquals(running.length, 1);
      }),
  );

  promise(
    "a failed attempt is tried again after its back-off and completes as the same occurrence",
    () =>
      withNode({
        behaviour: (request) => ({
          afterMs: 10,
          outcome: request.attempt < 3 ? failed("not yet") : completed,
        }),
      }, async (node, clock) => {
        const job = await node.createJob({});
        await node.trigger(job.id);
        await clock.advance(60_000);
        await settle(node);
        const [occurrence] = await node.occurrences(job.id);
        assertEquals([occurrence?.status, occurrence?.attempt, occurrence?.token], ["Completed", 3, 3]);
        const detail = await node.adapters.store.history.occurrence(occurrence?.id ?? "");
        const waits = (detail?.attempts ?? []).map((one) => one.claimedAt);
        const [first = 0, next = 0, last = 0] = waits;
        assert(next - first >= 2500 && next - first <= 7100, `first back-off ${next - first}`);
        assert(last - next >= 5000 && last - next <= 12_100, `second back-off ${last - next}`);
      }),
  );

  promise("a permanent failure is not tried again", () =>
    withNode(
      { behaviour: () => ({ afterMs: 0, outcome: failed("never", { permanent: true }) }) },
      async (node, clock) => {
        const job = await node.createJob({});
        await node.trigger(job.id);
        await clock.advance(60_000);
        const [occurrence] = await node.occurrences(job.id);
        assertEquals([occurrence?.status, occurrence?.attempt, occurrence?.error?.message], [
          "Failed",
          1,
          "never",
        ]);
      },
    ));

  promise(
    "a paused job decides its due times as paused, and goes on when resumed",
    () =>
      withNode({}, async (node, clock) => {
        const job = await node.createJob({ cronExpression: "* * * * * *" });
        await clock.advance(2000);
        await node.adapters.store.jobs.setPause(job.id, {
          reason: "maintenance",
          by: "ann",
          since: clock.now(),
          until: null,
        });
        await clock.advance(5000);
        await node.adapters.store.jobs.setPause(job.id, null);
        await clock.advance(2000);
        await settle(node);
        const ran = (await node.occurrences(job.id)).filter((one) => one.status === "Completed");
        const [range] = await node.adapters.store.history.ranges(job.id, 10);
        assertEquals([ran.length, range?.reason, range?.by, range?.count], [4, "paused", "ann", 5]);
      }),
  );

  promise("lanes bound what runs at once, and what waits is run when one is free", () =>
    withNode({
      maxParallelJobs: 3,
      offers: [offer("SampleJob", { maxParallelJobs: 2 }), offer("OtherJob", { maxParallelJobs: 3 })],
      behaviour: () => ({ afterMs: 1000, outcome: completed }),
    }, async (node, clock) => {
      const one = await node.createJob({ concurrentExecutionPolicy: "Allow" });
      const other = await node.createJob({ concurrentExecutionPolicy: "Allow", jobType: "OtherJob" });
      await node.trigger(one.id, 5);
      await node.trigger(other.id, 5);
      await clock.advance(500);
      const running = node.pool.started.map((request) => request.jobType).sort();
      assertEquals(running, ["OtherJob", "SampleJob", "SampleJob"]);
      const held = (await node.adapters.queue.depth()).reduce((sum, one) => sum + one.unacknowledged, 0);
      assertEquals(held, 3, "what has no lane here is in the queue, where another worker could take it");
      await clock.advance(20_000);
      assertEquals(node.pool.started.length, 10);
    }));

  promise(
    "after a crash the running attempt is run again, and due times missed meanwhile have their verdict",
    () =>
      withNode({ behaviour: () => ({ afterMs: 5000, outcome: completed }) }, async (node, clock, ground) => {
        const job = await node.createJob({
          cronExpression: "0 * * * * *",
          concurrentExecutionPolicy: "Allow",
        });
        await clock.advance(60_000);
        assertEquals((await node.occurrences(job.id)).map((one) => one.status), ["Running"]);
        await node.crash();
        await clock.advance(10 * 60_000);
        const next = await Node.start({
          ground,
          clock,
          seed: 2,
          behaviour: () => ({ afterMs: 100, outcome: completed }),
        });
        await clock.advance(30_000 + ground.lossNoticedMs);
        await settle(next);
        const found = await next.occurrences(job.id);
        assertEquals(found.map((one) => one.status), found.map(() => "Completed"));
        assertEquals(found[0]?.token, 2, "the lost attempt ran again under a new token");
        const ranges = await next.adapters.store.history.ranges(job.id, 10);
        const decided = found.length + ranges.reduce((sum, range) => sum + range.count, 0);
        assertEquals(decided, 11, "one verdict for each of the eleven minutes");
        assert(ranges.every((range) => range.reason === "missed"));
        return next;
      }),
  );

  promise(
    "stopping hands back what does not end in its grace, uncounted, and it runs again after the next start",
    () =>
      withNode(
        { behaviour: () => ({ afterMs: 3_600_000, outcome: completed }) },
        async (node, clock, ground) => {
          const job = await node.createJob({});
          await node.trigger(job.id);
          await clock.advance(1000);
          await node.stop();
          const next = await Node.start({ ground, clock, seed: 2 });
          await clock.advance(1000);
          await settle(next);
          const [occurrence] = await next.occurrences(job.id);
          assertEquals([occurrence?.status, occurrence?.attempt, occurrence?.token], ["Completed", 1, 2]);
          return next;
        },
      ),
  );

  promise("listeners hear of each step of an occurrence, in order", () =>
    withNode({
      behaviour: (request) => ({ afterMs: 10, outcome: request.attempt < 2 ? failed("once") : completed }),
    }, async (node, clock) => {
      const heard: string[] = [];
      const end = node.adapters.events.subscribe(["occurrenceChanged", "occurrenceLogged"], (events) => {
        for (const event of events) heard.push(event.type === "occurrenceChanged" ? event.status : "line");
      });
      const job = await node.createJob({});
      await node.trigger(job.id);
      await clock.advance(30_000);
      await settle(node);
      end();
      const steps = heard.filter((step) => step !== "line");
      assertEquals(steps, ["Queued", "Running", "Queued", "Running", "Completed"]);
      assertEquals(heard.length - steps.length, 2, "one line an attempt");
    }));
}
