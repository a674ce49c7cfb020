import { assert, assertEquals } from "@std/assert";
import { promisedPerSecond, promisesOf, type ScheduledJob } from "./capacity_promise.ts";
import { parseSchedule } from "./schedule.ts";

const NOW = Date.UTC(2026, 10, 26, 12, 0, 30);

function job(cronExpression: string | null, changes: Partial<ScheduledJob> = {}): ScheduledJob {
  const input = cronExpression === null ? { triggerOnly: true } : { cronExpression };
  const answer = parseSchedule(input, { jobId: "0198c2d4-5b6e-7f00-8a9b-0c1d2e3f4a5b", now: NOW });
  assert(answer.ok);
  return {
    jobType: "A",
    workerId: null,
    isActive: true,
    pause: null,
    schedule: answer.schedule,
    ...changes,
  };
}

function near(actual: number, expected: number): void {
  assert(Math.abs(actual / expected - 1) < 0.05, `${actual} is not about ${expected}`);
}

Deno.test("a schedule promises its due times of the next day, each second or once", () => {
  near(promisedPerSecond(job("* * * * * *"), NOW), 1);
  near(promisedPerSecond(job("*/5 * * * *"), NOW), 1 / 300);
  near(promisedPerSecond(job("0 0 2 * * *"), NOW), 1 / 86_400);
  assertEquals(promisedPerSecond(job("0 0 2 1 1 *"), NOW), 0);
  const once = { schedule: { kind: "once", executeAt: NOW + 3_600_000 } } as const;
  near(promisedPerSecond(job(null, once), NOW), 1 / 86_400);
});

Deno.test("nothing is promised by what is off, paused for long, or only triggered", () => {
  const pause = { reason: "", by: "alice", since: NOW, until: null };
  assertEquals(promisedPerSecond(job("* * * * * *", { isActive: false }), NOW), 0);
  assertEquals(promisedPerSecond(job("* * * * * *", { pause }), NOW), 0);
  assertEquals(promisedPerSecond(job(null), NOW), 0);
  near(promisedPerSecond(job("* * * * * *", { pause: { ...pause, until: NOW + 1000 } }), NOW), 1);
});

Deno.test("promises add up by type and pool", () => {
  const jobs = [job("* * * * * *"), job("* * * * * *"), job("* * * * * *", { workerId: "mail" }), job(null)];
  const sums = promisesOf(jobs, NOW);
  assertEquals(sums.map(({ jobType, pool }) => [jobType, pool]), [["A", null], ["A", "mail"]]);
  near(sums[0]?.perSecond ?? 0, 2);
  near(sums[1]?.perSecond ?? 0, 1);
});
