/** Surroundings and occurrences as chance makes them, for properties of explanations. */
import fc from "fast-check";
import { OCCURRENCE_STATUSES } from "../../actors/domain/occurrence.ts";
import type { Surroundings } from "../../actors/domain/surroundings.ts";
import { jobWith, MINUTE, NOW, occurrenceOf } from "./explained.ts";

/** Within a hundred seconds of now. */
export const anyMoment = fc.integer({ min: -100_000, max: 100_000 }).map((offset) => NOW + offset);
const anyAttempt = fc.record({
  occurrenceId: fc.constantFrom("occurrence-1", "occurrence-2"),
  token: fc.integer({ min: 0, max: 2 }),
});
const workers = fc.record({
  workerId: fc.constantFrom("local", "mail"),
  instanceId: fc.constantFrom("worker-1", "worker-2"),
  isStopping: fc.boolean(),
  reportsHeldBack: fc.integer({ min: 0, max: 2 }),
  maxParallelJobs: fc.integer({ min: 1, max: 4 }),
  lastSeenAt: anyMoment,
  running: fc.array(anyAttempt, { maxLength: 4 }),
  jobTypes: fc.array(
    fc.record({
      name: fc.constantFrom("SampleJob", "OtherJob"),
      maxParallelJobs: fc.integer({ min: 1, max: 4 }),
      lanesBusy: fc.integer({ min: 0, max: 4 }),
    }),
    { maxLength: 2 },
  ),
});
const queues = fc.record({
  jobType: fc.constantFrom("SampleJob", "OtherJob"),
  pool: fc.constantFrom(null, "mail"),
  ready: fc.integer({ min: 0, max: 2 }),
  unacknowledged: fc.integer({ min: 0, max: 2 }),
  consumers: fc.integer({ min: 0, max: 2 }),
});
/** Servers, leader, workers and queues in any state. */
export const anySurroundings: fc.Arbitrary<Surroundings> = fc.record({
  now: fc.constant(NOW),
  instanceId: fc.constant("api-1"),
  servers: fc.array(
    fc.record({ name: fc.constantFrom("Redis", "RabbitMQ"), isConnected: fc.boolean() }),
    { maxLength: 2 },
  ),
  canPublish: fc.boolean(),
  leader: fc.option(
    fc.record({
      epoch: fc.constant(1),
      holder: fc.constant("api-2"),
      since: anyMoment,
      leaseUntil: anyMoment,
      endedAt: fc.option(anyMoment),
    }),
  ),
  workers: fc.option(fc.array(workers, { maxLength: 3 })),
  queues: fc.option(fc.array(queues, { maxLength: 3 })),
  lapsing: fc.array(
    fc.tuple(anyAttempt, anyMoment).map(([attempt, leaseUntil]) => ({
      ...attempt,
      instanceId: "worker-1",
      leaseUntil,
    })),
    { maxLength: 3 },
  ),
  leaseMs: fc.constant(15_000),
  toleranceMs: fc.constant(10_000),
});
/** What is stored beside rows is a clause, a sentence, or several of either. */
const anyReason = fc.option(
  fc.constantFrom(
    "suspect: its worker went silent",
    "Handed back by local (stopping)",
    "All is well.",
    "No way!",
  ),
);
const anyRequest = fc.option(
  fc.record({ by: fc.constant("ann"), reason: fc.constant("wrong data"), requestedAt: anyMoment }),
);
const anyError = fc.option(
  fc.record({
    name: fc.constant("TypeError"),
    message: fc.constantFrom("", "no such thing", "It is gone."),
    stack: fc.constant(null),
    causes: fc.constant([]),
  }),
);

/** Any status, reason and moment. */
export const anyOccurrence = fc.record({
  id: fc.constantFrom("occurrence-1", "occurrence-2"),
  status: fc.constantFrom(...OCCURRENCE_STATUSES),
  pool: fc.constantFrom(null, "mail"),
  origin: fc.constantFrom("schedule" as const, "catch-up" as const, "trigger" as const),
  readyAt: fc.option(anyMoment),
  startedAt: fc.option(anyMoment),
  endedAt: fc.option(anyMoment),
  instanceId: fc.constantFrom(null, "worker-1"),
  attempt: fc.integer({ min: 0, max: 2 }),
  token: fc.integer({ min: 0, max: 2 }),
  reason: anyReason,
  cancel: anyRequest,
  error: anyError,
}).map(occurrenceOf);

const anyPause = fc.record({
  by: fc.constant("ann"),
  reason: fc.constant("stocktaking"),
  since: anyMoment,
  until: fc.option(anyMoment),
});
const anyAutoDisabled = fc.record({
  since: anyMoment,
  until: fc.option(anyMoment, { freq: 2 }),
  failures: fc.integer({ min: 1, max: 5 }),
  occurrenceId: fc.constant("failed-5"),
  reason: fc.constantFrom("Five in a row.", "5 failures in a row. The last: there are no retries"),
  probeAt: fc.option(anyMoment),
  probeId: fc.constantFrom(null, "probe-1"),
  cooldownSeconds: fc.constant(1800),
});

/** A job that is paused, disabled, limited, over, or none of it. */
export const anyJob = fc.record({
  isActive: fc.constantFrom(true, true, true, false),
  workerId: fc.constantFrom(null, "mail"),
  concurrentExecutionPolicy: fc.constantFrom("Skip" as const, "Queue" as const, "Allow" as const),
  startAt: fc.option(anyMoment),
  endAt: fc.option(anyMoment),
  nextDueAt: fc.option(anyMoment),
  runLimit: fc.option(fc.integer({ min: 1, max: 3 })),
  runCount: fc.integer({ min: 0, max: 3 }),
  pause: fc.option(anyPause),
  autoDisabled: fc.option(anyAutoDisabled),
  skippedDueTime: fc.option(
    fc.record({
      dueAt: fc.integer({ min: -1, max: 2 }).map((hours) => NOW + hours * 60 * MINUTE),
      by: fc.constant("ann"),
      reason: fc.constant("bank holiday"),
      since: anyMoment,
    }),
  ),
}).map(jobWith);
