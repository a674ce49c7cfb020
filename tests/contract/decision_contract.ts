/** The contract of `Ledger` on decisions: one verdict for each due time, catch-up runs, skips and run limits included. */
import { assert, assertEquals } from "@std/assert";
import { COMPLETED, LEASE_MS, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function decisionContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} ledger`, factory);

  promise("finds due jobs by id and by poll, those due longest first", async (world) => {
    const late = await world.saved({ nextDueAt: world.now - 50 });
    const later = await world.saved({ nextDueAt: world.now - 500 });
    const future = await world.saved({ nextDueAt: world.now + 1 });
    const never = await world.saved();
    const { ledger } = world.store;
    const ids = [late, later, future, never].map((job) => job.id);
    const found = await ledger.dueJobs([...ids, world.random.uuid()], world.now);
    assertEquals(found.map((job) => job.id).sort(), [late.id, later.id].sort());
    assertEquals((await ledger.pollDueJobs(world.now, 10)).map((job) => job.id), [later.id, late.id]);
    assertEquals((await ledger.pollDueJobs(world.now, 1)).map((job) => job.id), [later.id]);
  });

  promise("inserts the occurrence and advances the job in one step", async (world) => {
    const job = await world.saved({ nextDueAt: world.now, workerId: "mail", executionTimeoutSeconds: 9 });
    await world.lead();
    const decision = world.decision(job);
    const answer = await world.decide([decision]);
    const occurrenceId = decision.slots[0]?.occurrenceId ?? "";
    assertEquals(answer, {
      ok: true,
      unsent: [],
      conflicts: [],
      ended: [],
      messages: [{
        occurrenceId,
        scheduledFor: job.nextDueAt ?? 0,
        jobId: job.id,
        jobType: job.jobType,
        pool: "mail",
        token: 0,
        attempt: 0,
        maxAttempts: 3,
        jobData: job.jobData,
        executionTimeoutSeconds: 9,
      }],
    });
    assertEquals((await world.store.jobs.get(job.id))?.nextDueAt, decision.nextDueAt);
    const { occurrence } = await world.detail(occurrenceId);
    assertEquals(
      [occurrence.status, occurrence.origin, occurrence.jobVersion, occurrence.readyAt, occurrence.pool],
      ["Queued", "schedule", 1, world.now, "mail"],
    );
  });

  promise("decides a due time once, however often and by whomever it is decided", async (world) => {
    const job = await world.saved({ nextDueAt: world.now });
    await world.lead();
    const answers = await Promise.all([1, 2, 3].map(() => world.decide([world.decision(job)])));
    assertEquals(answers.map((answer) => answer.messages.length).sort(), [0, 0, 1]);
    assertEquals(answers.flatMap((answer) => answer.conflicts), [job.id, job.id]);
    assertEquals((await world.store.history.occurrences({ jobId: job.id }, 10, null)).items.length, 1);
  });

  promise("leaves out a decision made from another version, and keeps the others", async (world) => {
    const changed = await world.saved({ nextDueAt: world.now });
    const other = await world.saved({ nextDueAt: world.now });
    await world.lead();
    await world.store.jobs.update({ ...changed, nextDueAt: world.now + 5 }, 1);
    const answer = await world.decide([world.decision(changed), world.decision(other)]);
    assertEquals(answer.conflicts, [changed.id]);
    assertEquals(answer.messages.map((message) => message.jobId), [other.id]);
  });

  promise("never makes two occurrences of one due time, even when the job is set back", async (world) => {
    const due = world.now;
    const job = await world.saved({ nextDueAt: due });
    await world.lead();
    await world.decide([world.decision(job)]);
    const back = await world.store.jobs.update({ ...job, updatedAt: world.now, nextDueAt: due }, 1);
    assert(back.ok);
    const again = await world.decide([world.decision(back.job)]);
    assertEquals(again.messages, []);
    assertEquals((await world.store.history.occurrences({ jobId: job.id }, 10, null)).items.length, 1);
  });

  promise(
    "keeps one range of one due time, and decides the others, when a job is set back",
    async (world) => {
      const job = await world.saved({ nextDueAt: world.now });
      const other = await world.saved({ nextDueAt: world.now });
      await world.lead();
      const at = job.nextDueAt ?? NaN;
      const missed = { from: at, to: at, count: 1, reason: "missed" as const, by: "instance-1" };
      await world.decide([world.decision(job, { slots: [], ranges: [missed] })]);
      const again = { ...job, updatedAt: world.now };
      const saved = await world.store.jobs.update(again, 1);
      assert(saved.ok);
      await world.decide([
        world.decision(saved.job, { slots: [], ranges: [missed] }),
        world.decision(other),
      ]);
      assertEquals((await world.store.history.ranges(job.id, 10)).map((one) => one.count), [1]);
      assertEquals((await world.store.jobs.get(job.id))?.nextDueAt, at + 1000);
      assertEquals((await world.store.jobs.get(other.id))?.nextDueAt, at + 1000);
    },
  );

  promise("lets a trigger of the same millisecond stand beside a due time", async (world) => {
    const job = await world.saved({ nextDueAt: world.now });
    await world.lead();
    await world.trigger(job, { count: 3 });
    await world.decide([world.decision(job)]);
    const { items } = await world.store.history.occurrences({ jobId: job.id }, 10, null);
    assertEquals(items.map((item) => item.origin).sort(), ["schedule", "trigger", "trigger", "trigger"]);
    assertEquals((await world.store.history.occurrenceAt(job.id, world.now))?.origin, "schedule");
  });

  promise("extends a range in place while nothing else was decided in between", async (world) => {
    const start = world.now;
    const job = await world.saved({ nextDueAt: start });
    await world.lead();
    const range = (index: number, by = "bob") => ({
      from: start + index * 1000,
      to: start + index * 1000 + 500,
      count: 2,
      reason: "paused" as const,
      by,
    });
    const step = async (index: number, changes: Partial<Parameters<typeof world.decision>[1]>) => {
      await world.decide([world.decision(job, {
        expectedDueAt: start + index * 1000,
        nextDueAt: start + (index + 1) * 1000,
        slots: [],
        ...changes,
      })]);
    };
    await step(0, { ranges: [range(0)] });
    await step(1, { ranges: [range(1)] });
    await step(2, {
      slots: [{ occurrenceId: world.random.uuid(), dueAt: start + 2000, origin: "schedule" }],
    });
    await step(3, { ranges: [range(3)] });
    await step(4, { ranges: [range(4, "carol")] });
    const ranges = await world.store.history.ranges(job.id, 10);
    assertEquals(ranges.map((one) => [one.from - start, one.to - start, one.count, one.by]), [
      [4000, 4500, 2, "carol"],
      [3000, 3500, 2, "bob"],
      [0, 1500, 4, "bob"],
    ]);
    assertEquals((await world.store.history.rangeAt(job.id, start + 1000))?.count, 4);
    assertEquals(await world.store.history.rangeAt(job.id, start + 2000), null);
    assertEquals(await world.store.history.rangeAt(job.id, start + 9000), null);
  });

  promise("keeps slots and ranges of one decision in the order of their due times", async (world) => {
    const start = world.now;
    const job = await world.saved({ nextDueAt: start });
    await world.lead();
    const part = (from: number) => ({
      from: start + from,
      to: start + from,
      count: 1,
      reason: "missed" as const,
      by: "i",
    });
    await world.decide([world.decision(job, {
      slots: [{ occurrenceId: world.random.uuid(), dueAt: start + 1, origin: "catch-up" }],
      ranges: [part(0), part(2)],
    })]);
    assertEquals((await world.store.history.ranges(job.id, 10)).map((one) => one.from - start), [2, 0]);
    assertEquals((await world.store.history.occurrenceAt(job.id, start + 1))?.origin, "catch-up");
  });

  promise(
    "keeps what a person said of a range, and begins another when they say something else",
    async (world) => {
      const job = await world.saved({ nextDueAt: world.now });
      await world.lead();
      const part = (index: number, note?: string) => ({
        from: world.now + index,
        to: world.now + index,
        count: 1,
        reason: "paused" as const,
        by: "bob",
        ...(note === undefined ? {} : { note }),
      });
      const ranges = [part(0, "one"), part(1, "one"), part(2, "two"), part(3)];
      await world.decide([world.decision(job, { slots: [], ranges })]);
      const kept = await world.store.history.ranges(job.id, 10);
      assertEquals(kept.map((one) => [one.count, one.note]), [[1, null], [1, "two"], [2, "one"]]);
      assertEquals((await world.store.history.rangeAt(job.id, world.now))?.note, "one");
    },
  );

  promise("a catch-up run is Queued and published no earlier than its moment", async (world) => {
    const job = await world.saved({ nextDueAt: world.now });
    await world.lead();
    const slots = [0, 1, 2].map((index) => ({
      occurrenceId: world.random.uuid(),
      dueAt: world.now + index,
      origin: "catch-up" as const,
      notBefore: world.now + index * 1000,
    }));
    const start = world.now;
    const last = start + 2000;
    const answer = await world.decide([world.decision(job, { slots, lastCatchUpAt: last })]);
    assertEquals(answer.messages.map((one) => one.occurrenceId), [slots[0]?.occurrenceId]);
    const { ledger } = world.store;
    assertEquals(await ledger.plannedCatchUps(start, 10), [start + 1000, last]);
    assertEquals(await ledger.plannedCatchUps(start, 1), [start + 1000]);
    assertEquals((await world.store.jobs.get(job.id))?.lastCatchUpAt, last);
    assertEquals(await ledger.nextActionAt(), start + 1000);
    const [early] = await ledger.recoverable(last, 10);
    assert(early !== undefined);
    const request = { message: early.message, workerId: "pool", instanceId: "worker-1" };
    assertEquals(await world.attempts.claim([request], LEASE_MS), [{ ok: false, reason: "not-ready" }]);
    await world.clock.advance(1000);
    assertEquals((await ledger.recoverable(world.now, 10)).map((one) => one.message.occurrenceId), [
      slots[1]?.occurrenceId,
    ]);
    await world.claimed(early.message);
  });

  promise("Queue: spaced catch-up runs follow each other in order, none before its moment", async (world) => {
    const start = world.now;
    const job = await world.saved({ nextDueAt: start, concurrentExecutionPolicy: "Queue" });
    await world.lead();
    const slots = [0, 1, 2].map((index) => ({
      occurrenceId: world.random.uuid(),
      dueAt: start + index,
      origin: "catch-up" as const,
      notBefore: start + index * 1000,
    }));
    const { messages } = await world.decide([world.decision(job, { slots })]);
    const [first] = messages;
    assert(first !== undefined && messages.length === 1);
    const ended = await world.record(await world.claimed(first), COMPLETED);
    assertEquals(
      [ended.released, ended.nextRetryAt],
      [[], start + 1000],
      "the next one waits for its moment",
    );
    await world.clock.advance(5000);
    const [second] = await world.store.ledger.recoverable(world.now, 10);
    assertEquals(second?.message.occurrenceId, slots[1]?.occurrenceId);
    assert(second !== undefined);
    const next = await world.record(await world.claimed(second.message), COMPLETED);
    assertEquals(next.released.map((one) => one.occurrenceId), [slots[2]?.occurrenceId]);
  });

  promise(
    "leaves out a decision that did not heed the skipped due time, and drops the skip once decided",
    async (world) => {
      const due = world.now;
      const job = await world.saved({ nextDueAt: due });
      await world.lead();
      const skipped = { dueAt: due, reason: "holiday", by: "bob", since: due };
      assert((await world.store.jobs.skipDueTime(job, skipped)).ok);
      assertEquals((await world.decide([world.decision(job)])).conflicts, [job.id]);
      const range = {
        from: due,
        to: due,
        count: 1,
        reason: "skipped-once" as const,
        by: "bob",
        note: "holiday",
      };
      const heeding = world.decision(job, { slots: [], ranges: [range], skippedDueAt: due });
      assertEquals((await world.decide([heeding])).conflicts, []);
      assertEquals((await world.store.jobs.get(job.id))?.skippedDueTime, null);
      assertEquals((await world.store.history.rangeAt(job.id, due))?.reason, "skipped-once");
      const later = { ...skipped, dueAt: due + 5000 };
      const present = await world.store.jobs.get(job.id);
      assert(present !== null);
      await world.store.jobs.skipDueTime(present, later);
      await world.decide([world.decision(present, { skippedDueAt: later.dueAt })]);
      assertEquals((await world.store.jobs.get(job.id))?.skippedDueTime, later, "it has not come yet");
    },
  );

  promise(
    "counts the due times that run, and ends the schedule with the one that reaches the limit",
    async (world) => {
      const start = world.now;
      const job = await world.saved({ nextDueAt: start, runLimit: 3, concurrentExecutionPolicy: "Skip" });
      await world.lead();
      const slots = (first: number, count: number) =>
        Array.from({ length: count }, (_, index) => ({
          occurrenceId: world.random.uuid(),
          dueAt: start + first + index,
          origin: "schedule" as const,
        }));
      const one = await world.decide([world.decision(job, { nextDueAt: start + 10, slots: slots(0, 3) })]);
      assertEquals([one.unsent.map(({ status }) => status), one.ended], [["Skipped", "Skipped"], []]);
      const [message] = one.messages;
      assert(message !== undefined);
      assertEquals((await world.store.jobs.get(job.id))?.runCount, 1, "what was skipped does not count");
      await world.record(await world.claimed(message), COMPLETED);
      assertEquals((await world.trigger(job)).ok, true);
      await world.store.jobs.update({ ...job, concurrentExecutionPolicy: "Allow", nextDueAt: start + 10 }, 1);
      const present = await world.store.jobs.get(job.id);
      assert(present?.runCount === 1, "triggers do not count");
      const answers = await Promise.all(
        [1, 2].map(() =>
          world.decide([world.decision(present, { nextDueAt: start + 20, slots: slots(10, 2) })])
        ),
      );
      assertEquals(
        answers.flatMap((answer) => answer.ended),
        [job.id],
      );
      const ended = await world.store.jobs.get(job.id);
      assertEquals([ended?.runCount, ended?.nextDueAt], [3, null]);
      assertEquals(await world.store.ledger.pollDueJobs(world.now + 1e9, 10), []);
    },
  );
}
