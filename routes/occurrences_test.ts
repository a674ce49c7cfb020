import { assertEquals, assertStringIncludes } from "@std/assert";
import { withApi } from "../tests/support/api.ts";

const KEYS =
  "id jobId jobType status scheduledFor createdAt startedAt endedAt durationMs workerId instanceId attempt " +
  "result error reason";

Deno.test("an occurrence has the fields that others rely on, times to the millisecond, its result as a value", () =>
  withApi(async (api) => {
    const id = await api.createJob();
    const occurrenceId = await api.trigger(id);
    await api.run(occurrenceId);
    const { body } = await api.get(`/api/v1/occurrences?jobId=${id}&status=Completed`);
    const [found] = body.items;
    for (const key of KEYS.split(" ")) assertEquals(key in found, true, key);
    assertEquals(found.startedAt, "2026-11-24T10:00:00.000Z");
    assertEquals(found.endedAt, "2026-11-24T10:00:00.012Z");
    assertEquals([found.status, found.durationMs, found.attempt, found.result], ["Completed", 12, 1, {
      sent: 1,
    }]);
    assertEquals([found.workerId, found.instanceId, found.error], ["local", "worker-1", null]);
    assertEquals(body.nextCursor, null);
  }));

Deno.test("the detail of an occurrence has its attempts and its way through the states", () =>
  withApi(async (api) => {
    const occurrenceId = await api.trigger(await api.createJob({ maxRetries: 0 }));
    const error = {
      name: "TypeError",
      message: "no",
      stack: "at x",
      causes: [{ name: "Error", message: "why" }],
    };
    await api.run(occurrenceId, {
      kind: "failed",
      error,
      permanent: false,
      retryAfterMs: null,
      cause: "error",
    });
    const { body } = await api.get(`/api/v1/occurrences/${occurrenceId}`);
    assertEquals([body.status, body.error, body.attempts.length], ["Failed", error, 1]);
    assertEquals(body.attempts[0].workerId, "local");
    const way = body.stateChanges.map(({ to }: { to: string }) => to);
    assertEquals(way, ["Queued", "Running", "Failed"]);
    assertEquals(body.jobData, {});
  }));

Deno.test("log lines come in order, page by page", () =>
  withApi(async (api) => {
    const occurrenceId = await api.trigger(await api.createJob());
    await api.run(occurrenceId);
    await api.adapters.store.lines.append(["one", "two", "three"].map((message, sequence) => ({
      occurrenceId,
      scheduledFor: api.clock.now(),
      token: 1,
      sequence,
      at: api.clock.now() + sequence,
      level: "info",
      message,
      fields: sequence === 1 ? '{"step":2}' : null,
    })));
    const first = await api.get(`/api/v1/occurrences/${occurrenceId}/logs?limit=2`);
    assertEquals(first.body.items.map((line: { message: string }) => line.message), ["one", "two"]);
    assertEquals(first.body.items[1].fields, { step: 2 });
    assertEquals(first.body.items[1].at, "2026-11-24T10:00:00.001Z");
    const second = await api.get(
      `/api/v1/occurrences/${occurrenceId}/logs?cursor=${first.body.nextCursor}&limit=2`,
    );
    assertEquals(second.body.items.map((line: { message: string }) => line.message), ["three"]);
    const nobody = "0198c2d4-5b6e-7f00-8a9b-0c1d2e3f4a5b";
    assertEquals((await api.get(`/api/v1/occurrences/${nobody}/logs`)).status, 404);
  }));

Deno.test("a queued occurrence is cancelled at once, and cancelling it again changes nothing", () =>
  withApi(async (api) => {
    const occurrenceId = await api.trigger(await api.createJob());
    const cancel = () => api.post(`/api/v1/occurrences/${occurrenceId}/cancel`, { reason: "not needed" });
    const first = await cancel();
    assertEquals([first.status, first.body], [200, { occurrenceId, state: "cancelled" }]);
    assertEquals((await cancel()).status, 200);
    const { body } = await api.get(`/api/v1/occurrences/${occurrenceId}`);
    assertEquals([body.status, body.cancel.reason], ["Cancelled", "not needed"]);
  }));

Deno.test("cancelling a queued run releases the one behind it, under policy Queue", () =>
  withApi(async (api) => {
    const released = Promise.withResolvers<string>();
    const id = await api.createJob({ concurrentExecutionPolicy: "Queue" });
    const first = await api.trigger(id);
    const second = await api.trigger(id);
    const subscription = await api.adapters.queue.consume(
      { jobType: "SampleJob", routingPattern: "samplejob.*", pool: "local", prefetch: 10 },
      (deliveries) =>
        deliveries.forEach(({ message }) => message.occurrenceId === second && released.resolve(second)),
    );
    await api.post(`/api/v1/occurrences/${first}/cancel`);
    assertEquals(await released.promise, second);
    await subscription.stop();
  }));

Deno.test("a running occurrence is asked to stop, and its worker is told which attempt", () =>
  withApi(async (api) => {
    const occurrenceId = await api.trigger(await api.createJob());
    const token = await api.claim(occurrenceId);
    const told: unknown[] = [];
    const stop = api.adapters.events.subscribe(["cancelRequested"], (events) => told.push(...events));
    const { status, body } = await api.post(`/api/v1/occurrences/${occurrenceId}/cancel`, {
      reason: "too long",
    });
    assertEquals([status, body.state], [202, "requested"]);
    assertEquals(told, [{
      type: "cancelRequested",
      occurrenceId,
      token,
      reason: "too long",
      at: api.clock.now(),
    }]);
    stop();
  }));

Deno.test("a cancellation shows how far it has come: requested, signalled by whom, ended at which rung", () =>
  withApi(async (api) => {
    const occurrenceId = await api.trigger(await api.createJob());
    const token = await api.claim(occurrenceId);
    const path = `/api/v1/occurrences/${occurrenceId}`;
    await api.post(`${path}/cancel`, { reason: "too long" });
    const shown = async () => (await api.get(path)).body.cancel;
    const asked = await shown();
    assertEquals([asked.state, asked.by, asked.reason, asked.signalledAt], [
      "requested",
      "api",
      "too long",
      null,
    ]);
    const { outcomes } = api.adapters.store;
    const scheduledFor = api.clock.now();
    const at = api.clock.now();
    const notice = {
      occurrenceId,
      scheduledFor,
      token,
      instanceId: "worker-1",
      cause: "cancelled",
      at,
    } as const;
    await outcomes.recordSignals([notice]);
    const signalled = await shown();
    assertEquals([signalled.state, signalled.instanceId, signalled.signalledAt], [
      "signalled",
      "worker-1",
      "2026-11-24T10:00:00.000Z",
    ]);
    const { occurrence } = await api.adapters.store.history.occurrence(occurrenceId) ?? {};
    const report = {
      occurrenceId,
      scheduledFor,
      jobId: occurrence?.jobId ?? "",
      token,
      workerId: "local",
      instanceId: "worker-1",
      startedAt: at,
      endedAt: at + 5,
      durationMs: 5,
      outcome: { kind: "cancelled", rung: "terminated" },
    } as const;
    await outcomes.record([report], api.clock.now(), 0);
    const killed = await shown();
    assertEquals([killed.state, killed.rung, killed.endedAt], [
      "killed",
      "terminated",
      "2026-11-24T10:00:00.005Z",
    ]);
    assertStringIncludes(killed.sentence, "its thread was ended");
    assertEquals((await api.post(`${path}/cancel`)).status, 200);
  }));

Deno.test("a run that completed before its cancellation took effect says so", () =>
  withApi(async (api) => {
    const occurrenceId = await api.trigger(await api.createJob());
    const path = `/api/v1/occurrences/${occurrenceId}`;
    const { occurrence } = await api.adapters.store.history.occurrence(occurrenceId) ?? {};
    const token = await api.claim(occurrenceId);
    await api.post(`${path}/cancel`);
    await api.adapters.store.outcomes.record(
      [{
        occurrenceId,
        scheduledFor: occurrence?.scheduledFor ?? 0,
        jobId: occurrence?.jobId ?? "",
        token,
        workerId: "local",
        instanceId: "worker-1",
        startedAt: api.clock.now(),
        endedAt: api.clock.now(),
        durationMs: 0,
        outcome: { kind: "completed", result: null },
      }],
      api.clock.now(),
      0,
    );
    const { body } = await api.get(path);
    assertEquals([body.status, body.cancel.state], ["Completed", "too-late"]);
    assertStringIncludes(body.cancel.sentence, "It ended as Completed before the abort signal took effect");
  }));

Deno.test("an occurrence that has ended is not cancelled; the answer says as what it ended", () =>
  withApi(async (api) => {
    const occurrenceId = await api.trigger(await api.createJob());
    await api.run(occurrenceId);
    const { status, body } = await api.post(`/api/v1/occurrences/${occurrenceId}/cancel`);
    assertEquals([status, body.code, body.state], [409, "state_conflict", "Completed"]);
  }));

Deno.test("occurrences are filtered by several statuses, by name or number, and by time", () =>
  withApi(async (api) => {
    const id = await api.createJob({ concurrentExecutionPolicy: "Allow" });
    await api.run(await api.trigger(id));
    await api.clock.advance(60_000);
    await api.trigger(id);
    const count = async (query: string) => (await api.get(`/api/v1/occurrences?${query}`)).body.items.length;
    assertEquals(await count("status=Completed,Queued"), 2);
    assertEquals(await count("status=2"), 1);
    assertEquals(await count("status=Failed"), 0);
    assertEquals(await count("from=2026-11-24T10:00:30Z"), 1);
    assertEquals(await count("to=2026-11-24T11:00:30%2B01:00"), 1);
    assertEquals(await count("jobType=SampleJob"), 2);
  }));

Deno.test("an occurrence lost twice is shown as suspect, with the last output, and its logs by attempt", () =>
  withApi(async (api) => {
    const { ledger, lines } = api.adapters.store;
    const occurrenceId = await api.trigger(await api.createJob());
    const { epoch } = await ledger.raiseEpoch("api-1", api.clock.now(), api.clock.now() + 15_000);
    for (const token of [1, 2]) {
      await api.claim(occurrenceId);
      await lines.append(Array.from({ length: 25 }, (_, sequence) => ({
        occurrenceId,
        scheduledFor: api.clock.now(),
        token,
        sequence,
        at: api.clock.now(),
        level: "info",
        message: `line ${sequence} of ${token}`,
        fields: null,
      })));
      const progress = { occurrenceId, token, done: token, total: 9, at: api.clock.now() };
      await api.adapters.store.outcomes.recordProgress([{ ...progress, scheduledFor: api.clock.now() }]);
      const [seen] = await ledger.silentAttempts(Infinity, 10);
      if (seen !== undefined) await ledger.reap(epoch, [seen], api.clock.now(), 0);
      const { body } = await api.get(`/api/v1/occurrences/${occurrenceId}`);
      if (token === 1) assertEquals([body.status, body.lastOutput], ["Queued", null]);
    }
    const { body } = await api.get(`/api/v1/occurrences/${occurrenceId}`);
    assertEquals([body.status, body.reason.startsWith("suspect: The worker instance worker-1")], [
      "Failed",
      true,
    ]);
    assertEquals(
      body.attempts.map((one: { outcome: string; number: null }) => [one.outcome, one.number]),
      [["lost", null], ["lost", null]],
    );
    const { lastOutput } = body;
    assertEquals([lastOutput.token, lastOutput.lines.length, lastOutput.progress], [2, 20, {
      done: 2,
      total: 9,
    }]);
    assertEquals(lastOutput.lines.at(-1).message, "line 24 of 2");
    const logs = (query: string) => api.get(`/api/v1/occurrences/${occurrenceId}/logs?${query}`);
    const messages = (await logs("fencingToken=1&limit=100")).body.items.map((line: { token: number }) =>
      line.token
    );
    assertEquals([messages.length, new Set(messages)], [25, new Set([1])]);
    assertEquals((await logs("attempt=1")).body.items, []);
    assertEquals((await logs("fencingToken=none")).status, 400);
  }));

Deno.test("log lines are read by the number of the attempt, page by page", () =>
  withApi(async (api) => {
    const occurrenceId = await api.trigger(await api.createJob({ baseRetryDelaySeconds: 0 }));
    for (const token of [1, 2]) {
      await api.run(occurrenceId, {
        kind: "failed",
        error: { name: "E", message: "no", stack: null, causes: [] },
        permanent: false,
        retryAfterMs: 0,
        cause: "error",
      });
      await api.adapters.store.lines.append([0, 1, 2].map((sequence) => ({
        occurrenceId,
        scheduledFor: api.clock.now(),
        token,
        sequence,
        at: api.clock.now(),
        level: "info",
        message: `${sequence} of ${token}`,
        fields: null,
      })));
    }
    const path = `/api/v1/occurrences/${occurrenceId}/logs?attempt=2&limit=2`;
    const first = (await api.get(path)).body;
    const second = (await api.get(`${path}&cursor=${first.nextCursor}`)).body;
    const messages = [...first.items, ...second.items].map((line: { message: string }) => line.message);
    assertEquals([messages, second.nextCursor], [["0 of 2", "1 of 2", "2 of 2"], null]);
  }));
