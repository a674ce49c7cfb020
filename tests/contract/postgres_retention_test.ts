/** What retention in PostgreSQL promises beyond the contract of all stores: old days are dropped, not deleted. */
import { assert, assertEquals } from "@std/assert";
import postgres from "postgres";
import type { RetentionRules } from "../../actors/domain/retention.ts";
import { dayOf, dayText } from "../../infra/postgres/day.ts";
import { openPostgresStore } from "../../infra/postgres/store.ts";
import { serverTest, temporaryDatabase } from "../support/servers.ts";
import { storeOptions } from "../support/postgres_world.ts";
import { COMPLETED, StoreWorld } from "./store_fixture.ts";

const DAY_MS = 86_400_000;
const RULES: RetentionRules = {
  completedDays: 2,
  failedDays: 2,
  keepLast: 1,
  lineDays: 2,
  unresolvedDays: 40,
};

async function within(
  work: (world: StoreWorld, sql: postgres.Sql) => Promise<void>,
): Promise<void> {
  await using database = await temporaryDatabase();
  const sql = postgres(database.url, { max: 2, onnotice: () => {} });
  try {
    await StoreWorld.within(async (world) => {
      const { store, attempts } = await openPostgresStore(storeOptions(database.url, world));
      return { store, attempts, close: () => store.close() };
    }, (world) => work(world, sql));
  } finally {
    await sql.end();
  }
}

/** Occurrences of a job, completed now. */
async function complete(world: StoreWorld, job: Awaited<ReturnType<StoreWorld["saved"]>>, count: number) {
  const answer = await world.trigger(job, { count });
  assert(answer.ok);
  for (const message of answer.messages) await world.record(await world.claimed(message), COMPLETED);
  return answer.occurrenceIds;
}

async function sweepAll(world: StoreWorld): Promise<readonly string[]> {
  const days: string[] = [];
  for (let step = 0; step < 100; step += 1) {
    const swept = await world.store.retention.sweep(world.epoch, RULES, world.now);
    assert(swept !== null, "the epoch was refused");
    days.push(...swept.days);
    if (swept.isDone) return days;
  }
  throw new Error("the sweep does not come to its end");
}

async function partitions(sql: postgres.Sql): Promise<readonly string[]> {
  const rows = await sql`SELECT inhrelid::regclass::text AS name FROM pg_inherits ORDER BY 1`;
  return rows.map((row) => String(row["name"]));
}

serverTest(
  ["postgres"],
  "postgres: a day past the longest age is dropped, what must stay is carried over",
  () =>
    within(async (world, sql) => {
      await world.lead();
      const rare = await world.saved();
      const often = await world.saved();
      const day = dayOf(world.now);
      const [kept = ""] = await complete(world, rare, 1);
      const old = await complete(world, often, 5);
      await world.clock.advance(4 * DAY_MS);
      const young = await complete(world, often, 1);
      const suffix = dayText(day).replaceAll("-", "");
      assert((await partitions(sql)).includes(`occurrences_${suffix}`));

      assert((await sweepAll(world)).includes(dayText(day)));
      assert((await partitions(sql)).every((name) => !name.endsWith(suffix)));
      const [where] = await sql`SELECT tableoid::regclass::text AS name FROM occurrences WHERE id = ${kept}`;
      assertEquals(where?.["name"], "occurrences_other");
      assertEquals((await world.detail(kept)).occurrence.status, "Completed");
      for (const id of old) assertEquals(await world.store.history.occurrence(id), null);
      for (const id of young) assertEquals(await world.status(id), "Completed");
      assertEquals((await world.store.history.counts()).byStatus.Completed, 2);

      // The carried one goes when it is not among the newest any more.
      await complete(world, rare, 1);
      await world.clock.advance(3 * DAY_MS);
      await sweepAll(world);
      assertEquals(await world.store.history.occurrence(kept), null);
    }),
);

serverTest(
  ["postgres"],
  "postgres: a day with a run that has not ended is not dropped",
  () =>
    within(async (world, sql) => {
      await world.lead();
      const job = await world.saved();
      const day = dayOf(world.now);
      const queued = await world.queued(job);
      const old = await complete(world, job, 3);
      await world.clock.advance(4 * DAY_MS);
      await complete(world, job, 1);
      assert(!(await sweepAll(world)).includes(dayText(day)));
      assert((await partitions(sql)).includes(`occurrences_${dayText(day).replaceAll("-", "")}`));
      assertEquals(await world.status(queued.occurrenceId), "Queued");
      for (const id of old) assertEquals(await world.store.history.occurrence(id), null);
    }),
);

serverTest(
  ["postgres"],
  "postgres: a day whose lock another holds is left for the next sweep, its rows go",
  () =>
    within(async (world, sql) => {
      await world.lead();
      const job = await world.saved();
      const day = dayOf(world.now);
      const old = await complete(world, job, 3);
      await world.clock.advance(4 * DAY_MS);
      await complete(world, job, 1);
      const name = `occurrences_${dayText(day).replaceAll("-", "")}`;
      await sql.begin(async (reader) => {
        await reader.unsafe(`SELECT 1 FROM ${name} LIMIT 1`);
        assert(!(await sweepAll(world)).includes(dayText(day)));
      });
      for (const id of old) assertEquals(await world.store.history.occurrence(id), null);
      assert((await sweepAll(world)).includes(dayText(day)));
      assertEquals((await world.store.history.counts()).byStatus.Completed, 1);
    }),
);
