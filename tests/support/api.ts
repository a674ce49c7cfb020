/**
 * The API on a real embedded store, called without a network, on a manual clock. Every JSON answer is held against
 * the schema that the documentation gives for it.
 */
import { assertEquals } from "@std/assert";
import { DEFAULT_FAILURE_RULES } from "../../actors/domain/retry.ts";
import { createJobTypes } from "../../actors/job_types.ts";
import type { JobTypeOffer } from "../../actors/domain/job_type.ts";
import type { Outcome } from "../../actors/domain/message.ts";
import type { WatchdogFigures } from "../../actors/watchdog.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import type { Evidence } from "../../actors/domain/bottleneck_evidence.ts";
import type { EvidenceSource } from "../../actors/ports/evidence.ts";
import type { Reads } from "../../actors/ports/reads.ts";
import type { Store } from "../../actors/ports/store.ts";
import { seededRandom } from "../../actors/runtime/seeded_random.ts";
import { type Adapters, openAdapters } from "../../infra/adapters.ts";
import { createMetrics } from "../../infra/metrics.ts";
import { type Api, createApp } from "../../routes/app.ts";
import type { ApiSettings } from "../../routes/deps.ts";
import { offer } from "./in_process_pool.ts";
import { KeptLog } from "./quiet.ts";

export const START = Date.UTC(2026, 10, 24, 10, 0, 0);

export interface ApiOptions {
  readonly offers?: readonly JobTypeOffer[];
  readonly settings?: Partial<ApiSettings>;
  readonly watchdog?: WatchdogFigures;
  /** Reads of a store that has copies. */
  readonly reads?: (store: Store) => Reads;
  readonly evidence?: EvidenceSource;
}

/** Of an instance that has not looked yet. */
export function noEvidence(at: number): Evidence {
  return {
    at,
    windowSeconds: 0,
    looks: 0,
    api: null,
    store: null,
    queues: [],
    workers: [],
    redis: null,
    postgres: null,
  };
}

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  // deno-lint-ignore no-explicit-any -- answers are read by tests that know them
  readonly body: any;
}

/** A job with all that is required, and a payload that `SampleJob` takes. */
export const SAMPLE = { displayName: "Sample", jobType: "SampleJob", triggerOnly: true } as const;

export class TestApi {
  private constructor(
    readonly api: Api,
    readonly adapters: Adapters,
    readonly clock: ManualClock,
    readonly log: KeptLog,
    private readonly folder: string,
  ) {}

  static async open(options: ApiOptions = {}): Promise<TestApi> {
    const folder = await Deno.makeTempDir({ prefix: "milvaion-api-" });
    const clock = new ManualClock({ now: START });
    const random = seededRandom(1, clock);
    const log = new KeptLog();
    const adapters = await openAdapters({ dataDir: folder, heartbeatMs: 5000, clock, random, log });
    const { store } = adapters;
    const { meter, page } = createMetrics();
    const fallback = {
      maxRetries: 3,
      baseRetryDelaySeconds: 5,
      executionTimeoutSeconds: null,
      rules: DEFAULT_FAILURE_RULES,
    };
    const jobTypes = createJobTypes({ presence: adapters.presence, clock, fallback });
    const api = createApp({
      ...adapters,
      store: options.reads === undefined ? store : {
        ...store,
        reads: options.reads(store),
        check: (deadlineMs) => store.check(deadlineMs),
        close: () => store.close(),
      },
      clock,
      random,
      log,
      meter,
      jobTypes,
      metrics: page,
      evidence: options.evidence ?? { read: () => Promise.resolve(noEvidence(clock.now())) },
      settings: {
        instanceId: "api-1",
        version: "0.0.0",
        host: "127.0.0.1",
        port: 5000,
        allowedHosts: [],
        token: null,
        loopback: true,
        misfireThresholdMs: 60_000,
        leaseMs: 15_000,
        maxJobDataBytes: 256 * 1024,
        storeDescription: adapters.description,
        ...options.settings,
      },
      servers: () => [],
      leadership: () => ({ isLeader: true, epoch: 1 }),
      watchdog: () => options.watchdog ?? null,
      upgradeWebSocket: Deno.upgradeWebSocket,
      actors: { snapshot: () => [], deadLetters: 0 },
    });
    const made = new TestApi(api, adapters, clock, log, folder);
    if (options.offers === undefined) await made.announce([offer("SampleJob"), offer("SendEmailJob")]);
    else if (options.offers.length > 0) await made.announce(options.offers);
    return made;
  }

  /** A worker says that it is there; one for each pool. */
  async announce(offers: readonly JobTypeOffer[], workerId = "local"): Promise<void> {
    await this.adapters.presence.announce({
      workerId,
      instanceId: workerId === "local" ? "worker-1" : `${workerId}-1`,
      hostName: "test",
      version: "0.0.0",
      startedAt: this.clock.now(),
      maxParallelJobs: 16,
      jobTypes: offers.map((one) => ({ ...one, lanesBusy: 1, lanesFree: one.maxParallelJobs - 1 })),
      running: [],
      reportsHeldBack: 0,
      load: null,
      isStopping: false,
    });
    this.adapters.events.publish([{ type: "workersChanged", at: this.clock.now() }]);
  }

  /** Sends a body as JSON; a string as it is. */
  async send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answered> {
    const response = await this.api.app.request(path, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const answered = await read(response);
    this.#holdAgainstDocumentation(method, path, answered);
    return answered;
  }

  get(path: string, headers?: Record<string, string>): Promise<Answered> {
    return this.send("GET", path, undefined, headers);
  }

  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answered> {
    return this.send("POST", path, body, headers);
  }

  /** Creates a job that is only triggered, with these changes; gives its id. */
  async createJob(change: Record<string, unknown> = {}): Promise<string> {
    const answer = await this.post("/api/v1/jobs", { ...SAMPLE, ...change });
    assertEquals(answer.status, 201, JSON.stringify(answer.body));
    return answer.body.id;
  }

  /** Triggers a job; gives the occurrence's id. */
  async trigger(jobId: string): Promise<string> {
    const answer = await this.post(`/api/v1/jobs/${jobId}/trigger`);
    assertEquals(answer.status, 202, JSON.stringify(answer.body));
    return answer.body.occurrenceId;
  }

  /** A worker claims an occurrence; gives what a report needs. */
  async claim(occurrenceId: string): Promise<number> {
    const detail = await this.adapters.store.history.occurrence(occurrenceId);
    const { scheduledFor = 0, token = 0 } = detail?.occurrence ?? {};
    const [answer] = await this.adapters.attempts.claim([{
      message: { occurrenceId, scheduledFor, token },
      workerId: "local",
      instanceId: "worker-1",
    }], 15_000);
    if (answer?.ok !== true) throw new Error(`Cannot claim ${occurrenceId}: ${JSON.stringify(answer)}`);
    return answer.token;
  }

  /** A worker runs an occurrence to this outcome. */
  async run(
    occurrenceId: string,
    outcome: Outcome = { kind: "completed", result: '{"sent":1}' },
    { durationMs = 12 }: { readonly durationMs?: number } = {},
  ): Promise<void> {
    const token = await this.claim(occurrenceId);
    const { occurrence } = await this.adapters.store.history.occurrence(occurrenceId) ?? {};
    await this.adapters.store.outcomes.record(
      [{
        occurrenceId,
        scheduledFor: occurrence?.scheduledFor ?? 0,
        jobId: occurrence?.jobId ?? "",
        token,
        workerId: "local",
        instanceId: "worker-1",
        startedAt: this.clock.now(),
        endedAt: this.clock.now() + durationMs,
        durationMs,
        outcome,
      }],
      this.clock.now(),
      0,
    );
  }

  async close(): Promise<void> {
    this.api.close();
    await this.adapters.store.close();
    await Deno.remove(this.folder, { recursive: true });
  }

  #holdAgainstDocumentation(method: string, path: string, { status, body, headers }: Answered): void {
    if (headers.get("content-type") !== "application/json" || method === "HEAD") return;
    const { pathname } = new URL(path, "http://localhost");
    const found = this.api.endpoints.find((one) =>
      one.method === method && new RegExp(`^${one.path.replace(/\{\w+\}/, "[^/]+")}$`).test(pathname)
    );
    const schema = found?.answers[status]?.schema;
    if (schema === undefined) return;
    const checked = schema.safeParse(body);
    assertEquals(checked.error?.issues ?? [], [], `${method} ${path} answers as documented`);
  }
}

/** Runs with an API of its own. */
export async function withApi(
  work: (api: TestApi) => Promise<void>,
  options: ApiOptions = {},
): Promise<void> {
  const api = await TestApi.open(options);
  try {
    await work(api);
  } finally {
    await api.close();
  }
}

/** Reads a response to its end. */
export async function read(response: Response): Promise<Answered> {
  const text = await response.text();
  const isJson = text !== "" && response.headers.get("content-type")?.includes("json") === true;
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}
