/** The contract of `BulkActions`: an exact set, each item once, a canary that stops by itself. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import fc from "fast-check";
import { type BulkAction, type BulkCommand, isEnded } from "../../actors/domain/bulk_action.ts";
import type { Job } from "../../actors/domain/job.ts";
import type { JobMessage, Outcome } from "../../actors/domain/message.ts";
import type { BulkSelection, BulkStep, NewBulkAction } from "../../actors/ports/bulk_actions.ts";
import { errorOf, failedOne, replay } from "./failed_contract.ts";
import { COMPLETED, DEFAULTS, promiseOf, type StoreFactory, StoreWorld } from "./store_fixture.ts";

const TIMED_OUT: Outcome = { kind: "timedOut", rung: "killed", limitMs: 2500 };

/** Makes an action as the API does. */
function create(world: StoreWorld, selection: BulkSelection, changes: Partial<NewBulkAction> = {}) {
  return world.store.bulk.create({
    id: world.random.uuid(),
    selection,
    ratePerSecond: 10,
    canary: false,
    force: false,
    reason: "again",
    by: "alice",
    expectedCount: null,
    at: world.now,
    idempotency: null,
    ...changes,
  });
}

async function made(
  world: StoreWorld,
  selection: BulkSelection,
  changes: Partial<NewBulkAction> = {},
): Promise<BulkAction> {
  const answer = await create(world, selection, changes);
  assert(answer.ok, JSON.stringify(answer));
  return answer.action;
}

/** One step as the leader does it. */
async function step(world: StoreWorld, actionId: string, most = 100): Promise<BulkStep> {
  const answer = await world.store.bulk.step(world.epoch, {
    actionId,
    now: world.now,
    most,
    occurrenceIds: Array.from({ length: most }, () => world.random.uuid()),
    defaultsOf: () => DEFAULTS,
  });
  assert(answer.ok && answer.step !== null, JSON.stringify(answer));
  return answer.step;
}

/** Runs messages to an outcome. */
async function run(world: StoreWorld, messages: readonly JobMessage[], outcome: Outcome): Promise<void> {
  for (const message of messages) await world.record(await world.claimed(message), outcome);
}

async function failedMany(world: StoreWorld, job: Job, count: number, outcome?: Outcome): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) ids.push(await failedOne(world, job, outcome));
  return ids;
}

const countsOf = (action: BulkAction) => {
  const { waiting, on, succeeded, failed, skipped } = action.counts;
  return { waiting, on, succeeded, failed, skipped };
};

export function bulkContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} bulk actions`, factory);

  promise("counts exactly and shows the first, and writes nothing for it", async (world) => {
    const job = await world.saved();
    const ids = await failedMany(world, job, 12);
    await failedOne(world, await world.saved());
    const preview = await world.store.bulk.preview({ kind: "replay", filter: { jobId: job.id } });
    assertEquals([preview.count, preview.sample], [12, ids.slice(0, 10)]);
    assertEquals((await world.store.bulk.list(10, null)).items, []);
    assertEquals(await world.store.bulk.unsettled(10), []);
  });

  promise("an action keeps the set it was made with, whatever comes later", async (world) => {
    await world.lead();
    const job = await world.saved();
    await failedMany(world, job, 2);
    const action = await made(world, { kind: "replay", filter: { jobId: job.id } });
    assertEquals([action.total, action.state, countsOf(action)], [
      2,
      "running",
      { waiting: 2, on: 0, succeeded: 0, failed: 0, skipped: 0 },
    ]);
    assertEquals(JSON.parse(action.selection), { jobId: job.id });
    await failedMany(world, job, 3);
    const first = await step(world, action.id);
    assertEquals([first.begun, first.messages.length], [2, 2]);
    await run(world, first.messages, COMPLETED);
    const last = await step(world, action.id);
    assertEquals([last.action.state, last.action.endedAt, countsOf(last.action)], [
      "completed",
      world.now,
      { waiting: 0, on: 0, succeeded: 2, failed: 0, skipped: 0 },
    ]);
    assertEquals(await world.store.bulk.unsettled(10), []);
    assertEquals(await world.store.bulk.get(action.id), last.action);
  });

  promise(
    "is refused for nothing, for another count than expected, and for ids that are none",
    async (world) => {
      const job = await world.saved();
      const filter = { jobId: job.id };
      assertEquals(await create(world, { kind: "replay", filter }), { ok: false, reason: "none", count: 0 });
      const [id = ""] = await failedMany(world, job, 2);
      assertEquals(await create(world, { kind: "replay", filter }, { expectedCount: 3 }), {
        ok: false,
        reason: "unexpected",
        count: 2,
      });
      const stranger = world.random.uuid();
      assertEquals(await create(world, { kind: "replay", ids: [stranger, id] }), {
        ok: false,
        reason: "unknown",
        ids: [stranger],
      });
      assertEquals(await create(world, { kind: "cancel", ids: [id] }), {
        ok: false,
        reason: "unknown",
        ids: [id],
      });
      assertEquals((await world.store.bulk.list(10, null)).items, []);
      assert((await create(world, { kind: "replay", filter }, { expectedCount: 2 })).ok);
    },
  );

  promise("the same idempotency key makes one action", async (world) => {
    const job = await world.saved();
    await failedOne(world, job);
    const selection = { kind: "replay", filter: { jobId: job.id } } as const;
    const idempotency = { key: "once", requestHash: "h" };
    const answers = await Promise.all([1, 2, 3].map(() => create(world, selection, { idempotency })));
    assertEquals(new Set(answers.map((one) => one.ok ? one.action.id : one.reason)).size, 1);
    assertEquals(answers.filter((one) => one.ok && !one.replayed).length, 1);
    const other = await create(world, selection, { idempotency: { key: "once", requestHash: "i" } });
    assertEquals(other, { ok: false, reason: "idempotency-mismatch" });
  });

  promise(
    "a canary begins one, then ten, then the rest, each when those before have ended",
    async (world) => {
      await world.lead();
      const job = await world.saved();
      await failedMany(world, job, 14);
      const { id } = await made(world, { kind: "replay", filter: { jobId: job.id } }, { canary: true });
      const begun: number[] = [];
      for (let stage = 0; stage < 3; stage += 1) {
        const { messages } = await step(world, id);
        begun.push(messages.length);
        const claimed = await Promise.all(messages.map((message) => world.claimed(message)));
        for (const message of claimed) {
          // While one of them runs, nothing further begins.
          assertEquals((await step(world, id)).begun, 0);
          await world.record(message, COMPLETED);
        }
      }
      assertEquals(begun, [1, 10, 3]);
      assertEquals((await step(world, id)).action.state, "completed");
    },
  );

  promise("a canary stops by itself when the error that was replayed comes back", async (world) => {
    await world.lead();
    const job = await world.saved();
    await failedMany(world, job, 5, errorOf("Cannot reach 10.0.0.1"));
    const { id } = await made(world, { kind: "replay", filter: { jobId: job.id } }, { canary: true });
    const { messages } = await step(world, id);
    await run(world, messages, errorOf("Cannot reach 10.0.0.9"));
    const stopped = await step(world, id);
    assertEquals([stopped.action.state, stopped.begun, countsOf(stopped.action)], [
      "stopped",
      0,
      { waiting: 4, on: 0, succeeded: 0, failed: 1, skipped: 0 },
    ]);
    assertMatch(stopped.action.stateReason ?? "", new RegExp(messages[0]?.occurrenceId ?? "none"));
    assertEquals((await step(world, id)).begun, 0);
    assertEquals(await world.store.bulk.unsettled(10), []);
    const resumed = await world.store.bulk.command(id, "resume", { by: "ann", at: world.now });
    assertEquals([resumed.ok, !resumed.ok && resumed.reason], [false, "ended"]);
  });

  promise(
    "a canary stops when most of a stage fails in other ways, and not for one of many",
    async (world) => {
      await world.lead();
      const job = await world.saved();
      const selection = { kind: "replay", filter: { jobId: job.id, isResolved: false } } as const;
      await failedMany(world, job, 13, errorOf("Cannot reach 10.0.0.1"));
      const first = await made(world, selection, { canary: true });
      await run(world, (await step(world, first.id)).messages, errorOf("Out of luck"));
      const stopped = await step(world, first.id);
      assertEquals([stopped.action.state, stopped.action.stateReason, stopped.messages], [
        "stopped",
        "Stopped by itself: the first replay failed",
        [],
      ]);

      const second = await made(world, selection, { canary: true });
      await run(world, (await step(world, second.id)).messages, COMPLETED);
      const { messages } = await step(world, second.id);
      assertEquals(messages.length, 10);
      await run(world, messages.slice(0, 1), errorOf("Out of luck"));
      await run(world, messages.slice(1), COMPLETED);
      assertEquals((await step(world, second.id)).messages.length, second.total - 11);
    },
  );

  promise("the same error without a canary stops nothing", async (world) => {
    await world.lead();
    const job = await world.saved();
    const filter = { jobId: job.id, isResolved: false };
    await failedMany(world, job, 3, errorOf("Cannot reach 10.0.0.1"));
    const careless = await made(world, { kind: "replay", filter });
    const all = (await step(world, careless.id)).messages;
    assertEquals(all.length, 3);
    await run(world, all, errorOf("Cannot reach 10.0.0.2"));
    const { action } = await step(world, careless.id);
    assertEquals([action.state, action.counts.failed], ["completed", 3]);
  });

  promise("is paused, resumed and cancelled; what has begun goes on to its end", async (world) => {
    await world.lead();
    const job = await world.saved();
    await failedMany(world, job, 6);
    const { id } = await made(world, { kind: "replay", filter: { jobId: job.id } });
    const command = async (what: BulkCommand) => {
      const answer = await world.store.bulk.command(id, what, { by: "ann", at: world.now });
      assert(answer.ok, JSON.stringify(answer));
      return [answer.action.state, answer.action.stateReason, answer.isNew];
    };
    const first = await step(world, id, 2);
    assertEquals(await command("pause"), ["paused", "Paused by ann", true]);
    assertEquals(await command("pause"), ["paused", "Paused by ann", false]);
    assertEquals((await step(world, id)).begun, 0);
    await run(world, first.messages.slice(0, 1), COMPLETED);
    assertEquals(countsOf((await step(world, id)).action), {
      waiting: 4,
      on: 1,
      succeeded: 1,
      failed: 0,
      skipped: 0,
    });
    assertEquals(await command("resume"), ["running", null, true]);
    assertEquals((await step(world, id, 1)).begun, 1);
    assertEquals(await command("cancel"), ["cancelled", "Cancelled by ann", true]);
    assertEquals((await step(world, id)).begun, 0);
    assertEquals(await world.store.bulk.unsettled(10), [id]);
    await run(world, first.messages.slice(1), TIMED_OUT);
    assertEquals((await step(world, id)).action.counts.failed, 1);
    const answer = await world.store.bulk.command(id, "resume", { by: "ann", at: world.now });
    assert(!answer.ok && answer.reason === "ended");
    assertEquals(await world.store.bulk.command(world.random.uuid(), "pause", { by: "a", at: 1 }), {
      ok: false,
      reason: "not-found",
    });
  });

  promise("skips what cannot be replayed, and says why by its count", async (world) => {
    await world.lead();
    const job = await world.saved();
    const off = await world.saved();
    const gone = await world.saved();
    const [resolved = "", on = "", fine = ""] = await failedMany(world, job, 3);
    const inactive = await failedOne(world, off);
    const removed = await failedOne(world, gone);
    await world.store.jobs.update({ ...off, version: 2, isActive: false }, 1);
    const { id } = await made(world, { kind: "replay", ids: [resolved, on, fine, inactive, removed] });
    await world.store.jobs.remove(gone.id);
    await world.clock.advance(1);
    await world.store.failed.resolve(resolved, {
      action: "Fixed",
      note: "n",
      by: "a",
      at: world.now,
      occurrenceId: null,
    });
    assert((await replay(world, on)).ok);
    const { action, messages } = await step(world, id);
    assertEquals(countsOf(action), { waiting: 0, on: 1, succeeded: 0, failed: 0, skipped: 4 });
    assertEquals((await world.detail(messages[0]?.occurrenceId ?? "")).replayOf, fine);
    assertEquals((await world.store.failed.get(fine))?.replays.map((one) => one.actionId), [id]);
  });

  promise("an item that its job's policy holds up waits, and others pass it", async (world) => {
    await world.lead();
    const skip = await world.saved({ concurrentExecutionPolicy: "Skip" });
    const allow = await world.saved();
    const ids = [...await failedMany(world, skip, 2), await failedOne(world, allow)];
    const { id } = await made(world, { kind: "replay", ids });
    const first = await step(world, id, 2);
    assertEquals([first.begun, countsOf(first.action).waiting], [1, 2]);
    const second = await step(world, id, 2);
    assertEquals(second.messages.map((one) => one.jobId), [allow.id]);
    await run(world, first.messages, COMPLETED);
    await world.clock.advance(1000);
    const third = await step(world, id, 2);
    assertEquals(third.messages.map((one) => one.jobId), [skip.id]);
  });

  promise("cancels queued ones at once and asks running ones to stop", async (world) => {
    await world.lead();
    const job = await world.saved();
    const other = await world.queued(await world.saved());
    const queued = await world.queued(job);
    const running = await world.running(job);
    const late = await world.running(job);
    const ended = await world.running(job);
    const selection = { kind: "cancel", filter: { jobId: job.id } } as const;
    assertEquals((await world.store.bulk.preview(selection)).count, 4);
    const { id } = await made(world, selection);
    await world.record(ended, COMPLETED);
    const { action, requested, record } = await step(world, id);
    assertEquals(countsOf(action), { waiting: 0, on: 2, succeeded: 1, failed: 0, skipped: 1 });
    assertEquals(
      requested.map((one) => one.occurrenceId).toSorted(),
      [
        running.occurrenceId,
        late.occurrenceId,
      ].toSorted(),
    );
    assertEquals(record?.changed.map((one) => [one.occurrenceId, one.status]), [
      [queued.occurrenceId, "Cancelled"],
    ]);
    const { occurrence } = await world.detail(queued.occurrenceId);
    assertEquals([occurrence.cancel?.by, occurrence.cancel?.reason], ["alice", "again"]);
    await world.record(running, { kind: "cancelled", rung: "signal" });
    await world.record(late, COMPLETED);
    const last = await step(world, id);
    assertEquals([last.action.state, countsOf(last.action)], [
      "completed",
      { waiting: 0, on: 0, succeeded: 2, failed: 0, skipped: 2 },
    ]);
    assertEquals(await world.status(other.occurrenceId), "Queued");
  });

  promise("cancels by every filter, and by ids", async (world) => {
    const mail = await world.saved({ jobType: "SendEmailJob" });
    const queued = await world.queued(mail);
    const running = await world.running(mail);
    await world.clock.advance(1000);
    const later = await world.queued(await world.saved());
    const ids = async (selection: BulkSelection) =>
      (await world.store.bulk.preview(selection)).sample.toSorted();
    const of = (...messages: JobMessage[]) => messages.map((one) => one.occurrenceId).toSorted();
    const by = (filter: Extract<BulkSelection, { kind: "cancel"; filter: unknown }>["filter"]) =>
      ids({ kind: "cancel", filter });
    assertEquals(await by({ jobType: "SendEmailJob" }), of(queued, running));
    assertEquals(await by({ statuses: ["Running", "Unknown"] }), of(running));
    assertEquals(await by({ statuses: ["Queued"], to: world.now }), of(queued));
    assertEquals(await by({ from: world.now }), of(later));
    assertEquals(await by({ jobId: world.random.uuid() }), []);
    assertEquals(await ids({ kind: "cancel", ids: of(queued, later) }), of(queued, later));
  });

  promise("a bulk cancellation lets those run that waited", async (world) => {
    await world.lead();
    const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
    const first = await world.queued(job);
    const waiting = await world.trigger(job, { count: 2 });
    assert(waiting.ok);
    const [second = "", third = ""] = waiting.occurrenceIds;
    const { id } = await made(world, { kind: "cancel", ids: [first.occurrenceId, second] });
    const { record } = await step(world, id);
    assertEquals(record?.released.map((one) => one.occurrenceId), [third]);
  });

  promise("a bulk cancellation of a queue lets none of it run, however slowly it goes", async (world) => {
    await world.lead();
    const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
    const holder = await world.running(job);
    assert((await world.trigger(job, { count: 5 })).ok);
    const { id, total } = await made(world, { kind: "cancel", filter: { jobId: job.id } });
    assertEquals(total, 6);
    const asked: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      const { messages, record, requested } = await step(world, id, 2);
      assertEquals([messages, record?.released ?? []], [[], []]);
      asked.push(...requested.map((one) => one.occurrenceId));
    }
    assertEquals(asked, [holder.occurrenceId], "what runs is asked last");
  });

  promise("a step of an older epoch writes nothing", async (world) => {
    const before = await world.lead();
    const job = await world.saved();
    await failedOne(world, job);
    const { id } = await made(world, { kind: "replay", filter: { jobId: job.id } });
    await world.lead("another");
    const request = {
      actionId: id,
      now: world.now,
      most: 1,
      occurrenceIds: [world.random.uuid()],
      defaultsOf: () => DEFAULTS,
    };
    assertEquals(await world.store.bulk.step(before, request), { ok: false, reason: "stale-epoch" });
    assertEquals((await world.store.bulk.get(id))?.counts.waiting, 1);
    assertEquals((await world.store.ledger.epochs(2)).map((one) => one.refusedWrites), [0, 1]);
    const nothing = await world.store.bulk.step(world.epoch, { ...request, actionId: world.random.uuid() });
    assertEquals(nothing, { ok: true, step: null });
  });

  promise("lists the newest first, in pages", async (world) => {
    const job = await world.saved();
    await failedOne(world, job);
    const ids: string[] = [];
    for (let index = 0; index < 3; index += 1) {
      ids.unshift((await made(world, { kind: "replay", filter: { jobId: job.id } })).id);
    }
    const first = await world.store.bulk.list(2, null);
    const second = await world.store.bulk.list(2, first.next);
    assertEquals([...first.items, ...second.items].map((one) => one.id), ids);
    assertEquals([second.next, await world.store.bulk.unsettled(2)], [null, ids.toReversed().slice(0, 2)]);
    await assertRejects(() => world.store.bulk.list(2, "elsewhere"), RangeError);
  });

  Deno.test(
    `${name} bulk actions: over random histories, with leaders that die between any two steps, each matching item is replayed exactly once and no other`,
    () =>
      fc.assert(
        fc.asyncProperty(HISTORY, async ({ failures, canary, moves }) => {
          await StoreWorld.within(factory, async (world) => {
            await replayAll(world, { failures, canary, moves });
          });
        }),
        { numRuns: name === "embedded" ? 25 : 10 },
      ),
  );
}

type Move = "step" | "small step" | "new leader" | "old leader" | "end one" | "fail one" | "more fail";

const HISTORY = fc.record({
  /** Whether each failed occurrence matches, and which policy its job has. */
  failures: fc.array(fc.record({ matches: fc.boolean(), job: fc.nat(2) }), { minLength: 1, maxLength: 12 }),
  canary: fc.boolean(),
  moves: fc.array(
    fc.constantFrom<Move>(
      "step",
      "small step",
      "new leader",
      "old leader",
      "end one",
      "end one",
      "fail one",
      "more fail",
    ),
    { maxLength: 30 },
  ),
});

/** Plays a history, then goes on to the end; judges by the links that the store kept. */
async function replayAll(
  world: StoreWorld,
  { failures, canary, moves }: {
    readonly failures: readonly { readonly matches: boolean; readonly job: number }[];
    readonly canary: boolean;
    readonly moves: readonly Move[];
  },
): Promise<void> {
  const policies = ["Allow", "Queue", "Skip"] as const;
  const jobs: Job[] = [];
  for (const concurrentExecutionPolicy of policies) {
    jobs.push(await world.saved({ concurrentExecutionPolicy }));
  }
  const jobOf = (index: number) => jobs[index] ?? (jobs[0] as Job);
  const matching: string[] = [];
  const others: string[] = [];
  for (const { matches, job } of failures) {
    const id = await failedOne(world, jobOf(job), errorOf(matches ? "wanted" : "unwanted"));
    (matches ? matching : others).push(id);
  }
  const [some] = matching;
  if (some === undefined) return;
  const { fingerprint } = (await world.store.failed.get(some))?.failed ?? { fingerprint: "" };
  let epoch = await world.lead();
  const action = await made(world, { kind: "replay", filter: { fingerprint, isResolved: false } }, {
    canary,
  });
  assertEquals(action.total, matching.length);
  const running: JobMessage[] = [];
  const stepOf = async (of: number, most: number) => {
    await world.clock.advance(1000);
    const answer = await world.store.bulk.step(of, {
      actionId: action.id,
      now: world.now,
      most,
      occurrenceIds: Array.from({ length: most }, () => world.random.uuid()),
      defaultsOf: () => DEFAULTS,
    });
    if (answer.ok) running.push(...answer.step?.messages ?? []);
    return answer;
  };
  const end = async (outcome: Outcome) => {
    const message = running.shift();
    if (message === undefined) return;
    const { released } = await world.record(await world.claimed(message), outcome);
    running.push(...released);
  };
  for (const move of moves) {
    if (move === "step") await stepOf(epoch, 100);
    else if (move === "small step") await stepOf(epoch, 2);
    else if (move === "new leader") epoch = await world.lead(world.random.uuid());
    else if (move === "old leader") {
      const old = epoch;
      epoch = await world.lead(world.random.uuid());
      assertEquals(await stepOf(old, 100), { ok: false, reason: "stale-epoch" });
    } else if (move === "end one") await end(COMPLETED);
    else if (move === "fail one") await end(errorOf("something else"));
    else others.push(await failedOne(world, jobOf(0), errorOf("wanted")));
  }
  for (let round = 0; round < 200; round += 1) {
    const answer = await stepOf(epoch, 5);
    if (answer.ok && isEnded(answer.step?.action.state ?? "running")) break;
    await end(COMPLETED);
  }
  const after = await world.store.bulk.get(action.id);
  if (after?.state === "stopped") {
    assert(canary && after.counts.failed > 0, "only a canary stops by itself");
    for (const id of matching) {
      const links = (await world.store.failed.get(id))?.replays ?? [];
      assert(links.length <= 1, `${id} is replayed at most once`);
    }
    return;
  }
  assertEquals([after?.state, after?.counts.waiting, after?.counts.on, after?.counts.skipped], [
    "completed",
    0,
    0,
    0,
  ]);
  for (const id of matching) {
    const links = (await world.store.failed.get(id))?.replays ?? [];
    assertEquals(links.map((one) => one.actionId), [action.id], `${id} is replayed exactly once`);
  }
  for (const id of others) assertEquals((await world.store.failed.get(id))?.replays, []);
}
