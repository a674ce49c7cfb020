/**
 * What the actors do when a port fails: the walk goes on, nothing is decided twice, nothing is lost. One suite, two
 * grounds.
 */
import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { Faults } from "../support/faulty.ts";
import { type Behaviour, completed } from "../support/in_process_pool.ts";
import type { Ground } from "../support/ground.ts";
import { Node, settle } from "../support/node.ts";

const START = Date.UTC(2026, 0, 1, 12, 0, 0, 500);

/** Each second from START on, `count` of them, Completed exactly once. */
async function assertEachSecondRan(node: Node, jobId: string, count: number): Promise<void> {
  const found = (await node.occurrences(jobId)).slice(0, count);
  assertEquals(
    found.map((one) => one.scheduledFor),
    Array.from({ length: count }, (_, index) => START + 500 + index * 1000),
  );
  assertEquals(found.map((one) => one.status), found.map(() => "Completed"));
  const runs = node.pool.started.map((one) => `${one.occurrenceId}/${one.token}`);
  assertEquals(new Set(runs).size, runs.length, "no token ran twice");
}

const EACH_SECOND = { cronExpression: "* * * * * *", concurrentExecutionPolicy: "Allow" } as const;

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function faultsSuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
): void {
  const promise = (sentence: string, fn: () => Promise<void>) => test(`${name}: ${sentence}`, fn);

  async function withFaults(
    work: (node: Node, clock: ManualClock, faults: Faults) => Promise<void>,
    behaviour: Behaviour = () => ({ afterMs: 0, outcome: completed }),
  ): Promise<void> {
    await using ground = await openGround();
    const clock = new ManualClock({ now: START });
    const faults = new Faults();
    await Node.during({ ground, clock, faults, behaviour }, (node) => work(node, clock, faults));
  }

  for (const fault of ["fails", "fails-afterwards"] as const) {
    for (const method of ["decide", "claim", "record", "publish", "due", "put", "renewEpoch", "append"]) {
      promise(
        `when ${method} ${fault} three times, every due time still runs and completes once`,
        () =>
          withFaults(async (node, clock, faults) => {
            const job = await node.createJob(EACH_SECOND);
            await clock.advance(1000);
            faults.plan(method, fault, 3);
            // Long enough for a claim whose answer was lost to be reaped: a lease and its margin.
            await clock.advance(60_000);
            await settle(node);
            await assertEachSecondRan(node, job.id, 20);
          }),
      );
    }
  }

  promise(
    "a leader whose epoch is another's steps down, and leads again under a higher one",
    () =>
      withFaults(async (node, clock) => {
        const job = await node.createJob(EACH_SECOND);
        await clock.advance(2000);
        assertEquals(node.epoch, 1);
        await node.adapters.store.ledger.raiseEpoch("somebody else", clock.now(), clock.now() + 15_000);
        await clock.advance(6000);
        await settle(node);
        assertEquals(node.epoch, 3, "its own next epoch is above the foreign one");
        const epochs = await node.adapters.store.ledger.epochs(3);
        assertEquals(epochs.map((one) => one.epoch), [3, 2, 1]);
        assert(epochs.some((one) => one.refusedWrites > 0), "the refused write is on record");
        await assertEachSecondRan(node, job.id, 5);
      }),
  );

  promise(
    "a worker that can neither renew its lease nor announce itself ends its run before the lease does, and the run is handed back",
    () =>
      withFaults(async (node, clock, faults) => {
        const job = await node.createJob({});
        await node.trigger(job.id);
        await clock.advance(1000);
        faults.plan("renew", "fails", 100);
        faults.plan("announce", "fails", 100);
        await clock.advance(12_000);
        await settle(node);
        const [first] = node.pool.started;
        assert(first !== undefined);
        const [occurrence] = await node.occurrences(job.id);
        assert((occurrence?.token ?? 0) > first.token, "it was handed back and claimed anew");
        assertEquals(occurrence?.attempt, 1, "the attempt did not count");
      }, () => ({ afterMs: 3_600_000, outcome: completed })),
  );

  promise(
    "either path keeps a run: renewals alone, or presence alone",
    () =>
      withFaults(async (node, clock, faults) => {
        const job = await node.createJob({});
        await node.trigger(job.id);
        await clock.advance(1000);
        for (const path of ["announce", "renew"]) {
          faults.plan(path, "fails", 100);
          await clock.advance(100_000);
          await settle(node);
          faults.clear();
          await clock.advance(5000);
        }
        const [occurrence] = await node.occurrences(job.id);
        assertEquals([occurrence?.status, occurrence?.token, node.pool.started.length], ["Running", 1, 1]);
      }, () => ({ afterMs: 3_600_000, outcome: completed })),
  );

  promise(
    "a worker whose renewals and announcements never answer ends its run all the same",
    () =>
      withFaults(async (node, clock, faults) => {
        const job = await node.createJob({});
        await node.trigger(job.id);
        await clock.advance(1000);
        faults.plan("renew", "hangs", 100);
        faults.plan("announce", "hangs", 1);
        await clock.advance(15_000);
        await settle(node);
        const [occurrence] = await node.occurrences(job.id);
        assert((occurrence?.token ?? 0) > 1, "it was handed back and claimed anew");
      }, () => ({ afterMs: 3_600_000, outcome: completed })),
  );

  for (const away of [["due", "put", "nextAt", "builtBy"], ["acquire", "renew"]]) {
    promise(
      `while ${away.join(", ")} fail, the leader goes on from the store`,
      () =>
        withFaults(async (node, clock, faults) => {
          const job = await node.createJob(EACH_SECOND);
          await clock.advance(1000);
          for (const method of away) faults.plan(method, "fails", 1000);
          await clock.advance(30_000);
          await settle(node);
          await assertEachSecondRan(node, job.id, 30);
          assertEquals(node.epoch, 1);
        }),
    );
  }

  promise(
    "an index that was lost just before a due time makes it no later",
    () =>
      withFaults(async (node, clock) => {
        const job = await node.createJob(EACH_SECOND);
        await clock.advance(2000);
        for (let round = 0; round < 5; round += 1) {
          await node.adapters.dueIndex.clear();
          await clock.advance(1000);
        }
        await settle(node);
        const found = await node.occurrences(job.id);
        assertEquals(found.slice(0, 6).map((one) => one.createdAt - one.scheduledFor), [0, 0, 0, 0, 0, 0]);
      }),
  );

  promise("an index that was lost is built anew from the store", () =>
    withFaults(async (node, clock) => {
      const far = await node.createJob({ executeAt: new Date(START + 600_000).toISOString() });
      await node.createJob(EACH_SECOND);
      await clock.advance(2000);
      await node.adapters.dueIndex.clear();
      await clock.advance(10_000);
      assertEquals(await node.adapters.dueIndex.size(), 2);
      await clock.advance(600_000 - 12_000 - 10);
      assertEquals(await node.occurrences(far.id), []);
      await clock.advance(20);
      assertEquals((await node.occurrences(far.id)).length, 1, "it fired on time, not at the next poll");
    }));

  promise(
    "a report that cannot be recorded is kept and sent again until it is",
    () =>
      withFaults(async (node, clock, faults) => {
        const job = await node.createJob({});
        faults.plan("record", "fails", 20);
        await node.trigger(job.id);
        await clock.advance(2000);
        assertEquals((await node.occurrences(job.id)).map((one) => one.status), ["Running"]);
        await clock.advance(40_000);
        await settle(node);
        assertEquals((await node.occurrences(job.id)).map((one) => [one.status, one.token]), [[
          "Completed",
          1,
        ]]);
      }),
  );

  promise(
    "a cancelled queued occurrence never starts; a running one gets its signal through the renewal at the latest",
    () =>
      withFaults(async (node, clock) => {
        const job = await node.createJob({ concurrentExecutionPolicy: "Queue" });
        const [running = ""] = await node.trigger(job.id);
        const [queued = ""] = await node.trigger(job.id);
        await clock.advance(100);
        const by = { by: "ann", reason: "not needed", requestedAt: clock.now() };
        await node.adapters.store.outcomes.cancel(queued, by);
        await node.adapters.store.outcomes.cancel(running, by);
        await clock.advance(6000);
        await settle(node);
        assertEquals((await node.occurrences(job.id)).map((one) => one.status), ["Cancelled", "Cancelled"]);
        assertEquals(node.pool.started.map((one) => one.occurrenceId), [running]);
      }, () => ({ afterMs: 3_600_000, outcome: completed })),
  );
}
