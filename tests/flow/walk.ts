/** The walk of a due job, on the real actors and real adapters, with a manual clock. One suite, two grounds. */
import { assert, assertEquals } from "@std/assert";
import { completed, failed, offer } from "../support/in_process_pool.ts";
import { flowAt } from "../support/flow.ts";
import type { Ground } from "../support/ground.ts";
import { Node, settle } from "../support/node.ts";

const second = (at: number) => Math.floor(at / 1000);

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function walkSuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
): void {
  const { promise, withNode } = flowAt({ name, openGround, test });

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
    "the leader removes history that has reached its age, the newest runs stay",
    () =>
      withNode({}, async (node, clock, ground) => {
        const job = await node.createJob({
          concurrentExecutionPolicy: "Allow",
          retention: { completedDays: 1, failedDays: 1, keepLast: 2 },
        });
        await node.trigger(job.id, 5);
        await clock.advance(1000);
        await node.stop();
        await clock.advance(3 * 86_400_000);
        const next = await Node.start({ ground, clock, seed: 2 });
        await next.trigger(job.id);
        await clock.advance(70_000);
        await settle(next);
        const found = await next.occurrences(job.id);
        assertEquals(found.map((one) => one.status), ["Completed", "Completed"]);
        return next;
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
        assert(next - first >= 100 && next - first <= 7100, `first back-off ${next - first}`);
        assert(last - next >= 100 && last - next <= 12_100, `second back-off ${last - next}`);
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
        await node.adapters.store.jobs.resume(job.id, clock.now());
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

  promise(
    "told to stop, it takes no more work, and what runs may end: only what has not ended by then runs again",
    () =>
      withNode(
        {
          offers: [offer("SampleJob"), offer("OtherJob")],
          drainMs: 1000,
          behaviour: ({ jobType }) => ({
            afterMs: jobType === "OtherJob" ? 3_600_000 : 800,
            outcome: completed,
          }),
        },
        async (node, clock, ground) => {
          const quick = await node.createJob({ concurrentExecutionPolicy: "Allow" });
          const long = await node.createJob({ jobType: "OtherJob" });
          await node.trigger(quick.id);
          await node.trigger(long.id);
          await clock.advance(100);
          const stopped = node.stop();
          await clock.advance(100);
          await node.trigger(quick.id);
          await clock.advance(1000);
          await stopped;

          const next = await Node.start({ ground, clock, seed: 2, offers: node.pool.jobTypes });
          await clock.advance(1000);
          await settle(next);
          const stateOf = async (jobId: string) =>
            (await next.occurrences(jobId)).map(({ status, attempt, token, instanceId }) => [
              status,
              attempt,
              token,
              instanceId === node.instanceId ? "before" : "after",
            ]);
          assertEquals(await stateOf(quick.id), [["Completed", 1, 1, "before"], [
            "Completed",
            1,
            1,
            "after",
          ]]);
          assertEquals(await stateOf(long.id), [["Completed", 1, 2, "after"]]);
          return next;
        },
      ),
  );

  promise("listeners hear of due times that are skipped or wait, as what they are", async () => {
    for (const policy of ["Skip", "Queue"] as const) {
      await withNode({ behaviour: () => ({ afterMs: 90_000, outcome: completed }) }, async (node, clock) => {
        const heard: string[] = [];
        const end = node.adapters.events.subscribe(["occurrenceChanged"], (events) => {
          for (const event of events) {
            if (event.type === "occurrenceChanged") heard.push(`${event.scheduledFor} ${event.status}`);
          }
        });
        await node.createJob({
          cronExpression: "0 * * * * *",
          concurrentExecutionPolicy: policy,
        });
        await clock.advance(125_000);
        await settle(node);
        end();
        const [first, second] = new Set(heard.map((one) => one.split(" ")[0]));
        const of = (due: string | undefined) => heard.filter((one) => one.startsWith(`${due} `));
        assertEquals(of(first).slice(0, 2), [`${first} Queued`, `${first} Running`]);
        assertEquals(of(second)[0], `${second} ${policy === "Skip" ? "Skipped" : "Queued"}`);
      });
    }
  });

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
