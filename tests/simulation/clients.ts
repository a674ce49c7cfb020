/**
 * What people do to a simulated installation: jobs under each policy, triggers with keys that are tried again while
 * nobody knows what became of them, cancels, pauses, edits, replays (`operators.ts`). They write down what they were
 * told.
 */
import type { FailedOccurrence } from "../../actors/domain/failed_occurrence.ts";
import { type ConcurrencyPolicy, type Job, JOB_DEFAULTS, type Pause } from "../../actors/domain/job.ts";
import { firstDue } from "../../actors/domain/plan.ts";
import type { RetryRule } from "../../actors/domain/retry.ts";
import { parseSchedule } from "../../actors/domain/schedule.ts";
import { announceRecord } from "../../actors/announce.ts";
import { publishCommitted } from "../../actors/publish.ts";
import type { SeededRandom } from "../../actors/runtime/seeded_random.ts";
import type { ClientCall } from "../support/cluster_history.ts";
import { DEFAULTS } from "../support/node.ts";
import type { Chance } from "./chance.ts";
import { type Answer, Operators } from "./operators.ts";
import { JOB_TYPES, type SimulatedNode } from "./simulated_node.ts";
import type { World } from "./world.ts";

/** A cron expression with its oracle: every `everyMs` after `offsetMs` of the day, in UTC. */
interface Pattern {
  readonly cron: string;
  readonly everyMs: number;
  readonly offsetMs: number;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const PATTERNS: readonly [Pattern, ...Pattern[]] = [
  { cron: "*/10 * * * * *", everyMs: 10 * SECOND, offsetMs: 0 },
  { cron: "*/30 * * * * *", everyMs: 30 * SECOND, offsetMs: 0 },
  { cron: "17 * * * * *", everyMs: MINUTE, offsetMs: 17 * SECOND },
  { cron: "0 */5 * * * *", everyMs: 5 * MINUTE, offsetMs: 0 },
  { cron: "30 */15 * * * *", everyMs: 15 * MINUTE, offsetMs: 30 * SECOND },
  { cron: "0 42 * * * *", everyMs: 60 * MINUTE, offsetMs: 42 * MINUTE },
];

/** A client waits this long for an answer. */
const PATIENCE_MS = 30_000;
const TRIES = 4;
/** By the class of what failing runs throw. */
const RETRIED_OFTEN: RetryRule = { error: "Err*", action: "retry", maxRetries: 6, baseRetryDelaySeconds: 3 };
const NEVER_RETRIED: RetryRule = {
  error: "*",
  action: "fail",
  maxRetries: null,
  baseRetryDelaySeconds: null,
};
const DISABLED_SOON = { isEnabled: true, failures: 2, windowMinutes: 30, cooldownMinutes: 2 };
const JOBS_AT_MOST = 20;

export interface SimulatedJob {
  readonly id: string;
  readonly policy: ConcurrencyPolicy;
  readonly createdAt: number;
  readonly pattern: Pattern | null;
  readonly executeAt: number | null;
  readonly runLimit: number | null;
}

export class Clients {
  readonly jobs: SimulatedJob[] = [];
  readonly operators: Operators;
  readonly #chance: Chance;
  readonly #random: SeededRandom;
  #isStopped = false;
  #busy = 0;

  constructor(private readonly world: World, private readonly apis: () => readonly SimulatedNode[]) {
    this.#chance = world.chance("clients");
    this.operators = new Operators(world, world.chance("operators"));
    this.#random = world.chance("client-ids").random({ now: () => Math.round(world.trueNow()) });
  }

  /** Creates the first jobs, then goes on as the profile says. */
  async start(): Promise<void> {
    for (let index = 0; index < this.world.profile.jobs; index += 1) await this.#createJob();
    void this.#goOn();
  }

  /** Nothing new; what was asked is still answered. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (let waited = 0; this.#busy > 0 && waited < 600; waited += 1) await this.world.time.advance(SECOND);
  }

  /** All due times of a job after its creation and before a moment: by arithmetic, not by the program's schedules. */
  static dueTimes({ createdAt, pattern, executeAt }: SimulatedJob, until: number): number[] {
    if (executeAt !== null) return executeAt < until ? [executeAt] : [];
    if (pattern === null) return [];
    const { everyMs, offsetMs } = pattern;
    const due: number[] = [];
    const first = Math.floor((createdAt - offsetMs) / everyMs) * everyMs + offsetMs + everyMs;
    for (let at = first; at < until; at += everyMs) due.push(at);
    return due;
  }

  async #goOn(): Promise<void> {
    const { time, profile } = this.world;
    while (!this.#isStopped) {
      await time.sleep(this.#chance.wait(profile.clientEveryMs));
      if (this.#isStopped) return;
      this.#busy += 1;
      void this.#doSomething().finally(() => this.#busy -= 1);
    }
  }

  async #doSomething(): Promise<void> {
    const job = this.#chance.oneOf(this.jobs);
    if (job === undefined) return;
    const what = this.#chance.next();
    if (what < 0.6) await this.#trigger(job);
    else if (what < 0.68) await this.#pause(job);
    else if (what < 0.8) await this.#edit(job);
    else if (what < 0.88) await this.#replay();
    else if (what < 0.91) await this.#patiently((node) => this.operators.bulk(node, job.id));
    else if (what < 0.95) await this.#patiently((node) => this.operators.skipNext(node, job.id));
    else if (what < 0.98) await this.#patiently((node) => this.operators.enable(node, job.id));
    else if (this.jobs.length < JOBS_AT_MOST && this.world.isStoreOpen) await this.#createJob();
  }

  async #createJob(): Promise<void> {
    const { world } = this;
    const chance = this.#chance;
    const id = this.#random.uuid();
    const now = world.wall();
    const policy = chance.pick(["Skip", "Queue", "Allow"] as const);
    const kind = chance.next();
    const pattern = kind < 0.75 ? chance.pick(PATTERNS) : null;
    const executeAt = kind >= 0.75 && kind < 0.85 ? now + chance.between(1, 1800) * SECOND : null;
    const parsed = parseSchedule({
      cronExpression: pattern?.cron,
      executeAt: executeAt === null ? undefined : new Date(executeAt).toISOString(),
      triggerOnly: pattern === null && executeAt === null,
    }, { jobId: id, now });
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    // Longer than the period under Skip, so that it has something to skip; shorter under Queue, so that it keeps up.
    const periodMs = Math.min(pattern?.everyMs ?? 5 * MINUTE, 5 * MINUTE);
    const runLimit = chance.happens(0.15) ? chance.between(1, 60) : null;
    const share = policy === "Skip" ? chance.pick([0.1, 0.6, 1.5]) : chance.pick([0, 0.05, 0.3]);
    const job: Job = {
      ...JOB_DEFAULTS,
      id,
      version: 1,
      displayName: id,
      jobType: chance.pick(JOB_TYPES),
      jobData: JSON.stringify({ meanMs: Math.round(periodMs * share) }),
      schedule: parsed.schedule,
      concurrentExecutionPolicy: policy,
      misfirePolicy: chance.pick(["FireOnce", "Skip", "FireAll"] as const),
      misfireLimit: 5,
      executionTimeoutSeconds: chance.happens(0.2) ? 120 : null,
      maxRetries: chance.pick([null, 0, 4]),
      baseRetryDelaySeconds: chance.pick([null, 1, 20]),
      maxRetryDelaySeconds: chance.pick([null, 30]),
      retryBudgetSeconds: chance.pick([null, null, 60]),
      retryRules: chance.pick([null, null, [RETRIED_OFTEN], [NEVER_RETRIED]]),
      autoDisable: chance.happens(0.4) ? DISABLED_SOON : null,
      runLimit,
      nextDueAt: null,
      createdAt: now,
      updatedAt: now,
    };
    const saved = { ...job, nextDueAt: firstDue(job, now) };
    const { store } = world;
    await store.jobs.insert([saved]);
    this.jobs.push({ id, policy, createdAt: now, pattern, executeAt, runLimit });
    if (saved.nextDueAt !== null) await world.cache.dueIndex.put([{ jobId: id, dueAt: saved.nextDueAt }]);
    world.events.publish([{ type: "jobChanged", jobId: id, at: now }]);
  }

  /** As a careful client: with a key, and again with the same key, elsewhere, as long as it does not know. */
  async #trigger(job: SimulatedJob): Promise<void> {
    const key = this.#random.uuid();
    // To force a run beside another is what Skip allows on request: the checker could not tell it from a fault.
    const force = job.policy !== "Skip" && this.#chance.happens(0.1);
    for (let attempt = 0; attempt < TRIES && !this.#isStopped; attempt += 1) {
      const call = await this.#call(
        { kind: "trigger", key, jobId: job.id, occurrenceId: null },
        async (node) => {
          const { ports } = node;
          const answer = await ports.store.outcomes.trigger({
            jobId: job.id,
            at: node.clock.now(),
            items: [{ occurrenceId: node.random.uuid(), jobData: null }],
            force,
            reason: key,
            by: "client",
            idempotency: { key, requestHash: job.id },
            defaultsOf: () => DEFAULTS,
          });
          if (!answer.ok) return { status: 409, occurrenceId: null };
          void publishCommitted(ports, answer.messages);
          return { status: 202, occurrenceId: answer.occurrenceIds[0] ?? null };
        },
      );
      if (call.outcome === "ok" && call.occurrenceId !== null && this.#chance.happens(0.15)) {
        await this.world.time.sleep(this.#chance.wait(20 * SECOND));
        await this.#cancel(job, call.occurrenceId);
      }
      if (call.outcome !== "info") return;
      await this.world.time.sleep(this.#chance.wait(5 * SECOND));
    }
  }

  async #cancel(job: SimulatedJob, occurrenceId: string): Promise<void> {
    await this.#call({ kind: "cancel", key: "", jobId: job.id, occurrenceId }, async (node) => {
      const { ports } = node;
      const at = node.clock.now();
      const reason = "not needed";
      const answer = await ports.store.outcomes.cancel(occurrenceId, {
        by: "client",
        reason,
        requestedAt: at,
      });
      if (!answer.ok) return { status: 409, occurrenceId };
      if (answer.state === "requested") {
        ports.events.publish([{ type: "cancelRequested", occurrenceId, token: answer.token, reason, at }]);
        return { status: 202, occurrenceId };
      }
      if (answer.state === "cancelled") {
        announceRecord(ports, answer.record);
        void publishCommitted(ports, answer.record.released);
      }
      return { status: 200, occurrenceId };
    });
  }

  async #pause(job: SimulatedJob): Promise<void> {
    const since = this.world.wall();
    const isForAWhile = this.#chance.happens(0.3);
    const lastsMs = this.#chance.wait(2 * MINUTE);
    const until = isForAWhile ? since + lastsMs : null;
    await this.#set(job, { reason: "a pause", by: "client", since, until });
    if (isForAWhile) return;
    await this.world.time.sleep(lastsMs);
    await this.#set(job, null);
  }

  async #set(job: SimulatedJob, pause: Pause | null): Promise<void> {
    await this.#patiently(async ({ ports, clock }) => {
      const { jobs } = ports.store;
      await (pause === null ? jobs.resume(job.id, clock.now()) : jobs.setPause(job.id, pause));
      ports.events.publish([{ type: "jobChanged", jobId: job.id, at: clock.now() }]);
    });
  }

  async #edit(job: SimulatedJob): Promise<void> {
    await this.#patiently(async (node) => {
      const updatedAt = node.clock.now();
      const current = await node.ports.store.jobs.get(job.id);
      // While clocks are an hour back a new job is not there yet, and its due times before its creation are no matter.
      if (current === null || updatedAt < current.createdAt) return;
      const change = { ...current, displayName: `edited at ${updatedAt}`, updatedAt };
      const answer = await node.ports.store.jobs.update(
        { ...change, nextDueAt: firstDue(change, updatedAt, current) },
        current.version,
      );
      const nextDueAt = answer.ok ? answer.job.nextDueAt : null;
      if (nextDueAt !== null) await node.ports.dueIndex.put([{ jobId: job.id, dueAt: nextDueAt }]);
      node.ports.events.publish([{ type: "jobChanged", jobId: job.id, at: updatedAt }]);
    });
  }

  /** What fails, or takes too long, leaves everything as far as it came. */
  async #patiently(work: (node: SimulatedNode) => Promise<void>): Promise<void> {
    const node = this.#someApi();
    if (node === undefined) return;
    await Promise.race([work(node), this.world.time.sleep(PATIENCE_MS)]).catch(() => {});
  }

  /** As a careful client, like a trigger. */
  async #replay(): Promise<void> {
    const key = this.#random.uuid();
    let failed: FailedOccurrence | null = null;
    await this.#patiently(async (node) => {
      failed = await this.operators.failed(node);
    });
    for (let attempt = 0; failed !== null && attempt < TRIES && !this.#isStopped; attempt += 1) {
      const { id, jobId }: FailedOccurrence = failed;
      const call = await this.#call(
        { kind: "replay", key, jobId, occurrenceId: null },
        (node) => this.operators.replay(node, id, key),
      );
      if (call.outcome !== "info") return;
      await this.world.time.sleep(this.#chance.wait(5 * SECOND));
    }
  }

  /** Any that is thought to be there: clients do not know which one is frozen. */
  #someApi(): SimulatedNode | undefined {
    return this.#chance.oneOf(this.apis());
  }

  async #call(
    what: Pick<ClientCall, "kind" | "key" | "jobId" | "occurrenceId">,
    ask: (node: SimulatedNode) => Promise<Answer>,
  ): Promise<ClientCall> {
    const { world } = this;
    const invokedAt = world.trueNow();
    const node = this.#someApi();
    const answer = node === undefined ? null : await Promise.race([
      ask(node).catch(() => null),
      world.time.sleep(PATIENCE_MS).then(() => null),
    ]);
    const status = answer?.status ?? null;
    const call: ClientCall = {
      ...what,
      occurrenceId: what.occurrenceId ?? answer?.occurrenceId ?? null,
      invokedAt,
      endedAt: world.trueNow(),
      outcome: status === null ? "info" : status < 300 ? "ok" : "fail",
      status,
    };
    world.calls.push(call);
    return call;
  }
}
