/** The contract of `Attempts` and `Outcomes`: one run at a time for a token, one end for an occurrence. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { COMPLETED, FAILED, HANDED_BACK, LEASE_MS, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function outcomesContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} outcomes`, factory);

  // ------------------------------------------------------------------------------------------------- claims

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

  // ------------------------------------------------------------------------------------------------ reports

  promise("a completed attempt ends its occurrence with times and result", async (world) => {
    const message = await world.running(await world.saved());
    await world.clock.advance(40);
    const answer = await world.store.outcomes.record(
      [world.report(message, COMPLETED, { durationMs: 40 })],
      world.now,
      0.5,
    );
    assertEquals(answer, {
      released: [],
      nextRetryAt: null,
      stale: 0,
      changed: [{
        occurrenceId: message.occurrenceId,
        jobId: message.jobId,
        jobType: message.jobType,
        status: "Completed",
        attempt: 1,
        scheduledFor: message.scheduledFor,
        reason: null,
      }],
    });
    const { occurrence, attempts, changes } = await world.detail(message.occurrenceId);
    assertEquals(
      [occurrence.startedAt, occurrence.endedAt, occurrence.durationMs, occurrence.result, occurrence.error],
      [world.now - 40, world.now, 40, '{"sum":3}', null],
    );
    assertEquals(attempts.map((one) => [one.token, one.number, one.outcome, one.durationMs]), [
      [1, 1, "completed", 40],
    ]);
    assertEquals(changes.map((one) => [one.from, one.to, one.at, one.token]), [
      [null, "Queued", world.now - 40, 0],
      ["Queued", "Running", world.now - 40, 1],
      ["Running", "Completed", world.now, 1],
    ]);
  });

  promise("the same report again changes nothing", async (world) => {
    const message = await world.running(await world.saved({ concurrentExecutionPolicy: "Queue" }));
    const report = world.report(message, COMPLETED);
    const answer = await world.store.outcomes.record([report, report], world.now, 0.5);
    assertEquals([answer.changed.length, answer.stale], [1, 1]);
    const before = await world.detail(message.occurrenceId);
    const again = await world.store.outcomes.record([report], world.now + 5, 0.5);
    assertEquals([again.changed, again.released, again.stale], [[], [], 1]);
    assertEquals(await world.detail(message.occurrenceId), before);
  });

  promise("a report of an older token changes nothing", async (world) => {
    const job = await world.saved();
    const first = await world.running(job);
    await world.record(first, HANDED_BACK);
    const second = await world.claimed(first);
    const answer = await world.record(first, COMPLETED);
    assertEquals([answer.changed.length, answer.stale], [0, 1]);
    assertEquals(await world.status(first.occurrenceId), "Running");
    assertEquals((await world.record(second, COMPLETED)).stale, 0);
    assertEquals((await world.record(first, FAILED)).stale, 1);
    assertEquals(await world.status(first.occurrenceId), "Completed");
  });

  promise("a report of an unknown occurrence is stale and harms no other", async (world) => {
    const message = await world.running(await world.saved());
    const stranger = { ...message, occurrenceId: world.random.uuid() };
    const answer = await world.store.outcomes.record(
      [world.report(stranger, COMPLETED), world.report(message, COMPLETED)],
      world.now,
      0,
    );
    assertEquals([answer.changed.length, answer.stale], [1, 1]);
  });

  promise("a failed attempt comes again after a stored back-off, until none is left", async (world) => {
    const message = await world.running(await world.saved());
    const first = await world.record(message, FAILED);
    assertEquals(first.nextRetryAt !== null && first.released.length === 0, true);
    const wait = (first.nextRetryAt ?? 0) - world.now;
    assert(wait >= 5_000 && wait <= 10_000, `10 s with jitter, got ${wait}`);
    const { occurrence } = await world.detail(message.occurrenceId);
    assertEquals([occurrence.status, occurrence.readyAt], ["Queued", first.nextRetryAt]);
    assertMatch(occurrence.reason ?? "", /^Attempt 1 of 3 failed \(TypeError: x is undefined\); .*due at 20/);

    const early = await world.attempts.claim([{ message, workerId: "p", instanceId: "i" }], LEASE_MS);
    assertEquals(early, [{ ok: false, reason: "not-ready" }]);
    assertEquals(await world.store.ledger.nextActionAt(), first.nextRetryAt);

    let token = 1;
    for (const attempt of [2, 3]) {
      await world.clock.advance(3_600_000);
      const [recoverable] = await world.store.ledger.recoverable(world.now, 10);
      assert(recoverable !== undefined);
      assertEquals([recoverable.message.token, recoverable.message.attempt], [token, attempt - 1]);
      const claimed = await world.claimed(recoverable.message);
      assertEquals(claimed.attempt, attempt);
      token = claimed.token;
      const answer = await world.record(claimed, FAILED);
      assertEquals(answer.nextRetryAt === null, attempt === 3);
    }
    const end = await world.detail(message.occurrenceId);
    assertEquals([end.occurrence.status, end.occurrence.attempt], ["Failed", 3]);
    assertEquals(end.attempts.map((one) => [one.number, one.outcome, one.error?.name]), [
      [1, "failed", "TypeError"],
      [2, "failed", "TypeError"],
      [3, "failed", "TypeError"],
    ]);
    assertEquals(end.changes.map((one) => one.to), [
      "Queued",
      "Running",
      "Queued",
      "Running",
      "Queued",
      "Running",
      "Failed",
    ]);
  });

  promise("a permanent failure is not tried again", async (world) => {
    const message = await world.running(await world.saved());
    const answer = await world.record(message, { ...FAILED, permanent: true });
    assertEquals([answer.nextRetryAt, await world.status(message.occurrenceId)], [null, "Failed"]);
  });

  promise("a job may say when it wants to be tried again", async (world) => {
    const message = await world.running(await world.saved());
    const answer = await world.record(message, { ...FAILED, retryAfterMs: 77_000 });
    assertEquals(answer.nextRetryAt, world.now + 77_000);
  });

  promise("retries of one batch do not come back together", async (world) => {
    const job = await world.saved();
    const messages = [await world.running(job), await world.running(job), await world.running(job)];
    await world.store.outcomes.record(messages.map((one) => world.report(one, FAILED)), world.now, 0);
    const { items } = await world.store.history.occurrences({ jobId: job.id }, 10, null);
    assertEquals(new Set(items.map((item) => item.readyAt)).size, 3);
  });

  promise("a timed out attempt is final", async (world) => {
    const message = await world.running(await world.saved());
    await world.record(message, { kind: "timedOut", rung: "killed", limitMs: 2500 });
    const { occurrence } = await world.detail(message.occurrenceId);
    assertEquals(occurrence.status, "TimedOut");
    assertMatch(occurrence.reason ?? "", /2\.5 s/);
  });

  promise("an attempt handed back runs again at once, uncounted, under a new token", async (world) => {
    const message = await world.running(await world.saved({ maxRetries: 0 }));
    const { released } = await world.record(message, HANDED_BACK);
    assertEquals(released.map((one) => [one.occurrenceId, one.token, one.attempt]), [
      [message.occurrenceId, 1, 0],
    ]);
    const [again] = released;
    assert(again !== undefined);
    const claimed = await world.claimed(again);
    assertEquals([claimed.token, claimed.attempt], [2, 1]);
    await world.record(claimed, COMPLETED);
    const { attempts } = await world.detail(message.occurrenceId);
    assertEquals(attempts.map((one) => [one.token, one.number, one.outcome]), [
      [1, null, "handedBack"],
      [2, 1, "completed"],
    ]);
  });

  promise("progress is kept for the newest running attempt only", async (world) => {
    const message = await world.running(await world.saved());
    const progress = { ...message, done: 3, total: 10, at: world.now };
    await world.store.outcomes.recordProgress([progress, { ...progress, token: 7, done: 9 }]);
    const { attempts } = await world.detail(message.occurrenceId);
    assertEquals(attempts[0]?.progress, { done: 3, total: 10 });
  });

  promise("a successor is released by every way a run can end, and by no retry", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
    let current = await world.running(job);
    const next = async (released: readonly { readonly occurrenceId: string }[]) => {
      assertEquals(released.length, 1);
      const [message] = released;
      assert(message !== undefined && message.occurrenceId !== current.occurrenceId);
      current = await world.claimed(message as typeof current);
    };
    for (let index = 0; index < 5; index += 1) await world.trigger(job);
    await next((await world.record(current, COMPLETED)).released);
    await next((await world.record(current, { ...FAILED, permanent: true })).released);
    await next((await world.record(current, { kind: "timedOut", rung: "signal", limitMs: 1 })).released);
    await next((await world.record(current, { kind: "cancelled", rung: "signal" })).released);
    assertEquals((await world.record(current, FAILED)).released, []);
    const cancelled = await world.cancel(current.occurrenceId);
    assert(cancelled.ok && cancelled.state === "cancelled");
    await next(cancelled.record.released);
  });

  // ------------------------------------------------------------------------------------------------- cancel

  promise("a queued occurrence is cancelled at once and never starts", async (world) => {
    const message = await world.queued(await world.saved());
    const answer = await world.cancel(message.occurrenceId);
    assert(answer.ok && answer.state === "cancelled");
    assertEquals(answer.record.changed.map((one) => one.status), ["Cancelled"]);
    const { occurrence, attempts } = await world.detail(message.occurrenceId);
    assertEquals([occurrence.status, occurrence.startedAt, attempts], ["Cancelled", null, []]);
    assertMatch(occurrence.reason ?? "", /alice.*not needed/);
    assertEquals(await world.store.ledger.nextActionAt(), null);
  });

  promise("a running occurrence keeps the request until its worker reports", async (world) => {
    const message = await world.running(await world.saved());
    assertEquals(await world.cancel(message.occurrenceId), { ok: true, state: "requested", token: 1 });
    assertEquals(await world.cancel(message.occurrenceId), { ok: true, state: "requested", token: 1 });
    assertEquals(await world.status(message.occurrenceId), "Running");
    await world.record(message, { kind: "cancelled", rung: "signal" });
    assertEquals(await world.status(message.occurrenceId), "Cancelled");
    assertEquals(await world.cancel(message.occurrenceId), { ok: true, state: "already-cancelled" });
  });

  promise("a completion that was first wins over a cancel request", async (world) => {
    const message = await world.running(await world.saved());
    await world.cancel(message.occurrenceId);
    await world.record(message, COMPLETED);
    assertEquals(await world.cancel(message.occurrenceId), {
      ok: false,
      reason: "final",
      status: "Completed",
    });
  });

  promise("nothing that was to be cancelled is tried again or handed on", async (world) => {
    for (const outcome of [FAILED, HANDED_BACK]) {
      const message = await world.running(await world.saved());
      await world.cancel(message.occurrenceId);
      const answer = await world.record(message, outcome);
      assertEquals([answer.released, answer.nextRetryAt], [[], null]);
      assertEquals(await world.status(message.occurrenceId), "Cancelled");
    }
  });

  promise("an unknown occurrence cannot be cancelled", async (world) => {
    assertEquals(await world.cancel(world.random.uuid()), { ok: false, reason: "not-found" });
  });

  // ----------------------------------------------------------------------------------------------- triggers

  promise("a trigger takes its own data, else the job's", async (world) => {
    const job = await world.saved({ jobData: '{"of":"job"}' });
    const answer = await world.trigger(job, {
      items: [
        { occurrenceId: world.random.uuid(), jobData: '{"own":1}' },
        { occurrenceId: world.random.uuid(), jobData: null },
      ],
      reason: "try",
    });
    assert(answer.ok);
    assertEquals(answer.messages.map((message) => message.jobData), ['{"own":1}', '{"of":"job"}']);
    await world.store.jobs.update({ ...job, jobData: '{"of":"next version"}' }, 1);
    const details = await Promise.all(answer.occurrenceIds.map((id) => world.detail(id)));
    assertEquals(details.map((one) => one.occurrence.jobData), ['{"own":1}', '{"of":"job"}']);
    assertEquals(details.map((one) => one.changes[0]?.reason), [
      "Triggered by alice: try",
      "Triggered by alice: try",
    ]);
  });

  promise("a trigger of no job or of a disabled one is refused", async (world) => {
    assertEquals(await world.trigger(world.job()), { ok: false, reason: "not-found" });
    const disabled = await world.saved({ isActive: false });
    assertEquals(await world.trigger(disabled), { ok: false, reason: "disabled" });
  });

  promise("a trigger against Skip is refused while a run is on, unless it insists", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Skip" });
    const message = await world.running(job);
    assertEquals(await world.trigger(job), {
      ok: false,
      reason: "overlap",
      occurrenceId: message.occurrenceId,
    });
    const forced = await world.trigger(job, { force: true });
    assert(forced.ok);
    assertEquals(forced.messages.length, 1);
  });

  promise("of many triggers against Skip at once one runs", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Skip" });
    const answers = await Promise.all([1, 2, 3, 4].map(() => world.trigger(job)));
    assertEquals(answers.filter((answer) => answer.ok).length, 1);
  });

  promise(
    "of several items of one trigger against Skip the first runs, the others tell why not",
    async (world) => {
      const job = await world.saved({ concurrentExecutionPolicy: "Skip" });
      const answer = await world.trigger(job, { count: 3 });
      assert(answer.ok);
      assertEquals([answer.occurrenceIds.length, answer.messages.length], [3, 1]);
      assertEquals(await Promise.all(answer.occurrenceIds.map((id) => world.status(id))), [
        "Queued",
        "Skipped",
        "Skipped",
      ]);
    },
  );

  promise("an idempotency key creates once, and tells another request apart", async (world) => {
    const job = await world.saved();
    const idempotency = { key: "k1", requestHash: "h1" };
    const [first, second] = await Promise.all([
      world.trigger(job, { count: 2, idempotency }),
      world.trigger(job, { count: 2, idempotency }),
    ]);
    assert(first?.ok && second?.ok);
    assertEquals([first.replayed, second.replayed], [false, true]);
    assertEquals(second.occurrenceIds, first.occurrenceIds);
    assertEquals(second.messages, []);
    assertEquals(await world.trigger(job, { idempotency: { key: "k1", requestHash: "h2" } }), {
      ok: false,
      reason: "idempotency-mismatch",
    });
    assertEquals((await world.store.history.occurrences({ jobId: job.id }, 10, null)).items.length, 2);
  });

  promise("an idempotency key is forgotten after 24 hours", async (world) => {
    const job = await world.saved();
    const idempotency = { key: "k1", requestHash: "h1" };
    await world.trigger(job, { idempotency });
    await world.clock.advance(24 * 3_600_000 + 1);
    const answer = await world.trigger(job, { idempotency: { key: "k1", requestHash: "h2" } });
    assert(answer.ok && !answer.replayed);
  });
}
