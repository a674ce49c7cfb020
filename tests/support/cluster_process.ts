/** One process of a cluster, an API instance or a worker, started as users start it. */
import { allGone, familyOf, signalAll } from "./processes.ts";
import { freePort } from "./free_port.ts";
import { Program, taskCommand } from "./program.ts";
import { TcpProxy } from "./tcp_proxy.ts";

export type Role = "api" | "worker";

/** Addresses of the servers that a cluster runs on. */
export interface ClusterServers {
  readonly postgres: string;
  readonly redis: string;
  readonly amqp: string;
}
type Proxies = Readonly<Record<keyof ClusterServers, TcpProxy>>;

export interface ProcessOptions {
  readonly role: Role;
  /** Such as `api-1`; it marks the connections of this process to the database. */
  readonly name: string;
  readonly servers: ClusterServers;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Reaches the servers through proxies of its own. */
  readonly hasProxies: boolean;
  /** A worker that has no database claims through the queue. */
  readonly hasDatabase: boolean;
  /** Where its outbox lies; one of its own, which outlives its kills and starts, when it is left out. */
  readonly dataDir?: string;
}

const USUAL_PORTS = { postgres: 5432, redis: 6379, amqp: 5672 } as const;

/**
 * Runs a program whose wall clock is off: `$1` is libfaketime's offset. Its monotonic clock stays true, and its
 * children start with an environment of their own and the true time.
 */
const WITH_OTHER_CLOCK = `
  offset=$1; shift
  library=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 2>/dev/null | head -1)
  export LD_PRELOAD="$library" FAKETIME="$offset" FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1
  exec "$@"`;

export class ClusterProcess implements AsyncDisposable {
  readonly name: string;
  readonly role: Role;
  /** Of the API, or of a worker's health page. */
  readonly url: string;
  /** Null when it reaches the servers directly. */
  readonly proxies: Proxies | null;
  #program: Program | null = null;
  #before = "";
  #incarnation = 0;
  #frozen: readonly number[] = [];
  #ownFolder: string | null = null;
  readonly #port = freePort();

  constructor(private readonly options: ProcessOptions) {
    this.name = options.name;
    this.role = options.role;
    this.url = `http://127.0.0.1:${this.#port}`;
    this.proxies = options.hasProxies ? proxiesOf(options.servers) : null;
  }

  /** True from its start to its end or its kill, frozen or not. */
  get isRunning(): boolean {
    return this.#program !== null;
  }

  /** Its process's number; null when it does not run. */
  get pid(): number | null {
    return this.#program?.child.pid ?? null;
  }

  get isFrozen(): boolean {
    return this.#frozen.length > 0;
  }

  /** Everything that it and its earlier incarnations have printed. */
  get output(): string {
    return this.#before + (this.#program?.output ?? "");
  }

  /**
   * Starts it and waits until it is ready. `clock` puts its wall clock off: `+3600` or `-3600`, in seconds; needs
   * faketime.
   */
  async start(options: { readonly clock?: string } = {}): Promise<void> {
    const program = await this.launch(options);
    try {
      await program.ready(this.name);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${program.output}`, { cause: error });
    }
  }

  /** Starts it without waiting. */
  async launch(options: { readonly clock?: string } = {}): Promise<Program> {
    if (this.#program !== null) throw new Error(`${this.name} runs already`);
    this.#incarnation += 1;
    const command = [Deno.execPath(), ...await commandOf(this.role), ...this.options.args];
    const [executable, ...args] = options.clock === undefined
      ? command
      : ["sh", "-c", WITH_OTHER_CLOCK, "sh", options.clock, ...command];
    if (executable === undefined) throw new Error("no command");
    this.#program = await Program.launch({
      command: [executable, ...args],
      port: this.#port,
      dataDir: this.dataDir,
      env: { ...this.#serverEnv(), HEALTH_PORT: String(this.#port), ...this.options.env },
    });
    return this.#program;
  }

  /** Where a worker keeps the reports that it cannot send. */
  get dataDir(): string {
    return this.options.dataDir ??
      (this.#ownFolder ??= Deno.makeTempDirSync({ prefix: `milvaion-${this.name}-` }));
  }

  /** SIGKILL to the process itself; waits until those that it started have gone too. */
  async kill(): Promise<void> {
    const program = this.#end();
    if (program === null) return;
    const family = await familyOf(program.child.pid);
    await program.kill();
    // They may be frozen as well.
    await signalAll(family, "CONT");
    await allGone(family);
  }

  /** SIGTERM, and how it ended. */
  async stop(): Promise<Deno.CommandStatus> {
    const program = this.#program;
    if (program === null) throw new Error(`${this.name} does not run`);
    const status = await program.stop();
    this.#end();
    return status;
  }

  async restart(options: { readonly clock?: string } = {}): Promise<void> {
    await this.kill();
    await this.start(options);
  }

  /** SIGSTOP to it and all that it started (or to itself `only`): connections stay open, nothing answers. */
  async pause(options: { readonly only?: boolean } = {}): Promise<void> {
    const pid = this.#program?.child.pid;
    if (pid === undefined) return;
    await signalAll([pid], "STOP");
    this.#frozen = options.only ? [pid] : await familyOf(pid);
    await signalAll(this.#frozen, "STOP");
  }

  async resume(): Promise<void> {
    const frozen = this.#frozen;
    this.#frozen = [];
    await signalAll(frozen, "CONT");
  }

  /** The processes that run job code, of a worker. */
  async hosts(): Promise<readonly number[]> {
    const pid = this.#program?.child.pid;
    return pid === undefined ? [] : (await familyOf(pid)).slice(1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    if (this.#ownFolder !== null) await Deno.remove(this.#ownFolder, { recursive: true });
    await Promise.all(Object.values(this.proxies ?? {}).map((proxy) => proxy[Symbol.asyncDispose]()));
  }

  #end(): Program | null {
    const program = this.#program;
    this.#before = this.output;
    this.#program = null;
    this.#frozen = [];
    return program;
  }

  #serverEnv(): Record<string, string> {
    const { servers, hasDatabase, name } = this.options;
    const { proxies } = this;
    const database = new URL(
      proxies === null ? servers.postgres : proxies.postgres.through(servers.postgres),
    );
    // By this the witness in the database knows which process writes, and which life of it.
    database.searchParams.set("application_name", `${name}.${this.#incarnation}`);
    return {
      ...(hasDatabase ? { DATABASE_URL: database.href } : {}),
      REDIS_URL: proxies === null ? servers.redis : proxies.redis.through(servers.redis),
      AMQP_URL: proxies === null ? servers.amqp : proxies.amqp.through(servers.amqp),
    };
  }
}

/** The arguments of deno, with the permissions that users have. */
async function commandOf(role: Role): Promise<readonly string[]> {
  return (await taskCommand(role)).filter((part) => part !== "");
}

function proxiesOf(servers: ClusterServers): Proxies {
  const start = (server: keyof ClusterServers) => {
    const { port } = new URL(servers[server]);
    return TcpProxy.start(port === "" ? USUAL_PORTS[server] : Number(port));
  };
  return { postgres: start("postgres"), redis: start("redis"), amqp: start("amqp") };
}
