/** The real program from outside: the README's transcript, and how it starts and stops. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { freePort } from "../support/free_port.ts";
import { Program } from "../support/program.ts";
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

Deno.test("on SIGTERM what ends within the grace is Completed, what does not gets its signal and is handed back uncounted, and the program exits 0", async () => {
  const dataDir = await Deno.makeTempDir({ prefix: "milvaion-test-" });
  try {
    let id: string;
    let quick: string;
    {
      const env = { Worker__ShutdownGraceSeconds: "6", Worker__KillGraceSeconds: "1" };
      await using program = await Program.start({ dataDir, env });
      const running = async (seconds: number): Promise<string> => {
        const job = await program.post("/api/v1/jobs", {
          displayName: "Long",
          jobType: "LongRunningJob",
          triggerOnly: true,
          jobData: { seconds },
        });
        const { occurrenceId } = (await program.post(`/api/v1/jobs/${job.body.id}/trigger`, {})).body;
        await program.until(
          async () => (await program.get(`/api/v1/occurrences/${occurrenceId}`)).body.status === "Running",
          "it runs",
        );
        return occurrenceId;
      };
      id = await running(600);
      quick = await running(2);
      const status = await program.stop("SIGTERM");
      assertEquals(status.code, 0, program.output);
      assertMatch(program.output, /Runs may end within 5 s; told a second time, the program stops at once/);
    }
    await using program = await Program.start({ dataDir });
    const ended = (await program.get(`/api/v1/occurrences/${quick}`)).body;
    assertEquals([ended.status, ended.attempt, ended.token], ["Completed", 1, 1]);
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

Deno.test("`deno task capacity` plans with the network and the environment alone", async () => {
  const root = new URL("../../", import.meta.url);
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const [, ...task]: string[] = tasks.capacity.command.split(" ");
  assertEquals(task.filter((word) => word.startsWith("--allow")), ["--allow-net", "--allow-env"]);
  const dataDir = await Deno.makeTempDir({ prefix: "milvaion-test-" });
  try {
    await using program = await Program.start({ dataDir });
    const example = [
      "--type",
      "SendEmailJob",
      "--workers",
      "3",
      "--max-parallel-jobs",
      "10",
      "--average-seconds",
      "2",
    ];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...task, ...example, "--url", program.url],
      cwd: root,
    }).output();
    const decoder = new TextDecoder();
    assertEquals(code, 0, decoder.decode(stderr));
    assertStringIncludes(
      decoder.decode(stdout),
      "3 workers × 10 lanes ÷ 2 s = 15 a second, 900 a minute.",
    );
    assertEquals((await program.stop()).code, 0);
  } finally {
    await Deno.remove(dataDir, { recursive: true });
  }
});
