/** The real program from outside: the README's transcript, and how it starts and stops. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { freePort, Program } from "../support/program.ts";
import { folderWithGreetJob, greet, helloEveryFiveSeconds } from "../support/transcript.ts";

Deno.test("README's transcript: a schedule, a job file of one's own, kill -9 and start again", async () => {
  const jobs = await folderWithGreetJob();
  const dataDir = await Deno.makeTempDir({ prefix: "milvaion-test-" });
  try {
    let jobId: string;
    let before: number;
    {
      await using program = await Program.start({ dataDir, args: ["--jobs", jobs] });
      await program.printed(/listens on\s+http:\/\/127\.0\.0\.1:\d+/);
      await program.printed(/Try next:\n\s+curl /);
      jobId = await helloEveryFiveSeconds(program);
      await greet(program);
      before = (await program.all(`/api/v1/occurrences?jobId=${jobId}`)).length;
      await program.kill();
    }
    await using program = await Program.start({ dataDir, args: ["--jobs", jobs] });
    assert(
      (await program.all(`/api/v1/occurrences?jobId=${jobId}`)).length >= before,
      "the history is there",
    );
    await program.until(
      async () => (await program.all(`/api/v1/occurrences?jobId=${jobId}&status=Completed`)).length > before,
      "the schedule goes on",
    );
    assertEquals((await program.stop()).code, 0);
  } finally {
    await Deno.remove(jobs, { recursive: true });
    await Deno.remove(dataDir, { recursive: true });
  }
});

Deno.test("on SIGTERM a running job gets its signal, is handed back uncounted, and the program exits 0", async () => {
  const dataDir = await Deno.makeTempDir({ prefix: "milvaion-test-" });
  try {
    let id: string;
    {
      await using program = await Program.start({ dataDir });
      const job = await program.post("/api/v1/jobs", {
        displayName: "Long",
        jobType: "LongRunningJob",
        triggerOnly: true,
        jobData: { seconds: 600 },
      });
      id = (await program.post(`/api/v1/jobs/${job.body.id}/trigger`, {})).body.occurrenceId;
      await program.until(
        async () => (await program.get(`/api/v1/occurrences/${id}`)).body.status === "Running",
        "it runs",
      );
      const status = await program.stop("SIGTERM");
      assertEquals(status.code, 0, program.output);
    }
    await using program = await Program.start({ dataDir });
    const occurrence = await program.until(async () => {
      const { body } = await program.get(`/api/v1/occurrences/${id}`);
      return body.status === "Running" && body;
    }, "it runs again");
    assertEquals([occurrence.attempt, occurrence.token], [1, 2]);
    const cancelled = await program.post(`/api/v1/occurrences/${id}/cancel`, { reason: "seen enough" });
    assertEquals(cancelled.status, 202, cancelled.text);
    await program.until(
      async () => (await program.get(`/api/v1/occurrences/${id}`)).body.status === "Cancelled",
      "it is cancelled",
    );
  } finally {
    await Deno.remove(dataDir, { recursive: true });
  }
});

Deno.test("a port in use ends the program with 78 and proposes another", async () => {
  const port = freePort();
  const taken = Deno.listen({ hostname: "127.0.0.1", port });
  await using program = await Program.launch({ port });
  const { code } = await program.child.status;
  await program.kill();
  taken.close();
  assertEquals(code, 78, program.output);
  assertStringIncludes(program.output, `127.0.0.1:${port}`);
  assertMatch(program.output, /--port \d+/);
});

Deno.test("any other address than loopback needs a token, and with one asks for it", async () => {
  const args = ["--host", "0.0.0.0"];
  {
    await using open = await Program.launch({ args });
    const { code } = await open.child.status;
    await open.kill();
    assertEquals(code, 78, open.output);
    assertStringIncludes(open.output, "MILVAION_API_TOKEN");
  }
  const token = "a-token-of-some-length";
  await using program = await Program.start({ args, env: { MILVAION_API_TOKEN: token } });
  assertEquals((await program.get("/api/v1/jobs")).status, 401);
  const headers = { authorization: `Bearer ${token}` };
  assertEquals((await program.request("GET", "/api/v1/jobs", undefined, headers)).status, 200);
  await program.stop();
  assert(!program.output.includes(token), "the token is never printed");
});
