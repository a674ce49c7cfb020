/** The contract of `Outcomes` on triggers: their data, their refusals, and the keys that keep them from coming twice. */
import { assert, assertEquals } from "@std/assert";
import { promiseOf, type StoreFactory } from "./store_fixture.ts";

export function triggerContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} outcomes`, factory);

  promise("a trigger takes its own data, else the job's", async (world) => {
    const job = await world.saved({ jobData: '{"of":"job"}' });
    const answer = await world.trigger(job, {
      items: [
        { occurrenceId: world.random.uuid(), jobData: '{"own":1}' },
        { occurrenceId: world.random.uuid(), jobData: null },
      ],
      reason: "try",
    });
    assert(answer.ok);
    assertEquals(answer.messages.map((message) => message.jobData), ['{"own":1}', '{"of":"job"}']);
    await world.store.jobs.update({ ...job, jobData: '{"of":"next version"}' }, 1);
    const details = await Promise.all(answer.occurrenceIds.map((id) => world.detail(id)));
    assertEquals(details.map((one) => one.occurrence.jobData), ['{"own":1}', '{"of":"job"}']);
    assertEquals(details.map((one) => one.changes[0]?.reason), [
      "Triggered by alice: try",
      "Triggered by alice: try",
    ]);
  });

  promise("a trigger of no job or of a disabled one is refused", async (world) => {
    assertEquals(await world.trigger(world.job()), { ok: false, reason: "not-found" });
    const disabled = await world.saved({ isActive: false });
    assertEquals(await world.trigger(disabled), { ok: false, reason: "disabled" });
  });

  promise("a trigger against Skip is refused while a run is on, unless it insists", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Skip" });
    const message = await world.running(job);
    assertEquals(await world.trigger(job), {
      ok: false,
      reason: "overlap",
      occurrenceId: message.occurrenceId,
    });
    const forced = await world.trigger(job, { force: true });
    assert(forced.ok);
    assertEquals(forced.messages.length, 1);
  });

  promise("of many triggers against Skip at once one runs", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Skip" });
    const answers = await Promise.all([1, 2, 3, 4].map(() => world.trigger(job)));
    assertEquals(answers.filter((answer) => answer.ok).length, 1);
  });

  promise(
    "of several items of one trigger against Skip the first runs, the others tell why not",
    async (world) => {
      const job = await world.saved({ concurrentExecutionPolicy: "Skip" });
      const answer = await world.trigger(job, { count: 3 });
      assert(answer.ok);
      assertEquals([answer.occurrenceIds.length, answer.messages.length], [3, 1]);
      assertEquals(answer.statuses, ["Queued", "Skipped", "Skipped"]);
      const stored = await Promise.all(answer.occurrenceIds.map((id) => world.status(id)));
      assertEquals(stored, [...answer.statuses] as string[]);
      const [, second] = await Promise.all(answer.occurrenceIds.map((id) => world.detail(id)));
      assertEquals(answer.unsent[0], {
        occurrenceId: answer.occurrenceIds[1] ?? "",
        jobId: job.id,
        jobType: job.jobType,
        status: "Skipped",
        attempt: 0,
        scheduledFor: world.now,
        reason: second?.occurrence.reason ?? null,
      });
    },
  );

  promise("an idempotency key creates once, and tells another request apart", async (world) => {
    const job = await world.saved();
    const idempotency = { key: "k1", requestHash: "h1" };
    const [first, second] = await Promise.all([
      world.trigger(job, { count: 2, idempotency }),
      world.trigger(job, { count: 2, idempotency }),
    ]);
    assert(first?.ok && second?.ok);
    assertEquals([first.replayed, second.replayed], [false, true]);
    assertEquals(second.occurrenceIds, first.occurrenceIds);
    assertEquals([second.messages, second.unsent], [[], []]);
    assertEquals(second.statuses, ["Queued", "Queued"]);
    await world.cancel(first.occurrenceIds[0] ?? "");
    const third = await world.trigger(job, { count: 2, idempotency });
    assert(third.ok);
    assertEquals(third.statuses, ["Cancelled", "Queued"], "as they are now");
    assertEquals(await world.trigger(job, { idempotency: { key: "k1", requestHash: "h2" } }), {
      ok: false,
      reason: "idempotency-mismatch",
    });
    assertEquals((await world.store.history.occurrences({ jobId: job.id }, 10, null)).items.length, 2);
  });

  promise("an idempotency key is forgotten after 24 hours", async (world) => {
    const job = await world.saved();
    const idempotency = { key: "k1", requestHash: "h1" };
    await world.trigger(job, { idempotency });
    await world.clock.advance(24 * 3_600_000 + 1);
    const answer = await world.trigger(job, { idempotency: { key: "k1", requestHash: "h2" } });
    assert(answer.ok && !answer.replayed);
  });
}
