/** A child process that is spoken to in lines: one write for all that came while the write before was under way. */
import { hostEnvironment, type LaunchCommand } from "./launch.ts";
import { linesOf } from "./lines.ts";

export interface ChildEnd {
  readonly code: number;
  readonly signal: string | null;
  /** The last 4 KiB of stderr. */
  readonly stderr: string;
}

export interface ChildEvents {
  /** A line of stdout. */
  line(text: string): void;
  /** After the last line. Called once. */
  ended(end: ChildEnd): void;
}

const STDERR_KEPT = 4096;

export class Child {
  readonly pid: number;
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new TextEncoder();
  #pending = "";
  #writing = false;
  #planned = false;
  /** Settles when the process is gone and all it said has been read. */
  readonly gone: Promise<void>;

  /** Starts it. Throws when the executable cannot be started. `environment`: variables granted to its job code. */
  constructor(
    launch: LaunchCommand,
    environment: boolean | readonly string[] | undefined,
    private readonly events: ChildEvents,
  ) {
    this.#process = new Deno.Command(launch.command, {
      args: [...launch.args],
      clearEnv: true,
      env: hostEnvironment(environment),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = this.#process.pid;
    this.#writer = this.#process.stdin.getWriter();
    // A pipe that breaks shows in the status, too, and is dealt with there.
    this.#writer.closed.catch(() => {});
    this.gone = this.#follow();
  }

  /** Sends a line, together with those of the same turn. */
  send(line: string): void {
    this.#pending += line + "\n";
    if (this.#planned || this.#writing) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      void this.#write();
    });
  }

  /** SIGKILL. Fine when it is gone already. */
  kill(): void {
    try {
      this.#process.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#pending !== "") {
      const text = this.#pending;
      this.#pending = "";
      try {
        await this.#writer.write(this.#encoder.encode(text));
      } catch {
        // Broken pipe: nobody reads any more, `ended` comes.
      }
    }
    this.#writing = false;
  }

  async #follow(): Promise<void> {
    let stderr = "";
    const readStderr = async () => {
      for await (const text of this.#process.stderr.pipeThrough(new TextDecoderStream())) {
        stderr = (stderr + text).slice(-STDERR_KEPT);
      }
    };
    const readStdout = async () => {
      for await (const line of linesOf(this.#process.stdout)) this.events.line(line);
    };
    const [status] = await Promise.all([this.#process.status, readStdout(), readStderr()]);
    await this.#writer.abort().catch(() => {});
    this.events.ended({ code: status.code, signal: status.signal, stderr });
  }
}
