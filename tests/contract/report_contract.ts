/** The contract of `Outcomes` on reports: one end for an occurrence, retries until none is left, and who comes next. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { COMPLETED, FAILED, HANDED_BACK, LEASE_MS, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function reportContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} outcomes`, factory);

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
    assert(wait >= 100 && wait <= 10_000, `10 s with full jitter, got ${wait}`);
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

  promise(
    "no retry is made ready after the budget, counted from the start of the first attempt",
    async (world) => {
      const job = await world.saved({ retryBudgetSeconds: 100, maxRetries: 50 });
      let running = await world.running(job);
      const firstStartedAt = world.now;
      const readyTimes: number[] = [];
      while (true) {
        await world.clock.advance(7_000);
        const { nextRetryAt } = await world.record(running, { ...FAILED, retryAfterMs: 20_000 });
        if (nextRetryAt === null) break;
        readyTimes.push(nextRetryAt - firstStartedAt);
        await world.clock.advance(20_000);
        // Handed back in between: that starts no new budget.
        const again = await world.claimed({ ...running, token: running.token });
        await world.record(again, HANDED_BACK);
        running = await world.claimed(again);
      }
      assertEquals(readyTimes, [27_000, 54_000, 81_000]);
      const { occurrence } = await world.detail(running.occurrenceId);
      assertEquals(occurrence.status, "Failed");
      assertMatch(
        occurrence.reason ?? "",
        /^Attempt 4 of 51 .* after the budget of 100 s from the first start/,
      );
    },
  );

  promise("a job's rules decide by the class of the error, the first that fits", async (world) => {
    const rule = { maxRetries: null, baseRetryDelaySeconds: null };
    const job = await world.saved({
      maxRetries: 0,
      retryRules: [
        { ...rule, error: "Http*", action: "retry", maxRetries: 1, baseRetryDelaySeconds: 3 },
        { ...rule, error: "HttpError", action: "fail" },
        { ...rule, error: "*", action: "fail" },
      ],
    });
    const failure = (name: string) => ({ ...FAILED, error: { ...FAILED.error, name } });
    const first = await world.running(job);
    const { nextRetryAt } = await world.record(first, failure("HttpError"));
    const wait = (nextRetryAt ?? 0) - world.now;
    assert(wait >= 100 && wait <= 3_000, `3 s with full jitter, got ${wait}`);
    await world.clock.advance(3_000);
    await world.record(await world.claimed(first), failure("HttpError"));
    const second = await world.running(job);
    await world.record(second, failure("TypeError"));
    const reason = async (id: string) => (await world.detail(id)).occurrence.reason ?? "";
    assertMatch(await reason(first.occurrenceId), /no attempt is left by the rule for Http\*$/);
    assertMatch(await reason(second.occurrenceId), /not to be tried again by the rule for \*$/);
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
}
