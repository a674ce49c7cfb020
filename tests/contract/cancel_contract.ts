/** The contract of `Outcomes` on cancelling: at once, on request, too late, and all of it at the same time. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { JobMessage, Outcome, SignalNotice } from "../../actors/domain/message.ts";
import { KILL_RUNGS } from "../../actors/domain/occurrence.ts";
import { COMPLETED, FAILED, HANDED_BACK, LEASE_MS, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function cancelContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} outcomes`, factory);

  promise("a queued occurrence is cancelled at once and never starts", async (world) => {
    const message = await world.queued(await world.saved());
    const answer = await world.cancel(message.occurrenceId);
    assert(answer.ok && answer.state === "cancelled");
    assertEquals(answer.record.changed.map((one) => one.status), ["Cancelled"]);
    const { occurrence, attempts } = await world.detail(message.occurrenceId);
    assertEquals([occurrence.status, occurrence.startedAt, attempts], ["Cancelled", null, []]);
    assertMatch(occurrence.reason ?? "", /alice.*not needed/);
    assertEquals(await world.store.ledger.nextActionAt(), null);
  });

  promise("a running occurrence keeps the request until its worker reports", async (world) => {
    const message = await world.running(await world.saved());
    assertEquals(await world.cancel(message.occurrenceId), { ok: true, state: "requested", token: 1 });
    assertEquals(await world.cancel(message.occurrenceId), { ok: true, state: "requested", token: 1 });
    assertEquals(await world.status(message.occurrenceId), "Running");
    await world.record(message, { kind: "cancelled", rung: "signal" });
    assertEquals(await world.status(message.occurrenceId), "Cancelled");
    assertEquals(await world.cancel(message.occurrenceId), { ok: true, state: "already-cancelled" });
  });

  promise("a completion that was first wins over a cancel request", async (world) => {
    const message = await world.running(await world.saved());
    await world.cancel(message.occurrenceId);
    await world.record(message, COMPLETED);
    assertEquals(await world.cancel(message.occurrenceId), {
      ok: false,
      reason: "final",
      status: "Completed",
    });
  });

  promise("nothing that was to be cancelled is tried again or handed on", async (world) => {
    for (const outcome of [FAILED, HANDED_BACK]) {
      const message = await world.running(await world.saved());
      await world.cancel(message.occurrenceId);
      const answer = await world.record(message, outcome);
      assertEquals([answer.released, answer.nextRetryAt], [[], null]);
      assertEquals(await world.status(message.occurrenceId), "Cancelled");
    }
  });

  const SIGNALLED = { cause: "cancelled", signalledAt: 7, instanceId: "worker-1" } as const;
  const signalOf = (message: JobMessage, change: Partial<SignalNotice> = {}): SignalNotice => ({
    occurrenceId: message.occurrenceId,
    scheduledFor: message.scheduledFor,
    token: message.token,
    instanceId: "worker-1",
    cause: "cancelled",
    at: 7,
    ...change,
  });

  promise(
    "a cancellation is requested, signalled, and ended at a rung, each kept with who and when",
    async (world) => {
      for (const rung of KILL_RUNGS) {
        const message = await world.running(await world.saved());
        await world.cancel(message.occurrenceId);
        assertEquals((await world.detail(message.occurrenceId)).occurrence.ending, null);
        const { outcomes } = world.store;
        await outcomes.recordSignals([signalOf(message), signalOf(message, { token: 9, at: 8 })]);
        const signalled = (await world.detail(message.occurrenceId)).occurrence;
        assertEquals([signalled.status, signalled.ending], ["Running", { ...SIGNALLED, rung: null }]);
        await world.record(message, { kind: "cancelled", rung });
        const ended = (await world.detail(message.occurrenceId)).occurrence;
        assertEquals(ended.ending, { ...SIGNALLED, rung }, "the report was silent on when");
        assertEquals([ended.status, ended.cancel?.by, ended.cancel?.reason], [
          "Cancelled",
          "alice",
          "not needed",
        ]);
        await outcomes.recordSignals([signalOf(message, { at: 99 })]);
        assertEquals(
          (await world.detail(message.occurrenceId)).occurrence.ending,
          ended.ending,
          "it came late",
        );
      }
    },
  );

  promise(
    "an attempt that is timed out keeps when it was signalled and at which rung it ended",
    async (world) => {
      for (const concurrentExecutionPolicy of ["Allow", "Queue"] as const) {
        const message = await world.running(await world.saved({ concurrentExecutionPolicy }));
        const report = world.report(message, { kind: "timedOut", rung: "killed", limitMs: 50 }, {
          signalledAt: 11,
        });
        await world.store.outcomes.record([report], world.now, 0.5);
        const { items } = await world.store.history.occurrences({ statuses: ["TimedOut"] }, 10, null);
        const ending = {
          cause: "timedOut",
          signalledAt: 11,
          instanceId: "worker-1",
          rung: "killed",
        } as const;
        assertEquals(items.find((one) => one.id === message.occurrenceId)?.ending, ending);
      }
    },
  );

  promise("what an attempt was told is forgotten when the occurrence runs again", async (world) => {
    await world.lead();
    const message = await world.running(await world.saved());
    await world.store.outcomes.recordSignals([signalOf(message, { cause: "timedOut" })]);
    await world.clock.advance(LEASE_MS + 1);
    await world.store.ledger.reap(
      world.epoch,
      await world.store.ledger.silentAttempts(world.now, 10),
      world.now,
      0,
    );
    const { occurrence } = await world.detail(message.occurrenceId);
    assertEquals([occurrence.status, occurrence.ending], ["Queued", null]);
  });

  promise(
    "F27: cancels race with claim, end and each other: one final status, and nothing is claimed after it",
    async (world) => {
      const job = await world.saved();
      const { outcomes } = world.store;
      const claim = (message: JobMessage) =>
        world.attempts.claim([{ message, workerId: "pool", instanceId: "worker-1" }], LEASE_MS);
      const endings: readonly Outcome[] = [COMPLETED, FAILED, HANDED_BACK, {
        kind: "cancelled",
        rung: "signal",
      }];
      for (const outcome of endings) {
        // Before the claim, and in the same moment.
        const queued = await world.queued(job);
        const [first, [granted], second] = await Promise.all([
          world.cancel(queued.occurrenceId),
          claim(queued),
          world.cancel(queued.occurrenceId),
        ]);
        assert(first.ok && second.ok);
        const wasQueued = first.state === "cancelled" || second.state === "cancelled";
        assertEquals(granted?.ok, !wasQueued, "cancelled at once and claimed exclude each other");
        if (granted?.ok === true) await world.record({ ...queued, token: granted.token }, outcome);
        // At the end, twice.
        const running = await world.running(job);
        const answers = await Promise.all([
          world.cancel(running.occurrenceId),
          world.record(running, outcome),
          world.cancel(running.occurrenceId),
        ]);
        // A back-off or handing back that was first is ended by the cancel that comes after it.
        const status = await world.status(running.occurrenceId);
        const isCompletion = outcome.kind === "completed";
        assertEquals(status, isCompletion ? "Completed" : "Cancelled");
        if (isCompletion && !answers[2].ok) assertEquals(answers[2].reason, "final");
        for (const message of [queued, running]) {
          assertEquals((await claim({ ...message, token: message.token }))[0]?.ok, false);
          const late = await outcomes.record([world.report(message, COMPLETED)], world.now, 0.5);
          assertEquals(late.changed, [], "what is final stays");
        }
      }
    },
  );

  promise("an unknown occurrence cannot be cancelled", async (world) => {
    assertEquals(await world.cancel(world.random.uuid()), { ok: false, reason: "not-found" });
  });
}
