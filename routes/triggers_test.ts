import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { z } from "zod";
import { withApi } from "../tests/support/api.ts";
import { offer } from "../tests/support/in_process_pool.ts";

const MAIL = offer("SendEmailJob", {
  schema: z.toJSONSchema(z.strictObject({ to: z.email(), copies: z.int().max(3).optional() })) as never,
});

Deno.test("a trigger is accepted for later, with the id of its run and a payload of its own", () =>
  withApi(async (api) => {
    const id = await api.createJob({ jobData: { message: "hi" } });
    const { status, body, headers } = await api.post(`/api/v1/jobs/${id}/trigger`, {
      jobData: { message: "now" },
      reason: "because",
    });
    assertEquals(status, 202);
    assertEquals([body.jobId, body.scheduledFor, body.replayed], [id, "2026-11-24T10:00:00.000Z", false]);
    assertEquals(headers.get("location"), `/api/v1/occurrences/${body.occurrenceId}`);
    const run = (await api.get(`/api/v1/occurrences/${body.occurrenceId}`)).body;
    assertEquals([run.status, run.origin, run.jobData], ["Queued", "trigger", { message: "now" }]);
  }));

Deno.test("a trigger needs no body and then takes the job's payload", () =>
  withApi(async (api) => {
    const id = await api.createJob({ jobData: { message: "hi" } });
    const run = await api.get(`/api/v1/occurrences/${await api.trigger(id)}`);
    assertEquals(run.body.jobData, { message: "hi" });
  }));

Deno.test("a trigger against Skip while a run is on is refused, names the run, and may be forced", () =>
  withApi(async (api) => {
    const id = await api.createJob();
    const first = await api.trigger(id);
    const refused = await api.post(`/api/v1/jobs/${id}/trigger`);
    assertEquals([refused.status, refused.body.code, refused.body.occurrenceId], [
      409,
      "already_running",
      first,
    ]);
    const forced = await api.post(`/api/v1/jobs/${id}/trigger`, { force: true });
    assertEquals(forced.status, 202);
  }));

Deno.test("a trigger sent again with its idempotency key starts nothing new", () =>
  withApi(async (api) => {
    const id = await api.createJob({ concurrentExecutionPolicy: "Allow" });
    const send = (body: unknown) =>
      api.post(`/api/v1/jobs/${id}/trigger`, body, { "idempotency-key": "k-1" });
    const first = await send({ jobData: { message: "a" } });
    const again = await send({ jobData: { message: "a" } });
    assertEquals(again.body.occurrenceId, first.body.occurrenceId);
    assertEquals([first.body.replayed, again.body.replayed], [false, true]);
    const other = await send({ jobData: { message: "b" } });
    assertEquals([other.status, other.body.code], [409, "idempotency_mismatch"]);
    assertEquals((await api.get(`/api/v1/occurrences?jobId=${id}`)).body.items.length, 1);
  }));

Deno.test("many triggers are accepted in one request, all or none, with the ids in their order", () =>
  withApi(async (api) => {
    const id = await api.createJob({ concurrentExecutionPolicy: "Allow" });
    const items = Array.from({ length: 1000 }, (_, index) => ({ jobData: { message: `${index}` } }));
    const { status, body } = await api.post(`/api/v1/jobs/${id}/trigger-many`, { items });
    assertEquals([status, body.occurrenceIds.length, new Set(body.occurrenceIds).size], [202, 1000, 1000]);
    const last = await api.get(`/api/v1/occurrences/${body.occurrenceIds[999]}`);
    assertEquals(last.body.jobData, { message: "999" });
    const tooMany = await api.post(`/api/v1/jobs/${id}/trigger-many`, { items: [...items, {}] });
    assertEquals([tooMany.status, tooMany.body.code], [422, "too_many_items"]);
  }));

Deno.test("payloads are held against the schema of their type, each error with its JSON pointer", () =>
  withApi(async (api) => {
    const id = await api.createJob({
      jobType: "SendEmailJob",
      jobData: { to: "a@example.com" },
      concurrentExecutionPolicy: "Allow",
    });
    const { status, body } = await api.post(`/api/v1/jobs/${id}/trigger-many`, {
      items: [{ jobData: { to: "b@example.com" } }, { jobData: { to: "nobody", copies: 9, cc: 1 } }, {
        jobData: {},
      }],
    });
    assertEquals(status, 422);
    assertEquals(
      body.errors.map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`),
      [
        "/items/1/jobData/to format",
        "/items/1/jobData/copies out_of_range",
        "/items/1/jobData/cc unknown_field",
        "/items/2/jobData/to required",
      ],
    );
    assertEquals((await api.get(`/api/v1/occurrences?jobId=${id}`)).body.items, []);
    const text = await api.post(`/api/v1/jobs/${id}/trigger`, { jobData: '{"to":"a@example.com"}' });
    assertStringIncludes(text.body.errors[0].message, "not JSON in a text");
  }, { offers: [MAIL] }));

Deno.test("what a refused payload holds is not repeated: it may be a secret", () =>
  withApi(async (api) => {
    const id = await api.createJob({ jobType: "SendEmailJob", jobData: { to: "a@example.com" } });
    for (const secret of ["hunter2", 4711, ["hunter2"]]) {
      const refused = await api.post(`/api/v1/jobs/${id}/trigger`, {
        jobData: { to: "a@example.com", copies: secret },
      });
      assertEquals([refused.status, refused.body.errors[0].field], [422, "jobData.copies"]);
      assert(!/hunter2|4711/.test(JSON.stringify(refused.body)), JSON.stringify(refused.body));
    }
  }, { offers: [MAIL] }));

Deno.test("a schema that cannot be read does not keep its jobs from running; the log says so", () =>
  withApi(async (api) => {
    await api.createJob({ jobType: "OddJob", jobData: { a: 1 } });
    assert(api.log.complaints.some((line) => line.includes("schema of OddJob")), api.log.complaints.join());
  }, { offers: [offer("OddJob", { schema: { $ref: "https://example.com/elsewhere.json" } })] }));

Deno.test("a trigger against a full queue is refused with how many wait and for whom, and nothing is stored", () =>
  withApi(async (api) => {
    const id = await api.createJob({ concurrentExecutionPolicy: "Queue" });
    const many = (count: number) =>
      api.post(`/api/v1/jobs/${id}/trigger-many`, { items: Array.from({ length: count }, () => ({})) });
    const { body: { occurrenceIds: [front] } } = await many(1000);
    const short = await many(2);
    assertEquals([short.status, short.body.code, short.body.room], [409, "state_conflict", 1]);
    await api.trigger(id);
    const { status, body } = await api.post(`/api/v1/jobs/${id}/trigger`);
    assertEquals([status, body.code, body.state], [409, "state_conflict", "queue-full"]);
    assertEquals([body.occurrenceId, body.waiting, body.room], [front, 1000, 0]);
    assertStringIncludes(body.detail, `1000 wait already behind occurrence ${front}`);
    const skipped = await api.get(`/api/v1/occurrences?jobId=${id}&status=Skipped`);
    assertEquals(skipped.body.items, []);
  }));

Deno.test("many triggers under Skip: the answer and the live stream say which of them will not run", () =>
  withApi(async (api) => {
    const id = await api.createJob();
    const heard = new Map<string, (string | null)[]>();
    const stop = api.adapters.events.subscribe(["occurrenceChanged"], (events) => {
      for (const event of events) {
        if (event.type === "occurrenceChanged") heard.set(event.occurrenceId, [event.status, event.reason]);
      }
    });
    const { status, body } = await api.post(`/api/v1/jobs/${id}/trigger-many`, { items: [{}, {}, {}] });
    assertEquals([status, body.statuses], [202, ["Queued", "Skipped", "Skipped"]]);
    const [first, second, third] = body.occurrenceIds;
    assertEquals([first, second, third].map((one) => heard.get(one)?.[0]), body.statuses);
    const { reason } = (await api.get(`/api/v1/occurrences/${second}`)).body;
    assertStringIncludes(reason, first);
    assertEquals(heard.get(second)?.[1], reason);
    stop();
  }));

Deno.test("a trigger of a job that is not active is refused with its state", () =>
  withApi(async (api) => {
    const id = await api.createJob({ isActive: false });
    const { status, body } = await api.post(`/api/v1/jobs/${id}/trigger`);
    assertEquals([status, body.code, body.state], [409, "state_conflict", "inactive"]);
  }));

Deno.test("what was triggered is on its way to the workers, and live listeners hear of it", () =>
  withApi(async (api) => {
    const heard: string[] = [];
    const stop = api.adapters.events.subscribe(["occurrenceChanged"], (events) => {
      for (const event of events) if (event.type === "occurrenceChanged") heard.push(event.occurrenceId);
    });
    const delivered = Promise.withResolvers<string>();
    const subscription = await api.adapters.queue.consume(
      { jobType: "SampleJob", routingPattern: "samplejob.*", pool: "local", prefetch: 10 },
      ([delivery]) => delivered.resolve(delivery?.message.occurrenceId ?? ""),
    );
    const occurrenceId = await api.trigger(await api.createJob());
    assertEquals(await delivered.promise, occurrenceId);
    assertEquals(heard, [occurrenceId]);
    stop();
    await subscription.stop();
  }));
