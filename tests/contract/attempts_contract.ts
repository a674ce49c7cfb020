/** The contract of `Attempts`: one claim of each token is granted, and a lease is renewed by its holder only. */
import { assert, assertEquals } from "@std/assert";
import { COMPLETED, FAILED, LEASE_MS, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function attemptsContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} attempts`, factory);

  promise("of many claims of one message exactly one is granted", async (world) => {
    const message = await world.queued(await world.saved());
    const answers = await Promise.all(
      Array.from(
        { length: 20 },
        (_, index) =>
          world.attempts.claim([{ message, workerId: "pool", instanceId: `worker-${index}` }], LEASE_MS),
      ),
    );
    const granted = answers.flat().filter((answer) => answer.ok);
    assertEquals(granted, [{ ok: true, token: 1, attempt: 1 }]);
    const refused = answers.flat().filter((answer) => !answer.ok);
    assertEquals(refused, Array(19).fill({ ok: false, reason: "stale-token" }));
    assertEquals(await world.status(message.occurrenceId), "Running");
  });

  promise("answers come in the order of the requests", async (world) => {
    const job = await world.saved();
    const fresh = await world.queued(job);
    const taken = await world.queued(job);
    await world.claimed(taken);
    const unknown = { ...fresh, occurrenceId: world.random.uuid() };
    const answers = await world.attempts.claim(
      [taken, unknown, fresh].map((message) => ({ message, workerId: "pool", instanceId: "worker-2" })),
      LEASE_MS,
    );
    assertEquals(answers, [
      { ok: false, reason: "stale-token" },
      { ok: false, reason: "gone" },
      { ok: true, token: 1, attempt: 1 },
    ]);
  });

  promise("many calls at once each get their own answers", async (world) => {
    const job = await world.saved();
    const messages = [];
    for (let index = 0; index < 30; index += 1) messages.push(await world.queued(job));
    const answers = await Promise.all(messages.map((message, index) => {
      // Every third asks for two, one of which is unknown.
      const extra = index % 3 === 0 ? [{ ...message, occurrenceId: world.random.uuid() }] : [];
      return world.attempts.claim(
        [...extra, message].map((message) => ({ message, workerId: "pool", instanceId: "worker-1" })),
        LEASE_MS,
      );
    }));
    answers.forEach((answer, index) => {
      assertEquals(answer.map((one) => one.ok), index % 3 === 0 ? [false, true] : [true]);
    });
  });

  promise("refuses a message older than the newest attempt", async (world) => {
    const message = await world.queued(await world.saved({ baseRetryDelaySeconds: 0 }));
    const running = await world.claimed(message);
    await world.record(running, FAILED);
    await world.clock.advance(1000);
    assertEquals(await claim(message), { ok: false, reason: "stale-token" });
    assertEquals(await claim({ ...message, token: 1 }), { ok: true, token: 2, attempt: 2 });

    async function claim(one: typeof message) {
      const [answer] = await world.attempts.claim(
        [{ message: one, workerId: "pool", instanceId: "worker-1" }],
        LEASE_MS,
      );
      return answer;
    }
  });

  promise("refuses what backs off, is cancelled or has ended, and says which", async (world) => {
    const job = await world.saved({ baseRetryDelaySeconds: 60 });
    const backingOff = await world.running(job);
    await world.record(backingOff, FAILED);
    const cancelled = await world.queued(job);
    await world.cancel(cancelled.occurrenceId);
    const ended = await world.running(job);
    await world.record(ended, COMPLETED);
    const answers = await world.attempts.claim(
      [backingOff, cancelled, ended].map((message) => ({
        message,
        workerId: "pool",
        instanceId: "worker-1",
      })),
      LEASE_MS,
    );
    assertEquals(answers, [
      { ok: false, reason: "not-ready" },
      { ok: false, reason: "cancelled" },
      { ok: false, reason: "final" },
    ]);
  });

  promise("a grant brings job data to a message that came without, its own or its job's", async (world) => {
    const job = await world.saved({ jobData: '{"of":"the job"}' });
    const own = JSON.stringify({ text: 'ü😀\\"' + "x".repeat(300_000) });
    const answer = await world.trigger(job, {
      items: Array.from({ length: 20 }, (_, index) => ({
        occurrenceId: world.random.uuid(),
        jobData: index === 3 ? null : own,
      })),
    });
    assert(answer.ok);
    // Every fifth came with its data, and one is unknown.
    const messages = answer.messages.map((message, index) => ({
      ...message,
      ...(index % 5 === 0 ? {} : { jobData: null, jobDataBytes: own.length }),
      ...(index === 7 ? { occurrenceId: world.random.uuid() } : {}),
    }));
    const answers = await world.attempts.claim(
      messages.map((message) => ({ message, workerId: "pool", instanceId: "worker-1" })),
      LEASE_MS,
    );
    answers.forEach((one, index) => {
      if (index === 7) return assertEquals(one, { ok: false, reason: "gone" });
      const jobData = index % 5 === 0 ? undefined : index === 3 ? '{"of":"the job"}' : own;
      assertEquals(one, {
        ok: true,
        token: 1,
        attempt: 1,
        ...(jobData === undefined ? {} : { jobData }),
      });
    });
  });

  promise("who is refused gets no job data", async (world) => {
    const message = await world.queued(await world.saved());
    await world.claimed(message);
    const [refused] = await world.attempts.claim(
      [{ message: { ...message, jobDataBytes: 10 }, workerId: "pool", instanceId: "worker-2" }],
      LEASE_MS,
    );
    assertEquals(refused, { ok: false, reason: "stale-token" });
  });

  promise("renews the newest attempt and tells of a cancellation", async (world) => {
    const job = await world.saved();
    const running = await world.running(job);
    assertEquals(await world.attempts.renew([running], LEASE_MS), [{ ok: true, cancel: null }]);
    await world.cancel(running.occurrenceId);
    const [answer] = await world.attempts.renew([running], LEASE_MS);
    assert(answer?.ok);
    assertEquals(answer.cancel, { by: "alice", reason: "not needed", requestedAt: world.now });
  });

  promise("does not renew an attempt that has ended, is older, or is unknown", async (world) => {
    const job = await world.saved();
    const running = await world.running(job);
    const ended = await world.running(job);
    await world.record(ended, COMPLETED);
    const answers = await world.attempts.renew([
      ended,
      running,
      { ...running, token: running.token - 1 },
      { ...running, occurrenceId: world.random.uuid() },
    ], LEASE_MS);
    assertEquals(answers.map((answer) => answer.ok), [false, true, false, false]);
  });

  promise("a lost attempt is not renewed, and the next one is granted to another", async (world) => {
    const job = await world.saved();
    const running = await world.running(job);
    await world.lead();
    await world.clock.advance(LEASE_MS + 1);
    const silent = await world.store.ledger.silentAttempts(world.now, 10);
    await world.store.ledger.reap(world.epoch, silent, world.now, 0.5);
    assertEquals(await world.attempts.renew([running], LEASE_MS), [{ ok: false }]);
    await world.clock.advance(60_000);
    const [answer] = await world.attempts.claim(
      [{ message: running, workerId: "pool", instanceId: "worker-2" }],
      LEASE_MS,
    );
    assertEquals(answer?.ok === true && answer.token, running.token + 1);
  });

  promise("asking for nothing is done at once", async (world) => {
    assertEquals(await world.attempts.claim([], LEASE_MS), []);
    assertEquals(await world.attempts.renew([], LEASE_MS), []);
  });
}
