/** The contract of `FailedOccurrences`: a dead letter for each end that is a failure, resolved and replayed. */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { LOST_AT_MOST } from "../../actors/domain/aftermath.ts";
import type { Job } from "../../actors/domain/job.ts";
import type { JobMessage, Outcome } from "../../actors/domain/message.ts";
import type { FailedFilter, ReplayAnswer, ReplayRequest } from "../../actors/ports/failed_occurrences.ts";
import {
  COMPLETED,
  DEFAULTS,
  FAILED,
  HANDED_BACK,
  LEASE_MS,
  promiseOf,
  type StoreFactory,
  type StoreWorld,
} from "./store_fixture.ts";

const PERMANENT: Outcome = { ...FAILED, permanent: true };
const TIMED_OUT: Outcome = { kind: "timedOut", rung: "killed", limitMs: 2500 };

/** An error of its own fingerprint. */
export function errorOf(message: string): Outcome {
  return { ...FAILED, permanent: true, error: { ...FAILED.error, message } };
}

/** Runs one to a failure for good; gives the failed occurrence's id. */
export async function failedOne(
  world: StoreWorld,
  job: Job,
  outcome: Outcome = PERMANENT,
): Promise<string> {
  const message = await world.running(job);
  await world.record(message, outcome);
  return message.occurrenceId;
}

/** Replays one as the API does. */
export function replay(
  world: StoreWorld,
  id: string,
  changes: Partial<ReplayRequest> = {},
): Promise<ReplayAnswer> {
  return world.store.failed.replay({
    id,
    occurrenceId: world.random.uuid(),
    at: world.now,
    jobData: null,
    force: false,
    reason: null,
    by: "alice",
    idempotency: null,
    defaultsOf: () => DEFAULTS,
    ...changes,
  });
}

async function replayed(world: StoreWorld, id: string): Promise<JobMessage> {
  const answer = await replay(world, id);
  assert(answer.ok, `the replay was refused: ${JSON.stringify(answer)}`);
  const [message] = answer.messages;
  assert(message !== undefined, "the replay may not run yet");
  return message;
}

/** Loses the running attempt. */
async function lose(world: StoreWorld, message: JobMessage): Promise<void> {
  await world.clock.advance(LEASE_MS + 1);
  const silent = await world.store.ledger.silentAttempts(world.now, 10);
  const own = silent.filter((one) => one.occurrenceId === message.occurrenceId);
  assert(await world.store.ledger.reap(world.epoch, own, world.now, 0) !== null);
}

/** Runs one whose worker is lost until it is suspect. */
async function suspectOne(world: StoreWorld, job: Job, lines = 0): Promise<string> {
  await world.lead();
  let message = await world.running(job);
  for (let loss = 1;; loss++) {
    await world.store.lines.append(Array.from({ length: lines }, (_, sequence) => ({
      occurrenceId: message.occurrenceId,
      scheduledFor: message.scheduledFor,
      token: message.token,
      sequence,
      at: world.now,
      level: "info" as const,
      message: `line ${sequence} of attempt ${message.token}`,
      fields: null,
    })));
    await lose(world, message);
    if (loss === LOST_AT_MOST) return message.occurrenceId;
    message = await world.claimed(message);
  }
}

export function failedContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} failed occurrences`, factory);

  const detail = async (world: StoreWorld, id: string) => {
    const found = await world.store.failed.get(id);
    assert(found !== null, `no failed occurrence ${id}`);
    return found;
  };
  const idsOf = async (world: StoreWorld, filter: FailedFilter, limit = 100) => {
    const ids: string[] = [];
    let after: string | null = null;
    do {
      const page: Awaited<ReturnType<StoreWorld["store"]["failed"]["list"]>> = await world.store.failed.list(
        filter,
        limit,
        after,
      );
      ids.push(...page.items.map((one) => one.id));
      after = page.next;
    } while (after !== null);
    return ids;
  };

  promise(
    "after the last attempt, and not before, a failed occurrence stands with all that is known",
    async (world) => {
      const job = await world.saved({ maxRetries: 1 });
      const message = await world.running(job);
      await world.record(message, FAILED);
      assertEquals(await idsOf(world, {}), []);
      await world.clock.advance(3_600_000);
      const again = await world.claimed({ ...message, token: 1 });
      await world.record(again, FAILED);
      const { failed, jobData, lastOutput, replayOf, replays } = await detail(world, message.occurrenceId);
      assertMatch(failed.fingerprint, /^[0-9a-f]{16}$/);
      assertMatch(failed.reason ?? "", /^Attempt 2 of 2 failed \(TypeError: x is undefined\)/);
      assertEquals(failed, {
        id: message.occurrenceId,
        jobId: job.id,
        jobVersion: 1,
        jobType: job.jobType,
        kind: "failed",
        scheduledFor: message.scheduledFor,
        failedAt: world.now,
        attempts: 2,
        fingerprint: failed.fingerprint,
        error: FAILED.error,
        reason: failed.reason,
        resolution: null,
      });
      assertEquals([jobData, lastOutput, replayOf, replays], ['{"day":1}', [], null, []]);
    },
  );

  promise("only what fails for good leaves a failed occurrence, by every way it can", async (world) => {
    const job = await world.saved();
    await world.record(await world.running(job), COMPLETED);
    await world.record(await world.running(job), HANDED_BACK);
    await world.record(await world.running(job), { kind: "cancelled", rung: "signal" });
    const asked = await world.running(job);
    await world.cancel(asked.occurrenceId);
    await world.record(asked, FAILED);
    await world.cancel((await world.queued(job)).occurrenceId);
    assertEquals(await idsOf(world, {}), []);
    const failed = await failedOne(world, job);
    const late = await failedOne(world, job, TIMED_OUT);
    const suspect = await suspectOne(world, job);
    const kinds = await Promise.all(
      [failed, late, suspect].map(async (id) => (await detail(world, id)).failed.kind),
    );
    assertEquals(kinds, ["failed", "timed-out", "suspect"]);
    assertEquals(await world.store.failed.unresolved(), { failed: 1, "timed-out": 1, suspect: 1 });
  });

  promise("the same report again leaves no second one", async (world) => {
    const message = await world.running(await world.saved());
    await world.record(message, PERMANENT);
    await world.record(message, PERMANENT);
    assertEquals(await idsOf(world, {}), [message.occurrenceId]);
  });

  promise("a suspect keeps what it wrote last", async (world) => {
    const id = await suspectOne(world, await world.saved(), 15);
    const { lastOutput } = await detail(world, id);
    assertEquals(lastOutput.length, 20);
    assertEquals(lastOutput[0]?.message, "line 10 of attempt 1");
    assertEquals(lastOutput.at(-1)?.message, "line 14 of attempt 2");
  });

  promise("lists by every filter, newest failure first, in pages", async (world) => {
    const mail = await world.saved({ jobType: "SendEmailJob" });
    const report = await world.saved();
    const first = await failedOne(world, mail, errorOf("Cannot reach 10.0.0.1:25"));
    const second = await failedOne(world, mail, errorOf("Cannot reach 10.0.0.2:25"));
    await world.clock.advance(1000);
    const third = await failedOne(world, mail, TIMED_OUT);
    const fourth = await failedOne(world, report);
    await world.store.failed.resolve(second, {
      action: "Fixed",
      note: "n",
      by: "ann",
      at: world.now,
      occurrenceId: null,
    });
    const { fingerprint } = (await detail(world, first)).failed;
    assertEquals((await detail(world, second)).failed.fingerprint, fingerprint);
    const all = [fourth, third, second, first];
    assertEquals(await idsOf(world, {}), all);
    assertEquals(await idsOf(world, {}, 1), all);
    assertEquals(await idsOf(world, { jobId: mail.id }), [third, second, first]);
    assertEquals(await idsOf(world, { jobType: report.jobType }), [fourth]);
    assertEquals(await idsOf(world, { fingerprint }), [second, first]);
    assertEquals(await idsOf(world, { kinds: ["timed-out", "suspect"] }), [third]);
    assertEquals(await idsOf(world, { from: world.now }), [fourth, third]);
    assertEquals(await idsOf(world, { to: world.now }), [second, first]);
    assertEquals(await idsOf(world, { isResolved: true }), [second]);
    assertEquals(await idsOf(world, { isResolved: false, fingerprint }), [first]);
    assertEquals(await idsOf(world, { jobId: world.random.uuid() }), []);
    assertEquals(await idsOf(world, { jobId: mail.id, to: Number.MAX_SAFE_INTEGER }, 2), [
      third,
      second,
      first,
    ]);
    await assertRejects(() => world.store.failed.list({}, 10, "elsewhere"), RangeError);
  });

  promise("groups by fingerprint, the largest first, in pages", async (world) => {
    const one = await world.saved();
    const other = await world.saved();
    await failedOne(world, one, errorOf("Cannot reach 10.0.0.1"));
    await world.clock.advance(1000);
    const newest = await failedOne(world, other, errorOf("Cannot reach 10.0.0.2"));
    await failedOne(world, one, errorOf("No such table"));
    await failedOne(world, one, TIMED_OUT);
    const first = await world.store.failed.groups({}, 1, null);
    const [group] = first.items;
    assertEquals([group?.count, group?.jobs, group?.firstAt, group?.lastAt, group?.sample.id], [
      2,
      2,
      world.now - 1000,
      world.now,
      newest,
    ]);
    assertEquals(group?.fingerprint, group?.sample.fingerprint);
    const second = await world.store.failed.groups({}, 1, first.next);
    const third = await world.store.failed.groups({}, 10, second.next);
    const counts = [...first.items, ...second.items, ...third.items].map((one) => one.count);
    assertEquals([counts, third.next], [[2, 1, 1], null]);
    assertEquals((await world.store.failed.groups({ jobId: other.id }, 10, null)).items.length, 1);
    await assertRejects(() => world.store.failed.groups({}, 10, "elsewhere"), RangeError);
  });

  promise("is resolved once; the same again is fine, another is refused, reopened is open", async (world) => {
    const id = await failedOne(world, await world.saved());
    const { failed } = world.store;
    const resolution = {
      action: "Ignored",
      note: "A test\0 run",
      by: "ann",
      at: world.now,
      occurrenceId: null,
    } as const;
    const plain = { ...resolution, note: "A test run" };
    const first = await failed.resolve(id, plain);
    assert(first.ok && first.isNew);
    assertEquals(first.failed.resolution, plain);
    const same = await failed.resolve(id, { ...plain, by: "bob", at: world.now + 5 });
    assert(same.ok && !same.isNew);
    assertEquals(same.failed.resolution, plain);
    assertEquals(await failed.resolve(id, { ...plain, action: "Fixed" }), {
      ok: false,
      reason: "resolved",
      current: plain,
    });
    const open = await failed.reopen(id);
    assert(open.ok && open.isNew && open.failed.resolution === null);
    const still = await failed.reopen(id);
    assert(still.ok && !still.isNew);
    assert((await failed.resolve(id, resolution)).ok);
    assertEquals(await failed.resolve(world.random.uuid(), plain), { ok: false, reason: "not-found" });
    assertEquals(await failed.reopen("no id"), { ok: false, reason: "not-found" });
  });

  promise("a replay is a new occurrence with the failed one's payload, linked both ways", async (world) => {
    const job = await world.saved();
    const answer = await world.trigger(job, {
      items: [{ occurrenceId: world.random.uuid(), jobData: '{"day":"ü😀"}' }],
    });
    assert(answer.ok);
    const [message] = answer.messages;
    assert(message !== undefined);
    await world.record(await world.claimed(message), PERMANENT);
    const id = message.occurrenceId;
    const before = await world.detail(id);
    await world.clock.advance(10);
    const again = await replayed(world, id);
    assertNotEquals(again.occurrenceId, id);
    assertEquals([again.jobData, again.token, again.scheduledFor], ['{"day":"ü😀"}', 0, world.now]);
    const link = { occurrenceId: again.occurrenceId, at: world.now, actionId: null, status: "Queued" };
    assertEquals((await detail(world, id)).replays, [link as never]);
    const failed = await world.detail(id);
    assertEquals([failed.occurrence, failed.replays], [before.occurrence, [link as never]]);
    const one = await world.detail(again.occurrenceId);
    assertEquals([one.occurrence.origin, one.replayOf, one.occurrence.jobData], [
      "replay",
      id,
      '{"day":"ü😀"}',
    ]);
    assertMatch(one.occurrence.reason ?? "", /^Replay of .* by alice$/);
  });

  promise("a replay takes another payload when one is given", async (world) => {
    const id = await failedOne(world, await world.saved());
    const answer = await replay(world, id, { jobData: '{"day":2}', reason: "day was wrong" });
    assert(answer.ok);
    assertEquals(answer.messages.map((one) => one.jobData), ['{"day":2}']);
  });

  promise("a replay that completes resolves what it replays", async (world) => {
    for (const policy of ["Allow", "Queue", "Skip"] as const) {
      const id = await failedOne(world, await world.saved({ concurrentExecutionPolicy: policy }));
      const again = await world.claimed(await replayed(world, id));
      await world.clock.advance(10);
      await world.record(again, COMPLETED);
      const { failed, replays } = await detail(world, id);
      assertEquals([failed.resolution?.action, failed.resolution?.by, failed.resolution?.occurrenceId], [
        "Replayed",
        "replay",
        again.occurrenceId,
      ]);
      assertEquals([failed.resolution?.at, replays[0]?.status], [world.now, "Completed"]);
    }
    assertEquals(await idsOf(world, { isResolved: false }), []);
  });

  promise("a replay that fails as well stands for what it replayed", async (world) => {
    const id = await failedOne(world, await world.saved());
    const second = await world.claimed(await replayed(world, id));
    await world.record(second, TIMED_OUT);
    const { failed } = await detail(world, id);
    assertEquals([failed.resolution?.action, failed.resolution?.occurrenceId], [
      "Superseded",
      second.occurrenceId,
    ]);
    assertEquals(await idsOf(world, { isResolved: false }), [second.occurrenceId]);
    const newer = await detail(world, second.occurrenceId);
    assertEquals([newer.replayOf, newer.failed.kind], [id, "timed-out"]);
  });

  promise(
    "a person's resolution is kept whatever a replay does, and a cancelled one changes none",
    async (world) => {
      const job = await world.saved();
      const id = await failedOne(world, job);
      const again = await world.claimed(await replayed(world, id));
      const resolution = {
        action: "Fixed",
        note: "n",
        by: "ann",
        at: world.now,
        occurrenceId: null,
      } as const;
      await world.store.failed.resolve(id, resolution);
      await world.record(again, COMPLETED);
      assertEquals((await detail(world, id)).failed.resolution, resolution);
      const other = await failedOne(world, job);
      await world.cancel((await replayed(world, other)).occurrenceId);
      assertEquals((await detail(world, other)).failed.resolution, null);
      assertEquals((await detail(world, other)).replays.map((one) => one.status), ["Cancelled"]);
    },
  );

  promise("a replay obeys its job: Skip refuses naming the run, Queue waits, force runs", async (world) => {
    const skip = await world.saved({ concurrentExecutionPolicy: "Skip" });
    const skipped = await failedOne(world, skip);
    const running = await world.running(skip);
    assertEquals(await replay(world, skipped), {
      ok: false,
      reason: "overlap",
      occurrenceId: running.occurrenceId,
    });
    const forced = await replay(world, skipped, { force: true });
    assert(forced.ok && forced.messages.length === 1);

    const queue = await world.saved({ concurrentExecutionPolicy: "Queue" });
    const queued = await failedOne(world, queue);
    const before = await world.running(queue);
    const waits = await replay(world, queued);
    assert(waits.ok && waits.messages.length === 0);
    const { released } = await world.record(before, COMPLETED);
    assertEquals(released.map((one) => one.occurrenceId), [waits.occurrenceId]);
  });

  promise("a replay is refused for what is gone, inactive, or being replayed already", async (world) => {
    assertEquals(await replay(world, world.random.uuid()), { ok: false, reason: "not-found" });
    const job = await world.saved();
    const id = await failedOne(world, job);
    const on = await replayed(world, id);
    assertEquals(await replay(world, id), {
      ok: false,
      reason: "replay-on",
      occurrenceId: on.occurrenceId,
    });
    assert((await replay(world, id, { force: true })).ok);
    const other = await failedOne(world, job);
    await world.store.jobs.update({ ...job, version: 2, isActive: false }, 1);
    assertEquals(await replay(world, other), { ok: false, reason: "disabled" });
  });

  promise("of many replays of one at once, one begins", async (world) => {
    const id = await failedOne(world, await world.saved());
    const answers = await Promise.all([1, 2, 3, 4].map(() => replay(world, id)));
    assertEquals(answers.filter((one) => one.ok).length, 1);
  });

  promise(
    "many are resolved at once, by a filter or ids; what was resolved before stays as it is",
    async (world) => {
      const job = await world.saved();
      const [first, second, third] = [
        await failedOne(world, job),
        await failedOne(world, job),
        await failedOne(world, job),
      ];
      const by = (note: string) =>
        ({ action: "Fixed", note, by: "ann", at: world.now, occurrenceId: null }) as const;
      const { failed } = world.store;
      await failed.resolve(first, by("alone"));
      const filter = { jobId: job.id };
      assertEquals(await failed.resolveMany({ filter }, by("all"), 3), {
        ok: false,
        reason: "unexpected",
        count: 2,
      });
      assertEquals(await failed.resolveMany({ ids: [first, second] }, by("two"), null), {
        ok: true,
        count: 1,
      });
      assertEquals(await failed.resolveMany({ filter }, by("all"), 1), { ok: true, count: 1 });
      const notes = await Promise.all(
        [first, second, third].map(async (id) => (await failed.get(id))?.failed.resolution?.note),
      );
      assertEquals(notes, ["alone", "two", "all"]);
      assertEquals(await failed.resolveMany({ filter }, by("all"), null), {
        ok: false,
        reason: "none",
        count: 0,
      });
    },
  );

  promise("the same idempotency key begins one replay", async (world) => {
    const id = await failedOne(world, await world.saved());
    const idempotency = { key: "once", requestHash: "h" };
    const answers = await Promise.all([1, 2, 3].map(() => replay(world, id, { idempotency })));
    const oks = answers.map((one) => one.ok ? [one.occurrenceId, one.messages.length] : one.reason);
    assertEquals(new Set(oks.map((one) => one[0])).size, 1);
    assertEquals(answers.filter((one) => one.ok && !one.replayed).length, 1);
    assertEquals(await replay(world, id, { idempotency: { key: "once", requestHash: "other" } }), {
      ok: false,
      reason: "idempotency-mismatch",
    });
    assertEquals((await detail(world, id)).replays.length, 1);
  });

  promise("stands and is replayed when retention has deleted its occurrence", async (world) => {
    await world.lead();
    const job = await world.saved();
    const answer = await world.trigger(job, {
      items: [{ occurrenceId: world.random.uuid(), jobData: '{"day":7}' }],
    });
    assert(answer.ok);
    for (const message of answer.messages) await world.record(await world.claimed(message), PERMANENT);
    const [id = ""] = answer.occurrenceIds;
    const first = await world.claimed(await replayed(world, id));
    await world.record(first, { kind: "cancelled", rung: "signal" });
    await world.clock.advance(10 * 86_400_000);
    const rules = { completedDays: 1, failedDays: 1, keepLast: 0, lineDays: 1, unresolvedDays: 365 };
    for (let isDone = false; !isDone;) {
      const swept = await world.store.retention.sweep(world.epoch, rules, world.now);
      assert(swept !== null);
      isDone = swept.isDone;
    }
    assertEquals(await world.store.history.occurrence(id), null);
    const { failed, jobData, replays } = await detail(world, id);
    assertEquals([failed.jobType, failed.error?.name, jobData], [job.jobType, "TypeError", '{"day":7}']);
    assertEquals(replays.map((one) => [one.occurrenceId, one.status]), [[first.occurrenceId, null]]);
    const again = await world.claimed(await replayed(world, id));
    assertEquals(again.jobData, '{"day":7}');
    await world.record(again, COMPLETED);
    assertEquals((await detail(world, id)).failed.resolution?.action, "Replayed");
  });

  promise("goes with its job", async (world) => {
    const job = await world.saved();
    const id = await failedOne(world, job);
    const again = await world.claimed(await replayed(world, id));
    await world.record(again, COMPLETED);
    assertEquals(await world.store.jobs.remove(job.id), { ok: true });
    assertEquals(await world.store.failed.get(id), null);
    assertEquals(await idsOf(world, {}), []);
    assertEquals(await world.store.failed.unresolved(), { failed: 0, "timed-out": 0, suspect: 0 });
  });
}
