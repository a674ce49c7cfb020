/** Starts the real program as a user would, in a folder of its own, and talks to it over HTTP. */
import { delay } from "@std/async";
import { freePort } from "./free_port.ts";

const ROOT = new URL("../../", import.meta.url);

export interface ProgramOptions {
  /** Arguments after `run`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where its data lies; a new temporary folder by default. */
  readonly dataDir?: string;
  readonly port?: number;
  /** What to start instead of the `run` task of this repository. */
  readonly command?: readonly [executable: string, ...args: string[]];
  /** Passes nothing of this process's environment on. */
  readonly clearEnv?: boolean;
}

/** Milliseconds after which waiting for something that never comes gives up. */
export const NEVER_MS = 60_000;

/** The flags of `deno task run`, so that a test has the permissions that users have. */
export async function taskCommand(name: string): Promise<readonly string[]> {
  const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const command: string = config.tasks[name].command;
  return command
    .replace(/\$\(deno eval -p '?"?Deno\.execPath\(\)"?'?\)/, Deno.execPath())
    .split(" ").slice(1);
}

export class Program implements AsyncDisposable {
  #output = "";
  #outputChanged: (() => void)[] = [];
  readonly #drained: Promise<unknown>;
  #hasEnded = false;

  private constructor(
    readonly child: Deno.ChildProcess,
    readonly url: string,
    readonly dataDir: string,
    private readonly ownsDataDir: boolean,
  ) {
    this.#drained = Promise.all([this.#read(child.stdout), this.#read(child.stderr)]);
    void child.status.then(() => this.#hasEnded = true);
  }

  /** Starts it and waits until it is ready. */
  static async start(options: ProgramOptions = {}): Promise<Program> {
    const program = await Program.launch(options);
    try {
      await program.ready("it", () => true);
    } catch (error) {
      await program.kill();
      throw new Error(`${(error as Error).message}\n${program.output}`);
    }
    return program;
  }

  /** Waits until it answers, that it is ready unless told otherwise. Throws at once when it has ended instead. */
  async ready(name: string, isEnough: (answer: Response) => boolean = ({ ok }) => ok): Promise<void> {
    const isReady = async () => {
      if (this.#hasEnded) return true;
      const response = await fetch(`${this.url}/readyz`);
      await response.body?.cancel();
      return isEnough(response);
    };
    await this.until(isReady, `${name} is ready`);
    if (this.#hasEnded) throw new Error(`${name} has ended before it was ready`);
  }

  /** Starts it without waiting. */
  static async launch(options: ProgramOptions = {}): Promise<Program> {
    const port = options.port ?? freePort();
    const dataDir = options.dataDir ?? await Deno.makeTempDir({ prefix: "milvaion-test-" });
    const [executable, ...args] = options.command ?? [Deno.execPath(), ...await taskCommand("run")];
    const child = new Deno.Command(executable, {
      args: [...args, ...options.args ?? []],
      clearEnv: options.clearEnv ?? false,
      cwd: ROOT,
      env: { PORT: String(port), MILVAION_DATA_DIR: dataDir, NO_COLOR: "1", ...options.env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new Program(child, `http://127.0.0.1:${port}`, dataDir, options.dataDir === undefined);
  }

  /** Everything it has printed. */
  get output(): string {
    return this.#output;
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      this.#output += text;
      for (const changed of this.#outputChanged.splice(0)) changed();
    }
  }

  /** Waits until it has printed something that matches. */
  async printed(pattern: RegExp): Promise<RegExpMatchArray> {
    const over = performance.now() + NEVER_MS;
    while (true) {
      const match = this.#output.match(pattern);
      if (match !== null) return match;
      if (performance.now() > over) throw new Error(`Never printed ${pattern}:\n${this.#output}`);
      const changed = new Promise<void>((resolve) => this.#outputChanged.push(resolve));
      await Promise.race([changed, delay(100, { persistent: false })]);
    }
  }

  /** Asks until `check` gives something true; an error of `check` is asked again. */
  async until<T>(check: () => Promise<T | null | undefined | false>, what: string): Promise<T> {
    return await until(check, what);
  }

  async request(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const response = await fetch(this.url + path, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: text === "" ? null : parsed(text),
    };
  }

  async get(path: string): Promise<Answer> {
    return await this.request("GET", path);
  }

  async post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer> {
    return await this.request("POST", path, body, headers);
  }

  /** All items of a list, page by page. */
  // deno-lint-ignore no-explicit-any -- JSON of the wire
  async all(path: string): Promise<any[]> {
    const items = [];
    let cursor: string | null = null;
    do {
      const { body, text, status }: Answer = await this.get(
        `${path}${path.includes("?") ? "&" : "?"}limit=200${cursor === null ? "" : `&cursor=${cursor}`}`,
      );
      if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
      items.push(...body.items);
      cursor = body.nextCursor;
    } while (cursor !== null);
    return items;
  }

  /** SIGTERM, and how it ended. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    this.child.kill(signal);
    const status = await this.child.status;
    await this.#drained;
    return status;
  }

  async kill(): Promise<void> {
    try {
      this.child.kill("SIGKILL");
    } catch {
      // ended by itself
    }
    await this.child.status;
    await this.#drained;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    if (this.ownsDataDir) await Deno.remove(this.dataDir, { recursive: true });
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // deno-lint-ignore no-explicit-any -- JSON of the wire
  readonly body: any;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Asks each 20 ms until `check` gives something true; fails when it never does. */
export async function until<T>(
  check: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  what: string,
): Promise<T> {
  const over = performance.now() + NEVER_MS;
  let last: unknown = null;
  while (performance.now() < over) {
    try {
      const found = await check();
      if (found) return found;
      last = null;
    } catch (error) {
      last = error;
    }
    await delay(20);
  }
  throw new Error(
    `Waited ${NEVER_MS} ms, but never: ${what}${last === null ? "" : ` (${(last as Error).message})`}`,
  );
}
