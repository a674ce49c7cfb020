/** The contract of `Retention`: what has reached its age goes, and nothing else does. */
import { isAged, type RetentionRules, ruleOf } from "../../actors/domain/retention.ts";
import type { Job, RetentionSettings } from "../../actors/domain/job.ts";
import type { OccurrenceStatus } from "../../actors/domain/occurrence.ts";
import type { Swept } from "../../actors/ports/retention.ts";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { COMPLETED, FAILED, promiseOf, type StoreFactory, StoreWorld } from "./store_fixture.ts";

const DAY_MS = 86_400_000;
const RULES: RetentionRules = {
  completedDays: 3,
  failedDays: 9,
  keepLast: 2,
  lineDays: 5,
  unresolvedDays: 40,
};

const ends = ["Completed", "Failed", "Cancelled", "Queued", "Running"] as const;

interface Planned {
  readonly job: number;
  /** Days before now. */
  readonly age: number;
  readonly end: (typeof ends)[number];
}

const settings: fc.Arbitrary<RetentionSettings | null> = fc.option(
  fc.record({
    completedDays: fc.option(fc.integer({ min: 1, max: 12 }), { nil: null }),
    failedDays: fc.option(fc.integer({ min: 1, max: 12 }), { nil: null }),
    keepLast: fc.option(fc.integer({ min: 0, max: 4 }), { nil: null }),
  }),
  { nil: null },
);

const planned: fc.Arbitrary<Planned> = fc.record({
  job: fc.integer({ min: 0, max: 2 }),
  age: fc.integer({ min: 0, max: 15 }),
  end: fc.constantFrom(...ends),
});

export function retentionContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} retention`, factory);

  Deno.test(`${name} retention: what goes is what has reached its age, in any history`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(settings, settings, settings),
        fc.array(planned, { maxLength: 40 }),
        (own, plan) =>
          StoreWorld.within(factory, async (world) => {
            await world.clock.advance(20 * DAY_MS);
            await world.lead();
            const jobs = await Promise.all(
              own.map((retention) => world.saved({ concurrentExecutionPolicy: "Allow", retention })),
            );
            const made = await make(world, jobs, plan);
            await sweepAll(world);
            assertEquals(await present(world, made), expected(world, jobs, made));
            await world.clock.advance(4 * DAY_MS);
            await sweepAll(world);
            const left = await present(world, made);
            assertEquals(left, expected(world, jobs, made));
            const counts = await world.store.history.counts();
            const total = Object.values(counts.byStatus).reduce((sum, count) => sum + count, 0);
            assertEquals(total, left.length, "the totals do not follow");
          }),
      ),
      { numRuns: 10 },
    );
  });

  promise("an occurrence goes with its attempts, lines and late reports", async (world) => {
    await world.lead();
    const job = await world.saved({ retention: { completedDays: 1, failedDays: 1, keepLast: 0 } });
    const [occurrenceId = ""] = await ended(world, job, world.now, "Failed");
    await world.clock.advance(3 * DAY_MS);
    const swept = await sweepAll(world);
    assertEquals(swept.occurrences, 1);
    assertEquals(await world.store.history.occurrence(occurrenceId), null);
    assertEquals((await world.store.lines.read(occurrenceId, 10, null)).items, []);
  });

  promise("lines go at their own age, the occurrence stays", async (world) => {
    await world.lead();
    const job = await world.saved();
    const [old = ""] = await ended(world, job, world.now, "Completed");
    await world.clock.advance(4 * DAY_MS);
    const [young = ""] = await ended(world, job, world.now, "Completed");
    await world.clock.advance(2 * DAY_MS);
    await sweepAll(world);
    assert(await world.store.history.occurrence(old) !== null);
    assertEquals((await world.store.lines.read(old, 10, null)).items.length, 0);
    assertEquals((await world.store.lines.read(young, 10, null)).items.length, 1);
  });

  promise("an older leader removes nothing", async (world) => {
    const before = await world.lead("instance-1");
    const job = await world.saved({ retention: { completedDays: 1, failedDays: 1, keepLast: 0 } });
    const [id = ""] = await ended(world, job, world.now, "Completed");
    await world.clock.advance(3 * DAY_MS);
    await world.lead("instance-2");
    let swept: Swept | null;
    do swept = await world.store.retention.sweep(before, RULES, world.now); while (
      swept !== null && !swept.isDone
    );
    assertEquals(swept, null);
    assert(await world.store.history.occurrence(id) !== null);
  });

  promise("ranges go at the longest age, the one that is being extended stays", async (world) => {
    await world.lead();
    const start = world.now;
    const job = await world.saved({ nextDueAt: start, schedule: everyMinute });
    const other = await world.saved({ nextDueAt: start, schedule: everyMinute });
    const range = { from: start, to: start, count: 1, reason: "missed", by: "instance-1" } as const;
    for (const one of [job, other]) {
      await world.decide([world.decision(one, { slots: [], ranges: [range] })]);
    }
    const next = { ...other, nextDueAt: start + 1000 };
    await world.decide([world.decision(next)]);
    await world.clock.advance(30 * DAY_MS);
    const swept = await sweepAll(world);
    assertEquals(swept.records, 1);
    assert(await world.store.history.rangeAt(job.id, start) !== null);
    assertEquals(await world.store.history.rangeAt(other.id, start), null);
  });

  promise(
    "a dead letter goes when it was resolved long ago, or waits for that far too long",
    async (world) => {
      await world.lead();
      const job = await world.saved();
      const fail = async () => {
        const message = await world.running(job);
        await world.record(message, { ...FAILED, permanent: true });
        return message.occurrenceId;
      };
      const resolved = await fail();
      const waiting = await fail();
      const resolve = (id: string) =>
        world.store.failed.resolve(id, {
          note: "seen",
          action: "Fixed",
          by: "alice",
          at: world.now,
          occurrenceId: null,
        });
      await resolve(resolved);
      await world.clock.advance((RULES.failedDays + 1) * DAY_MS);
      const late = await fail();
      await sweepAll(world);
      assertEquals(await world.store.failed.get(resolved), null);
      assert(await world.store.failed.get(waiting) !== null);
      assert(await world.store.failed.get(late) !== null);
      await world.clock.advance((RULES.unresolvedDays - RULES.failedDays) * DAY_MS);
      await sweepAll(world);
      assertEquals(await world.store.failed.get(waiting), null);
      assert(await world.store.failed.get(late) !== null);
    },
  );
}

const everyMinute = {
  kind: "cron",
  expression: "* * * * *",
  resolved: "0 * * * * *",
  timeZone: "UTC",
  gap: "RunAtNextValid",
  fold: "First",
} as const;

interface Made {
  readonly id: string;
  readonly job: Job;
  readonly scheduledFor: number;
  readonly status: OccurrenceStatus;
}

async function make(
  world: StoreWorld,
  jobs: readonly Job[],
  plan: readonly Planned[],
): Promise<readonly Made[]> {
  const made: Made[] = [];
  for (const [index, { job: which, age, end }] of plan.entries()) {
    const job = jobs[which];
    assert(job !== undefined);
    const scheduledFor = world.now - age * DAY_MS - index;
    for (const id of await ended(world, job, scheduledFor, end)) {
      made.push({ id, job, scheduledFor, status: end });
    }
  }
  return made;
}

/** An occurrence in this status with a line, as if it had been due then. */
async function ended(
  world: StoreWorld,
  job: Job,
  at: number,
  end: (typeof ends)[number],
): Promise<readonly string[]> {
  const answer = await world.trigger(job, { at });
  assert(answer.ok);
  const [message] = answer.messages;
  assert(message !== undefined);
  const { occurrenceId } = message;
  if (end === "Cancelled") await world.cancel(occurrenceId);
  if (end === "Cancelled" || end === "Queued") return answer.occurrenceIds;
  const running = await world.claimed(message);
  await world.store.lines.append([{
    occurrenceId,
    scheduledFor: at,
    token: running.token,
    sequence: 0,
    at,
    level: "info",
    message: "began",
    fields: null,
  }]);
  if (end === "Completed") await world.record(running, COMPLETED);
  if (end === "Failed") await world.record(running, { ...FAILED, permanent: true });
  return answer.occurrenceIds;
}

function expected(world: StoreWorld, jobs: readonly Job[], made: readonly Made[]): readonly string[] {
  return jobs.flatMap((job) => {
    const rule = ruleOf(job.retention, RULES);
    const newestFirst = made.filter((one) => one.job === job)
      .toSorted((left, right) => right.scheduledFor - left.scheduledFor);
    return newestFirst.filter((one, place) => place < rule.keepLast || !isAged(one, rule, world.now));
  }).map(({ id }) => id).toSorted();
}

async function present(world: StoreWorld, made: readonly Made[]): Promise<readonly string[]> {
  const found = await Promise.all(
    made.map(async ({ id }) => await world.store.history.occurrence(id) === null ? null : id),
  );
  return found.filter((id) => id !== null).toSorted();
}

async function sweepAll(world: StoreWorld): Promise<{ occurrences: number; records: number }> {
  const total = { occurrences: 0, records: 0 };
  for (let step = 0; step < 500; step += 1) {
    const swept = await world.store.retention.sweep(world.epoch, RULES, world.now);
    assert(swept !== null, "the epoch was refused");
    total.occurrences += swept.occurrences;
    total.records += swept.records;
    if (swept.isDone) return total;
  }
  throw new Error("the sweep does not come to its end");
}
