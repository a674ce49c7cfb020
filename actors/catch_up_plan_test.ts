/** What is said before missed due times are caught up on: once for each job, and it is what then happens. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { EmbeddedDueIndex } from "../infra/embedded/due_index.ts";
import { jobWith, MINUTE, NOW } from "../tests/support/explained.ts";
import { DEFAULTS } from "../tests/support/node.ts";
import { KeptLog, KeptMeter } from "../tests/support/quiet.ts";
import type { Job } from "./domain/job.ts";
import type { Decision } from "./domain/plan.ts";
import { type DuePassDeps, DuePasses } from "./due_pass.ts";
import { ManualClock } from "./runtime/manual_clock.ts";
import { seededRandom } from "./runtime/seeded_random.ts";

const SECOND = 1000;
const PLAN = "Catching up on a job";
const NONE = "A job missed due times, and none of them runs";

/** A job that was due each second for so long while nobody led. */
function missed(seconds: number, change: Partial<Job> = {}): Job {
  const { schedule } = jobWith();
  assert(schedule.kind === "cron");
  return jobWith({
    concurrentExecutionPolicy: "Allow",
    schedule: { ...schedule, expression: "* * * * * *", resolved: "* * * * * *" },
    nextDueAt: NOW - (seconds - 1) * SECOND,
    ...change,
  });
}

/** What went before each commit, and what all of them decided. */
interface Caught {
  readonly log: KeptLog;
  readonly decisions: readonly Decision[];
  /** How many lines of plans there were when each of them was committed. */
  readonly told: readonly number[];
}

function plansIn(log: KeptLog) {
  return log.lines.filter(({ message }) => message === PLAN || message === NONE);
}

/** Passes of a new leader until nothing is due; the commits of these numbers fail first. */
async function caughtUp(given: Job, failing: readonly number[] = []): Promise<Caught> {
  const clock = new ManualClock({ now: NOW });
  const log = new KeptLog();
  const decisions: Decision[] = [];
  const told: number[] = [];
  let job = given;
  let commits = 0;
  const due = (now: number) => Promise.resolve(job.nextDueAt === null || job.nextDueAt > now ? [] : [job]);
  const passes = new DuePasses({
    jobs: { get: () => Promise.resolve(job) },
    ledger: {
      dueJobs: (_: readonly string[], now: number) => due(now),
      pollDueJobs: due,
      plannedCatchUps: () => Promise.resolve([]),
      decide: (_: number, made: readonly Decision[]) => {
        commits += 1;
        if (failing.includes(commits)) return Promise.reject(new Error("the store is away"));
        told.push(plansIn(log).length);
        decisions.push(...made);
        for (const { nextDueAt, lastCatchUpAt, slots } of made) {
          const runCount = job.runCount + slots.length;
          job = { ...job, nextDueAt, lastCatchUpAt: lastCatchUpAt ?? job.lastCatchUpAt, runCount };
          if (job.runLimit !== null && runCount >= job.runLimit) job = { ...job, nextDueAt: null };
        }
        const ended = job.nextDueAt === null ? [job.id] : [];
        return Promise.resolve({ ok: true, messages: [], skipped: 0, conflicts: [], ended });
      },
    } as unknown as DuePassDeps["ledger"],
    dueIndex: new EmbeddedDueIndex(),
    events: { publish: () => {} } as unknown as DuePassDeps["events"],
    jobTypes: {
      refresh: () => Promise.resolve([]),
      defaults: () => DEFAULTS,
    } as unknown as DuePassDeps["jobTypes"],
    clock,
    random: seededRandom(1, clock),
    log,
    meter: new KeptMeter(),
  }, {
    epoch: 1,
    instanceId: "api-1",
    misfireThresholdMs: 60 * SECOND,
    catchUp: { spacingMs: SECOND, perSecond: 50 },
    batchSize: 1000,
  });
  for (let more = true; more;) more = await passes.pass(true).then((pass) => pass.more, () => true);
  return { log, decisions, told };
}

/** What came of it, by what was committed. */
function outcomeOf({ decisions }: Caught) {
  const runs = decisions.flatMap(({ slots }) => slots.filter(({ origin }) => origin === "catch-up"));
  const left = decisions.flatMap(({ ranges }) => ranges.filter(({ reason }) => reason === "missed"));
  const moments = [...runs.map(({ dueAt }) => dueAt), ...left.flatMap(({ from, to }) => [from, to])];
  return {
    dueTimesMissed: runs.length + left.reduce((sum, { count }) => sum + count, 0),
    runs: runs.length,
    from: new Date(Math.min(...moments)).toISOString(),
    to: new Date(Math.max(...moments)).toISOString(),
  };
}

Deno.test("two hours of a job that is due each second are told once, whole, before the first run of them is written", async () => {
  const caught = await caughtUp(missed(7200, { misfirePolicy: "FireAll", misfireLimit: 700 }));
  const [plan, ...others] = plansIn(caught.log);
  assertEquals(others, []);
  assertEquals(plan?.message, PLAN);
  const { jobId, displayName, misfirePolicy, dueTimesMissed, runs, from, to, spacingSeconds } =
    plan?.fields ?? {};
  assertEquals([jobId, displayName, misfirePolicy], ["job-1", "Hourly", "FireAll"]);
  assertEquals({ dueTimesMissed, runs, from, to }, outcomeOf(caught));
  assertEquals([dueTimesMissed, runs, spacingSeconds, plan?.fields["overSeconds"]], [7139, 700, 1, 699]);
  const sums = caught.log.lines.filter(({ message }) => message === "Catching up on missed due times");
  assertEquals(sums.map(({ fields }) => [fields["jobs"], fields["dueTimesMissed"], fields["runs"]]), [[
    1,
    7139,
    700,
  ]]);
});

Deno.test("a plan is in the log before what it says is committed", async () => {
  for (const seconds of [90, 7200]) {
    const caught = await caughtUp(missed(seconds, { misfirePolicy: "FireAll", misfireLimit: 700 }));
    const first = caught.decisions.findIndex(({ slots }) =>
      slots.some(({ origin }) => origin === "catch-up")
    );
    assert(first >= 0);
    assertEquals(caught.told[first], 1, `${seconds} s`);
  }
});

Deno.test("what takes more than one pass to decide is told of at once, by name, until its plan is known", async () => {
  const { log } = await caughtUp(missed(7200));
  const begun = log.lines.filter(({ message }) => message.startsWith("Deciding what was missed"));
  assertEquals(begun.map(({ fields }) => [fields["jobs"], fields["jobIds"]]), [[1, "job-1"]]);
  assert(log.lines[0]?.message.startsWith("Deciding what was missed"));
  assertEquals(
    plansIn(log).map(({ message, fields }) => [message, fields["dueTimesMissed"], fields["runs"]]),
    [
      [NONE, 7139, 0],
    ],
  );
});

Deno.test("a commit that has to be made again is not announced again", async () => {
  const caught = await caughtUp(missed(600, { misfirePolicy: "FireAll" }), [1, 2, 4]);
  const [plan, ...others] = plansIn(caught.log);
  assertEquals(others, []);
  assertEquals([plan?.fields["dueTimesMissed"], plan?.fields["runs"]], [539, 100]);
});

Deno.test("property: whatever was missed, there is one plan, before the first run, and it is what is then decided", async () => {
  const jobs = fc.record({
    seconds: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 400, max: 2600 })),
    misfirePolicy: fc.constantFrom("FireAll" as const, "FireOnce" as const, "Skip" as const),
    misfireLimit: fc.integer({ min: 1, max: 1000 }),
    runLimit: fc.option(fc.integer({ min: 1, max: 1200 }), { freq: 3 }),
    pause: fc.option(
      fc.record({
        by: fc.constant("ann"),
        reason: fc.constant("stocktaking"),
        since: fc.integer({ min: 0, max: 40 }).map((minutes) => NOW - minutes * MINUTE),
        until: fc.integer({ min: 0, max: 20 }).map((minutes) => NOW - minutes * MINUTE),
      }),
      { freq: 3 },
    ),
  });
  await fc.assert(
    fc.asyncProperty(jobs, async ({ seconds, ...change }) => {
      const caught = await caughtUp(missed(seconds, change));
      const plans = plansIn(caught.log);
      const isMissed = caught.decisions.some(({ slots, ranges }) =>
        slots.some(({ origin }) => origin === "catch-up") || ranges.some(({ reason }) => reason === "missed")
      );
      if (!isMissed) return assertEquals(plans, []);
      const outcome = outcomeOf(caught);
      assertEquals(plans.length, 1);
      const { dueTimesMissed, runs, from, to } = plans[0]?.fields ?? {};
      assertEquals({ dueTimesMissed, runs, from, to }, outcome);
      const first = caught.decisions.findIndex(({ slots }) =>
        slots.some(({ origin }) => origin === "catch-up")
      );
      if (first >= 0) assertEquals(caught.told[first], 1);
    }),
    { numRuns: 100 },
  );
});
