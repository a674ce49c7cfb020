/**
 * The contract of `Ledger` on concurrency policies: what Skip, Queue and Allow let run, case by case. Many at once:
 * `concurrency_contract.ts`.
 */
import { assert, assertEquals } from "@std/assert";
import { COMPLETED, FAILED, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function policyContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} ledger`, factory);

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
    assertEquals([answer.unsent.length, answer.messages], [1, []]);
    const detail = await world.detail(second.slots[0]?.occurrenceId ?? "");
    assertEquals(answer.unsent[0], {
      occurrenceId: detail.occurrence.id,
      jobId: job.id,
      jobType: job.jobType,
      status: "Skipped",
      attempt: 0,
      scheduledFor: detail.occurrence.scheduledFor,
      reason: detail.occurrence.reason,
    });
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
    assertEquals((await world.decide([next])).unsent.map(({ status }) => status), ["Skipped"]);
  });

  promise(
    "Skip: of several due times decided at once only the first runs; those that catch up wait",
    async (world) => {
      await world.lead();
      for (const origin of ["schedule", "catch-up"] as const) {
        const job = await world.saved({ nextDueAt: world.now, concurrentExecutionPolicy: "Skip" });
        const slots = [0, 1, 2].map((index) => ({
          occurrenceId: world.random.uuid(),
          dueAt: world.now + index,
          origin,
        }));
        const answer = await world.decide([world.decision(job, { slots })]);
        const fate = origin === "schedule" ? "Skipped" : "Queued";
        assertEquals([answer.messages.length, answer.unsent.map(({ status }) => status)], [1, [fate, fate]]);
      }
    },
  );

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

  promise("Queue: when too many wait, the next due time is Skipped and says so", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Queue", nextDueAt: world.now });
    await world.lead();
    const answer = await world.trigger(job, { count: 1001 });
    assert(answer.ok);
    assertEquals(answer.messages.length, 1);
    const decided = await world.decide([world.decision(job)]);
    const [skipped] = decided.unsent;
    assert(skipped !== undefined);
    const { occurrence } = await world.detail(skipped.occurrenceId);
    assertEquals([occurrence.status, skipped.status], ["Skipped", "Skipped"]);
    assertEquals(skipped.reason, occurrence.reason);
    assert(occurrence.reason?.includes("1000"));
  });

  promise("Queue: a trigger without room for all its items is refused and stores nothing", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
    const full = { ok: false, reason: "queue-full" } as const;
    assertEquals(await world.trigger(job, { count: 1002 }), {
      ...full,
      occurrenceId: null,
      waiting: 0,
      room: 1001,
    });
    const first = await world.trigger(job, { count: 999 });
    assert(first.ok);
    const [occurrenceId = ""] = first.occurrenceIds;
    assertEquals(await world.trigger(job, { count: 3 }), { ...full, occurrenceId, waiting: 998, room: 2 });
    assert((await world.trigger(job, { count: 2 })).ok);
    for (const force of [false, true]) {
      assertEquals(await world.trigger(job, { force }), { ...full, occurrenceId, waiting: 1000, room: 0 });
    }
    const page = await world.store.history.occurrences({ jobId: job.id, statuses: ["Skipped"] }, 10, null);
    assertEquals(page.items, []);
  });

  promise("Allow: runs stand side by side", async (world) => {
    const job = await world.saved();
    const answer = await world.trigger(job, { count: 5 });
    assert(answer.ok);
    assertEquals(answer.messages.length, 5);
  });
}
