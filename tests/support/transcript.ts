/** The README's first screen as a test: what a new user does, against a program however it was started. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Program } from "./program.ts";

/** README step 1 and the first page of the browser. Gives the id of the job. */
export async function helloEveryFiveSeconds(program: Program): Promise<string> {
  const created = await program.post("/api/v1/jobs", {
    displayName: "Hello",
    jobType: "SampleJob",
    cronExpression: "*/5 * * * * *",
    concurrentExecutionPolicy: 0,
    jobData: { message: "hi" },
  });
  assertEquals(created.status, 201, created.text);
  const { id } = created.body;
  const occurrence = await program.until(async () => {
    const { body } = await program.get(`/api/v1/occurrences?jobId=${id}`);
    // deno-lint-ignore no-explicit-any -- JSON of the wire
    return body.items.find((one: any) => one.status === "Completed");
  }, "an occurrence is Completed");
  for (const time of ["scheduledFor", "createdAt", "startedAt", "endedAt"]) {
    assertMatch(occurrence[time], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  }
  assertEquals([occurrence.jobId, occurrence.attempt, typeof occurrence.durationMs], [id, 1, "number"]);
  const lines = await program.until(async () => {
    const { body } = await program.get(`/api/v1/occurrences/${occurrence.id}/logs`);
    return body.items.length > 0 && body.items;
  }, "its log line is kept");
  assertEquals(lines[0].message, "hi");
  const page = await program.get("/");
  assertMatch(page.headers.get("content-type") ?? "", /^text\/html/);
  assertStringIncludes(page.text, "Milvaion");
  return id;
}

/** README step 2: the type of a job file of one's own. */
export async function greet(program: Program): Promise<void> {
  const created = await program.post("/api/v1/jobs", {
    displayName: "Greet",
    jobType: "GreetJob",
    triggerOnly: true,
    jobData: { who: "you" },
  });
  assertEquals(created.status, 201, created.text);
  const triggered = await program.post(`/api/v1/jobs/${created.body.id}/trigger`, undefined);
  assertEquals(triggered.status, 202, triggered.text);
  const occurrence = await program.until(async () => {
    const { body } = await program.get(`/api/v1/occurrences/${triggered.body.occurrenceId}`);
    assert(!["Failed", "Cancelled", "TimedOut"].includes(body.status), JSON.stringify(body.error));
    return body.status === "Completed" && body;
  }, "the job of one's own is Completed");
  assertEquals(occurrence.result, { greeted: "you" });
}

/** Writes README's job file into a new folder, outside the repository as a user's would be. */
export async function folderWithGreetJob(): Promise<string> {
  const readme = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
  const source = /```ts\n\/\/ my-jobs\/greet\.ts\n([\s\S]*?)```/.exec(readme)?.[1];
  assert(source !== undefined, "README has the job file");
  const folder = await Deno.makeTempDir({ prefix: "milvaion-my-jobs-" });
  await Deno.writeTextFile(`${folder}/greet.ts`, source);
  return folder;
}
