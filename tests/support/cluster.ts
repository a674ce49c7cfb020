/** A cluster of real processes on real servers, as users run it: API instances, one of which leads, and workers. */
import { ClusterProcess, type ClusterServers, type Role } from "./cluster_process.ts";
import { installWitness } from "./postgres_witness.ts";
import { Nemesis } from "./nemesis.ts";
import { type Answer, until } from "./program.ts";

/** Where job code of the tests lies. */
const JOBS = new URL("./recorder_jobs", import.meta.url).pathname;

/** How long a call may take. Milliseconds. */
const CALL_MS = 5000;
/** How long an instance that is cut off is waited for. Milliseconds. */
const ASK_MS = 1000;
const COMPLAINTS_SHOWN = 20;

export interface ClusterOptions {
  readonly servers: ClusterServers;
  /** Begins the Redis keys; needed where the Redis is shared. */
  readonly redisPrefix?: string;
  readonly apis: number;
  readonly workers: number;
  /** Further arguments of `worker`. */
  readonly workerArgs?: readonly string[];
  /** Further environment of each process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Each process reaches the servers through proxies of its own. */
  readonly hasProxies?: boolean;
  /** False: workers have no database and claim through the queue. */
  readonly workersHaveDatabase?: boolean;
}

/** Shorter than what users have, so that tests see within seconds what would take a minute. */
const QUICK: Readonly<Record<string, string>> = {
  MilvaionConfig__JobDispatcher__LockTtlSeconds: "5",
  Worker__LeaseSeconds: "6",
  Worker__Heartbeat__IntervalSeconds: "2",
  Worker__MaxParallelJobs: "32",
  MilvaionConfig__Logging__Format: "json",
};

export class Cluster implements AsyncDisposable {
  readonly nemesis = new Nemesis();

  private constructor(
    readonly apis: readonly ClusterProcess[],
    readonly workers: readonly ClusterProcess[],
    readonly databaseUrl: string,
    /** A further worker like the others, not started, which is the caller's to end. */
    readonly addWorker: (name: string) => ClusterProcess,
  ) {}

  /**
   * Puts the witness into the (empty) database, starts all API instances at once, then the workers, and waits until
   * each worker is known.
   */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const { servers } = options;
    const make = (role: Role, count: number) =>
      Array.from({ length: count }, (_, index) => processOf(options, role, `${role}-${index + 1}`));
    const cluster = new Cluster(
      make("api", options.apis),
      make("worker", options.workers),
      servers.postgres,
      (name) => processOf(options, "worker", name),
    );
    try {
      await installWitness(servers.postgres);
      await Promise.all(cluster.apis.map((api) => api.start()));
      await Promise.all(cluster.workers.map((worker) => worker.start()));
      await cluster.knowsWorkers(options.workers);
      return cluster;
    } catch (error) {
      const output = cluster.output;
      await cluster[Symbol.asyncDispose]();
      throw new Error(`${(error as Error).message}\n${output}`, { cause: error });
    }
  }

  /** Everything that its processes have printed, each by its name. */
  get output(): string {
    return [...this.apis, ...this.workers].map(({ name, output }) => `--- ${name}\n${output}`).join("\n");
  }

  /** The last warnings and errors of each process. */
  get complaints(): string {
    return [...this.apis, ...this.workers].map(({ name, output }) => {
      const lines = output.split("\n").filter((line) => /"level":"(warn|error)"|error:/i.test(line));
      return [`--- ${name}: ${lines.length} complaints`, ...lines.slice(-COMPLAINTS_SHOWN)].join("\n");
    }).join("\n");
  }

  /** Sends a request to an API instance. Throws when there is no answer in time: then nobody knows what was done. */
  async request(
    method: string,
    path: string,
    body?: unknown,
    options: {
      readonly api?: ClusterProcess | undefined;
      readonly headers?: Readonly<Record<string, string>>;
      readonly deadlineMs?: number;
    } = {},
  ): Promise<Answer> {
    const api = options.api ?? this.anyApi();
    const response = await fetch(api.url + path, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...options.headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(options.deadlineMs ?? CALL_MS),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") === true && text !== "";
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? JSON.parse(text) : text,
    };
  }

  /** The first API instance that runs and is not frozen. */
  anyApi(): ClusterProcess {
    const api = this.apis.find((one) => one.isRunning && !one.isFrozen);
    if (api === undefined) throw new Error("no API instance runs");
    return api;
  }

  /** The instance that leads now, by its own word and by the store's. Waits until there is one. */
  async leader(): Promise<ClusterProcess> {
    return await until(async () => (await this.#leaders())[0], "an instance leads");
  }

  /** Waits until an instance other than this one leads. */
  async leaderAfter(previous: ClusterProcess): Promise<ClusterProcess> {
    return await until(
      async () => (await this.#leaders()).find((one) => one !== previous),
      `another instance than ${previous.name} leads`,
    );
  }

  /** Those who say that they lead while the store says so too; who does not answer leads nothing. */
  async #leaders(): Promise<readonly ClusterProcess[]> {
    const asked = this.apis.filter((api) => api.isRunning && !api.isFrozen);
    const answers = await Promise.allSettled(asked.map(async (api) => {
      const { body } = await this.request("GET", "/api/v1/leadership", undefined, {
        api,
        deadlineMs: ASK_MS,
      });
      return body.isLeader === true && body.holder === body.instanceId ? [api] : [];
    }));
    return answers.flatMap((answer) => answer.status === "fulfilled" ? answer.value : []);
  }

  /** Creates a job and gives its id. */
  async createJob(definition: Readonly<Record<string, unknown>>): Promise<string> {
    const { status, body, text } = await this.request("POST", "/api/v1/jobs", definition);
    if (status !== 201) throw new Error(`Cannot create a job: ${status} ${text}`);
    return body.id;
  }

  /** Waits until an occurrence has come to its end, and gives it as the API shows it. */
  // deno-lint-ignore no-explicit-any -- JSON of the wire
  async ended(occurrenceId: string): Promise<any> {
    return await until(async () => {
      const { body } = await this.request("GET", `/api/v1/occurrences/${occurrenceId}`);
      return typeof body.endedAt === "string" && body;
    }, `occurrence ${occurrenceId} has ended`);
  }

  /** Waits until so many workers have announced themselves. */
  async knowsWorkers(count: number): Promise<void> {
    await until(async () => {
      const { body } = await this.request("GET", "/api/v1/workers");
      return body.items.length >= count;
    }, `${count} workers are known`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.workers, ...this.apis].map((one) => one[Symbol.asyncDispose]()));
  }
}

function processOf(options: ClusterOptions, role: Role, name: string): ClusterProcess {
  const { servers, redisPrefix, workerArgs = [], env, hasProxies, workersHaveDatabase } = options;
  return new ClusterProcess({
    role,
    name,
    servers,
    args: role === "worker" ? ["--jobs", JOBS, ...workerArgs] : [],
    env: {
      ...QUICK,
      ...(redisPrefix === undefined ? {} : { MilvaionConfig__Redis__KeyPrefix: redisPrefix }),
      ...env,
    },
    hasProxies: hasProxies ?? false,
    hasDatabase: role === "api" || (workersHaveDatabase ?? true),
  });
}
