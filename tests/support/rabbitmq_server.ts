/**
 * A RabbitMQ of one's own: on free ports, in a folder of its own under /tmp, with its own port mapper, cookie and
 * node name, so that it meets no other broker of this machine. It can be stopped, killed, frozen and started again
 * on the same port and data.
 */
import { delay } from "@std/async";
import { freePort } from "./free_port.ts";

const START_MS = 90_000;
const COMMAND_MS = 30_000;
/** Debian's `rabbitmq-server` changes user; the scripts behind it do not. Where they are missing, PATH decides. */
const PATH = `/usr/lib/rabbitmq/bin:${Deno.env.get("PATH") ?? ""}`;

export class RabbitmqServer implements AsyncDisposable {
  #child: Deno.ChildProcess | null = null;

  private constructor(
    readonly folder: string,
    readonly port: number,
    private readonly environment: Readonly<Record<string, string>>,
    /** Null: that of another node. */
    private readonly portMapper: Deno.ChildProcess | null,
  ) {}

  /**
   * Starts a broker. `config` is text in the form of rabbitmq.conf, e.g. `consumer_timeout = 2000`; `advanced` is
   * what that form does not know, as Erlang's settings of the broker: `{channel_tick_interval, 1000}`. `cluster`: a
   * running node whose cluster this one joins; it must outlive this one.
   */
  static async start(
    options: {
      readonly config?: string;
      readonly advanced?: string;
      readonly cluster?: RabbitmqServer;
    } = {},
  ): Promise<RabbitmqServer> {
    const { cluster = null } = options;
    const folder = await Deno.makeTempDir({ dir: "/tmp", prefix: "milvaion-rabbitmq-" });
    const [port, distributionPort, mapperPort] = [freePort(), freePort(), freePort()];
    // As it starts for the first time it joins the node that it is told of.
    const peer = cluster === null ? "" : "cluster_formation.peer_discovery_backend = classic_config\n" +
      `cluster_formation.classic_config.nodes.1 = ${cluster.nodeName}\n`;
    await Deno.writeTextFile(
      `${folder}/rabbitmq.conf`,
      `listeners.tcp.1 = 127.0.0.1:${port}\nlog.console = false\n${peer}${options.config ?? ""}\n`,
    );
    await Deno.writeTextFile(`${folder}/advanced.config`, `[{rabbit, [${options.advanced ?? ""}]}].\n`);
    // No plugins: neither this machine's nor any other.
    await Deno.writeTextFile(`${folder}/enabled_plugins`, "[].\n");
    const environment = {
      PATH,
      HOME: folder,
      ERL_EPMD_PORT: cluster?.environment["ERL_EPMD_PORT"] ?? String(mapperPort),
      RABBITMQ_NODENAME: `rabbit-${port}@localhost`,
      RABBITMQ_DIST_PORT: String(distributionPort),
      RABBITMQ_BASE: folder,
      RABBITMQ_MNESIA_BASE: `${folder}/data`,
      RABBITMQ_LOG_BASE: `${folder}/log`,
      RABBITMQ_CONFIG_FILE: `${folder}/rabbitmq.conf`,
      RABBITMQ_ADVANCED_CONFIG_FILE: `${folder}/advanced.config`,
      RABBITMQ_ENABLED_PLUGINS_FILE: `${folder}/enabled_plugins`,
      RABBITMQ_PID_FILE: `${folder}/pid`,
      RABBITMQ_ERLANG_COOKIE: "milvaion-tests",
      // With "input allowed" the script becomes the broker itself, so that a signal to it reaches the broker.
      RABBITMQ_ALLOW_INPUT: "1",
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-noinput",
      LANG: "C.UTF-8",
    };
    const portMapper = cluster !== null ? null : new Deno.Command("sh", {
      args: ["-c", `exec epmd -port ${mapperPort} -address 127.0.0.1`],
      env: environment,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const server = new RabbitmqServer(folder, port, environment, portMapper);
    try {
      await server.start();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** What it is called among the nodes of its cluster. */
  get nodeName(): string {
    return this.environment["RABBITMQ_NODENAME"] ?? "";
  }

  /** Address of the default virtual host, as guest. */
  get url(): string {
    return this.urlOf("/");
  }

  /** Address of another virtual host. */
  urlOf(vhost: string): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}/${encodeURIComponent(vhost)}`;
  }

  /** Makes a virtual host in which guest may do everything, and gives its address. */
  async addVhost(name: string): Promise<string> {
    await this.ctl("add_vhost", name);
    await this.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*");
    return this.urlOf(name);
  }

  async deleteVhost(name: string): Promise<void> {
    await this.ctl("delete_vhost", name);
  }

  /** Runs `rabbitmqctl` against this broker and gives what it printed. Takes a second or two. */
  async ctl(...args: string[]): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command("sh", {
      args: ["-c", 'exec rabbitmqctl --quiet --timeout 30 "$@"', "rabbitmqctl", ...args],
      env: this.environment,
      clearEnv: true,
      stdin: "null",
      signal: AbortSignal.timeout(COMMAND_MS + 5000),
    }).output();
    const text = new TextDecoder();
    if (!success) throw new Error(`rabbitmqctl ${args.join(" ")}: ${text.decode(stderr).trim()}`);
    return text.decode(stdout).trim();
  }

  /** Starts it (again), on the same port and data, and waits until it serves clients. */
  async start(): Promise<void> {
    if (this.#child !== null) return;
    this.#child = new Deno.Command("sh", {
      args: ["-c", `exec rabbitmq-server >>${this.folder}/output.txt 2>&1`],
      cwd: this.folder,
      env: this.environment,
      clearEnv: true,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const child = this.#child;
    let ended = false;
    child.status.then(() => ended = true);
    const until = performance.now() + START_MS;
    while (!(await greets(this.port))) {
      if (ended || performance.now() > until) {
        throw new Error(`RabbitMQ does not start: ${await this.#lastOutput()}`);
      }
      await delay(100);
    }
  }

  /** Ends it in order: what is persistent is on disk. */
  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  /** SIGKILL: as a crash. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** SIGSTOP: connections stay open, nothing answers. */
  pause(): void {
    this.#child?.kill("SIGSTOP");
  }

  resume(): void {
    this.#child?.kill("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.portMapper?.kill("SIGKILL");
    await this.portMapper?.status;
    await Deno.remove(this.folder, { recursive: true });
  }

  async #end(signal: Deno.Signal): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    this.#child = null;
    try {
      child.kill("SIGCONT");
      child.kill(signal);
    } catch {
      // It has ended by itself.
    }
    await child.status;
  }

  async #lastOutput(): Promise<string> {
    const output = await Deno.readTextFile(`${this.folder}/output.txt`).catch(() => "(it said nothing)");
    return output.slice(-2000);
  }
}

/** True when something there answers a client's greeting: an open port alone is not a running broker. */
async function greets(port: number): Promise<boolean> {
  let connection: Deno.TcpConn | null = null;
  let deadline: ReturnType<typeof setTimeout> | undefined;
  try {
    connection = await Deno.connect({ hostname: "127.0.0.1", port });
    deadline = setTimeout(() => connection?.close(), 2000);
    await connection.write(new TextEncoder().encode("AMQP\x00\x00\x09\x01"));
    return await connection.read(new Uint8Array(64)) !== null;
  } catch {
    return false;
  } finally {
    clearTimeout(deadline);
    try {
      connection?.close();
    } catch {
      // The deadline has closed it.
    }
  }
}
