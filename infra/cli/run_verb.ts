/** Carries out one verb: connects, asks, prints, and says how it ended. */
import { printable } from "../log.ts";
import { type ApiClient, createApiClient } from "./api_client.ts";
import { CommandFailure, EXIT, type ExitCode } from "./exit_code.ts";
import type { Given } from "./option.ts";
import { askPerson } from "./question.ts";
import { readTextSource, type StandardInput } from "./text_source.ts";
import type { Verb } from "./verb.ts";

const DEADLINE_MS = 30_000;
const DEFAULT_URL = "http://127.0.0.1:5000";

/** The world as a verb sees it. */
export interface VerbWorld {
  readonly env: Readonly<Record<string, string>>;
  readonly fetch: typeof fetch;
  readonly standardInput: StandardInput;
  /** A person sits at both ends: reads what is asked on the error stream, and can answer. */
  readonly canAsk: boolean;
  readonly readTextFile: (path: string) => Promise<string>;
  /** What was asked for. */
  readonly writeOut: (text: string) => void;
  /** Notes and errors. */
  readonly writeError: (text: string) => void;
  /** Colours in errors: only on a terminal, and not with NO_COLOR. */
  readonly colors: boolean;
}

/** Never throws for what a user or a server can do wrong; those are exit codes. */
export async function runVerb(verb: Verb, given: Given, world: VerbWorld): Promise<ExitCode> {
  const isJson = given.text("output") === "json";
  try {
    const client = await connect(given, world);
    const readText = (path: string): Promise<string> => readTextSource(path, world.standardInput);
    const ask = world.canAsk ? (question: string): Promise<string> => askPerson(question, world) : null;
    const shown = await verb.perform({ client, given, readText, ask });
    if (isJson) world.writeOut(JSON.stringify(shown.json, null, 2) + "\n");
    else {
      const text = shown.text();
      if (text !== "") world.writeOut(text);
      if (shown.note !== undefined) world.writeError(printableLines(shown.note) + "\n");
    }
    return EXIT.ok;
  } catch (error) {
    // Whoever reads the output has seen enough (`… | head`).
    if (error instanceof Deno.errors.BrokenPipe) return EXIT.ok;
    if (!(error instanceof CommandFailure)) throw error;
    world.writeError(isJson ? failureJson(error) : failureText(error, world.colors));
    return error.exitCode;
  }
}

/** The client that --url and --token, or the environment, name. Throws CommandFailure. */
export async function connect(
  given: Given,
  world: Pick<VerbWorld, "env" | "fetch" | "readTextFile">,
  usualUrl: string = DEFAULT_URL,
): Promise<ApiClient> {
  const url = addressOf(given, world.env, usualUrl);
  const token = given.text("token") ?? await tokenOf(world);
  const user = given.text("by") ?? (world.env["USER"] || world.env["LOGNAME"] || null);
  return createApiClient({ url, token, user, deadlineMs: DEADLINE_MS, fetch: world.fetch });
}

/** A failure for people: one line, a line for each detail, and a hint. */
export function failureText(failure: CommandFailure, colors: boolean): string {
  const label = colors ? "\x1b[31merror\x1b[0m" : "error";
  const lines = [
    `${label}: ${printable(failure.message)}`,
    ...failure.details.map((one) => `  ${printable(one)}`),
  ];
  if (failure.hint !== null) lines.push(`hint: ${printable(failure.hint)}`);
  return lines.join("\n") + "\n";
}

/** A failure for programs, one line. */
function failureJson({ exitCode, message, hint, details }: CommandFailure): string {
  return JSON.stringify({ error: { exitCode, message, hint, details } }) + "\n";
}

function addressOf(given: Given, env: VerbWorld["env"], usualUrl: string): string {
  const text = given.text("url") ?? (env["MILVAION_URL"] || usualUrl);
  const url = URL.parse(text);
  if (
    url === null || !["http:", "https:"].includes(url.protocol) || url.username !== "" || url.password !== ""
  ) {
    const source = given.has("url") ? "--url" : "MILVAION_URL";
    throw new CommandFailure(
      EXIT.usage,
      `${source} is no address: ${url?.password ? "it holds a password" : text}`,
      `An address is like ${DEFAULT_URL}; the token goes into MILVAION_API_TOKEN.`,
    );
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

async function tokenOf(
  { env, readTextFile }: Pick<VerbWorld, "env" | "readTextFile">,
): Promise<string | null> {
  if (env["MILVAION_API_TOKEN"]) return env["MILVAION_API_TOKEN"];
  const path = env["MILVAION_API_TOKEN_FILE"];
  if (!path) return null;
  try {
    return (await readTextFile(path)).replace(/\r?\n$/, "");
  } catch (error) {
    const message = `Cannot read MILVAION_API_TOKEN_FILE: ${(error as Error).message}`;
    throw new CommandFailure(EXIT.config, message);
  }
}

function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}
