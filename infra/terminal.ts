/** The standard streams, as the rest of the program wants them. */
import type { VerbWorld } from "./cli/run_verb.ts";

/** A standard stream that can be written to. */
export interface OutputStream {
  writeSync(bytes: Uint8Array): number;
  isTerminal(): boolean;
}

/** Writes all of a text at once, so that lines of several writers do not mix. Throws what the stream throws. */
export function writeText(stream: OutputStream, text: string): void {
  let bytes = new TextEncoder().encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
}

/** Whether colours are welcome: on a terminal that knows them, and not with NO_COLOR (https://no-color.org). */
export function hasColors(stream: OutputStream, env: Readonly<Record<string, string>>): boolean {
  return stream.isTerminal() && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
}

/** The real world for verbs. */
export function verbWorld(env: Readonly<Record<string, string>>): VerbWorld {
  return {
    env,
    fetch,
    standardInput: { isTerminal: () => Deno.stdin.isTerminal(), readable: Deno.stdin.readable },
    canAsk: Deno.stdin.isTerminal() && Deno.stderr.isTerminal(),
    readTextFile: Deno.readTextFile,
    writeOut: (text) => writeText(Deno.stdout, text),
    writeError: (text) => writeText(Deno.stderr, text),
    colors: hasColors(Deno.stderr, env),
  };
}
