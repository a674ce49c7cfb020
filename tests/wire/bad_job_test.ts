/** Jobs that are refused, and changes of a job that its present state does not allow. */
import { SAMPLE } from "../support/api.ts";
import { call, CRON, job, JOBS, JSON_TYPE, NOBODY, refuses } from "./bad_input.ts";

refuses("B14 a job without what it needs, and with too much", () => [
  job("nothing of it", {}, [422, "required", "displayName", "jobType"]),
  job("a name of 256", { ...SAMPLE, displayName: "x".repeat(256) }, [422, "too_long", "displayName"]),
  job("an empty name", { ...SAMPLE, displayName: "" }, [422, "too_short", "displayName"]),
  job("spaces around a name", { ...SAMPLE, displayName: " x " }, [422, "untrimmed", "displayName"]),
  job("a line break in a name", { ...SAMPLE, displayName: "a\nb" }, [
    422,
    "character_forbidden",
    "displayName",
  ]),
  job("1,000 tags", { ...SAMPLE, tags: Array.from({ length: 1000 }, (_, i) => `t${i}`) }, [
    422,
    "too_many_items",
    "tags",
  ]),
  job("a tag twice", { ...SAMPLE, tags: ["a", "a"] }, [422, "duplicate", "tags"]),
  job("a slip of the pen", { ...SAMPLE, displyName: "x" }, [422, "unknown_field", "displyName"]),
  job("a pool that would break a queue's name", { ...SAMPLE, workerId: "a.*.#" }, [
    422,
    "format",
    "workerId",
  ]),
  job("several at once", { displayName: " ", jobType: 1, maxRetries: "x", nope: 1 }, [
    422,
    "validation_failed",
    "displayName",
    "jobType",
    "maxRetries",
    "nope",
  ]),
  job("a list for a job", [], [422, "type", "body"]),
  job("a type that no worker offers", { ...SAMPLE, jobType: "SmapleJob" }, [
    422,
    "job_type_unknown",
    "jobType",
  ]),
]);

refuses("B16 a payload that breaks its schema", ({ idle }) => [
  job("missing, extra and wrong", {
    ...SAMPLE,
    jobType: "MailJob",
    jobData: { to: "x", list: [{}], cc: 1 },
  }, [
    422,
    "validation_failed",
    "jobData.to",
    "jobData.copies",
    "jobData.list.0.name",
    "jobData.cc",
  ]),
  job("none at all", { ...SAMPLE, jobType: "MailJob" }, [422, "required", "jobData.to", "jobData.copies"]),
  job("JSON in a text", { ...SAMPLE, jobData: "{}" }, [422, "type", "jobData"]),
  job("300 KB", { ...SAMPLE, jobData: { text: "x".repeat(300_000) } }, [422, "too_long", "jobData"]),
  {
    ...job("in a trigger", { jobData: 5 }, [422, "type", "jobData"]),
    path: `${JOBS}/${idle}/trigger`,
  },
]);

refuses("B17 two schedules, or none", () => [
  job("two", { ...CRON, executeAt: "2027-01-01T00:00:00Z" }, [422, "schedule_exclusive", "executeAt"]),
  job("none", { displayName: "x", jobType: "SampleJob" }, [422, "schedule_required", "cronExpression"]),
]);

refuses("B18 moments that are none", () =>
  ([
    ["2020-01-01T00:00:00Z", "in_past"],
    ["10000-01-01T00:00:00Z", "out_of_range"],
    ["2027-01-01T00:00:00", "offset_required"],
    ["2027-02-30T00:00:00Z", "date_invalid"],
    ["2026-12-31T23:59:60Z", "date_invalid"],
    ["tomorrow", "date_invalid"],
    ["", "date_invalid"],
  ] as const).map(([executeAt, code]) =>
    job(`executeAt ${executeAt}`, { displayName: "x", jobType: "SampleJob", executeAt }, [
      422,
      code,
      "executeAt",
    ])
  ));

refuses("B20 a change of a version that is not the present one", ({ idle }) => {
  const put = { ...job("", SAMPLE, [0, ""]), method: "PUT", path: `${JOBS}/${idle}` };
  const match = (value: string) => ({ ...JSON_TYPE, "if-match": value });
  return [
    { ...put, what: "no If-Match", status: 428, code: "if_match_required" },
    { ...put, what: "a stale version", status: 409, code: "version_conflict", headers: match('"7"') },
    { ...put, what: "no version", status: 400, code: "if_match_invalid", headers: match("yesterday") },
  ];
});

refuses("B21 what the present state does not allow", ({ running, inactive, completed }) => [
  call("deleting a job with a run", `DELETE ${JOBS}/${running}`, [409, "job_in_use"]),
  call("triggering one that is not active", `POST ${JOBS}/${inactive}/trigger`, [409, "state_conflict"]),
  call("triggering one that does not exist", `POST ${JOBS}/${NOBODY}/trigger`, [404, "not_found"]),
  call("triggering under Skip while a run is on", `POST ${JOBS}/${running}/trigger`, [
    409,
    "already_running",
  ]),
  call("cancelling what has ended", `POST /api/v1/occurrences/${completed}/cancel`, [
    409,
    "state_conflict",
  ]),
  call("cancelling what does not exist", `POST /api/v1/occurrences/${NOBODY}/cancel`, [404, "not_found"]),
]);
