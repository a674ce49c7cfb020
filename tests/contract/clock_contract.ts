/** What becomes of stored waits when the wall clock is set back (reliability I19). */
import { assert, assertEquals } from "@std/assert";
import {
  COMPLETED,
  FAILED,
  LEASE_MS,
  promiseOf,
  type StoreFactory,
  type StoreWorld,
} from "./store_fixture.ts";

const HOUR = 3_600_000;

export function clockContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} clock`, factory);

  promise("what was ready before the clock was set back is claimed and published at once", async (world) => {
    const job = await world.saved();
    const [first, second] = [await world.queued(job), await world.queued(job)];
    world.clock.setWall(world.now - HOUR);
    await world.claimed(first);
    const epoch = await world.lead();
    const { ledger } = world.store;
    assertEquals(await ledger.wantPublishing(epoch, null, world.now), 1);
    const [found, ...others] = await ledger.recoverable(world.now, 10);
    assertEquals([found?.message.occurrenceId, found?.isReady, others.length], [
      second.occurrenceId,
      true,
      0,
    ]);
    const put = { ...second, until: world.now + 30_000, reason: null };
    assert(await ledger.postpone(epoch, [put]));
    await world.claimed(second);
  });

  promise("a run that waited its turn, and one that was handed back, are claimed at once", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
    const running = await world.running(job);
    assert((await world.trigger(job)).ok);
    const { released: [next] } = await world.record(running, COMPLETED);
    assert(next !== undefined);
    world.clock.setWall(world.now - HOUR);
    const again = await world.claimed(next);
    const handedBack = await world.record(again, { kind: "handedBack", why: "stopping" });
    const [message] = handedBack.released;
    assert(message !== undefined);
    world.clock.setWall(world.now - HOUR);
    await world.claimed(message);
  });

  promise("a back-off and a look again last as long as they were meant to", async (world) => {
    const failing = await world.running(await world.saved());
    const { nextRetryAt } = await world.record(failing, { ...FAILED, retryAfterMs: 20_000 });
    const queued = await world.queued(await world.saved());
    assert(nextRetryAt !== null);
    const waitMs = nextRetryAt - world.now;
    assertEquals(waitMs, 20_000);
    const epoch = await world.lead();
    await step(world, epoch, HOUR);
    const { ledger } = world.store;
    assertEquals(await refusal(world, failing), "not-ready");
    const rows = await ledger.recoverable(world.now + 60_000, 10);
    assertEquals(
      rows.map((row) => [row.message.occurrenceId, row.readyAt - world.now]).sort(),
      [[failing.occurrenceId, waitMs], [queued.occurrenceId, 0]].sort(),
    );
    assertEquals(await ledger.nextActionAt(), world.now + Math.min(waitMs, 10_000));
    await world.clock.advance(waitMs);
    await world.claimed(failing);
  });

  promise("spaced catch-up runs keep their distances, waiting ones of policy Queue too", async (world) => {
    for (const concurrentExecutionPolicy of ["Allow", "Queue"] as const) {
      const start = world.now;
      const job = await world.saved({ nextDueAt: start, concurrentExecutionPolicy });
      const epoch = await world.lead();
      const slots = [0, 1].map((index) => ({
        occurrenceId: world.random.uuid(),
        dueAt: start + index,
        origin: "catch-up" as const,
        notBefore: start + index * 5000,
      }));
      const { messages: [first] } = await world.decide([world.decision(job, { slots })]);
      assert(first !== undefined);
      await step(world, epoch, HOUR);
      await world.record(await world.claimed(first), COMPLETED);
      const { occurrence } = await world.detail(slots[1]?.occurrenceId ?? "");
      assertEquals([occurrence.status, occurrence.readyAt], ["Queued", world.now + 5000]);
      await world.clock.advance(HOUR);
    }
  });

  promise("a lease that nobody renews ends when it was meant to", async (world) => {
    const lost = await world.running(await world.saved());
    const epoch = await world.lead();
    await step(world, epoch, HOUR);
    const [silent] = await world.store.ledger.silentAttempts(world.now + LEASE_MS + 1, 10);
    assertEquals([silent?.occurrenceId, silent?.leaseUntil], [lost.occurrenceId, world.now + LEASE_MS]);
    await world.clock.advance(60_000);
    await step(world, epoch, 45_000);
    assertEquals((await world.store.ledger.silentAttempts(world.now, 10)).length, 0);
    assertEquals((await world.store.ledger.silentAttempts(world.now + 15_000, 10)).length, 1);
  });

  promise("many rows of the same moment and of many moments are moved once each", async (world) => {
    const job = await world.saved();
    for (let round = 0; round < 5; round += 1) {
      assert((await world.trigger(job, { count: 500 })).ok);
      await world.clock.advance(round % 2);
    }
    const epoch = await world.lead();
    const before = world.now;
    await step(world, epoch, 60_000);
    const rows = await world.store.ledger.recoverable(before, 5000);
    assertEquals(rows.length, 2500);
    assertEquals(await world.store.ledger.nextActionAt(), world.now + 10_000 - 2);
  });

  promise("an older epoch moves nothing", async (world) => {
    const queued = await world.queued(await world.saved());
    const old = await world.lead();
    await world.lead("instance-2");
    const at = await world.store.ledger.nextActionAt();
    world.clock.setWall(world.now - HOUR);
    assertEquals(await world.store.ledger.clockWentBack(old, world.now, HOUR), false);
    assertEquals(await world.store.ledger.nextActionAt(), at);
    await world.claimed(queued);
  });
}

/** The clock is set back, and the leader hears of it. */
async function step(world: StoreWorld, epoch: number, byMs: number): Promise<void> {
  world.clock.setWall(world.now - byMs);
  assert(await world.store.ledger.clockWentBack(epoch, world.now, byMs));
}

async function refusal(world: StoreWorld, message: Parameters<StoreWorld["claimed"]>[0]) {
  const [answer] = await world.attempts.claim(
    [{ message, workerId: "pool", instanceId: "worker-2" }],
    LEASE_MS,
  );
  return answer?.ok === false ? answer.reason : "granted";
}
