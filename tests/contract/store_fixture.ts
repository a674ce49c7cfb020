/** What the contract suites of the store stand on: a store under test, a clock that stands still, small makers. */
import { type Job, JOB_DEFAULTS } from "../../actors/domain/job.ts";
import type { JobMessage, Outcome, Report } from "../../actors/domain/message.ts";
import type { Decision } from "../../actors/domain/plan.ts";
import type { Attempts } from "../../actors/ports/attempts.ts";
import { DEFAULT_FAILURE_RULES } from "../../actors/domain/retry.ts";
import type { TypeDefaults } from "../../actors/domain/terms.ts";
import type { Store, TriggerAnswer, TriggerRequest } from "../../actors/ports/store.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { seededRandom } from "../../actors/runtime/seeded_random.ts";
import { assert } from "@std/assert";

export interface StoreUnderTest {
  readonly store: Store;
  readonly attempts: Attempts;
  close(): Promise<void>;
}

/** Opens a new, empty store on this clock. */
export type StoreFactory = (
  world: { readonly clock: ManualClock; readonly random: ReturnType<typeof seededRandom> },
) => Promise<StoreUnderTest>;

export const LEASE_MS = 15_000;

export const DEFAULTS: TypeDefaults = {
  maxRetries: 2,
  baseRetryDelaySeconds: 10,
  executionTimeoutSeconds: null,
  rules: DEFAULT_FAILURE_RULES,
};

/** A store with the steps that most promises begin with. */
export class StoreWorld {
  readonly clock = new ManualClock();
  readonly random = seededRandom(7, this.clock);
  store: Store;
  attempts: Attempts;
  epoch = 0;

  private constructor(private readonly factory: StoreFactory) {
    const unopened = new Proxy({}, { get: () => assert(false, "The store is not open") });
    this.store = unopened as Store;
    this.attempts = unopened as Attempts;
  }

  /** Runs a promise against a new store and closes it. */
  static async within(factory: StoreFactory, body: (world: StoreWorld) => Promise<void>): Promise<void> {
    const world = new StoreWorld(factory);
    const opened = await factory(world);
    world.store = opened.store;
    world.attempts = opened.attempts;
    try {
      await body(world);
    } finally {
      await opened.close();
    }
  }

  get now(): number {
    return this.clock.now();
  }

  job(changes: Partial<Job> = {}): Job {
    return {
      ...JOB_DEFAULTS,
      id: this.random.uuid(),
      version: 1,
      displayName: "Nightly report",
      description: "Adds up the day",
      jobType: "GenerateReportJob",
      jobData: '{"day":1}',
      schedule: { kind: "triggerOnly" },
      concurrentExecutionPolicy: "Allow",
      nextDueAt: null,
      createdAt: this.now,
      updatedAt: this.now,
      ...changes,
    };
  }

  async saved(changes: Partial<Job> = {}): Promise<Job> {
    const job = this.job(changes);
    await this.store.jobs.insert([job]);
    return job;
  }

  async lead(holder = "instance-1"): Promise<number> {
    const row = await this.store.ledger.raiseEpoch(holder, this.now, this.now + LEASE_MS);
    this.epoch = row.epoch;
    return row.epoch;
  }

  trigger(
    job: Job,
    changes: Partial<TriggerRequest> & { readonly count?: number } = {},
  ): Promise<TriggerAnswer> {
    const { count = 1, ...rest } = changes;
    return this.store.outcomes.trigger({
      jobId: job.id,
      at: this.now,
      items: Array.from({ length: count }, () => ({ occurrenceId: this.random.uuid(), jobData: null })),
      force: false,
      reason: null,
      by: "alice",
      idempotency: null,
      defaultsOf: () => DEFAULTS,
      ...rest,
    });
  }

  /** Triggers one that may run now, and gives its message. */
  async queued(job: Job): Promise<JobMessage> {
    const answer = await this.trigger(job);
    assert(answer.ok, "the trigger was refused");
    const [message] = answer.messages;
    assert(message !== undefined, "the occurrence may not run yet");
    return message;
  }

  /** Triggers and claims one. */
  async running(job: Job): Promise<JobMessage> {
    const message = await this.queued(job);
    return await this.claimed(message);
  }

  async claimed(message: JobMessage, instanceId = "worker-1"): Promise<JobMessage> {
    const [answer] = await this.attempts.claim([{ message, workerId: "pool", instanceId }], LEASE_MS);
    assert(answer?.ok, `the claim was refused: ${JSON.stringify(answer)}`);
    return { ...message, token: answer.token, attempt: answer.attempt };
  }

  report(message: JobMessage, outcome: Outcome, changes: Partial<Report> = {}): Report {
    const { occurrenceId, scheduledFor, jobId, token } = message;
    return {
      occurrenceId,
      scheduledFor,
      jobId,
      token,
      workerId: "pool",
      instanceId: "worker-1",
      startedAt: this.now,
      endedAt: this.now,
      durationMs: 0,
      outcome,
      ...changes,
    };
  }

  record(message: JobMessage, outcome: Outcome) {
    return this.store.outcomes.record([this.report(message, outcome)], this.now, 0.5);
  }

  cancel(occurrenceId: string) {
    return this.store.outcomes.cancel(occurrenceId, {
      by: "alice",
      reason: "not needed",
      requestedAt: this.now,
    });
  }

  decision(job: Job, changes: Partial<Decision> = {}): Decision {
    assert(job.nextDueAt !== null, "the job is never due");
    return {
      jobId: job.id,
      jobVersion: job.version,
      expectedDueAt: job.nextDueAt,
      nextDueAt: job.nextDueAt + 1000,
      slots: [{ occurrenceId: this.random.uuid(), dueAt: job.nextDueAt, origin: "schedule" }],
      ranges: [],
      defaults: DEFAULTS,
      ...changes,
    };
  }

  async decide(decisions: readonly Decision[], epoch = this.epoch) {
    const answer = await this.store.ledger.decide(epoch, decisions, this.now);
    assert(answer.ok, "the epoch was refused");
    return answer;
  }

  /** The present status of an occurrence. */
  async status(occurrenceId: string): Promise<string> {
    const detail = await this.detail(occurrenceId);
    return detail.occurrence.status;
  }

  async detail(occurrenceId: string) {
    const detail = await this.store.history.occurrence(occurrenceId);
    assert(detail !== null, `no occurrence ${occurrenceId}`);
    return detail;
  }
}

export const COMPLETED: Outcome = { kind: "completed", result: '{"sum":3}' };

export const FAILED: Extract<Outcome, { kind: "failed" }> = {
  kind: "failed",
  error: { name: "TypeError", message: "x is undefined\nsecond line", stack: null, causes: [] },
  permanent: false,
  retryAfterMs: null,
  cause: "error",
};

export const HANDED_BACK: Outcome = { kind: "handedBack", why: "stopping" };

/** Registers a promise of a suite. */
export function promiseOf(
  suite: string,
  factory: StoreFactory,
): (sentence: string, body: (world: StoreWorld) => Promise<void>) => void {
  return (sentence, body) => Deno.test(`${suite}: ${sentence}`, () => StoreWorld.within(factory, body));
}
