import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import {
  DAY,
  jobWith,
  MINUTE,
  NOW,
  occurrenceOf,
  surroundingsWith,
  workerWith,
} from "../../tests/support/explained.ts";
import { anyJob, anyOccurrence, anySurroundings } from "../../tests/support/explained_by_chance.ts";
import { HINDRANCE_CODES, type HindranceCode } from "./hindrance.ts";
import { explainJob, type JobFacts } from "./job_explanation.ts";
import { explainOccurrence, queuedHindrances } from "./occurrence_explanation.ts";

function factsWith(change: Partial<JobFacts> = {}): JobFacts {
  return { job: jobWith(), holder: null, holding: 0, newest: [], around: surroundingsWith(), ...change };
}

function codesOf(facts: Partial<JobFacts>): readonly HindranceCode[] {
  return explainJob(factsWith(facts), 5).causes.map(({ code }) => code);
}

const leader = { epoch: 7, holder: "api-2", since: NOW - DAY, leaseUntil: NOW + 10_000, endedAt: null };
const queue = { jobType: "SampleJob", pool: null, ready: 0, unacknowledged: 0, consumers: 1 };

/** What is brought about → the one cause, words of its sentence, and an id behind it. */
const CASES:
  readonly (readonly [code: HindranceCode, facts: Partial<JobFacts>, words: string, id?: string])[] = [
    ["disabled", { job: jobWith({ isActive: false }) }, "not active"],
    [
      "auto-disabled",
      {
        job: jobWith({
          autoDisabled: {
            since: NOW,
            until: null,
            failures: 5,
            occurrenceId: "failed-5",
            reason: "Five in a row.",
            probeAt: null,
            probeId: null,
            cooldownSeconds: null,
          },
        }),
      },
      "disabled by 5 failures, the last of them occurrence failed-5",
      "failed-5",
    ],
    [
      "paused",
      { job: jobWith({ pause: { by: "ann", reason: "stocktaking", since: NOW - 1, until: NOW + DAY } }) },
      'Paused by ann since 2026-06-01T11:59:59+00:00 (UTC), until 2026-06-02T12:00:00+00:00 (UTC): "stocktaking"',
    ],
    [
      "schedule-over",
      { job: jobWith({ endAt: NOW - 1, nextDueAt: null }) },
      "no due time is left in its window",
    ],
    [
      "schedule-over",
      { job: jobWith({ schedule: { kind: "once", executeAt: NOW - 1 }, nextDueAt: null }) },
      "its only due time has passed",
    ],
    ["run-limit-reached", { job: jobWith({ runLimit: 3, runCount: 3, nextDueAt: null }) }, "3 of 3 runs"],
    ["trigger-only", { job: jobWith({ schedule: { kind: "triggerOnly" }, nextDueAt: null }) }, "triggers it"],
    ["outside-window", { job: jobWith({ startAt: NOW + DAY }) }, "has not begun (from 2026-06-02"],
    [
      "no-leader",
      { around: surroundingsWith({ leader: { ...leader, leaseUntil: NOW - 1 } }) },
      "api-2 was the last (epoch 7",
      "api-2",
    ],
    ["no-leader", { around: surroundingsWith({ leader: null }) }, "nobody ever has"],
    [
      "leader-behind",
      { job: jobWith({ nextDueAt: NOW - 20_000 }) },
      "has come and is not decided, although api-2 leads",
      "job-1",
    ],
    [
      "broker-down",
      { around: surroundingsWith({ canPublish: false }) },
      "api-1 cannot reach the broker",
      "RabbitMQ",
    ],
    [
      "redis-down",
      { around: surroundingsWith({ servers: [{ name: "Redis", isConnected: false }] }) },
      "api-1 cannot reach Redis",
      "Redis",
    ],
    ["no-worker", { around: surroundingsWith({ workers: [] }) }, "no worker is there at all"],
    [
      "no-worker",
      { around: surroundingsWith({ workers: [workerWith({ jobTypes: [] })] }) },
      "those that are there (worker-1) offer other types",
    ],
    [
      "no-worker",
      { around: surroundingsWith({ workers: [workerWith({ isStopping: true })] }) },
      "worker-1 is stopping",
      "worker-1",
    ],
    [
      "no-worker-in-pool",
      { job: jobWith({ workerId: "mail" }) },
      "pool mail, where no worker is; local would",
      "mail",
    ],
    [
      "worker-not-listening",
      { around: surroundingsWith({ queues: [{ ...queue, consumers: 0 }] }) },
      "nobody listens to its queue",
      "worker-1",
    ],
    [
      "lanes-full",
      { around: surroundingsWith({ workers: [workerWith({ busy: 4 })] }) },
      "worker-1: 4 of 4 busy",
      "worker-1",
    ],
    [
      "lanes-full",
      { around: surroundingsWith({ workers: [workerWith({ maxParallelJobs: 1 })] }) },
      "worker-1: 1 of 1 busy, with all its types",
    ],
    [
      "queue-behind",
      { around: surroundingsWith({ queues: [{ ...queue, ready: 12 }] }) },
      "12 occurrences of SampleJob wait in the queue",
      "SampleJob",
    ],
    [
      "worker-silent",
      {
        newest: [occurrenceOf({ status: "Running", instanceId: "worker-2", token: 1 })],
        around: surroundingsWith({
          lapsing: [{ occurrenceId: "occurrence-1", token: 1, instanceId: "worker-2", leaseUntil: NOW }],
        }),
      },
      "Worker instance worker-2, which runs occurrence occurrence-1, has been silent since 2026-06-01T11:59:45.000Z",
      "worker-2",
    ],
    [
      "reports-held-back",
      {
        newest: [occurrenceOf({ status: "Running", instanceId: "worker-1", token: 1 })],
        around: surroundingsWith({ workers: [workerWith({ reportsHeldBack: 1 })] }),
      },
      "Worker instance worker-1 cannot reach the broker and holds back 1 report, which goes out when it can",
      "worker-1",
    ],
    [
      "overlap",
      {
        holder: occurrenceOf({ status: "Running", instanceId: "worker-1", startedAt: NOW - 5000 }),
        holding: 1,
      },
      "Occurrence occurrence-1 holds the job, Running on worker-1 since 2026-06-01T11:59:55.000Z",
      "worker-1",
    ],
    [
      "overlap",
      {
        job: jobWith({ concurrentExecutionPolicy: "Queue" }),
        holder: occurrenceOf({ status: "Running", instanceId: "worker-1", startedAt: NOW - 5000 }),
        holding: 4,
      },
      "further ones wait behind it (3 now)",
    ],
    [
      "overlap",
      {
        job: jobWith({ concurrentExecutionPolicy: "Queue" }),
        holder: occurrenceOf({ status: "Running", instanceId: "worker-1", startedAt: NOW - 5000 }),
        holding: 1001,
      },
      "1000 wait behind it, the most there may be, so due times that come meanwhile are skipped, and triggers are " +
      "refused (policy Queue)",
    ],
    [
      "queue-behind",
      { around: surroundingsWith({ queues: [{ ...queue, ready: 1 }] }) },
      "1 occurrence of SampleJob waits in the queue",
    ],
    [
      "back-off",
      { newest: [occurrenceOf({ readyAt: NOW + 9000, attempt: 2, token: 2 })] },
      "backs off after 2 attempts: the next of at most 4 begins not before 2026-06-01T12:00:09.000Z",
      "occurrence-1",
    ],
    [
      "spaced-out",
      { newest: [occurrenceOf({ readyAt: NOW + 9000, origin: "catch-up" })] },
      "not to start before 2026-06-01T12:00:09.000Z",
    ],
    [
      "unpublished",
      { newest: [occurrenceOf({ readyAt: NOW - 20_000 })] },
      "is not in the queue",
      "occurrence-1",
    ],
    [
      "skipped-once",
      { job: jobWith({ skippedDueTime: { dueAt: NOW + 60 * MINUTE, by: "ann", reason: "no", since: NOW } }) },
      "ann left out the due time 2026-06-01T13:00:00+00:00 (UTC)",
      "job-1",
    ],
    ["about-to-start", { newest: [occurrenceOf()] }, "about to take it", "occurrence-1"],
  ];

for (const [code, facts, words, id] of CASES) {
  Deno.test(`now: ${code} is told (${words})`, () => {
    const explained = explainJob(factsWith(facts), 5);
    assertEquals(explained.causes.map((one) => one.code), [code]);
    const [cause] = explained.causes;
    assertStringIncludes(cause?.sentence ?? "", words);
    if (id !== undefined) {
      assert(cause?.evidence.some((one) => one.id === id), JSON.stringify(cause?.evidence));
    }
    if (code !== "about-to-start") assertEquals(explained.code, code);
  });
}

Deno.test("every cause is brought about by a test: what is not above is of single occurrences, or of the routes", () => {
  const tested = new Set<string>(CASES.map(([code]) => code));
  assertEquals(HINDRANCE_CODES.filter((code) => !tested.has(code)), [
    "database-down",
    "cancel-requested",
    "waiting-turn",
  ]);
});

Deno.test("a job that nothing stands in the way of says when it runs next, and how the last run ended", () => {
  const failed = occurrenceOf({
    id: "occurrence-0",
    status: "Failed",
    endedAt: NOW - MINUTE,
    attempt: 4,
    instanceId: "worker-1",
    error: { name: "TypeError", message: "no such thing", stack: null, causes: [] },
  });
  const explained = explainJob(factsWith({ newest: [failed] }), 5);
  assertEquals([explained.code, explained.causes, explained.next.length], ["nothing", [], 5]);
  assertStringIncludes(explained.sentence, "The next due time is 2026-06-01T13:00:00.000Z. It will run");
  assertEquals(
    explained.last?.sentence,
    "Occurrence occurrence-0 failed at 2026-06-01T11:59:00.000Z after 4 attempts (last on worker-1). " +
      "TypeError: no such thing.",
  );
});

Deno.test("a due time that has come and is not decided is told as such from the first second, with who leads until when", () => {
  const explained = explainJob(factsWith({ job: jobWith({ nextDueAt: NOW - 7000 }) }), 5);
  assertEquals([explained.code, explained.causes], ["undecided", []]);
  assertStringIncludes(
    explained.sentence,
    "It was due at 2026-06-01T11:59:53.000Z, 7 s ago, and has not been decided yet. That is for api-2, which leads " +
      "(epoch 7) and holds its lock until 2026-06-01T12:00:10.000Z.",
  );
  assert(!explained.sentence.includes("Nothing stands in its way"), explained.sentence);
  const behind = explainJob(factsWith({ job: jobWith({ nextDueAt: NOW - 11_000 }) }), 5);
  assertEquals(behind.code, "leader-behind");
  assertStringIncludes(behind.sentence, "11 s ago");
  assertStringIncludes(behind.sentence, "holds its lock until 2026-06-01T12:00:10.000Z");
});

Deno.test("a run that is on does not hide that a due time is not decided", () => {
  const running = occurrenceOf({ status: "Running", startedAt: NOW - 5 });
  const job = jobWith({ concurrentExecutionPolicy: "Allow", nextDueAt: NOW - 7000 });
  const explained = explainJob(factsWith({ job, newest: [running] }), 5);
  assertEquals(explained.code, "running");
  assertStringIncludes(explained.sentence, "It was due at 2026-06-01T11:59:53.000Z, 7 s ago");
});

Deno.test("what no worker would take does not run: the due times to come say so, with what is behind it", () => {
  const noWorker = explainJob(factsWith({ around: surroundingsWith({ workers: [] }) }), 2);
  assertEquals(noWorker.next.map(({ code }) => code), ["would-wait", "would-wait"]);
  assertEquals(
    noWorker.next[0]?.sentence,
    "It will be due and, as things are now, wait. No worker offers SampleJob: no worker is there at all.",
  );
  const elsewhere = explainJob(factsWith({ job: jobWith({ workerId: "mail" }) }), 1);
  assertEquals(elsewhere.next[0]?.code, "would-wait");
  assert(elsewhere.next[0]?.evidence.some(({ id }) => id === "mail"));
});

Deno.test("what bars a due time to come is told before what it would wait for", () => {
  const around = surroundingsWith({ workers: [] });
  const [next] = explainJob(factsWith({ job: jobWith({ isActive: false }), around }), 1).next;
  assertEquals([next?.code, next?.sentence], ["disabled", "It will not run: the job is not active."]);
});

Deno.test("lanes that are full now, and what cannot be asked, say nothing of a due time to come", () => {
  const full = surroundingsWith({ workers: [workerWith({ busy: 4 })] });
  const unknown = surroundingsWith({ workers: null, queues: null });
  for (const around of [full, unknown]) {
    assertEquals(explainJob(factsWith({ around }), 1).next[0]?.code, "will-run");
  }
});

Deno.test("a run that is on beside others is no hindrance", () => {
  const running = occurrenceOf({ status: "Running", startedAt: NOW - 5 });
  const explained = explainJob(
    factsWith({ job: jobWith({ concurrentExecutionPolicy: "Allow" }), newest: [running] }),
    5,
  );
  assertEquals([explained.code, explained.causes], ["running", []]);
});

Deno.test("all causes are told, the most important first, each once", () => {
  const around = surroundingsWith({ workers: [], leader: null, canPublish: false });
  const job = jobWith({ isActive: false, pause: { by: "ann", reason: "r", since: NOW - 1, until: null } });
  assertEquals(codesOf({ job, around, newest: [occurrenceOf()] }), [
    "disabled",
    "paused",
    "no-leader",
    "broker-down",
    "no-worker",
  ]);
});

Deno.test("what could not be asked is no cause", () => {
  assertEquals(codesOf({ around: surroundingsWith({ workers: null, queues: null }) }), []);
  const [cause] = queuedHindrances({
    occurrence: occurrenceOf(),
    blockedBy: null,
    holder: null,
    holding: 0,
    around: surroundingsWith({ workers: null, queues: null }),
  });
  assertStringIncludes(cause?.sentence ?? "", "Which workers are there is not known");
});

Deno.test("an occurrence that waits for its turn names the run before it, and where that is", () => {
  const holder = occurrenceOf({
    id: "first",
    status: "Running",
    instanceId: "worker-1",
    startedAt: NOW - 9000,
  });
  const explained = explainOccurrence({
    occurrence: occurrenceOf({ id: "second", readyAt: null }),
    blockedBy: null,
    holder,
    holding: 3,
    around: surroundingsWith(),
  });
  assertEquals(explained.code, "waiting-turn");
  assertStringIncludes(explained.sentence, "occurrence first (Running on worker-1) holds the job since");
  assertStringIncludes(explained.sentence, "2 occurrences wait behind that");
});

Deno.test("a running occurrence that was asked to end says by whom, and whether its worker gave the signal", () => {
  const cancel = { by: "ann", reason: "wrong data", requestedAt: NOW - 1 };
  const explained = explainOccurrence({
    occurrence: occurrenceOf({ status: "Running", cancel, attempt: 1 }),
    blockedBy: null,
    holder: null,
    holding: 0,
    around: surroundingsWith(),
  });
  assertEquals(explained.code, "cancel-requested");
  assertStringIncludes(explained.sentence, 'ann asked for its end at 2026-06-01T11:59:59.999Z, "wrong data"');
  assertStringIncludes(explained.sentence, "no worker has said yet that it gave the abort signal");
});

Deno.test("a quarantined occurrence is told apart from one that failed", () => {
  const reason = "suspect: its worker was lost with it three times.";
  const occurrence = occurrenceOf({ status: "Failed", endedAt: NOW, reason });
  const facts = { blockedBy: null, holder: null, holding: 0, around: surroundingsWith() };
  assertEquals(explainOccurrence({ ...facts, occurrence }).code, "suspect");
  assertEquals(explainOccurrence({ ...facts, occurrence: { ...occurrence, reason: null } }).code, "Failed");
});

// ------------------------------------------------------------------------------------------------ properties

Deno.test("property: every queued occurrence has at least one cause, in the order of importance", () => {
  fc.assert(
    fc.property(
      anyOccurrence,
      fc.option(anyOccurrence),
      fc.integer({ min: 0, max: 5 }),
      anySurroundings,
      (one, holder, holding, around) => {
        const occurrence = { ...one, status: "Queued" as const };
        const { causes, sentence } = explainOccurrence({
          occurrence,
          blockedBy: null,
          holder,
          holding,
          around,
        });
        assert(causes.length > 0 && sentence !== "");
        const places = causes.map(({ code }) => HINDRANCE_CODES.indexOf(code));
        assertEquals(places, places.toSorted((a, b) => a - b));
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("property: any job in any surroundings is explained, and one with a queued occurrence has a cause", () => {
  fc.assert(
    fc.property(
      anyJob,
      fc.array(anyOccurrence, { maxLength: 3 }),
      fc.option(anyOccurrence),
      anySurroundings,
      (job, newest, holder, around) => {
        const facts = { job, newest, holder, holding: newest.length, around };
        const { causes, sentence } = explainJob(facts, 5);
        assert(sentence.length > 10);
        if (newest.some(({ status }) => status === "Queued")) assert(causes.length > 0);
        const told = causes.map((one) => one.code + one.sentence);
        assertEquals(new Set(told).size, told.length, "no cause is told twice");
      },
    ),
    { numRuns: 500 },
  );
});
