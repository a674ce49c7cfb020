/**
 * One node of the program on a manual clock: the real actors on real adapters, with jobs that are functions of the
 * test. Stop it (or crash it) and start another on the same ground.
 */
import { deadline } from "@std/async";
import { createJobTypes, type JobTypes } from "../../actors/job_types.ts";
import { type Job, JOB_DEFAULTS } from "../../actors/domain/job.ts";
import { DEFAULT_FAILURE_RULES } from "../../actors/domain/retry.ts";
import type { JobTypeOffer } from "../../actors/domain/job_type.ts";
import { firstDue } from "../../actors/domain/plan.ts";
import { parseSchedule } from "../../actors/domain/schedule.ts";
import type { CatchUpOptions } from "../../actors/due_pass.ts";
import { publishCommitted } from "../../actors/publish.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { seededRandom } from "../../actors/runtime/seeded_random.ts";
import { seededScheduler } from "../../actors/runtime/seeded_scheduler.ts";
import { type ActorSystem, createSystem } from "../../actors/runtime/system.ts";
import { supervisorActor } from "../../actors/supervisor.ts";
import type { WatchdogFigures } from "../../actors/watchdog.ts";
import type { Adapters } from "../../infra/adapters.ts";
import { realScheduler } from "../../infra/scheduler.ts";
import { type Behaviour, completed, InProcessPool, offer } from "./in_process_pool.ts";
import type { Faults } from "./faulty.ts";
import type { Ground, Standing } from "./ground.ts";
import { KeptLog, KeptMeter } from "./quiet.ts";

export interface NodeOptions {
  readonly ground: Ground;
  readonly clock: ManualClock;
  readonly seed?: number;
  readonly offers?: readonly JobTypeOffer[];
  readonly behaviour?: Behaviour;
  readonly leaseMs?: number;
  readonly maxParallelJobs?: number;
  readonly catchUp?: CatchUpOptions;
  /** One of the test's, to look at while the node starts. */
  readonly log?: KeptLog;
  /** How long runs may go on when it stops. Default 0: they get their signal at once. */
  readonly drainMs?: number;
  /** Stand between the actors and their ports: methods of the store, of attempts, queue and due index. */
  readonly faults?: Faults;
  /** Puts something of the test between the actors and their ports. */
  readonly replace?: (adapters: Adapters) => Adapters;
}

export const DEFAULTS = {
  maxRetries: 3,
  baseRetryDelaySeconds: 5,
  executionTimeoutSeconds: null,
  rules: DEFAULT_FAILURE_RULES,
};

/** Of real time: a clock that stands still would keep a test waiting for ever. */
const STOPS_WITHIN_MS = 30_000;
/** Rounds in which nothing was asked of the adapters: what the last answers led to has been said in the first. */
const CALM_ROUNDS = 2;
/** A node that asks again and again, without its clock going on, does not keep a test for ever. */
const ROUNDS_AT_MOST = 200;

export class Node {
  epoch: number | null = null;
  watched: WatchdogFigures | null = null;

  private constructor(
    readonly instanceId: string,
    readonly clock: ManualClock,
    readonly random: ReturnType<typeof seededRandom>,
    readonly standing: Standing,
    readonly pool: InProcessPool,
    readonly system: ActorSystem,
    readonly jobTypes: JobTypes,
    readonly log: KeptLog,
    readonly meter: KeptMeter,
  ) {}

  get adapters(): Adapters {
    return this.standing.adapters;
  }

  static async start(options: NodeOptions): Promise<Node> {
    const { clock } = options;
    const seed = options.seed ?? 1;
    const random = seededRandom(seed, clock);
    const log = options.log ?? new KeptLog();
    const meter = new KeptMeter();
    const instanceId = `node-${random.uuid()}`;
    const standing = await options.ground.open({ clock, random, log, instanceId });
    const { adapters } = standing;
    const pool = new InProcessPool(
      options.offers ?? [offer("SampleJob")],
      clock,
      options.behaviour ?? (() => ({ afterMs: 0, outcome: completed })),
    );
    const system = createSystem({ clock, random, scheduler: seededScheduler(seed, realScheduler) });

    const jobTypes = createJobTypes({ presence: adapters.presence, clock, fallback: DEFAULTS });
    const node = new Node(instanceId, clock, random, standing, pool, system, jobTypes, log, meter);
    clock.settleWith(() => settle(node));
    const ports = {
      ...withFaults(options.replace?.(adapters) ?? adapters, options.faults),
      clock,
      random,
      log,
      meter,
    };
    system.spawn(
      "supervisor",
      supervisorActor(ports, {
        instanceId,
        leaseMs: options.leaseMs ?? 15_000,
        api: {
          ports,
          jobTypes,
          lockTtlMs: 15_000,
          misfireThresholdMs: 60_000,
          catchUp: options.catchUp ?? { spacingMs: 1000, perSecond: 50 },
          batchSize: 1000,
          pollMs: 5000,
          retention: {
            rules: { completedDays: 30, failedDays: 90, keepLast: 10, lineDays: 30, unresolvedDays: 40 },
            intervalMs: 3_600_000,
          },
          soleProcess: adapters.soleProcess,
          onLeading: (epoch) => node.epoch = epoch,
          watchdog: {
            intervalMs: 60_000,
            toleranceMs: 30_000,
            onLooked: (figures) => node.watched = figures,
          },
        },
        worker: {
          pool,
          workerId: "local",
          hostName: "test",
          version: "0",
          maxParallelJobs: options.maxParallelJobs ?? 16,
          heartbeatIntervalMs: 5000,
          drainMs: options.drainMs ?? 0,
        },
      }),
    );
    await settle(node);
    return node;
  }

  /** Saves a job as the API does. */
  async createJob(change: Partial<Job> & { cronExpression?: string; executeAt?: string }): Promise<Job> {
    const id = this.random.uuid();
    const now = this.clock.now();
    const { cronExpression, executeAt, ...rest } = change;
    const parsed = parseSchedule(
      { cronExpression, executeAt, triggerOnly: cronExpression === undefined && executeAt === undefined },
      { jobId: id, now },
    );
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    const job: Job = {
      ...JOB_DEFAULTS,
      id,
      version: 1,
      displayName: "Test",
      jobType: "SampleJob",
      jobData: "{}",
      schedule: parsed.schedule,
      nextDueAt: null,
      createdAt: now,
      updatedAt: now,
      ...rest,
    };
    const saved = { ...job, nextDueAt: firstDue(job, now) };
    await this.adapters.store.jobs.insert([saved]);
    if (saved.nextDueAt !== null) await this.adapters.dueIndex.put([{ jobId: id, dueAt: saved.nextDueAt }]);
    this.adapters.events.publish([{ type: "jobChanged", jobId: id, at: now }]);
    await settle(this);
    return saved;
  }

  /** Triggers as the API does; gives the occurrence ids, or the reason of the refusal. */
  async trigger(jobId: string, count = 1): Promise<readonly string[] | string> {
    const answer = await this.adapters.store.outcomes.trigger({
      jobId,
      at: this.clock.now(),
      items: Array.from({ length: count }, () => ({ occurrenceId: this.random.uuid(), jobData: null })),
      force: false,
      reason: null,
      by: "test",
      idempotency: null,
      defaultsOf: () => DEFAULTS,
    });
    if (!answer.ok) return answer.reason;
    await publishCommitted(
      { ...this.adapters, clock: this.clock, log: this.log, meter: this.meter },
      answer.messages,
    );
    await settle(this);
    return answer.occurrenceIds;
  }

  /** All occurrences of a job, oldest due time first. */
  async occurrences(jobId: string) {
    const page = await this.adapters.store.history.occurrences({ jobId }, 200, null);
    return [...page.items].sort((a, b) => a.scheduledFor - b.scheduledFor);
  }

  /** Ends in order. What waits for time to pass (a claim under way) must have been answered, or the test moves the clock. */
  async stop(graceMs = 10_000): Promise<void> {
    const stopped = this.system.stop(graceMs);
    await settle(this);
    await deadline(stopped, STOPS_WITHIN_MS).catch(() => {
      const left = this.system.snapshot().filter(({ state }) => state === "stopping");
      throw new Error(`Never stopped: ${left.map(({ path, working }) => `${path} (${working})`).join(", ")}`);
    });
    await this.standing.close();
  }

  /** Runs a test with a node; it, or the one that the test gives back, is stopped. A test that fails leaves nothing. */
  static async during(
    options: NodeOptions,
    work: (node: Node) => Promise<Node | void>,
  ): Promise<void> {
    const node = await Node.start(options);
    let last: Node = node;
    try {
      last = await work(node) ?? node;
    } catch (error) {
      await node.crash().catch(() => {}); // crashed by the test already
      throw error;
    }
    await last.stop();
  }

  /** As `kill -9`: nothing is handed back, nothing more is written; a folder's lock is free. */
  async crash(): Promise<void> {
    await this.standing.close();
    await this.system.stop(0);
  }
}

function withFaults(adapters: Adapters, faults: Faults | undefined): Adapters {
  if (faults === undefined) return adapters;
  const { store } = adapters;
  return {
    ...adapters,
    store: {
      ...store,
      ledger: faults.wrap(store.ledger),
      outcomes: faults.wrap(store.outcomes),
      lines: faults.wrap(store.lines),
      bulk: faults.wrap(store.bulk),
    },
    attempts: faults.wrap(adapters.attempts),
    queue: faults.wrap(adapters.queue),
    dueIndex: faults.wrap(adapters.dueIndex),
    leases: faults.wrap(adapters.leases),
    presence: faults.wrap(adapters.presence),
  };
}

/**
 * Until no message waits and what was asked of the adapters is done. Disks and servers are real, and no manual clock
 * can hurry them.
 */
export async function settle({ system, standing }: Pick<Node, "system" | "standing">): Promise<void> {
  // One commit leads to the next (decide, claim, record, release and claim again), so: until nothing follows.
  for (let calm = 0, round = 0; calm < CALM_ROUNDS && round < ROUNDS_AT_MOST; round += 1) {
    const before = standing.turns();
    await system.idle();
    await standing.settle();
    await new Promise<void>((resolve) => setImmediate(resolve));
    calm = standing.turns() === before ? calm + 1 : 0;
  }
  await system.idle();
}
