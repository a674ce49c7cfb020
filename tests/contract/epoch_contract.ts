/** The contract of `Ledger` on leaders: one at a time, and no write of an older one. */
import { assertEquals } from "@std/assert";
import { LEASE_MS, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function epochContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} ledger`, factory);

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
}
