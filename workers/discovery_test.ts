import { assertEquals, assertMatch, assertRejects, fail } from "@std/assert";
import { systemClock } from "../infra/clock.ts";
import { keptLog, supportFolder } from "../tests/support/pool.ts";
import { DiscoveryError } from "./discovery.ts";
import { createPool, type PoolOptions } from "./pool.ts";

/** What discovery has against these folders: file name and reason. */
async function problemsWith(folders: readonly string[], options: Partial<PoolOptions> = {}) {
  try {
    await createPool({
      jobFolders: folders.map((folder) => supportFolder(folder)),
      log: keptLog(),
      clock: systemClock,
      ...options,
    });
  } catch (error) {
    if (!(error instanceof DiscoveryError)) throw error;
    return error.problems.map(({ file, reason }) => `${file.split("/").slice(-2).join("/")}: ${reason}`);
  }
  return fail("Nothing was refused");
}

Deno.test("each file that cannot be offered is named with its reason, all of them at once", async () => {
  const problems = await problemsWith([
    "bad_jobs/no_default",
    "bad_jobs/no_job",
    "bad_jobs/throws",
    "bad_jobs/nowhere",
  ]);
  assertEquals(problems.length, 4);
  assertMatch(problems[0] ?? "", /bad_jobs\/nowhere: the folder cannot be read/);
  assertMatch(problems[1] ?? "", /no_default\/job\.ts: it has no default export/);
  assertMatch(problems[2] ?? "", /no_job\/job\.ts: its default export was not made by defineJob/);
  assertMatch(problems[3] ?? "", /throws\/job\.ts: .*TypeError: This file cannot be loaded/);
});

Deno.test("names and limits that would not do are refused", async () => {
  assertMatch(
    (await problemsWith(["bad_jobs/bad_name"])).join(),
    /bad_name\/job\.ts: name is 1 to 100 letters/,
  );
  const limits = (await problemsWith(["bad_jobs/bad_limits"])).join();
  assertMatch(limits, /maxParallelJobs .*; maxRetries /);
});

Deno.test("two types of one name, or of one type key, are refused", async () => {
  assertMatch(
    (await problemsWith(["bad_jobs/same_name"])).join(),
    /same_name\/b\.ts: TwinJob is declared by .*a\.ts/,
  );
  assertMatch(
    (await problemsWith(["bad_jobs/same_key"])).join(),
    /same_key\/b\.ts: SendEmailJob and SendEmail have one type key and are declared by .*a\.ts/,
  );
});

Deno.test("a file that hangs or ends the process while it loads is named", async () => {
  const hanging = await problemsWith(["bad_jobs/hangs"], { discoveryDeadlineMs: 1500 });
  assertMatch(hanging.join(), /hangs\/job\.ts: it did not finish loading within 1\.5 s/);
  const exiting = await problemsWith(["bad_jobs/exits"]);
  assertMatch(exiting.join(), /exits\/job\.ts: loading it ended the process \(SIGKILL\)/);
});

Deno.test("a wanted type that no file declares is an error that names those there are", async () => {
  const problems = await problemsWith(["jobs"], { types: ["ContextJob", "NoSuchJob"] });
  assertMatch(
    problems.join(),
    /NoSuchJob: no job file declares a type of this name or routing pattern; there are .*ContextJob/,
  );
});

Deno.test("a configured type that no file declares is only warned of", async () => {
  const log = keptLog();
  const pool = await createPool({
    jobFolders: [supportFolder("jobs")],
    types: ["AnyDataJob"],
    consumers: { GoneJob: { maxRetries: 1 } },
    log,
    clock: systemClock,
  });
  await pool.stop(0);
  assertEquals(log.lines.map(({ fields }) => fields["jobType"]), ["GoneJob"]);
});

Deno.test("the shipped samples are offered with the guide's patterns, and ask for no permission", async () => {
  const log = keptLog();
  const pool = await createPool({
    jobFolders: [supportFolder("../../workers/jobs/samples")],
    maxParallelJobs: 8,
    log,
    clock: systemClock,
  });
  await pool.stop(0);
  assertEquals(log.lines, []);
  assertEquals(pool.jobTypes.map(({ name, routingPattern }) => `${name} ${routingPattern}`).sort(), [
    "AlwaysFailingJob alwaysfailing.*",
    "CpuBurnJob cpuburn.*",
    "GenerateReportJob report.*",
    "LongRunningJob longrunning.*",
    "MigrationJob migration.*",
    "ResultJob result.*",
    "SampleJob sample.*",
    "SendEmailJob sendemail.*",
  ]);
});

Deno.test("no job folder, no job types: that is no error", async () => {
  const pool = await createPool({ jobFolders: [], log: keptLog(), clock: systemClock });
  assertEquals(pool.jobTypes, []);
  await pool.stop(0);
  await assertRejects(
    () => createPool({ jobFolders: [], types: ["AnyJob"], log: keptLog(), clock: systemClock }),
    DiscoveryError,
  );
});
