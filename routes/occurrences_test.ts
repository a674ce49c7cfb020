import { assertEquals } from "@std/assert";
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
