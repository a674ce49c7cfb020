/** An embedded store that moves into PostgreSQL, and goes on there. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { DataFolderError } from "../../infra/embedded/data_folder.ts";
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import { PostgresError } from "../../infra/postgres/fault.ts";
import { importEmbedded } from "../../infra/postgres/import_embedded.ts";
import { openPostgresStore } from "../../infra/postgres/store.ts";
import { KeptLog } from "../support/quiet.ts";
import { openStore, storeOptions } from "../support/postgres_world.ts";
import { serverTest, temporaryDatabase } from "../support/servers.ts";
import { failedOne, replay } from "./failed_contract.ts";
import {
  COMPLETED,
  DEFAULTS,
  FAILED,
  HANDED_BACK,
  type StoreUnderTest,
  StoreWorld,
} from "./store_fixture.ts";

/** Makes some of everything: each policy, status and kind of row. */
async function fill(world: StoreWorld): Promise<void> {
  const allow = await world.saved({ jobData: '{"to":"ü😀"}', nextDueAt: world.now, tags: ["a"] });
  await world.saved({ isActive: false, pause: { reason: "holiday", by: "bob", since: 1, until: null } });
  const queue = await world.saved({ concurrentExecutionPolicy: "Queue" });
  const skip = await world.saved({ concurrentExecutionPolicy: "Skip", nextDueAt: world.now });
  await world.lead("one");
  await world.lead("two");
  await world.decide([world.decision(allow), world.decision(skip)]);
  await world.decide([world.decision({ ...skip, nextDueAt: world.now + 1000 })]);
  await world.decide([world.decision({ ...allow, nextDueAt: world.now + 1000 }, {
    slots: [],
    ranges: [{ from: world.now + 1000, to: world.now + 1000, count: 1, reason: "missed", by: "one" }],
  })]);
  await world.running(queue);
  await world.trigger(queue, { count: 2 });
  await world.trigger(allow, { count: 3, idempotency: { key: "k", requestHash: "h" } });
  const done = await world.running(allow);
  await world.record(done, COMPLETED);
  await world.record(done, FAILED);
  await world.record(await world.running(allow), FAILED);
  await world.record(await world.running(allow), HANDED_BACK);
  const letter = await failedOne(world, allow);
  await world.store.failed.resolve(await failedOne(world, allow), {
    action: "Fixed",
    note: "n",
    by: "ann",
    at: world.now,
    occurrenceId: null,
  });
  assert((await replay(world, letter)).ok);
  const waiting = await world.trigger(queue);
  assert(waiting.ok);
  for (
    const selection of [{ kind: "replay", ids: [letter] }, {
      kind: "cancel",
      ids: waiting.occurrenceIds,
    }] as const
  ) {
    await world.store.bulk.create({
      id: world.random.uuid(),
      selection,
      ratePerSecond: 1,
      canary: true,
      force: false,
      reason: null,
      by: "ann",
      expectedCount: null,
      at: world.now,
      idempotency: null,
    });
  }
  await world.cancel((await world.queued(allow)).occurrenceId);
  await world.running(allow);
  await world.store.lines.append([{
    occurrenceId: done.occurrenceId,
    scheduledFor: done.scheduledFor,
    token: 1,
    sequence: 0,
    at: world.now,
    level: "error",
    message: "hello\nü😀",
    fields: '{"a":1}',
  }]);
}

/** All that the ports tell of a store. */
async function told({ store }: Pick<StoreUnderTest, "store">) {
  const { items } = await store.history.occurrences({}, 1000, null);
  const jobs = (await store.jobs.list({}, 1000, null)).items;
  return {
    storeId: store.storeId,
    jobs,
    counts: await store.history.counts(),
    epochs: await store.ledger.epochs(10),
    due: await store.jobs.dueEntries(1000, null),
    ranges: await Promise.all(jobs.map((job) => store.history.ranges(job.id, 10))),
    occurrences: await Promise.all(items.map((item) => store.history.occurrence(item.id))),
    lines: await Promise.all(items.map((item) => store.lines.read(item.id, 10, null))),
    failed: await Promise.all(items.map((item) => store.failed.get(item.id))),
    bulk: (await store.bulk.list(10, null)).items,
    unsettled: await store.bulk.unsettled(10),
    recoverable: await store.ledger.recoverable(8.64e15 / 100, 1000),
    silent: await store.ledger.silentAttempts(Infinity, 1000),
  };
}

serverTest(["postgres"], "postgres: an embedded store moves whole, and goes on where it stood", async () => {
  await using database = await temporaryDatabase();
  const folder = await Deno.makeTempDir({ prefix: "milvaion-import-" });
  try {
    await StoreWorld.within(async (world) => {
      const { store, attempts } = await openEmbeddedStore({ ...world, folder, log: new KeptLog() });
      return { store, attempts, close: () => store.close() };
    }, async (world) => {
      await fill(world);
      const before = await told(world);
      const options = { ...storeOptions(database.url, world), folder };
      await assertRejects(() => importEmbedded(options), DataFolderError, "in use");
      await world.store.close();

      const tables = new Set<string>();
      const said = await importEmbedded({ ...options, onProgress: ({ table }) => tables.add(table) });
      assertMatch(said, /4 jobs.*counts of both sides agree/);
      assert(tables.has("occurrences") && tables.has("lines"));
      const opened = await openPostgresStore(storeOptions(database.url, world));
      world.store = opened.store;
      world.attempts = opened.attempts;
      assertEquals(await told(world), before);

      const cancelling = before.bulk.find((one) => one.kind === "cancel");
      const step = { actionId: cancelling?.id ?? "", now: world.now, most: 1, occurrenceIds: [] };
      const stepped = await world.store.bulk.step(2, { ...step, defaultsOf: () => DEFAULTS });
      assertEquals(stepped.ok && stepped.step?.action.counts.succeeded, 1);

      // New numbers follow the old ones, the epoch fences, and who waited is let run.
      assertEquals(await world.store.ledger.renewEpoch(2, world.now, world.now + 1), true);
      await world.saved();
      await world.trigger(await world.saved(), { count: 2 });
      const queue = before.jobs.find((job) => job.concurrentExecutionPolicy === "Queue");
      const [held] =
        (await world.store.history.occurrences({ jobId: queue?.id ?? "", statuses: ["Running"] }, 10, null))
          .items;
      assert(held !== undefined);
      const message = { occurrenceId: held.id, scheduledFor: held.scheduledFor, token: 1 };
      const released = await world.store.outcomes.record(
        [{
          ...message,
          jobId: held.jobId,
          workerId: "pool",
          instanceId: "worker-1",
          startedAt: world.now,
          endedAt: world.now,
          durationMs: 0,
          outcome: COMPLETED,
        }],
        world.now,
        0,
      );
      assertEquals(released.released.length, 1);
      await world.store.close();
      const refused = await assertRejects(() => importEmbedded(options), PostgresError);
      assertEquals(refused.code, "not_empty");
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

serverTest(["postgres"], "postgres: a folder without a store moves nothing, and says so", async () => {
  await using database = await temporaryDatabase();
  await using opened = await openStore(database.url);
  const folder = await Deno.makeTempDir({ prefix: "milvaion-import-" });
  try {
    await assertRejects(
      () => importEmbedded({ ...storeOptions(database.url), folder }),
      PostgresError,
      "no embedded store",
    );
    assertEquals((await opened.store.history.counts()).jobs, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
