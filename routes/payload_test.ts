import { assertEquals } from "@std/assert";
import { type Answered, withApi } from "../tests/support/api.ts";

const LIMIT = 2048;
const FITS = { text: "x".repeat(LIMIT - 11) };
/** One character more, of two bytes. */
const TOO_LARGE = { text: "x".repeat(LIMIT - 12) + "ü" };

function assertTooLarge({ status, body }: Answered, field: string): void {
  const pointer = "/" + field.replaceAll(".", "/");
  const message = `${field} has ${LIMIT + 1} bytes and may have at most 2 KiB ` +
    "(MilvaionConfig.Api.MaxJobDataKiB). Keep what is large elsewhere and give its address.";
  assertEquals([status, body.errors], [422, [{ field, pointer, code: "too_long", message }]]);
}

Deno.test("payloads of jobs, triggers, each of many triggers, and replays are held to one limit, in bytes", () =>
  withApi(async (api) => {
    const id = await api.createJob({ jobData: FITS, concurrentExecutionPolicy: "Allow", maxRetries: 0 });
    const definition = { displayName: "x", jobType: "SampleJob", triggerOnly: true };
    assertTooLarge(await api.post("/api/v1/jobs", { ...definition, jobData: TOO_LARGE }), "jobData");
    assertTooLarge(
      await api.post("/api/v1/jobs/create-many", {
        jobs: [definition, { ...definition, jobData: TOO_LARGE }],
      }),
      "jobs.1.jobData",
    );
    const version = { "if-match": (await api.get(`/api/v1/jobs/${id}`)).headers.get("etag") ?? "" };
    assertTooLarge(
      await api.send("PUT", `/api/v1/jobs/${id}`, { ...definition, jobData: TOO_LARGE }, version),
      "jobData",
    );
    assertTooLarge(await api.post(`/api/v1/jobs/${id}/trigger`, { jobData: TOO_LARGE }), "jobData");
    const many = [{}, { jobData: FITS }, { jobData: TOO_LARGE }];
    assertTooLarge(
      await api.post(`/api/v1/jobs/${id}/trigger-many`, { items: many }),
      "items.2.jobData",
    );
    assertEquals((await api.get(`/api/v1/occurrences?jobId=${id}`)).body.items, [], "all or none");

    const failed = await api.trigger(id);
    await api.run(failed, {
      kind: "failed",
      error: { name: "Error", message: "no", stack: null, causes: [] },
      permanent: true,
      retryAfterMs: null,
      cause: "error",
    });
    const replay = `/api/v1/failed-occurrences/${failed}/replay`;
    assertTooLarge(await api.post(replay, { jobData: TOO_LARGE }), "jobData");
    assertEquals((await api.post(replay, { jobData: FITS })).status, 202);
  }, { settings: { maxJobDataBytes: LIMIT } }));
