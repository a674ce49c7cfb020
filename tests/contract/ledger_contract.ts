/** The contract of `Ledger`: one verdict per due time, one leader, nothing stuck. */
import { assert, assertEquals } from "@std/assert";
import { COMPLETED, FAILED, LEASE_MS, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function ledgerContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} ledger`, factory);

  // ------------------------------------------------------------------------------------------------- epochs

  promise("raises the epoch with each leader and keeps the past ones", async (world) => {
    await world.lead("one");
    await world.clock.advance(10);
    await world.lead("two");
    const [second, first] = await world.store.ledger.epochs(10);
    assertEquals([second?.epoch, second?.holder, second?.endedAt], [2, "two", null]);
    assertEquals([first?.epoch, first?.holder, first?.endedAt], [1, "one", world.now]);
  });

  promise("refuses every write of an older epoch, changes nothing and counts it", async (world) => {
    const job = await world.saved({ nextDueAt: world.now });
    const message = await world.running(await world.saved());
    const old = await world.lead("one");
    await world.lead("two");
    const { ledger } = world.store;
    const item = { ...message, until: world.now };
    await world.clock.advance(LEASE_MS + 1);
    const lost = await ledger.silentAttempts(world.now, 10);
    assertEquals(await ledger.decide(old, [world.decision(job)], world.now), {
      ok: false,
      reason: "stale-epoch",
      epoch: 2,
    });
    assertEquals(await ledger.postpone(old, [item]), false);
    assertEquals(await ledger.reap(old, lost, world.now, 0), null);
    assertEquals(await ledger.renewEpoch(old, world.now, world.now + 1), false);
    assertEquals(await ledger.wantPublishing(old, null, world.now), 0);
    assertEquals((await world.store.jobs.get(job.id))?.nextDueAt, job.nextDueAt);
    assertEquals(await world.status(message.occurrenceId), "Running");
    assertEquals((await ledger.epochs(10)).map((row) => row.refusedWrites), [0, 5]);
  });

  promise("raises the epoch without a lock only when nobody's holds", async (world) => {
    const { ledger } = world.store;
    const raise = (holder: string) => ledger.raiseLapsedEpoch(holder, world.now, world.now + LEASE_MS);
    assertEquals((await raise("one"))?.epoch, 1);
    assertEquals(await raise("two"), null);
    await world.clock.advance(LEASE_MS + 1);
    assertEquals((await raise("two"))?.epoch, 2);
    await ledger.endEpoch(2, world.now);
    const both = await Promise.all([raise("three"), raise("four")]);
    assertEquals(both.map((row) => row?.epoch).filter((epoch) => epoch !== undefined), [3]);
  });

  promise("refuses the writes of an epoch that was ended in order", async (world) => {
    const epoch = await world.lead();
    assertEquals(await world.store.ledger.renewEpoch(epoch, world.now, world.now + 5), true);
    await world.store.ledger.endEpoch(epoch, world.now);
    assertEquals(await world.store.ledger.renewEpoch(epoch, world.now, world.now + 5), false);
  });

  // ---------------------------------------------------------------------------------------------- decisions

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
      skipped: 0,
      conflicts: [],
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

  // --------------------------------------------------------------------------------------------- concurrency

  promise("Skip: a due time while a run is on becomes a Skipped occurrence that names it", async (world) => {
    const job = await world.saved({ nextDueAt: world.now, concurrentExecutionPolicy: "Skip" });
    await world.lead();
    const first = world.decision(job);
    await world.decide([first]);
    const second = world.decision(job, {
      expectedDueAt: world.now + 1000,
      nextDueAt: world.now + 2000,
      slots: [{ occurrenceId: world.random.uuid(), dueAt: world.now + 1000, origin: "schedule" }],
    });
    const answer = await world.decide([second]);
    assertEquals([answer.skipped, answer.messages], [1, []]);
    const detail = await world.detail(second.slots[0]?.occurrenceId ?? "");
    const holder = first.slots[0]?.occurrenceId ?? "";
    assertEquals([detail.occurrence.status, detail.blockedBy], ["Skipped", holder]);
    assert(detail.occurrence.reason?.includes(holder));
    assertEquals([detail.attempts, detail.occurrence.startedAt], [[], null]);
  });

  promise("Skip: a run that waits for its retry still holds the job", async (world) => {
    const job = await world.saved({ nextDueAt: world.now, concurrentExecutionPolicy: "Skip" });
    await world.lead();
    const { messages } = await world.decide([world.decision(job)]);
    const [message] = messages;
    assert(message !== undefined);
    await world.record(await world.claimed(message), FAILED);
    const next = world.decision({ ...job, nextDueAt: world.now + 1000 });
    assertEquals((await world.decide([next])).skipped, 1);
  });

  promise("Skip: of several due times decided at once only the first runs", async (world) => {
    const job = await world.saved({ nextDueAt: world.now, concurrentExecutionPolicy: "Skip" });
    await world.lead();
    const slots = [0, 1, 2].map((index) => ({
      occurrenceId: world.random.uuid(),
      dueAt: world.now + index,
      origin: "catch-up" as const,
    }));
    const answer = await world.decide([world.decision(job, { slots })]);
    assertEquals([answer.messages.length, answer.skipped], [1, 2]);
  });

  promise("Skip and Queue count the runs that were on before the policy was theirs", async (world) => {
    for (const concurrentExecutionPolicy of ["Skip", "Queue"] as const) {
      const job = await world.saved();
      const message = await world.running(job);
      await world.store.jobs.update({ ...job, concurrentExecutionPolicy }, 1);
      const answer = await world.trigger(job);
      if (concurrentExecutionPolicy === "Skip") {
        assertEquals(answer, { ok: false, reason: "overlap", occurrenceId: message.occurrenceId });
      } else {
        assertEquals(answer.ok && answer.messages.length, 0);
        assertEquals((await world.record(message, COMPLETED)).released.length, 1);
      }
    }
  });

  promise("Queue: one at a time, in the order of the due times", async (world) => {
    const job = await world.saved({ nextDueAt: world.now, concurrentExecutionPolicy: "Queue" });
    await world.lead();
    const slots = [0, 1, 2].map((index) => ({
      occurrenceId: world.random.uuid(),
      dueAt: world.now + index,
      origin: "schedule" as const,
    }));
    const { messages } = await world.decide([world.decision(job, { slots })]);
    let [message] = messages;
    const ran: string[] = [];
    while (message !== undefined) {
      assertEquals((await world.store.ledger.recoverable(world.now + 1e9, 10)).length, 1, "the others wait");
      ran.push(message.occurrenceId);
      const { released } = await world.record(await world.claimed(message), COMPLETED);
      message = released[0];
    }
    assertEquals(ran, slots.map((slot) => slot.occurrenceId));
  });

  promise("Queue: the one due first goes first, whichever was stored first", async (world) => {
    const job = await world.saved({ nextDueAt: world.now + 5000, concurrentExecutionPolicy: "Queue" });
    await world.lead();
    const running = await world.running(job);
    const decision = world.decision(job);
    await world.decide([decision]);
    const trigger = await world.trigger(job);
    assert(trigger.ok);
    const { released } = await world.record(running, COMPLETED);
    assertEquals(released.map((one) => one.occurrenceId), [...trigger.occurrenceIds]);
  });

  promise("Queue: nobody is released while any run holds the job", async (world) => {
    const job = await world.saved();
    const first = await world.running(job);
    const second = await world.running(job);
    await world.store.jobs.update({ ...job, concurrentExecutionPolicy: "Queue" }, 1);
    const waiting = await world.trigger(job, { count: 2 });
    assert(waiting.ok);
    assertEquals((await world.record(first, COMPLETED)).released, []);
    const [next, last] = waiting.occurrenceIds;
    const cancelled = await world.cancel(next ?? "");
    assert(cancelled.ok && cancelled.state === "cancelled");
    assertEquals(cancelled.record.released, []);
    assertEquals((await world.record(second, COMPLETED)).released.map((one) => one.occurrenceId), [last]);
  });

  promise("Queue: when too many wait, the next is Skipped and says so", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
    const answer = await world.trigger(job, { count: 1001 });
    assert(answer.ok);
    assertEquals(answer.messages.length, 1);
    const over = await world.trigger(job);
    assert(over.ok);
    const { occurrence } = await world.detail(over.occurrenceIds[0] ?? "");
    assertEquals(occurrence.status, "Skipped");
    assert(occurrence.reason?.includes("1000"));
  });

  promise("Allow: runs stand side by side", async (world) => {
    const job = await world.saved();
    const answer = await world.trigger(job, { count: 5 });
    assert(answer.ok);
    assertEquals(answer.messages.length, 5);
  });

  // ----------------------------------------------------------------------------------------------- recovery

  promise("offers what was committed and not claimed again, and puts it off on request", async (world) => {
    const message = await world.queued(await world.saved());
    const { ledger } = world.store;
    assertEquals(await ledger.recoverable(world.now, 10), []);
    const first = await ledger.nextActionAt();
    assert(first !== null && first > world.now);
    assertEquals(await ledger.recoverable(first, 10), [{ message, readyAt: world.now, looks: 0 }]);
    const epoch = await world.lead();
    assertEquals(await ledger.postpone(epoch, [{ ...message, until: first + 500 }]), true);
    assertEquals(await ledger.recoverable(first, 10), []);
    assertEquals(await ledger.nextActionAt(), first + 500);
    assertEquals((await ledger.recoverable(first + 500, 10)).map((row) => row.looks), [1]);
    await ledger.postpone(epoch, [{ ...message, until: first + 900, reason: "Waits for a worker" }]);
    await ledger.postpone(epoch, [{ ...message, until: first + 950 }]);
    assertEquals((await world.detail(message.occurrenceId)).occurrence.reason, "Waits for a worker");
    await world.claimed(message);
    assertEquals((await world.detail(message.occurrenceId)).occurrence.reason, "Triggered by alice");
  });

  promise("offers nothing that is running, waiting its turn or over", async (world) => {
    const done = await world.running(await world.saved());
    await world.record(done, COMPLETED);
    await world.running(await world.saved());
    const queue = await world.saved({ concurrentExecutionPolicy: "Queue" });
    await world.running(queue);
    await world.trigger(queue);
    assertEquals(await world.store.ledger.recoverable(world.now + 1e9, 10), []);
    assertEquals(await world.store.ledger.nextActionAt(), null);
  });

  promise("wants all claimable rows of a lost queue published at once", async (world) => {
    const mail = await world.queued(await world.saved({ jobType: "SendEmailJob" }));
    const report = await world.queued(await world.saved());
    const retried = await world.running(await world.saved({ jobType: "SendEmailJob" }));
    await world.record(retried, FAILED);
    const epoch = await world.lead();
    const { ledger } = world.store;
    const waiting = async () =>
      (await ledger.recoverable(world.now, 10)).map((row) => row.message.occurrenceId);
    assertEquals(await ledger.wantPublishing(epoch, "SendEmailJob", world.now), 1);
    assertEquals(await waiting(), [mail.occurrenceId]);
    assertEquals(await ledger.wantPublishing(epoch, null, world.now), 1);
    assertEquals(await waiting(), [mail.occurrenceId, report.occurrenceId]);
  });

  promise("a lost attempt runs again at once and does not count", async (world) => {
    const message = await world.running(await world.saved());
    const epoch = await world.lead();
    const { ledger } = world.store;
    assertEquals(await ledger.silentAttempts(world.now, 10), []);
    assertEquals((await ledger.silentAttempts(Infinity, 10)).length, 1);
    await world.clock.advance(LEASE_MS + 1);
    const lost = await ledger.silentAttempts(world.now, 10);
    assertEquals(lost.map((one) => [one.occurrenceId, one.token, one.instanceId]), [
      [message.occurrenceId, 1, "worker-1"],
    ]);
    const record = await ledger.reap(epoch, lost, world.now, 0);
    assertEquals(record?.released.map((one) => [one.occurrenceId, one.token, one.attempt]), [
      [message.occurrenceId, 1, 0],
    ]);
    const { occurrence, attempts } = await world.detail(message.occurrenceId);
    assertEquals([occurrence.status, occurrence.attempt], ["Queued", 0]);
    assertEquals(attempts.map((one) => [one.token, one.number, one.outcome]), [[1, null, "lost"]]);
  });

  promise("an attempt that renewed its lease meanwhile is not taken for lost", async (world) => {
    const message = await world.running(await world.saved());
    const epoch = await world.lead();
    await world.clock.advance(LEASE_MS + 1);
    const seen = await world.store.ledger.silentAttempts(world.now, 10);
    await world.attempts.renew([message], LEASE_MS);
    const record = await world.store.ledger.reap(epoch, seen, world.now, 0);
    assertEquals([record?.changed.length, record?.stale], [0, 1]);
    assertEquals(await world.status(message.occurrenceId), "Running");
  });

  promise("an occurrence lost three times is Failed as suspect and frees its job", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
    let message = await world.queued(job);
    await world.trigger(job);
    const epoch = await world.lead();
    for (let times = 1; times <= 3; times += 1) {
      await world.claimed(message);
      const lost = await world.store.ledger.silentAttempts(Infinity, 10);
      const record = await world.store.ledger.reap(epoch, lost, world.now, 0);
      assertEquals(record?.released.length, 1);
      assertEquals(record?.released[0]?.occurrenceId === message.occurrenceId, times < 3);
      message = { ...message, token: times };
    }
    const { occurrence, changes } = await world.detail(message.occurrenceId);
    assertEquals(occurrence.status, "Failed");
    assert(occurrence.reason?.startsWith("suspect"));
    assertEquals(changes.map((one) => one.to), [
      "Queued",
      "Running",
      "Queued",
      "Running",
      "Queued",
      "Running",
      "Failed",
    ]);
  });

  promise("a lost attempt that was to be cancelled is Cancelled", async (world) => {
    const message = await world.running(await world.saved());
    await world.cancel(message.occurrenceId);
    const epoch = await world.lead();
    await world.store.ledger.reap(epoch, await world.store.ledger.silentAttempts(Infinity, 10), world.now, 0);
    assertEquals(await world.status(message.occurrenceId), "Cancelled");
  });
}
