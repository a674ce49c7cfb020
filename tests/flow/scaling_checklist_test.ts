/** The scaling checklist as users run it: the doctor's commands against a running program. */
import { assertEquals, assertMatch } from "@std/assert";
import { Program, taskCommand, until } from "../support/program.ts";

interface Said {
  readonly code: number;
  readonly output: string;
  readonly error: string;
}

async function milvaion(
  task: "doctor" | "milvaion",
  args: readonly string[],
  program: Program,
): Promise<Said> {
  const [executable = "", ...own] = [Deno.execPath(), ...await taskCommand(task)];
  const { code, stdout, stderr } = await new Deno.Command(executable, {
    args: [...own, ...args],
    env: { MILVAION_URL: program.url, MILVAION_DATA_DIR: program.dataDir, PORT: "0", NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, output: text(stdout), error: text(stderr) };
}

interface Checks {
  readonly isWell: boolean;
  readonly checks: readonly { readonly subject: string; readonly check: string; readonly message: string }[];
}

async function doctor(stage: string, program: Program): Promise<Checks> {
  const { code, output, error } = await milvaion("doctor", [`--${stage}`, "-o", "json"], program);
  if (output === "") throw new Error(error);
  const checks: Checks = JSON.parse(output);
  // What is critical on a busy machine is a failure, as any other.
  assertEquals(code, checks.isWell ? 0 : 78);
  return checks;
}

function messageOf({ checks }: Checks, subject: string, check: string): string {
  const found = checks.find((one) => one.subject === subject && one.check === check);
  if (found === undefined) throw new Error(`no check ${subject} ${check}: ${JSON.stringify(checks)}`);
  return found.message;
}

Deno.test("doctor records a baseline before scaling and compares with it after; bottlenecks are shown by both commands", async () => {
  await using program = await Program.start({
    env: { MilvaionConfig__Bottlenecks__LookIntervalSeconds: "1" },
  });
  const { body: job } = await program.post("/api/v1/jobs", {
    displayName: "Measured",
    jobType: "SampleJob",
    triggerOnly: true,
    concurrentExecutionPolicy: "Allow",
    jobData: { message: "x" },
  });
  await until(async () => {
    await program.post(`/api/v1/jobs/${job.id}/trigger-many`, {
      items: Array.from({ length: 20 }, () => ({})),
    });
    const { body } = await program.get("/api/v1/bottlenecks");
    return body.looks >= 3 && body.completedPerSecond > 0;
  }, "throughput is seen");

  const before = await doctor("before-scaling", program);
  assertMatch(messageOf(before, "Running", "bottleneck"), /cpu of (API instance|machine|worker) .*, .* %/);
  assertMatch(messageOf(before, "Running", "bottleneck"), /memory of .*; io of disk of the store/);
  assertMatch(
    messageOf(before, "Running", "throughput"),
    /Baseline recorded: [\d.]+ runs completed a second/,
  );
  assertMatch(messageOf(before, "Data folder", "free space"), /MB are free/);
  const { body: { baseline } } = await program.get("/api/v1/scaling");

  const after = await doctor("after-scaling", program);
  assertMatch(
    messageOf(after, "Running", "throughput"),
    new RegExp(`Baseline: .* at ${baseline.recordedAt}`),
  );
  assertMatch(messageOf(after, "Running", "timeouts"), /Of \d+ runs since the baseline none timed out/);
  messageOf(after, "Running", "load");
  messageOf(after, "Running", "bottlenecks");

  const live = await doctor("live", program);
  assertEquals(live.checks[0]?.subject, "Running");
  messageOf(live, "Machine", "time zones");

  const { code, output, error } = await milvaion("milvaion", ["bottlenecks"], program);
  assertEquals(code, 0);
  assertMatch(output, /^No bottleneck\.|likely cause: /);
  assertMatch(error, /Looked \d+ times in \d+ s\. Nearest to its limit: /);
});
