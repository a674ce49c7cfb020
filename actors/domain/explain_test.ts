import { assertEquals, assertStringIncludes } from "@std/assert";
import { type DueTimeRecord, explainDueTime } from "./explain.ts";
import type { Job } from "./job.ts";
import { type Occurrence, OCCURRENCE_STATUSES, type OccurrenceStatus } from "./occurrence.ts";
import { RANGE_REASONS, type RangeReason, type VerdictRange } from "./verdict.ts";

const NOW = Date.UTC(2026, 2, 29, 12);
/** 03:00 in Berlin: where the 02:30 of this night went. */
const DUE = Date.UTC(2026, 2, 29, 1);
const DAY = 86_400_000;

const job: Job = {
  id: "job",
  version: 3,
  displayName: "Nightly",
  description: "",
  tags: [],
  jobType: "SampleJob",
  workerId: null,
  jobData: "{}",
  schedule: {
    kind: "cron",
    expression: "30 2 * * *",
    resolved: "0 30 2 * * *",
    timeZone: "Europe/Berlin",
    gap: "RunAtNextValid",
    fold: "First",
  },
  isActive: true,
  pause: null,
  concurrentExecutionPolicy: "Skip",
  misfirePolicy: "FireOnce",
  misfireLimit: 100,
  misfireThresholdSeconds: null,
  executionTimeoutSeconds: null,
  maxRetries: null,
  baseRetryDelaySeconds: null,
  startAt: null,
  endAt: null,
  nextDueAt: NOW + DAY,
  createdAt: DUE - 30 * DAY,
  updatedAt: DUE - 30 * DAY,
};

function occurrenceWith(change: Partial<Occurrence>): Omit<Occurrence, "jobData"> {
  return {
    id: "occurrence-1",
    jobId: "job",
    jobVersion: 3,
    jobType: "SampleJob",
    pool: null,
    origin: "schedule",
    status: "Completed",
    scheduledFor: DUE,
    createdAt: DUE,
    startedAt: DUE + 5,
    endedAt: DUE + 1000,
    durationMs: 995,
    workerId: "worker",
    instanceId: "instance",
    attempt: 1,
    token: 1,
    maxAttempts: 4,
    baseRetryDelaySeconds: 5,
    executionTimeoutSeconds: null,
    readyAt: DUE,
    result: null,
    error: null,
    reason: null,
    cancel: null,
    ...change,
  };
}

function rangeOf(reason: RangeReason, by: string): VerdictRange {
  return { jobId: "job", jobVersion: 3, from: DUE, to: DUE + DAY, count: 2, reason, by, decidedAt: NOW };
}

function explain(change: Partial<DueTimeRecord>) {
  return explainDueTime({ job, at: DUE, occurrence: null, range: null, now: NOW, ...change });
}

const STATUS_WORDS: Readonly<Record<OccurrenceStatus, string>> = {
  Queued: "is queued",
  Running: "is running",
  Completed: "completed at 2026-03-29T01:00:01.000Z, after 1 attempt",
  Failed: "failed",
  Cancelled: "was cancelled",
  TimedOut: "timed out",
  Unknown: "silent",
  Skipped: "was skipped",
};

for (const status of OCCURRENCE_STATUSES) {
  Deno.test(`an occurrence that is ${status} is explained, with its id`, () => {
    const explained = explain({ occurrence: occurrenceWith({ status }) });
    assertEquals([explained.verdict, explained.evidence], [status, ["occurrence-1"]]);
    assertStringIncludes(explained.sentence, STATUS_WORDS[status]);
    assertStringIncludes(explained.sentence, "2026-03-29T03:00:00+02:00 (Europe/Berlin)");
  });
}

Deno.test("a skipped due time names what was in its way", () => {
  const explained = explain({ occurrence: occurrenceWith({ status: "Skipped" }), blockedBy: "occurrence-0" });
  assertEquals(explained.evidence, ["occurrence-1", "occurrence-0"]);
  assertStringIncludes(explained.sentence, "because occurrence occurrence-0 was in its way");
});

Deno.test("a run that waits its turn, a catch-up and a stored reason are told", () => {
  const waiting = explain({ occurrence: occurrenceWith({ status: "Queued", readyAt: null }) });
  assertStringIncludes(waiting.sentence, "waits for the run before it");
  const caughtUp = explain({ occurrence: occurrenceWith({ origin: "catch-up", reason: "All is well." }) });
  assertStringIncludes(caughtUp.sentence, "as the run for what was missed. All is well.");
});

const REASON_WORDS: Readonly<Record<RangeReason, string>> = {
  paused: "paused by anna",
  disabled: "not active",
  missed: "nobody led at the time, and anna found it",
  "outside-window": "outside the job's window",
};

for (const reason of RANGE_REASONS) {
  Deno.test(`a due time in a range "${reason}" is explained, with who is behind it`, () => {
    const explained = explain({ range: rangeOf(reason, "anna") });
    assertEquals(explained.verdict, reason);
    assertStringIncludes(explained.sentence, REASON_WORDS[reason]);
    assertStringIncludes(explained.sentence, "one of 2 due times");
  });
}

Deno.test("a pause that is still on gives its reason", () => {
  const pause = { reason: "stocktaking", by: "anna", since: DUE - DAY, until: null };
  const explained = explain({ job: { ...job, pause }, range: rangeOf("paused", "anna") });
  assertStringIncludes(explained.sentence, 'paused by anna, "stocktaking"');
});

Deno.test("a moment that is no due time names those around it, even inside a range", () => {
  const at = DUE + 60_000;
  const explained = explain({ at, range: rangeOf("paused", "anna") });
  assertEquals(explained.verdict, "not-due");
  assertEquals(explained.nearest, { before: DUE, after: DUE + DAY - 30 * 60_000 });
  assertStringIncludes(explained.sentence, "the one before is 2026-03-29T03:00:00+02:00 (Europe/Berlin)");
  assertStringIncludes(explained.sentence, "the one after is 2026-03-30T02:30:00+02:00 (Europe/Berlin)");
});

Deno.test("a range of an older version explains times that the present schedule does not have", () => {
  const range = { ...rangeOf("missed", "leader"), jobVersion: 2 };
  assertEquals(explain({ at: DUE + 60_000, range }).verdict, "missed");
});

Deno.test("the future says whether it will run", () => {
  const at = DUE + DAY - 30 * 60_000;
  assertStringIncludes(explain({ at }).sentence, "It will run.");
  assertStringIncludes(explain({ at, job: { ...job, isActive: false } }).sentence, "It will not run");
  const pause = { reason: "stocktaking", by: "anna", since: DUE, until: null };
  const paused = explain({ at, job: { ...job, pause } });
  assertEquals(paused.verdict, "future");
  assertStringIncludes(paused.sentence, 'It will not run: paused by anna, "stocktaking".');
});

Deno.test("before the job, outside its window, undecided, and without record are told apart", () => {
  assertEquals(explain({ job: { ...job, createdAt: DUE + 1 } }).verdict, "before-job");
  assertEquals(explain({ job: { ...job, endAt: DUE } }).verdict, "outside-window");
  assertEquals(explain({ job: { ...job, startAt: DUE + 1 } }).verdict, "outside-window");
  assertEquals(explain({ job: { ...job, nextDueAt: DUE } }).verdict, "undecided");
  assertEquals(explain({}).verdict, "no-record");
});

Deno.test("a trigger-only job has no due times to explain", () => {
  const explained = explain({ job: { ...job, schedule: { kind: "triggerOnly" } } });
  assertEquals(explained.verdict, "not-due");
  assertStringIncludes(explained.sentence, "it has none");
});
