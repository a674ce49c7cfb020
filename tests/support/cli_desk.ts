/** The verbs against a small server that answers as it is told. */
import { assert } from "@std/assert";
import { parseCommandLine } from "../../infra/command_line.ts";
import { runVerb, type VerbWorld } from "../../infra/cli/run_verb.ts";

interface Asked {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** A server that remembers what it was asked, and a way to run commands against it. */
export class Desk implements AsyncDisposable {
  readonly asked: Asked[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(answer: (asked: Asked) => Response) {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      const { pathname, search } = new URL(request.url);
      const { method, headers } = request;
      const asked = { method, path: pathname + search, headers, body: await request.text() };
      this.asked.push(asked);
      return answer(asked);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  run(args: readonly string[], world: Partial<VerbWorld> = {}): Promise<Ended> {
    return runCommand(args, { ...world, env: { MILVAION_URL: this.url, ...world.env } });
  }

  get last(): Asked {
    const last = this.asked.at(-1);
    assert(last !== undefined, "nothing was asked");
    return last;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Runs a verb in this process; what `world` leaves out is a terminal with nothing to say. */
export async function runCommand(args: readonly string[], world: Partial<VerbWorld> = {}): Promise<Ended> {
  const parsed = parseCommandLine(args);
  if (!parsed.ok) return { code: parsed.exitCode, out: "", error: parsed.message };
  const { command } = parsed;
  assert(command.name === "verb");
  const out: string[] = [];
  const error: string[] = [];
  const code = await runVerb(command.verb, command.given, {
    env: {},
    fetch,
    standardInput: { isTerminal: () => true, readable: new ReadableStream() },
    canAsk: false,
    readTextFile: Deno.readTextFile,
    writeOut: (text) => out.push(text),
    writeError: (text) => error.push(text),
    colors: false,
    ...world,
  });
  return { code, out: out.join(""), error: error.join("") };
}

export function json(value: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(value), { headers: { "content-type": "application/json", ...headers } });
}

export function problem(status: number, document: Record<string, unknown>): Response {
  return new Response(JSON.stringify({ type: "/docs#x", status, requestId: "r1", ...document }), {
    status,
    headers: { "content-type": "application/problem+json" },
  });
}

export async function withFile(content: Uint8Array, use: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ prefix: "milvaion-cli-", suffix: ".json" });
  try {
    await Deno.writeFile(path, content);
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

/** A job as the API answers it. */
export const JOB = {
  id: "019aaf3e-0000-7000-8000-000000000001",
  version: 3,
  displayName: "Hello",
  description: "",
  tags: ["a"],
  jobType: "SampleJob",
  jobData: { message: "hi" },
  cronExpression: "*/5 * * * * *",
  executeAt: null,
  triggerOnly: false,
  timeZone: "UTC",
  isActive: true,
  pause: null,
  nextDueAt: "2026-11-24T10:00:05.000Z",
  createdAt: "2026-11-24T10:00:00.000Z",
};
