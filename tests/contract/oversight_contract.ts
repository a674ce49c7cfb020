/** The contract of `Oversight` and `Alerts`: what the watchdog compares, and where it says what it found. */
import { assertEquals } from "@std/assert";
import type { Alert, AlertKind } from "../../actors/domain/alert.ts";
import { ENDED_ALERTS_KEPT } from "../../actors/ports/alerts.ts";
import { promiseOf, type StoreFactory, type StoreWorld } from "./store_fixture.ts";

export function oversightContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} oversight`, factory);

  promise("counts the overdue jobs and names those that are longest", async (world) => {
    const { oversight } = world.store;
    const late = await world.saved({ nextDueAt: world.now - 50 });
    const later = await world.saved({ nextDueAt: world.now - 500 });
    await world.saved({ nextDueAt: world.now + 1 });
    await world.saved();
    assertEquals(await oversight.overdue(world.now, 1), {
      count: 2,
      entries: [{ jobId: later.id, dueAt: world.now - 500 }],
    });
    assertEquals((await oversight.overdue(world.now, 10)).entries.map(({ jobId }) => jobId), [
      later.id,
      late.id,
    ]);
    assertEquals(await oversight.overdue(world.now - 501, 10), { count: 0, entries: [] });
  });

  promise("reads all jobs in pages, each once, without payloads, also while some are made", async (world) => {
    const { oversight } = world.store;
    const made = [];
    for (let index = 0; index < 5; index += 1) made.push(await world.saved({ jobData: '{"large":true}' }));
    const first = await oversight.jobs(3, null);
    made.push(await world.saved());
    const second = await oversight.jobs(3, first.next);
    const third = second.next === null ? null : await oversight.jobs(3, second.next);
    const read = [...first.items, ...second.items, ...third?.items ?? []];
    assertEquals(read.map(({ id }) => id), made.map(({ id }) => id));
    assertEquals(third?.next ?? null, null);
    const { jobData: _, ...job } = made[0] ?? world.job();
    assertEquals({ ...first.items[0] }, { ...job, jobData: "{}" });
  });

  promise("says of each span which due times ran and which ranges touch it", async (world) => {
    const { oversight } = world.store;
    const at = world.now;
    const job = await world.saved({ nextDueAt: at });
    const other = await world.saved({ nextDueAt: at });
    await world.lead();
    await world.decide([
      world.decision(job, { nextDueAt: at + 9000 }),
      world.decision(other, {
        slots: [],
        ranges: [{ from: at, to: at + 3000, count: 4, reason: "paused", by: "ann" }],
        nextDueAt: at + 4000,
      }),
    ]);
    await world.trigger(job);
    const span = (jobId: string, from: number, to: number) => ({ jobId, from, to });
    const range = { from: at, to: at + 3000 };
    assertEquals(
      await oversight.decided([
        span(job.id, at - 1000, at + 1000),
        span(job.id, at + 1, at + 1000),
        span(other.id, at + 1000, at + 2000),
        span(other.id, at + 3001, at + 4000),
        span(world.random.uuid(), at, at),
        span("no id", at, at),
      ]),
      [
        { occurrences: [at], ranges: [] },
        { occurrences: [], ranges: [] },
        { occurrences: [], ranges: [range] },
        { occurrences: [], ranges: [] },
        null,
        null,
      ],
    );
    assertEquals(await oversight.decided([]), []);
  });

  promise("of many who raise an alert of one kind at once, one does; the others renew it", async (world) => {
    const { alerts } = world.store;
    const raised = await Promise.all(
      ["one", "two", "three", "four"].map((by) => alerts.raise(alert(world, "no-leader", by))),
    );
    assertEquals(raised.filter(Boolean).length, 1);
    assertEquals(await alerts.raise(alert(world, "overdue-due-times", "one")), true);
    await world.clock.advance(1000);
    const renewed = { ...alert(world, "no-leader", "five"), sentence: "Still nobody leads." };
    assertEquals(await alerts.raise(renewed), false);
    const open = await alerts.list(10);
    assertEquals(open.map(({ endedAt }) => endedAt), [null, null]);
    const leaderless = open.find(({ kind }) => kind === "no-leader");
    assertEquals([leaderless?.sentence, leaderless?.seenAt, leaderless?.raisedAt], [
      "Still nobody leads.",
      world.now,
      world.now - 1000,
    ]);
    assertEquals(leaderless?.raisedBy === "five", false);
  });

  promise("ends the open alert of a kind once, gives it, and then another may be raised", async (world) => {
    const { alerts } = world.store;
    const first = alert(world, "no-leader", "one");
    await alerts.raise(first);
    await world.clock.advance(500);
    assertEquals(await alerts.end("no-leader", world.now), { ...first, endedAt: world.now });
    assertEquals(await alerts.end("no-leader", world.now), null);
    assertEquals(await alerts.end("due-index-stale", world.now), null);
    const second = alert(world, "no-leader", "two");
    assertEquals(await alerts.raise(second), true);
    assertEquals((await alerts.list(10)).map(({ id, endedAt }) => [id, endedAt]), [
      [second.id, null],
      [first.id, world.now],
    ]);
    assertEquals((await alerts.list(1)).length, 1);
  });

  promise(`keeps the last ${ENDED_ALERTS_KEPT} that ended`, async (world) => {
    const { alerts } = world.store;
    for (let index = 0; index < ENDED_ALERTS_KEPT + 3; index += 1) {
      await alerts.raise(alert(world, "no-leader", `instance-${index}`));
      await world.clock.advance(1);
      await alerts.end("no-leader", world.now);
    }
    const kept = await alerts.list(1000);
    assertEquals(kept.length, ENDED_ALERTS_KEPT);
    assertEquals(kept[0]?.raisedBy, `instance-${ENDED_ALERTS_KEPT + 2}`);
  });
}

function alert(world: StoreWorld, kind: AlertKind, raisedBy: string): Omit<Alert, "endedAt"> {
  return {
    id: world.random.uuid(),
    kind,
    severity: kind === "due-index-stale" ? "warning" : "critical",
    sentence: "Nobody leads.",
    evidence: [{ kind: "epoch", id: "7", at: world.now }],
    raisedAt: world.now,
    raisedBy,
    seenAt: world.now,
  };
}
