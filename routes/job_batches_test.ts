import { assert, assertEquals } from "@std/assert";
import { SAMPLE, START, withApi } from "../tests/support/api.ts";
import { MAX_JOBS } from "./job_batches.ts";

const PATH = "/api/v1/jobs/create-many";
const DAILY = { ...SAMPLE, triggerOnly: false, cronExpression: "0 0 12 * * *" };

Deno.test("many jobs are created by one request, in its order, and are in the due index", () =>
  withApi(async (api) => {
    const told: string[] = [];
    const stop = api.adapters.events.subscribe(["jobChanged"], (events) => {
      for (const event of events) if (event.type === "jobChanged") told.push(event.jobId);
    });
    const jobs = Array.from({ length: 300 }, (_, index) => ({ ...DAILY, displayName: `Job ${index}` }));
    const { status, body } = await api.post(PATH, { jobs: [...jobs, SAMPLE] });
    assertEquals([status, body.ids.length], [201, 301]);
    const names = await Promise.all(
      [0, 150, 299].map(async (index) => (await api.get(`/api/v1/jobs/${body.ids[index]}`)).body.displayName),
    );
    assertEquals(names, ["Job 0", "Job 150", "Job 299"]);
    const due = await api.adapters.dueIndex.due(START + 2 * 3_600_000, 1000);
    assertEquals(due.length, 300);
    assertEquals(told.toSorted(), body.ids.toSorted());
    stop();
  }));

Deno.test("one wrong definition keeps all of them out, and each fault names its place", () =>
  withApi(async (api) => {
    const { status, body } = await api.post(PATH, {
      jobs: [DAILY, { ...DAILY, cronExpression: "0 0 31 2 *" }, { ...DAILY, jobType: "SampelJob" }],
    });
    assertEquals(status, 422);
    assertEquals(
      body.errors.map((error: { pointer: string; code: string }) => [error.pointer, error.code]),
      [["/jobs/1/cronExpression", "cron_never"], ["/jobs/2/jobType", "job_type_unknown"]],
    );
    const form = await api.post(PATH, { jobs: [{ ...DAILY, misfireLimit: "5" }] });
    assertEquals([form.status, form.body.errors[0].pointer], [422, "/jobs/0/misfireLimit"]);
    assertEquals((await api.get("/api/v1/jobs")).body.items, []);
  }));

Deno.test("what is said of a definition names its place, as the field does", () =>
  withApi(async (api) => {
    const message = async (wrong: Readonly<Record<string, unknown>>) => {
      const { body } = await api.post(PATH, { jobs: [DAILY, { ...DAILY, ...wrong }] });
      assert(body.errors !== undefined, JSON.stringify([wrong, body]).slice(0, 300));
      assertEquals(body.detail, body.errors[0].message);
      return body.errors[0];
    };
    const cases: readonly Readonly<Record<string, unknown>>[] = [
      { jobData: { message: "x".repeat(300_000) } },
      { misfireLimit: "5" },
      { cronExpression: "0 0 31 2 *" },
      { timeZone: "Europe/Istambul" },
      { startAt: "2027-01-02T00:00:00Z", endAt: "2027-01-01T00:00:00Z" },
      { jobType: "SampelJob" },
    ];
    for (const wrong of cases) {
      const { field, message: said } = await message(wrong);
      assert(field.startsWith("jobs.1."), field);
      assert(said.includes("jobs.1"), `${field}: ${said}`);
    }
  }));

Deno.test(`a request creates between 1 and ${MAX_JOBS} jobs`, () =>
  withApi(async (api) => {
    for (const jobs of [[], Array.from({ length: MAX_JOBS + 1 }, () => SAMPLE)]) {
      const { status, body } = await api.post(PATH, { jobs });
      assertEquals([status, body.errors[0].pointer], [422, "/jobs"]);
    }
    const { status, body } = await api.post(PATH, { jobs: Array.from({ length: MAX_JOBS }, () => SAMPLE) });
    assertEquals(status, 201);
    assert(new Set(body.ids).size === MAX_JOBS);
  }));
