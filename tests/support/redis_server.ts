/** A Redis of one's own: on a free port, in a temporary folder, to be stopped, killed and frozen at will. */
import { delay } from "@std/async";
import { freePort, isFree } from "./free_port.ts";

const DEADLINE_MS = 15_000;

export interface RedisServerOptions {
  /** Those of redis-server: `["--maxclients", "50"]`. */
  readonly args?: readonly string[];
  readonly port?: number;
  /** A node of a cluster: its second port is free as well. */
  readonly isNode?: boolean;
  /** Lines of sentinel.conf: it is a sentinel. */
  readonly sentinel?: readonly string[];
  /** What its `cli` says to it. */
  readonly password?: string;
}

export class RedisServer implements AsyncDisposable {
  #process: Deno.ChildProcess | null = null;

  private constructor(
    readonly port: number,
    private readonly folder: string,
    private readonly options: RedisServerOptions,
  ) {}

  /** Starts a server and waits until it answers. Without `args` it keeps nothing on disk: a restart empties it. */
  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const folder = await Deno.makeTempDir({ prefix: "milvaion-redis-" });
    const port = options.port ?? (options.isNode ? freeNodePort() : freePort());
    const server = new RedisServer(port, folder, options);
    try {
      if (options.sentinel !== undefined) {
        await Deno.writeTextFile(server.#config, [...options.sentinel, ""].join("\n"));
      }
      await server.start();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** From its start to its end or its kill, frozen or not. */
  get isRunning(): boolean {
    return this.#process !== null;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** What redis-cli prints for a command. Throws when it fails. */
  async cli(...command: readonly string[]): Promise<string> {
    const { password } = this.options;
    const secret = password === undefined ? [] : ["--no-auth-warning", "-a", password];
    const { success, stdout, stderr } = await new Deno.Command("redis-cli", {
      args: ["-p", String(this.port), ...secret, ...command],
    }).output();
    const text = new TextDecoder().decode(stdout).trim();
    if (!success || /^(ERR|NOGOODSLAVE|CLUSTERDOWN) /.test(text)) {
      throw new Error(`redis-cli ${command.join(" ")}: ${text}${new TextDecoder().decode(stderr)}`);
    }
    return text;
  }

  /** Starts it again, on the same port and folder, and waits until it answers. */
  async start(): Promise<void> {
    if (this.#process !== null) return;
    this.#process = new Deno.Command("redis-server", {
      args: this.options.sentinel === undefined
        ? [
          ...["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.folder],
          ...["--save", "", "--appendonly", "no", ...this.options.args ?? []],
        ]
        : [
          ...[this.#config, "--sentinel", "--port", String(this.port)],
          ...["--bind", "127.0.0.1", "--dir", this.folder],
        ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const until = performance.now() + DEADLINE_MS;
    while (!await this.#answers()) {
      if (performance.now() > until) throw new Error("redis-server does not answer");
      await delay(20);
    }
  }

  /** Ends it in order (SIGTERM), and waits until it has gone. */
  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  /** Ends it at once (SIGKILL). */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** Freezes it: connections stay open and nothing answers. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.folder, { recursive: true });
  }

  get #config(): string {
    return `${this.folder}/sentinel.conf`;
  }

  async #answers(): Promise<boolean> {
    try {
      return /^(PONG|NOAUTH)/.test(await this.cli("ping")); // with a password it answers, too
    } catch {
      return false;
    }
  }

  async #end(signal: Deno.Signal): Promise<void> {
    const process = this.#process;
    if (process === null) return;
    this.#process = null;
    try {
      process.kill(signal);
      // A frozen process takes SIGTERM only when it goes on.
      process.kill("SIGCONT");
    } catch {
      // It has ended by itself.
    }
    await process.status;
  }
}

/** The nodes of a cluster talk to each other on a port that is 10,000 higher. */
function freeNodePort(): number {
  while (true) {
    const port = freePort();
    if (isFree(port + 10_000)) return port;
  }
}
