import { assertEquals, assertThrows } from "@std/assert";
import { keptLog } from "../tests/support/pool.ts";
import { DiscoveryError } from "./discovery.ts";
import { jobTypesOf } from "./job_types.ts";

const options = {
  trustedFolders: [],
  maxParallelJobs: 4,
  executionTimeoutSeconds: null,
  consumers: {},
  log: keptLog(),
};

function offerOf(definition: Record<string, unknown>, consumer: Record<string, unknown> = {}) {
  const found = {
    file: "/jobs/mail.ts",
    folder: "/jobs",
    schema: null,
    definition: { name: "MailJob", ...definition },
  };
  return jobTypesOf([found], { ...options, consumers: { MailJob: consumer } }).get("MailJob")?.offer;
}

function retriesOf(definition: Record<string, unknown>, consumer?: Record<string, unknown>) {
  const offer = offerOf(definition, consumer);
  return [
    offer?.maxRetries,
    offer?.baseRetryDelaySeconds,
    offer?.maxRetryDelaySeconds,
    offer?.retryBudgetSeconds,
  ];
}

Deno.test("what a type says about retries is its job file's, unless the configuration says otherwise", () => {
  const said = { maxRetries: 1, baseRetryDelaySeconds: 2, maxRetryDelaySeconds: 30, retryBudgetSeconds: 40 };
  assertEquals(retriesOf({}), [3, 5, 3600, null]);
  assertEquals(retriesOf(said), [1, 2, 30, 40]);
  assertEquals(
    retriesOf(said, {
      maxRetries: 9,
      baseRetryDelaySeconds: 8,
      maxRetryDelaySeconds: 70,
      retryBudgetSeconds: 60,
    }),
    [9, 8, 70, 60],
  );
});

Deno.test("retry rules of a job file are offered whole, and one that makes no sense is refused", () => {
  const rule = { error: "Http*", action: "fail" };
  assertEquals(offerOf({ retryRules: [rule] })?.retryRules, [
    { error: "Http*", action: "fail", maxRetries: null, baseRetryDelaySeconds: null },
  ]);
  assertThrows(
    () => offerOf({ retryRules: [{ ...rule, action: "perhaps" }] }),
    DiscoveryError,
    "retryRules.0.action",
  );
});

Deno.test("the time limit of a type is the configuration's, else its job file's, else the worker's", () => {
  const limitOf = (definition: Record<string, unknown>, consumer: Record<string, unknown> = {}) => {
    const found = {
      file: "/jobs/mail.ts",
      folder: "/jobs",
      schema: null,
      definition: { name: "MailJob", ...definition },
    };
    const settings = { ...options, executionTimeoutSeconds: 60, consumers: { MailJob: consumer } };
    return jobTypesOf([found], settings).get("MailJob")?.offer.executionTimeoutSeconds;
  };
  assertEquals(limitOf({}), 60);
  assertEquals(limitOf({ executionTimeoutSeconds: 30 }), 30);
  assertEquals(limitOf({ executionTimeoutSeconds: null }), null, "a job file may say that it has none");
  assertEquals(limitOf({ executionTimeoutSeconds: 30 }, { executionTimeoutSeconds: 9 }), 9);
});

/** Names that a worker offers of four types when it is told to offer `types`. */
function offeredOf(types: readonly string[], consumers: Record<string, Record<string, unknown>> = {}) {
  const declared = [
    { name: "SendEmailJob" },
    { name: "GenerateReportJob", routingPattern: "report.*" },
    { name: "CleanReportsJob", routingPattern: "report.*" },
    { name: "SampleJob", routingPattern: "sample.#" },
  ];
  const found = declared.map((definition) => ({
    file: `/jobs/${definition.name}.ts`,
    folder: "/jobs",
    schema: null,
    definition,
  }));
  return [...jobTypesOf(found, { ...options, types, consumers }).keys()];
}

Deno.test("a worker offers the types whose name or routing pattern it is told, and no other", () => {
  assertEquals(offeredOf(["SendEmailJob"]), ["SendEmailJob"]);
  // As the scaling guide draws its pools; two types on one pattern share a queue, so both or none.
  assertEquals(offeredOf(["sendemail.*"]), ["SendEmailJob"]);
  assertEquals(offeredOf(["report.*"]), ["GenerateReportJob", "CleanReportsJob"]);
  assertEquals(offeredOf(["sample.#"]), ["SampleJob"]);
  assertEquals(offeredOf(["*ReportsJob", "sample*"]), ["CleanReportsJob", "SampleJob"]);
  assertEquals(offeredOf(["*"]).length, 4);
  // The pattern that counts is the one that decides the queue.
  const elsewhere = { SendEmailJob: { routingPattern: "mail.*" } };
  assertEquals(offeredOf(["mail.*"], elsewhere), ["SendEmailJob"]);
  assertThrows(() => offeredOf(["sendemail.*"], elsewhere), DiscoveryError);
});

Deno.test("a type or pattern that selects nothing ends the start, and says what there is", () => {
  // A name is a whole name: a pool must not take what only resembles its type.
  for (const wanted of ["SendEmail", "migration.*", "report", "report.#"]) {
    assertThrows(
      () => offeredOf(["SampleJob", wanted]),
      DiscoveryError,
      `Cannot offer ${wanted}: no job file declares a type of this name or routing pattern; there are ` +
        "SendEmailJob (sendemail.*), GenerateReportJob (report.*), CleanReportsJob (report.*), SampleJob (sample.#)",
    );
  }
});
