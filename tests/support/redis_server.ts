/** A Redis of one's own: on a free port, in a temporary folder, to be stopped, killed and frozen at will. */
import { delay } from "@std/async";
import { freePort } from "./program.ts";

const DEADLINE_MS = 15_000;

export class RedisServer implements AsyncDisposable {
  #process: Deno.ChildProcess | null = null;

  private constructor(
    readonly port: number,
    private readonly folder: string,
    private readonly args: readonly string[],
  ) {}

  /**
   * Starts a server and waits until it answers. Without `args` it keeps nothing on disk: a restart empties it.
   * `args` are those of redis-server: `["--maxclients", "50"]`.
   */
  static async start(options: { readonly args?: readonly string[] } = {}): Promise<RedisServer> {
    const folder = await Deno.makeTempDir({ prefix: "milvaion-redis-" });
    const server = new RedisServer(freePort(), folder, options.args ?? []);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** What redis-cli prints for a command. Throws when it fails. */
  async cli(...command: readonly string[]): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command("redis-cli", {
      args: ["-p", String(this.port), ...command],
    }).output();
    const text = new TextDecoder().decode(stdout).trim();
    if (!success) {
      throw new Error(`redis-cli ${command.join(" ")}: ${text}${new TextDecoder().decode(stderr)}`);
    }
    return text;
  }

  /** Starts it again, on the same port and folder, and waits until it answers. */
  async start(): Promise<void> {
    if (this.#process !== null) return;
    this.#process = new Deno.Command("redis-server", {
      args: [
        ...["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.folder],
        ...["--save", "", "--appendonly", "no", ...this.args],
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
    process.kill(signal);
    // A frozen process takes SIGTERM only when it goes on.
    process.kill("SIGCONT");
    await process.status;
  }
}
