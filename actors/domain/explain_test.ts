import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Alert } from "./alert.ts";
import { type DueTimeRecord, explainDueTime } from "./explain.ts";
import { surroundingsWith } from "../../tests/support/explained.ts";
import { evidence } from "./explanation.ts";
import { type Job, JOB_DEFAULTS } from "./job.ts";
import { type Attempt, type Occurrence, OCCURRENCE_STATUSES, type OccurrenceStatus } from "./occurrence.ts";
import { RANGE_REASONS, type RangeReason, type VerdictRange } from "./verdict.ts";

const NOW = Date.UTC(2026, 2, 29, 12);
/** 03:00 in Berlin: where the 02:30 of this night went. */
const DUE = Date.UTC(2026, 2, 29, 1);
const DAY = 86_400_000;

const job: Job = {
  ...JOB_DEFAULTS,
  id: "job",
  version: 3,
  displayName: "Nightly",
  jobType: "SampleJob",
  jobData: "{}",
  schedule: {
    kind: "cron",
    expression: "30 2 * * *",
    resolved: "0 30 2 * * *",
    timeZone: "Europe/Berlin",
    gap: "RunAtNextValid",
    fold: "First",
  },
  nextDueAt: DUE + DAY - 30 * 60_000,
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
    ending: null,
    ...change,
  };
}

function rangeOf(reason: RangeReason, by: string): VerdictRange {
  return {
    jobId: "job",
    jobVersion: 3,
    from: DUE,
    to: DUE + DAY,
    count: 2,
    reason,
    by,
    note: null,
    decidedAt: NOW,
  };
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
    assertEquals([explained.verdict, explained.evidence], [status, [
      evidence("occurrence", "occurrence-1"),
      evidence("worker", "instance"),
    ]]);
    assertStringIncludes(explained.sentence, STATUS_WORDS[status]);
    assertStringIncludes(explained.sentence, "2026-03-29T03:00:00+02:00 (Europe/Berlin)");
  });
}

Deno.test("a skipped due time names what was in its way", () => {
  const explained = explain({ occurrence: occurrenceWith({ status: "Skipped" }), blockedBy: "occurrence-0" });
  assertEquals(explained.evidence.map(({ id }) => id), ["occurrence-1", "occurrence-0", "instance"]);
  assertStringIncludes(explained.sentence, "because occurrence occurrence-0 was in its way");
});

Deno.test("a due time whose run is queued says what keeps it, and names the run in its way, not itself", () => {
  const occurrence = occurrenceWith({ status: "Queued", readyAt: null, reason: "waits", instanceId: null });
  const holder = occurrenceWith({ id: "occurrence-0", status: "Running", instanceId: "worker-1" });
  const around = surroundingsWith({ now: NOW });
  const told = explain({ occurrence, holder, holding: 2, around });
  assertEquals(told.evidence.map(({ id }) => id), ["occurrence-1", "occurrence-0", "worker-1"]);
  assertStringIncludes(
    told.sentence,
    "(occurrence occurrence-1). It waits for its turn: occurrence occurrence-0",
  );
  const missing = { occurrence: occurrenceWith({ status: "Queued", readyAt: DUE }), holder, holding: 2 };
  const nobody = { ...missing, around: surroundingsWith({ now: NOW, workers: [] }) };
  assertStringIncludes(explain(nobody).sentence, "No worker offers SampleJob: no worker is there at all.");
});

Deno.test("a due time whose first run was lost says so, with both workers", () => {
  const lost: Attempt = {
    token: 1,
    number: null,
    workerId: "local",
    instanceId: "worker-1",
    claimedAt: DUE,
    endedAt: DUE + 16_000,
    durationMs: null,
    outcome: "lost",
    error: null,
    progress: null,
  };
  const occurrence = occurrenceWith({ status: "Completed", instanceId: "worker-2" });
  const told = explain({ occurrence, attempts: [lost, { ...lost, token: 2, outcome: "completed" }] });
  assertEquals(told.evidence.map(({ id }) => id), ["occurrence-1", "worker-2", "worker-1"]);
  assertStringIncludes(
    told.sentence,
    "its run on worker-1 since 2026-03-29T01:00:00.000Z (taken for lost at",
  );
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
  missed: "nobody led or the leader was stuck, and anna found it",
  "outside-window": "outside the job's window",
  "skipped-once": "left out this once by anna",
  "auto-disabled": "the job was disabled after anna",
};

for (const reason of RANGE_REASONS) {
  Deno.test(`a due time in a range "${reason}" is explained, with who is behind it`, () => {
    const explained = explain({ range: rangeOf(reason, "anna") });
    assertEquals(explained.verdict, reason);
    assertStringIncludes(explained.sentence, REASON_WORDS[reason]);
    assertStringIncludes(explained.sentence, "one of 2 due times");
  });
}

Deno.test("what a person said of a pause or of a skipped due time is told, long after", () => {
  const paused = explain({ range: { ...rangeOf("paused", "anna"), note: "stocktaking" } });
  assertStringIncludes(paused.sentence, 'paused by anna, "stocktaking"');
  const skipped = explain({ range: { ...rangeOf("skipped-once", "anna"), note: "bank holiday" } });
  assertStringIncludes(skipped.sentence, 'left out this once by anna, "bank holiday"');
});

Deno.test("a due time after the last run of the limit has no record, and says why", () => {
  const ended = explain({ job: { ...job, runLimit: 3, runCount: 3, nextDueAt: null } });
  assertEquals(ended.verdict, "run-limit-reached");
  assertStringIncludes(ended.sentence, "the schedule ended when its limit of 3 runs was reached");
});

Deno.test("a catch-up run whose moment has not come says when it starts", () => {
  const occurrence = occurrenceWith({ status: "Queued", origin: "catch-up", readyAt: NOW + 60_000 });
  assertStringIncludes(explain({ occurrence }).sentence, `starts at ${new Date(NOW + 60_000).toISOString()}`);
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
  assertStringIncludes(explain({ at }).sentence, "It will run unless the run before it is still on");
  assertStringIncludes(explain({ at, job: { ...job, isActive: false } }).sentence, "It will not run");
  const pause = { reason: "stocktaking", by: "anna", since: DUE, until: null };
  const paused = explain({ at, job: { ...job, pause } });
  assertEquals(paused.verdict, "paused");
  assertStringIncludes(paused.sentence, 'It will not run: paused by anna, "stocktaking".');
});

Deno.test("a due time to come that the job has moved on past is not foretold to run", () => {
  const at = DUE + DAY - 30 * 60_000;
  const told = explain({ at, job: { ...job, nextDueAt: at + DAY } });
  assertEquals([told.verdict, told.evidence], ["forgotten", [evidence("due-time", "job", at + DAY)]]);
  assertStringIncludes(told.sentence, "has not come yet, but the job has moved on past it");
});

Deno.test("the future says what a due time would wait for as things are now", () => {
  const at = DUE + DAY - 30 * 60_000;
  const around = surroundingsWith({ now: NOW, workers: [] });
  const explained = explain({ at, around });
  assertEquals(explained.verdict, "would-wait");
  assertStringIncludes(
    explained.sentence,
    "has not come yet. It will be due and, as things are now, wait. No worker offers SampleJob",
  );
  assertEquals(explain({ at, around: surroundingsWith({ now: NOW }) }).verdict, "will-run");
});

Deno.test("before the job, outside its window, undecided, and without record are told apart", () => {
  assertEquals(explain({ job: { ...job, createdAt: DUE + 1 } }).verdict, "before-job");
  assertEquals(explain({ job: { ...job, endAt: DUE } }).verdict, "outside-window");
  assertEquals(explain({ job: { ...job, startAt: DUE + 1 } }).verdict, "outside-window");
  assertEquals(explain({ job: { ...job, nextDueAt: DUE } }).verdict, "undecided");
  const longAgo = { at: DUE - 3 * DAY + 30 * 60_000, job: { ...job, createdAt: DUE - 30 * DAY } };
  assertEquals(explain(longAgo).verdict, "no-record");
  assertEquals(
    explain({ job: { ...job, updatedAt: DUE } }).verdict,
    "no-record",
    "another schedule may have held",
  );
});

Deno.test("a due time that its job has moved on past and nobody decided says so, with the alert that is open", () => {
  const alert: Alert = {
    id: "alert-1",
    kind: "missing-due-times",
    severity: "critical",
    sentence: "One is missing.",
    evidence: [evidence("due-time", "job", DUE)],
    raisedAt: DUE + 64_000,
    raisedBy: "api-1",
    seenAt: NOW,
    endedAt: null,
  };
  const told = explain({ alerts: [alert] });
  assertEquals([told.verdict, told.evidence], ["forgotten", [
    evidence("due-time", "job", DUE),
    evidence("alert", "alert-1", DUE + 64_000),
  ]]);
  assertStringIncludes(
    told.sentence,
    "was due, and the ledger has neither a run nor a reason: nobody decided it, or its row was changed or removed by " +
      "hand. The watchdog tells of it since " +
      "2026-03-29T01:01:04.000Z (alert alert-1)",
  );
  assertStringIncludes(told.sentence, "What should still run has to be triggered.");
  // Told of, so it is known, whatever may have been removed since.
  const saved = { job: { ...job, updatedAt: DUE + 1 }, alerts: [alert] };
  assertEquals(explain(saved).verdict, "forgotten");
  const ofAnother = { ...alert, evidence: [evidence("due-time", "another", DUE)] };
  for (
    const alerts of [[], [ofAnother], [{ ...alert, endedAt: NOW }], [{
      ...alert,
      kind: "no-leader" as const,
    }]]
  ) {
    const untold = explain({ alerts });
    assertEquals([untold.verdict, untold.evidence.length], ["forgotten", 1]);
    assertStringIncludes(untold.sentence, "No alert names it");
  }
});

Deno.test("a due time that is not decided yet names the alert that is open for its job", () => {
  const alert: Alert = {
    id: "alert-2",
    kind: "overdue-due-times",
    severity: "critical",
    sentence: "One waits.",
    evidence: [evidence("due-time", "job", DUE)],
    raisedAt: DUE + 64_000,
    raisedBy: "api-1",
    seenAt: NOW,
    endedAt: null,
  };
  const told = explain({ job: { ...job, nextDueAt: DUE }, alerts: [alert] });
  assertEquals([told.verdict, told.evidence], ["undecided", [evidence("alert", "alert-2", DUE + 64_000)]]);
  assertStringIncludes(told.sentence, "The watchdog tells of it since");
});

Deno.test("a trigger-only job has no due times to explain", () => {
  const explained = explain({ job: { ...job, schedule: { kind: "triggerOnly" } } });
  assertEquals(explained.verdict, "not-due");
  assertStringIncludes(explained.sentence, "it has none");
});
