/** The real program, killed at random moments while jobs fire each second; the ledger is then judged. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { checkLedger } from "../support/ledger_checker.ts";
import { NEVER_MS, Program } from "../support/program.ts";
import { readEmbeddedHistory, readRuns } from "../support/read_history.ts";

const KILLS = 20;
const JOBS = new URL("../support/recorder_jobs", import.meta.url).pathname;
const POLICIES = ["Skip", "Queue", "Allow"] as const;

Deno.test("killed twenty times while jobs fire each second: each due time decided once, nothing lost, nothing completed twice", async () => {
  const dataDir = await Deno.makeTempDir({ prefix: "milvaion-kill-" });
  const witness = `${dataDir}/witness.jsonl`;
  const start = () => Program.start({ dataDir, args: ["--jobs", JOBS] });
  const killedAt: number[] = [];
  const acknowledged: string[] = [];
  let program = await start();
  try {
    const jobs = new Map<string, (typeof POLICIES)[number]>();
    for (const policy of POLICIES) {
      const { body, text } = await program.post("/api/v1/jobs", {
        displayName: `Each second, ${policy}`,
        jobType: "RecorderJob",
        cronExpression: "* * * * * *",
        concurrentExecutionPolicy: policy,
        // Longer than a second under Skip, so that it has something to skip.
        jobData: { file: witness, workMs: policy === "Skip" ? 1300 : 300 },
      });
      assert(body?.id, text);
      jobs.set(body.id, policy);
    }
    const triggered = await program.post("/api/v1/jobs", {
      displayName: "Triggered",
      jobType: "RecorderJob",
      triggerOnly: true,
      concurrentExecutionPolicy: "Allow",
      jobData: { file: witness, workMs: 50 },
    });

    for (let kill = 0; kill < KILLS; kill += 1) {
      const until = performance.now() + 200 + Math.random() * 1300;
      while (performance.now() < until) {
        const answer = await program.post(`/api/v1/jobs/${triggered.body.id}/trigger`, {});
        if (answer.status === 202) acknowledged.push(answer.body.occurrenceId);
        await delay(20 + Math.random() * 60);
      }
      await program.kill();
      killedAt.push(Date.now());
      program = await start();
    }

    // Calm: nothing new falls due, and all that was begun comes to its end.
    for (const id of jobs.keys()) {
      await program.post(`/api/v1/jobs/${id}/pause`, { reason: "the test is over" });
    }
    const running = program;
    await running.until(async () => {
      for (const status of ["Queued", "Running", "Unknown"]) {
        const { body } = await running.get(`/api/v1/occurrences?status=${status}&limit=1`);
        if (body.items.length > 0) return false;
      }
      return true;
    }, "everything has ended");
    const ended = await program.stop();
    assertEquals(ended.code, 0, program.output);

    const stored = readEmbeddedHistory(dataDir);
    assertEquals(stored.integrity, "ok");
    const violations = checkLedger({
      ...stored,
      jobs: [...jobs].map(([id, policy]) => ({ id, policy, dueTimes: eachSecond(stored, id) })),
      runs: await readRuns(witness, killedAt),
      acknowledged,
      settled: true,
    });
    assertEquals(violations, []);
    const completedRuns = stored.occurrences.filter((one) => one.status === "Completed").length;
    assert(completedRuns > 3 * KILLS, `only ${completedRuns} completed: the test proved little`);
    assert(acknowledged.length > KILLS, "too few triggers were accepted");
  } finally {
    await program.kill();
    await Deno.remove(dataDir, { recursive: true });
  }
});

/** The oracle for `* * * * * *`: every full second after the job was saved, up to the first undecided one. */
function eachSecond(stored: ReturnType<typeof readEmbeddedHistory>, jobId: string): number[] {
  const created = stored.createdAt.get(jobId) ?? NaN;
  const undecided = stored.nextDueAt.get(jobId) ?? NaN;
  assert(undecided > Date.now() - NEVER_MS, "the schedule stopped");
  const due: number[] = [];
  for (let at = Math.floor(created / 1000) * 1000 + 1000; at < undecided; at += 1000) due.push(at);
  return due;
}
