/**
 * Evidence for the bottleneck advisor: an API instance looks at itself, at what waits, at the workers and at the
 * servers each few seconds and keeps the last looks in memory. A look costs one question to each server and one a
 * queue, whatever the load.
 */
import type { Evidence, PostgresEvidence } from "../../actors/domain/bottleneck_evidence.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { EvidenceSource } from "../../actors/ports/evidence.ts";
import type { ProcessLoad } from "../../actors/ports/process_load.ts";
import { type Look, look, type Surveyed } from "./look.ts";
import { machineShare } from "./processors.ts";
import { costlyBetween } from "./statements.ts";
import {
  latencyBetween,
  machinePeak,
  perSecond,
  postgresEvidence,
  queueEvidence,
  redisEvidence,
  routeRates,
  workerEvidence,
} from "./window.ts";

/** Looks that are kept: with the usual interval of 5 s, a minute lies between the first and the last. */
const LOOKS_KEPT = 13;

export interface SurveyOptions extends Omit<Surveyed, "clock"> {
  readonly instanceId: string;
  readonly hostName: string;
  readonly intervalMs: number;
  readonly load: () => ProcessLoad;
  /** Time as all instances have it. */
  readonly clock: Clock;
}

export class Survey implements EvidenceSource {
  readonly #looks: Look[] = [];
  #cancel: () => void = () => {};
  #isStopped = false;

  constructor(private readonly options: SurveyOptions) {
    void this.#lookOnce();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }

  async read(): Promise<Evidence> {
    const { options } = this;
    const looks = [...this.#looks];
    const first = looks[0];
    const last = looks.at(-1);
    const base = { at: options.clock.now(), looks: looks.length };
    if (first === undefined || last === undefined) {
      return {
        ...base,
        windowSeconds: 0,
        api: null,
        store: null,
        queues: [],
        workers: [],
        redis: null,
        postgres: null,
      };
    }
    const seconds = (last.at - first.at) / 1000;
    const load = options.load();
    const call = latencyBetween(first.redisCalls, last.redisCalls);
    const servers = last.redis === null
      ? null
      : redisEvidence(first.redis ?? last.redis, last.redis, seconds);
    const counted = looks.filter(({ created }) => created !== null);
    return {
      ...base,
      windowSeconds: seconds,
      api: {
        instanceId: options.instanceId,
        hostName: options.hostName,
        cpuShare: perSecond(first.processors.ownMs, last.processors.ownMs, seconds) / 1000,
        machineShare: machineShare(first.processors.machine, last.processors.machine, seconds),
        machinePeak: machinePeak(looks),
        rssBytes: load.rssBytes,
        memoryLimitBytes: load.memoryLimitBytes,
        eventLoopDelay: latencyBetween(first.eventLoop, last.eventLoop),
        requestsPerSecond: routeRates(first, last, seconds).reduce((sum, one) => sum + one.perSecond, 0),
        routes: routeRates(first, last, seconds),
        liveClients: 0,
      },
      store: {
        ...this.#rates(counted),
        sync: latencyBetween(first.sync, last.sync),
      },
      queues: queueEvidence(looks),
      workers: workerEvidence(looks),
      redis: call === null ? null : { call, servers: servers ?? [] },
      postgres: await this.#postgres(looks),
    };
  }

  /** From the looks that could ask the store. */
  #rates(looks: readonly Look[]) {
    const first = looks[0];
    const last = looks.at(-1);
    if (first === undefined || last === undefined) return { createdPerSecond: 0, completedPerSecond: 0 };
    const seconds = (last.at - first.at) / 1000;
    return {
      createdPerSecond: perSecond(first.created, last.created, seconds),
      completedPerSecond: perSecond(first.completed, last.completed, seconds),
    };
  }

  async #postgres(looks: readonly Look[]): Promise<PostgresEvidence | null> {
    const { servers, copies } = this.options;
    const asked = looks.filter(({ postgres }) => postgres !== null);
    const first = asked[0];
    const last = asked.at(-1);
    if (servers === null || first === undefined || last === undefined) return null;
    const loads = asked.flatMap(({ postgres }) => postgres ?? []);
    const figures = postgresEvidence(loads, (last.at - first.at) / 1000);
    if (figures === null) return null;
    const whole = [looks[0] ?? first, looks.at(-1) ?? last] as const;
    return {
      ...figures,
      statement: latencyBetween(whole[0].statements, whole[1].statements) ?? { count: 0, p50Ms: 0, p99Ms: 0 },
      slowStatements: await costlyBetween(looks, servers.statementTexts),
      replicas: copies().map(({ name, isUsed, lagSeconds }) => ({ name, isUsed, lagSeconds })),
    };
  }

  async #lookOnce(): Promise<void> {
    const { clock, intervalMs } = this.options;
    const began = clock.mono();
    const seen = await look(this.options);
    if (this.#isStopped) return;
    this.#looks.push(seen);
    if (this.#looks.length > LOOKS_KEPT) this.#looks.shift();
    const left = Math.max(0, intervalMs - (clock.mono() - began));
    this.#cancel = clock.timer(left, () => void this.#lookOnce());
  }
}
