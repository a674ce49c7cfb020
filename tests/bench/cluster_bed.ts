/** A cluster to measure: real processes as the tasks start them, on the servers of this machine. */
import { ClusterProcess, type Role } from "../support/cluster_process.ts";
import { type Answer, until } from "../support/program.ts";
import { temporaryDatabase, temporaryPrefix, temporaryVhost } from "../support/servers.ts";

const JOBS = new URL("jobs", import.meta.url).pathname;

export interface BedOptions {
  readonly apis?: number;
  readonly workers: number;
  /** Lanes of each worker, and of each of its types. */
  readonly lanes: number;
  /** One, or several with commas between. */
  readonly jobType: string;
  /** False: workers claim over RabbitMQ. */
  readonly workersHaveDatabase?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/** What a bed has of the servers of this machine. */
export interface BedServers {
  readonly postgres: string;
  readonly redis: string;
  readonly redisPrefix: string;
  readonly amqp: string;
  readonly vhost: string;
}

export class ClusterBed implements AsyncDisposable {
  private constructor(
    private readonly stack: AsyncDisposableStack,
    readonly apis: readonly ClusterProcess[],
    readonly workers: readonly ClusterProcess[],
    readonly servers: BedServers,
  ) {}

  get amqpUrl(): string {
    return this.servers.amqp;
  }

  static async start(options: BedOptions): Promise<ClusterBed> {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(await temporaryDatabase());
    const vhost = stack.use(await temporaryVhost());
    const redis = stack.use(temporaryPrefix());
    const make = (role: Role, count: number) =>
      Array.from({ length: count }, (_, index) =>
        stack.use(
          new ClusterProcess({
            role,
            name: `${role}-${index + 1}`,
            servers: { postgres: database.url, redis: redis.url, amqp: vhost.url },
            args: role === "worker" ? ["--jobs", JOBS, "--no-samples", "--types", options.jobType] : [],
            env: {
              MilvaionConfig__Redis__KeyPrefix: redis.prefix,
              MilvaionConfig__Logging__Level: "warn",
              Worker__MaxParallelJobs: String(options.lanes),
              ...options.env,
            },
            hasProxies: false,
            hasDatabase: role === "api" || (options.workersHaveDatabase ?? true),
          }),
        ));
    const apis = make("api", options.apis ?? 1);
    const workers = make("worker", options.workers);
    for (const one of [...apis, ...workers]) await one.start();
    const bed = new ClusterBed(stack.move(), apis, workers, {
      postgres: database.url,
      redis: redis.url,
      redisPrefix: redis.prefix,
      amqp: vhost.url,
      vhost: vhost.name,
    });
    await bed.knowsWorkers(options.workers);
    return bed;
  }

  async request(method: string, path: string, body?: unknown, api = this.apis[0]): Promise<Answer> {
    const response = await fetch(api?.url + path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    const isJson = response.headers.get("content-type")?.includes("json") === true;
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? JSON.parse(text) : text,
    };
  }

  async createJob(body: Readonly<Record<string, unknown>>): Promise<string> {
    const definition = { displayName: "bench", concurrentExecutionPolicy: "Allow", ...body };
    return (await this.request("POST", "/api/v1/jobs", definition)).body.id;
  }

  /** Triggers in thousands, all that fit into the last one. */
  async trigger(jobId: string, count: number): Promise<void> {
    for (let left = count; left > 0; left -= 1000) {
      const items = Array.from({ length: Math.min(left, 1000) }, () => ({}));
      await this.request("POST", `/api/v1/jobs/${jobId}/trigger-many`, { items });
    }
  }

  /** Reports recorded so far, by all API instances. */
  async recorded(): Promise<number> {
    let sum = 0;
    for (const api of this.apis.filter((one) => one.isRunning)) {
      const { text } = await this.request("GET", "/metrics", undefined, api);
      for (const line of text.split("\n")) {
        if (/^milvaion_reports_recorded_total[ {]/.test(line)) {
          sum += Number(line.slice(line.lastIndexOf(" ") + 1));
        }
      }
    }
    return sum;
  }

  /** Occurrences that an instance made of due times since it started; the first instance's when none is named. */
  async decided(api = this.apis[0]): Promise<number> {
    const { text } = await this.request("GET", "/metrics", undefined, api);
    const line = /^milvaion_due_times_decided_total\{verdict="occurrence"\} (\d+)/m.exec(text);
    return Number(line?.[1] ?? 0);
  }

  async whenRecorded(count: number): Promise<void> {
    await until(async () => await this.recorded() >= count, `${count} are recorded`);
  }

  /** Jobs a second, from the first trigger to the last recorded completion. */
  async throughput(jobId: string, count: number): Promise<number> {
    const before = await this.recorded();
    const startedAt = performance.now();
    await this.trigger(jobId, count);
    await this.whenRecorded(before + count);
    return count / ((performance.now() - startedAt) / 1000);
  }

  /**
   * Jobs a second while all lanes are busy: the difference of a long run and a short one, so that neither the start of
   * the first jobs nor the end of the last counts. `ideal` is what Workers × MaxParallelJobs ÷ duration gives.
   */
  async steadyRate(
    jobId: string,
    ideal: number,
    [shortSeconds, longSeconds]: readonly [number, number],
  ): Promise<number> {
    const secondsFor = async (count: number) => count / await this.throughput(jobId, count);
    const short = await secondsFor(ideal * shortSeconds);
    const long = await secondsFor(ideal * longSeconds);
    return ideal * (longSeconds - shortSeconds) / (long - short);
  }

  async knowsWorkers(count: number): Promise<void> {
    await until(async () => {
      const { body } = await this.request("GET", "/api/v1/workers");
      return body.items.length >= count;
    }, `${count} workers are known`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}
