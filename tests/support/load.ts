/**
 * Load on a cluster: jobs that fire each second under each policy, and triggers and cancels of clients through any
 * API instance. Everything that it does is written down, and handed to the judge in the end.
 */
import { delay } from "@std/async";
import postgres from "postgres";
import { type SeededRandom, seededRandom } from "../../actors/runtime/seeded_random.ts";
import type { Cluster } from "./cluster.ts";
import type { ClusterProcess } from "./cluster_process.ts";
import type { ClientCall, ClusterHistory } from "./cluster_history.ts";
import { describe, judge, type Judgement, type Tolerance } from "./cluster_judge.ts";
import { readWitness } from "./postgres_witness.ts";
import { type Answer, until } from "./program.ts";
import { readRuns } from "./read_history.ts";

const POLICIES = ["Skip", "Queue", "Allow"] as const;
type Policy = (typeof POLICIES)[number];

/** How long everything that was begun may take to end. Milliseconds. */
const SETTLE_MS = 120_000;
const BEAT_MS = 50;
/** How often a client tries again, with the same key, when it does not know what became of its trigger. */
const TRIES = 5;
const TRY_AGAIN_MS = 500;

export interface LoadOptions {
  /** Jobs that fire each second, of each policy. */
  readonly jobsPerPolicy?: number;
  readonly triggersPerSecond?: number;
  /** Share of the triggers that are cancelled soon afterwards. */
  readonly cancelShare?: number;
  readonly seed?: number;
}

/** A job whose code writes down its own runs. */
export interface LoadJob {
  readonly policy: Policy;
  readonly workMs: number;
  /** So many attempts fail after their work. */
  readonly failures?: number;
  /** True: it has no due times. False: it fires each second. */
  readonly isTriggered?: boolean;
  /** Further fields of the job data. */
  readonly data?: Readonly<Record<string, unknown>>;
  /** Further fields of the definition; not its schedule, which the judge takes for each second. */
  readonly change?: Readonly<Record<string, unknown>>;
}

export class Load implements AsyncDisposable {
  readonly calls: ClientCall[] = [];
  readonly #policies = new Map<string, Policy>();
  readonly #asking = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  #triggering: Promise<void> = Promise.resolve();
  #pausedAt: number | null = null;

  private constructor(
    private readonly cluster: Cluster,
    private readonly folder: string,
    private readonly random: SeededRandom,
    private readonly cancelShare: number,
  ) {}

  /** Creates the jobs, and triggers until it is told to stop. */
  static async start(cluster: Cluster, options: LoadOptions = {}): Promise<Load> {
    const { jobsPerPolicy = 2, triggersPerSecond = 10, cancelShare = 0.1, seed = 1 } = options;
    const folder = await Deno.makeTempDir({ prefix: "milvaion-load-" });
    const load = new Load(cluster, folder, seededRandom(seed, Date), cancelShare);
    try {
      for (let index = 0; index < jobsPerPolicy; index += 1) {
        // Longer than a second under Skip, so that it has something to skip.
        for (const policy of POLICIES) {
          await load.createJob({ policy, workMs: policy === "Skip" ? 1300 : 300 });
        }
      }
      const triggered = [
        await load.createJob({ policy: "Allow", workMs: 100, isTriggered: true }),
        await load.createJob({ policy: "Queue", workMs: 50, isTriggered: true }),
        await load.createJob({ policy: "Allow", workMs: 50, isTriggered: true, failures: 1 }),
      ];
      load.#triggering = load.#trigger(triggered, triggersPerSecond);
      return load;
    } catch (error) {
      await load[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Creates one more job, which is judged with the others; gives its id. */
  async createJob(job: LoadJob): Promise<string> {
    const { policy, workMs, failures = 0, isTriggered = false, data = {}, change = {} } = job;
    const id = await this.cluster.createJob({
      displayName: `${policy}, ${workMs} ms`,
      jobType: "RecorderJob",
      concurrentExecutionPolicy: policy,
      ...(isTriggered ? { triggerOnly: true } : { cronExpression: "* * * * * *" }),
      baseRetryDelaySeconds: 1,
      jobData: { file: this.#witnessFile, workMs, beatMs: BEAT_MS, failures, ...data },
      ...change,
    });
    this.#policies.set(id, policy);
    return id;
  }

  /** Triggers a job as the load itself does; gives the occurrence's id. */
  async trigger(jobId: string): Promise<string> {
    const occurrenceId = await this.#triggerOnce(jobId, this.random.uuid());
    if (occurrenceId === null) throw new Error(`Cannot trigger ${jobId}: nobody knows what became of it`);
    return occurrenceId;
  }

  /** The runs so far, by the jobs' own word. */
  async runs(): Promise<ClusterHistory["runs"]> {
    return await readRuns(this.#witnessFile);
  }

  /** Waits until so many more due times have come to their end: progress, not time. */
  async progress(count: number): Promise<void> {
    const before = await this.#count("ended_at IS NOT NULL");
    await until(
      async () => await this.#count("ended_at IS NOT NULL") >= before + count,
      `${count} more occurrences have ended`,
    );
  }

  /** No more triggers; what is due is decided, the jobs are paused, and all that was begun comes to its end. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#triggering;
    await Promise.all(this.#asking);
    if (this.#pausedAt !== null) return;
    for (const id of this.#policies.keys()) {
      await until(async () => {
        const { body } = await this.cluster.request("GET", `/api/v1/jobs/${id}`);
        return body.nextDueAt === null || Date.parse(body.nextDueAt) > Date.now() - 1000;
      }, `due times of job ${id} are decided`);
    }
    this.#pausedAt = Date.now();
    for (const id of this.#policies.keys()) {
      await until(async () => {
        const { status } = await this.cluster.request("POST", `/api/v1/jobs/${id}/pause`, {
          reason: "the test is over",
        });
        return status === 200;
      }, `job ${id} is paused`);
    }
    await this.#settled();
  }

  /** What all witnesses wrote. After `stop`. */
  async history(): Promise<ClusterHistory> {
    const witnessed = await readWitness(this.cluster.databaseUrl);
    const pausedAt = this.#pausedAt ?? -Infinity;
    return {
      ...witnessed,
      jobs: [...this.#policies].map(([id, policy]) => {
        const created = witnessed.createdAt.get(id) ?? NaN;
        const next = witnessed.nextDueAt.get(id) ?? null;
        // A job that is only triggered has no due times. The others have theirs even if the schedule stands still.
        const until = next === null ? created : Math.max(next, pausedAt - 1000);
        return { id, policy, dueTimes: eachSecond(created, until) };
      }),
      runs: await this.runs(),
      calls: this.calls,
      faults: this.cluster.nemesis.faults,
      acknowledged: [],
      settled: this.#pausedAt !== null,
    };
  }

  /** Stops, and judges. Throws with the whole report when a promise is broken. */
  async judge(tolerance?: Tolerance): Promise<Judgement> {
    await this.stop();
    const judgement = judge(await this.history(), tolerance);
    if (!judgement.holds) {
      throw new Error(`A promise is broken:\n${describe(judgement)}\n${this.cluster.complaints}`);
    }
    return judgement;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#triggering;
    await Promise.all(this.#asking);
    await Deno.remove(this.folder, { recursive: true });
  }

  get #witnessFile(): string {
    return `${this.folder}/runs.jsonl`;
  }

  async #trigger(jobIds: readonly string[], perSecond: number): Promise<void> {
    const stop = this.#stopping.signal;
    while (!stop.aborted) {
      const jobId = jobIds[Math.floor(this.random.next() * jobIds.length)] ?? "";
      const asked = this.#triggerAndCancel(jobId);
      this.#asking.add(asked);
      asked.finally(() => this.#asking.delete(asked));
      // Between half and one and a half of the mean: clients are not in step.
      await delay((500 + this.random.next() * 1000) / perSecond, { signal: stop }).catch(() => {});
    }
  }

  async #triggerAndCancel(jobId: string): Promise<void> {
    const isCancelled = this.random.next() < this.cancelShare;
    const occurrenceId = await this.#triggerOnce(jobId, this.random.uuid());
    if (occurrenceId !== null && isCancelled) await this.#cancel(jobId, occurrenceId);
  }

  /** As a careful client: with a key, and again with the same key, elsewhere, as long as it does not know. */
  async #triggerOnce(jobId: string, key: string): Promise<string | null> {
    for (let attempt = 0; attempt < TRIES; attempt += 1) {
      const call = await this.#call(
        { kind: "trigger", key, jobId, occurrenceId: null },
        () =>
          this.cluster.request("POST", `/api/v1/jobs/${jobId}/trigger`, { reason: key }, {
            api: this.#someApi(),
            headers: { "idempotency-key": key },
          }),
      );
      if (call.outcome !== "info" || this.#stopping.signal.aborted) return call.occurrenceId;
      await delay(TRY_AGAIN_MS, { signal: this.#stopping.signal }).catch(() => {});
    }
    return null;
  }

  async #cancel(jobId: string, occurrenceId: string): Promise<void> {
    await this.#call(
      { kind: "cancel", key: "", jobId, occurrenceId },
      () =>
        this.cluster.request("POST", `/api/v1/occurrences/${occurrenceId}/cancel`, {}, {
          api: this.#someApi(),
        }),
    );
  }

  /** Any at all: clients do not know which instance is dead or frozen. */
  #someApi(): ClusterProcess {
    const { apis } = this.cluster;
    return apis[Math.floor(this.random.next() * apis.length)] ?? this.cluster.anyApi();
  }

  async #call(
    what: Pick<ClientCall, "kind" | "key" | "jobId" | "occurrenceId">,
    send: () => Promise<Answer>,
  ): Promise<ClientCall> {
    const invokedAt = Date.now();
    let answer: Answer | null;
    try {
      answer = await send();
    } catch {
      answer = null; // no answer, and nobody knows
    }
    const status = answer?.status ?? null;
    const call: ClientCall = {
      ...what,
      occurrenceId: what.occurrenceId ?? (status === 202 ? answer?.body.occurrenceId : null),
      invokedAt,
      endedAt: Date.now(),
      // An error of the server says nothing of what it had done before.
      outcome: status === null || status >= 500 ? "info" : status < 300 ? "ok" : "fail",
      status,
    };
    this.calls.push(call);
    return call;
  }

  async #settled(): Promise<void> {
    const over = performance.now() + SETTLE_MS;
    while (await this.#count("ended_at IS NULL") > 0) {
      if (performance.now() > over) return; // the judge names what is left undone
      await delay(100);
    }
  }

  async #count(condition: string): Promise<number> {
    const sql = postgres(this.cluster.databaseUrl, { max: 1, onnotice: () => {}, connect_timeout: 5 });
    try {
      const [row] = await sql.unsafe(`SELECT count(*) AS count FROM occurrences WHERE ${condition}`);
      return Number(row?.["count"]);
    } finally {
      await sql.end({ timeout: 5 });
    }
  }
}

/** The oracle for `* * * * * *`: every full second after `from` and before `until`. */
function eachSecond(from: number, until: number): number[] {
  const due: number[] = [];
  for (let at = Math.floor(from / 1000) * 1000 + 1000; at < until; at += 1000) due.push(at);
  return due;
}
