/** The wall clock is set while the program runs (reliability I19). One suite, two grounds. */
import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import type { LiveEvent } from "../../actors/ports/events.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import type { Ground } from "../support/ground.ts";
import { completed, failed } from "../support/in_process_pool.ts";
import { Node, type NodeOptions, settle } from "../support/node.ts";

const START = Date.UTC(2026, 0, 1, 12, 0, 0, 500);
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

const EACH_MINUTE = { cronExpression: "0 * * * * *", concurrentExecutionPolicy: "Allow" } as const;

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function clockSuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
  /** Minutes by which the clock is set back while a schedule goes on. */
  options: { readonly minutes: number },
): void {
  const promise = (
    sentence: string,
    given: Omit<NodeOptions, "ground" | "clock">,
    work: (node: Node, clock: ManualClock) => Promise<void>,
  ) =>
    test(`${name} clock: ${sentence}`, async () => {
      await using ground = await openGround();
      const clock = new ManualClock({ now: START });
      await Node.during({ ground, clock, ...given }, (node) => work(node, clock));
    });

  promise(
    "set back, nothing is fired twice, triggers run at once, and the schedule goes on at its next due time",
    {},
    async (node, clock) => {
      const job = await node.createJob(EACH_MINUTE);
      const events = alertsOf(node);
      await clock.advance(3 * MINUTE);
      const before = clock.now();
      const decided = (await node.occurrences(job.id)).map((one) => one.scheduledFor);
      assertEquals(decided.length, 3);
      clock.setWall(before - options.minutes * MINUTE);

      const other = await node.createJob({});
      const [triggered] = await node.trigger(other.id);
      await clock.advance(100);
      await settle(node);
      assertEquals((await node.occurrences(other.id)).map((one) => [one.id, one.status]), [
        [triggered, "Completed"],
      ]);

      await clock.advance(options.minutes * MINUTE - SECOND - 100);
      await settle(node);
      assertEquals((await node.occurrences(job.id)).map((one) => one.scheduledFor), decided, "nothing twice");
      await clock.advance(2 * MINUTE + SECOND);
      await settle(node);
      const all = await node.occurrences(job.id);
      assertEquals(
        all.map((one) => [one.scheduledFor, one.status, one.origin]),
        [1, 2, 3, 4, 5].map((minute) => [START - 500 + minute * MINUTE, "Completed", "schedule"]),
      );
      const items = await node.adapters.store.history.ranges(job.id, 10);
      assertEquals(items, [], "none is recorded as missed");

      const told = node.log.lines.filter(({ fields }) => fields.alert === "clock-stepped");
      assertStringIncludes(told[0]?.message ?? "", `set back by ${options.minutes * 60} s`);
      assertEquals([events[0]?.kind, events[0]?.isOpen, events[0]?.severity], [
        "clock-stepped",
        true,
        "warning",
      ]);
      assertEquals((await node.adapters.store.alerts.list(10)).map((one) => one.kind), ["clock-stepped"]);
    },
  );

  promise(
    "set back, what waits for a lane runs as soon as there is one",
    {
      maxParallelJobs: 1,
      behaviour: () => ({ afterMs: 300, outcome: completed }),
    },
    async (node, clock) => {
      const job = await node.createJob({ concurrentExecutionPolicy: "Allow" });
      const inOrder = await node.createJob({ concurrentExecutionPolicy: "Queue" });
      await node.trigger(job.id, 2);
      await node.trigger(inOrder.id, 2);
      clock.setWall(clock.now() - HOUR);
      await clock.advance(5 * SECOND);
      await settle(node);
      for (const { id } of [job, inOrder]) {
        assertEquals((await node.occurrences(id)).map((one) => one.status), ["Completed", "Completed"]);
      }
    },
  );

  promise(
    "set back, a run that backs off is tried again when it would have been",
    { behaviour: ({ attempt }) => ({ afterMs: 0, outcome: attempt < 2 ? failed("once") : completed }) },
    async (node, clock) => {
      const job = await node.createJob({ baseRetryDelaySeconds: 10 });
      await node.trigger(job.id);
      await clock.advance(1);
      await settle(node);
      const [waiting] = await node.occurrences(job.id);
      assertEquals(waiting?.status, "Queued");
      const waitMs = (waiting?.readyAt ?? 0) - clock.now();
      assertLess(waitMs, 10 * SECOND + 1);
      clock.setWall(clock.now() - HOUR);
      await clock.advance(waitMs + 5 * SECOND);
      await settle(node);
      assertEquals((await node.occurrences(job.id)).map((one) => one.status), ["Completed"]);
    },
  );

  promise(
    "set forward, each due time in between has one verdict, and the alert ends by itself",
    {},
    async (node, clock) => {
      const job = await node.createJob(EACH_MINUTE);
      const events = alertsOf(node);
      await clock.advance(MINUTE);
      clock.setWall(clock.now() + HOUR);
      await clock.advance(2 * MINUTE);
      await settle(node);
      const ran = await node.occurrences(job.id);
      assert(ran.every((one) => one.status === "Completed"));
      const items = await node.adapters.store.history.ranges(job.id, 10);
      const missed = items.reduce((sum, { count }) => sum + count, 0);
      assertEquals(ran.length + missed, 63);
      assertEquals(events.map((one) => [one.kind, one.isOpen]), [["clock-stepped", true]]);
      await clock.advance(11 * MINUTE);
      await settle(node);
      assertEquals(events.map((one) => [one.kind, one.isOpen]), [["clock-stepped", true], [
        "clock-stepped",
        false,
      ]]);
    },
  );
}

function alertsOf(node: Node): Extract<LiveEvent, { type: "alert" }>[] {
  const found: Extract<LiveEvent, { type: "alert" }>[] = [];
  node.adapters.events.subscribe(["alert"], (events) => {
    for (const event of events) if (event.type === "alert") found.push(event);
  });
  return found;
}
