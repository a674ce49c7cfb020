/** The contract of `Attempts` on a store: one claim of a token is granted, and a refusal says why. */
import { assert, assertEquals } from "@std/assert";
import { COMPLETED, LEASE_MS, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function claimContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} outcomes`, factory);

  promise("of many claims on one message exactly one is granted", async (world) => {
    const message = await world.queued(await world.saved());
    const requests = ["a", "b", "c"].map((instanceId) => ({ message, workerId: "pool", instanceId }));
    const answers = [
      ...await world.attempts.claim(requests, LEASE_MS),
      ...(await Promise.all(requests.map((request) => world.attempts.claim([request], LEASE_MS)))).flat(),
    ];
    assertEquals(answers.filter((answer) => answer.ok), [{ ok: true, token: 1, attempt: 1 }]);
    assert(answers.every((answer) => answer.ok || answer.reason === "stale-token"));
  });

  promise("a claim says why it is refused", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
    const running = await world.running(job);
    const waiting = await world.trigger(job);
    assert(waiting.ok);
    const cancelled = await world.queued(await world.saved());
    await world.cancel(cancelled.occurrenceId);
    const done = await world.running(await world.saved());
    await world.record(done, COMPLETED);
    const refusal = async (occurrenceId: string, token: number) => {
      const message = { occurrenceId, scheduledFor: world.now, token };
      const [answer] = await world.attempts.claim([{ message, workerId: "p", instanceId: "i" }], LEASE_MS);
      return answer?.ok === false ? answer.reason : "granted";
    };
    assertEquals(await refusal(running.occurrenceId, 0), "stale-token");
    assertEquals(await refusal(waiting.occurrenceIds[0] ?? "", 0), "not-ready");
    assertEquals(await refusal(cancelled.occurrenceId, 0), "cancelled");
    assertEquals(await refusal(done.occurrenceId, 1), "final");
    assertEquals(await refusal(world.random.uuid(), 0), "gone");
  });

  promise("a renewal holds the lease of the newest token only and brings a cancel request", async (world) => {
    const message = await world.running(await world.saved());
    await world.clock.advance(LEASE_MS - 1);
    assertEquals(await world.attempts.renew([message, { ...message, token: 9 }], LEASE_MS), [
      { ok: true, cancel: null },
      { ok: false },
    ]);
    await world.clock.advance(2);
    assertEquals(await world.store.ledger.silentAttempts(world.now, 10), []);
    await world.cancel(message.occurrenceId);
    assertEquals(await world.attempts.renew([message], LEASE_MS), [
      { ok: true, cancel: { by: "alice", reason: "not needed", requestedAt: world.now } },
    ]);
    await world.record(message, COMPLETED);
    assertEquals(await world.attempts.renew([message], LEASE_MS), [{ ok: false }]);
  });
}
