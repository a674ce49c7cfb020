/** The contract of `Ledger` on recovery: nothing that is to run is stuck, and what was lost runs again. */
import { assert, assertEquals } from "@std/assert";
import type { PassedOver } from "../../actors/ports/store.ts";
import { COMPLETED, FAILED, LEASE_MS, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function recoveryContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} ledger`, factory);

  promise("offers what was committed and not claimed again, and puts it off on request", async (world) => {
    const message = await world.queued(await world.saved());
    const { ledger } = world.store;
    assertEquals(await ledger.recoverable(world.now, 10), []);
    const first = await ledger.nextActionAt();
    assert(first !== null && first > world.now);
    assertEquals(await ledger.recoverable(first, 10), [{
      message,
      readyAt: world.now,
      isReady: true,
      looks: 0,
    }]);
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

  promise("puts off nothing that has run since it was offered", async (world) => {
    const message = await world.queued(await world.saved());
    const epoch = await world.lead();
    // Between the look and the word that puts it off it is claimed, fails, and waits for its retry.
    await world.record(await world.claimed(message), FAILED);
    const retryAt = await world.store.ledger.nextActionAt();
    assert(retryAt !== null);
    const until = retryAt + 3_600_000;
    assertEquals(await world.store.ledger.postpone(epoch, [{ ...message, until }]), true);
    assertEquals(await world.store.ledger.nextActionAt(), retryAt);
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

  promise(
    "wants published what is due for a look already, too, and asks for nothing twice",
    async (world) => {
      const looked = await world.queued(await world.saved());
      const epoch = await world.lead();
      const { ledger } = world.store;
      await ledger.postpone(epoch, [{ ...looked, until: world.now + 30_000 }]);
      await world.clock.advance(20_000);
      const fresh = await world.queued(await world.saved());
      await world.clock.advance(10_000);
      const looks = async () => (await ledger.recoverable(world.now, 10)).map((row) => row.looks);
      assertEquals(await looks(), [1, 0], "both are due, and one was published before");
      assertEquals(await ledger.wantPublishing(epoch, null, world.now), 2);
      assertEquals(await looks(), [0, 0]);
      assertEquals(await ledger.wantPublishing(epoch, null, world.now), 0);
      await world.clock.advance(1000);
      assertEquals(await ledger.wantPublishing(epoch, null, world.now), 0);
      const until = world.now + 30_000;
      await ledger.postpone(epoch, [{ ...looked, until }, { ...fresh, until }]);
      await world.clock.advance(30_000);
      assertEquals(await looks(), [1, 1], "published once is looked at once");
    },
  );

  promise("wants a large backlog published, each row of it once", async (world) => {
    const job = await world.saved();
    for (let round = 0; round < 5; round += 1) {
      assert((await world.trigger(job, { count: 1000 })).ok);
      await world.clock.advance(round % 2);
    }
    const epoch = await world.lead();
    const { ledger } = world.store;
    assertEquals(await ledger.wantPublishing(epoch, job.jobType, world.now), 5000);
    assertEquals(await ledger.wantPublishing(epoch, null, world.now), 0);
    assertEquals((await ledger.recoverable(world.now, 6000)).length, 5000);
  });

  promise(
    "leaves out rows of queues that are passed over, and what wanted its look before a moment",
    async (world) => {
      const mail = { jobType: "SendEmailJob" };
      const full = await world.queued(await world.saved(mail));
      const pinned = await world.queued(await world.saved({ ...mail, workerId: "linux" }));
      await world.clock.advance(1000);
      const report = await world.queued(await world.saved());
      const { ledger } = world.store;
      const at = await ledger.nextActionAt();
      assert(at !== null);
      const but = async (queues: PassedOver["queues"], from = -Infinity) => {
        const rows = await ledger.recoverable(at + 5000, 10, { queues, from });
        return rows.map(({ message }) => message.occurrenceId);
      };
      const ids = [full, pinned, report].map(({ occurrenceId }) => occurrenceId);
      assertEquals(await but([]), ids);
      assertEquals(await but([{ ...mail, pool: null }]), ids.slice(1), "a pool has a queue of its own");
      assertEquals(await but([{ ...mail, pool: "linux" }, { ...mail, pool: null }]), ids.slice(2));
      assertEquals(await but([{ jobType: "another", pool: null }], at), ids);
      assertEquals(await but([], at + 1), ids.slice(2));
    },
  );

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
    assertEquals(lost.map((one) => [one.jobType, one.pool, one.readyAt]), [
      [message.jobType, null, world.now - LEASE_MS - 1],
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

  promise(
    "an occurrence lost twice is Failed as suspect, keeps both attempts and frees its job",
    async (world) => {
      const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
      let message = await world.queued(job);
      await world.trigger(job);
      const epoch = await world.lead();
      for (let times = 1; times <= 2; times += 1) {
        await world.claimed(message);
        const lost = await world.store.ledger.silentAttempts(Infinity, 10);
        const record = await world.store.ledger.reap(epoch, lost, world.now, 0);
        assertEquals(record?.released.length, 1);
        assertEquals(record?.released[0]?.occurrenceId === message.occurrenceId, times < 2);
        message = { ...message, token: times };
      }
      const { occurrence, attempts, changes } = await world.detail(message.occurrenceId);
      assertEquals(occurrence.status, "Failed");
      assert(occurrence.reason?.startsWith("suspect"));
      assertEquals(attempts.map((one) => [one.token, one.number, one.outcome]), [[1, null, "lost"], [
        2,
        null,
        "lost",
      ]]);
      assertEquals(changes.map((one) => one.to), [
        "Queued",
        "Running",
        "Queued",
        "Running",
        "Failed",
      ]);
    },
  );

  promise("a lost attempt that was to be cancelled is Cancelled", async (world) => {
    const message = await world.running(await world.saved());
    await world.cancel(message.occurrenceId);
    const epoch = await world.lead();
    await world.store.ledger.reap(epoch, await world.store.ledger.silentAttempts(Infinity, 10), world.now, 0);
    assertEquals(await world.status(message.occurrenceId), "Cancelled");
  });
}
