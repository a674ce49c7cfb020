/**
 * One simulated process: the real actors, behind a gate, on the shared servers through a wire of its own. It can be
 * killed, frozen and woken, stopped and started again as another process.
 */
import { createJobTypes } from "../../actors/job_types.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Events } from "../../actors/ports/events.ts";
import type { Queue, ReportQueue } from "../../actors/ports/queue.ts";
import type { Outcomes } from "../../actors/ports/store.ts";
import type { SeededRandom } from "../../actors/runtime/seeded_random.ts";
import { type ActorSystem, createSystem } from "../../actors/runtime/system.ts";
import { type ApiPorts, supervisorActor } from "../../actors/supervisor.ts";
import { EmbeddedQueue } from "../../infra/embedded/queue.ts";
import { EmbeddedReportQueue } from "../../infra/embedded/report_queue.ts";
import { offer } from "../support/in_process_pool.ts";
import { DEFAULTS } from "../support/node.ts";
import { KeptLog, KeptMeter } from "../support/quiet.ts";
import type { Chance } from "./chance.ts";
import { clockBehind, Gate } from "./gate.ts";
import { HEARTBEAT_TIMEOUT_MS, WiredQueue } from "./job_broker.ts";
import { WiredReports } from "./report_broker.ts";
import { SimulatedPool } from "./simulated_pool.ts";
import { Wire } from "./wire.ts";
import { HEARTBEAT_MS, LEASE_MS, type World } from "./world.ts";

/** Runs go on so long when the process is told to stop: less than the longer ones of the graces it is given. */
const DRAIN_MS = 1500;

export interface Role {
  readonly name: string;
  readonly isApi: boolean;
  readonly isWorker: boolean;
}

export const JOB_TYPES = ["SampleJob", "OtherJob"] as const;
/** Milliseconds that clocks of processes differ, at most. */
const SKEW_MS = 40;
const LANES = 6;

export class SimulatedNode {
  readonly instanceId: string;
  readonly gate: Gate;
  readonly wire: Wire;
  readonly clock: Clock;
  readonly random: SeededRandom;
  readonly log = new KeptLog();
  readonly ports: ApiPorts;
  readonly system: ActorSystem;
  readonly #pool: SimulatedPool;
  readonly #queue: WiredQueue | null;
  readonly #reports: WiredReports | null;
  readonly #subscriptions: (() => void)[] = [];
  readonly #chance: Chance;

  /** `life`: how often it was started before. */
  constructor(private readonly world: World, readonly role: Role, life: number) {
    const { time, profile } = world;
    this.#chance = world.chance(`node/${role.name}/${life}`);
    const skew = profile.isEmbedded ? 0 : this.#chance.between(-SKEW_MS, SKEW_MS);
    this.gate = new Gate(time);
    this.clock = clockBehind(this.gate, time, () => world.wall() + skew);
    this.random = this.#chance.of("random").random(this.clock);
    this.instanceId = `${role.name}-${life}`;
    const isCalm = () => world.isCalm;
    this.wire = new Wire({ time, gate: this.gate, chance: this.#chance.of("wire"), profile, isCalm });
    this.#queue = profile.isEmbedded ? null : new WiredQueue(world.jobs, this.wire, this.gate);
    this.#reports = profile.isEmbedded ? null : new WiredReports(world.reports, this.wire, this.gate);
    this.#pool = new SimulatedPool(
      JOB_TYPES.map((name) =>
        offer(name, { maxParallelJobs: LANES - 1, maxRetries: 2, baseRetryDelaySeconds: 2 })
      ),
      {
        clock: this.clock,
        chance: this.#chance.of("runs"),
        trueNow: () => world.trueNow(),
        runs: world.runs,
        failingRuns: () => world.isCalm ? 0 : profile.failingRuns,
      },
    );
    const ports = this.#wired();
    this.ports = world.mutant?.ports?.(ports) ?? ports;
    const order = this.#chance.of("turns");
    this.system = createSystem({
      clock: this.clock,
      random: this.random,
      scheduler: {
        schedule: (run) => time.soon(() => this.gate.pass(run)),
        turnsPerRun: 1,
        pick: (count) => order.below(count),
      },
      onInspect: (event) => {
        if (event.type !== "crashed" && event.type !== "lastWordThrew") return;
        world.crashes.push(`${this.instanceId}${event.path}: ${(event.error as Error).stack}`);
      },
    });
    this.#spawn();
  }

  /** As SIGKILL: nothing more comes in or goes out. */
  kill(): void {
    if (this.gate.state === "dead") return;
    this.gate.die();
    this.#pool.die();
    this.#queue?.die();
    this.#reports?.die();
    for (const end of this.#subscriptions) end();
  }

  freeze(): void {
    this.#pool.freeze();
    this.gate.freeze();
    this.world.time.timer(HEARTBEAT_TIMEOUT_MS, () => {
      if (this.gate.state === "frozen") this.#queue?.fallAsleep();
    });
  }

  thaw(): void {
    this.gate.thaw();
    this.#queue?.wake();
  }

  /** As SIGTERM, with its grace; settles when the process has ended, by itself or killed. */
  async stop(graceMs: number): Promise<void> {
    const dead = this.world.time.sleep(graceMs * 2);
    await Promise.race([this.system.stop(graceMs), dead]);
    this.kill();
  }

  #spawn(): void {
    const { ports, role, world } = this;
    const jobTypes = createJobTypes({ presence: ports.presence, clock: this.clock, fallback: DEFAULTS });
    this.system.spawn(
      "supervisor",
      supervisorActor(ports, {
        instanceId: this.instanceId,
        leaseMs: LEASE_MS,
        api: !role.isApi ? null : {
          ports,
          jobTypes,
          lockTtlMs: 15_000,
          misfireThresholdMs: 60_000,
          catchUp: { spacingMs: 1000, perSecond: 50 },
          batchSize: 1000,
          pollMs: 5000,
          // Longer than any simulation: the judge wants to see everything.
          retention: {
            rules: {
              completedDays: 3650,
              failedDays: 3650,
              keepLast: 10,
              lineDays: 3650,
              unresolvedDays: 365,
            },
            intervalMs: 3_600_000,
          },
          soleProcess: world.profile.isEmbedded,
          onLeading: () => {},
          watchdog: { intervalMs: 60_000, toleranceMs: 30_000, onLooked: () => {} },
        },
        worker: !role.isWorker ? null : {
          pool: world.mutant?.pool?.(this.#pool) ?? this.#pool,
          workerId: "pool",
          hostName: role.name,
          version: "0",
          maxParallelJobs: LANES,
          heartbeatIntervalMs: HEARTBEAT_MS,
          drainMs: DRAIN_MS,
        },
      }),
    );
  }

  #wired(): ApiPorts {
    const { world, wire } = this;
    const { store } = world;
    const own = this.#inProcess();
    return {
      store: {
        jobs: wire.port("store", store.jobs),
        ledger: wire.port("store", this.#witnessed(store.ledger)),
        outcomes: this.#outcomes(store.outcomes),
        history: wire.port("store", store.history),
        lines: wire.port("store", store.lines),
        oversight: wire.port("store", store.oversight),
        alerts: wire.port("store", store.alerts),
        reads: store.reads,
        retention: wire.port("store", store.retention),
        failed: wire.port("store", store.failed),
        bulk: wire.port("store", this.#witnessedBulk(store.bulk)),
        facts: wire.port("store", store.facts),
        storeId: store.storeId,
        check: (deadlineMs) => store.check(deadlineMs),
        close: () => Promise.resolve(),
      },
      attempts: wire.port("store", world.attempts),
      queue: this.#queue ?? own.queue,
      reports: this.#reports ?? own.reports,
      // Looked up at each call: a cache that was emptied is another one.
      dueIndex: this.#ofCache("dueIndex"),
      leases: this.#ofCache("leases"),
      presence: this.#ofCache("presence"),
      events: this.#events(),
      clock: this.clock,
      random: this.random,
      log: this.log,
      meter: new KeptMeter(),
    };
  }

  /** What an embedded process has in itself; it ends with it. */
  #inProcess(): { readonly queue: Queue; readonly reports: ReportQueue } {
    return {
      queue: new EmbeddedQueue(),
      reports: new EmbeddedReportQueue(
        this.clock,
        () => new Promise((resolve) => this.world.time.soon(() => this.gate.pass(resolve))),
      ),
    };
  }

  #ofCache<K extends "dueIndex" | "leases" | "presence">(name: K): World["cache"][K] {
    const { world, wire } = this;
    return new Proxy({} as World["cache"][K], {
      get: (_, method) => (...args: unknown[]) =>
        wire.call("cache", String(method), () => {
          const port: object = world.cache[name];
          return Reflect.get(port, method, port).apply(port, args);
        }),
    });
  }

  /** Notes who asked for what only a leader may write, where the call arrives. */
  #witnessed(ledger: ApiPorts["store"]["ledger"]): ApiPorts["store"]["ledger"] {
    const { world, instanceId } = this;
    return new Proxy(ledger, {
      get(target, name) {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (name === "decide") {
            const [, decisions] = args as Parameters<typeof ledger.decide>;
            for (const { slots } of decisions) {
              for (const { occurrenceId } of slots) world.decided.set(occurrenceId, instanceId);
            }
          } else if (name === "reap") {
            const [, lost] = args as Parameters<typeof ledger.reap>;
            for (const { occurrenceId, token } of lost) {
              const key = `${occurrenceId}/${token}`;
              world.reaped.set(key, (world.reaped.get(key) ?? new Set()).add(instanceId));
            }
          }
          return value.apply(target, args);
        };
      },
    });
  }

  /** A leader's bulk replays, too, where the call arrives. */
  #witnessedBulk(bulk: ApiPorts["store"]["bulk"]): ApiPorts["store"]["bulk"] {
    const { world, instanceId } = this;
    return new Proxy(bulk, {
      get(target, name) {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (name === "step") {
            const [, { occurrenceIds }] = args as Parameters<typeof bulk.step>;
            for (const id of occurrenceIds) world.decided.set(id, instanceId);
          }
          return value.apply(target, args);
        };
      },
    });
  }

  #outcomes(outcomes: Outcomes): Outcomes {
    const wired = this.wire.port("store", outcomes);
    return {
      record: (...args) => wired.record(...args),
      recordProgress: (...args) => wired.recordProgress(...args),
      recordSignals: (...args) => wired.recordSignals(...args),
      trigger: (...args) => wired.trigger(...args),
      cancel: (...args) => wired.cancel(...args),
      notePublished: (messages) => {
        this.wire.call("store", "notePublished", () => Promise.resolve(outcomes.notePublished(messages)))
          .catch(() => {}); // a hint, which may be forgotten
      },
    };
  }

  #events(): Events {
    const { world, wire, gate } = this;
    const { events, time, profile } = world;
    const chance = this.#chance.of("news");
    const isLost = () => !world.isCalm && !profile.isEmbedded && chance.happens(profile.newsLost);
    return {
      publish: (news) => {
        if (wire.isUp("cache") && !isLost()) time.soon(() => events.publish(news));
      },
      subscribe: (types, listener) => {
        const end = events.subscribe(types, (news) => {
          if (wire.isUp("cache") && !isLost()) time.soon(() => gate.pass(() => listener(news)));
        });
        this.#subscriptions.push(end);
        return end;
      },
      wants: (type) => events.wants(type),
    };
  }
}
