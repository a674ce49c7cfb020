/**
 * The main module of discovery: imports the job files named on stdin, one after the other, and says what it found.
 * It runs job files' top-level code, so it is a child process of its own that may read the code and nothing else.
 */
import { linesOf } from "./lines.ts";
import { Job } from "./handler.ts";
import { errorReport } from "./limits.ts";
import { RECORD_SEPARATOR } from "./protocol.ts";

/** One line to the parent. `importing` comes first, so that a file that ends or hangs the process is known. */
export type DiscoveryNews =
  | { readonly kind: "importing"; readonly file: string }
  /** What `defineJob` was given, as the file wrote it, and the JSON Schema of its payload. */
  | { readonly kind: "found"; readonly file: string; readonly definition: unknown; readonly schema: unknown }
  | { readonly kind: "refused"; readonly file: string; readonly reason: string };

/** Runs discovery until stdin ends. Does not return: a timer that a job file left behind must not keep this alive. */
export async function runDiscovery(): Promise<never> {
  const say = speaker();
  // What job files print while they load would be taken for news.
  for (const method of ["log", "info", "debug", "dir", "table"] as const) console[method] = console.error;
  Deno.exit = (code) => {
    throw new Error(`It called Deno.exit(${code ?? ""})`);
  };

  for await (const file of linesOf(Deno.stdin.readable)) {
    say({ kind: "importing", file });
    try {
      const module: { readonly default?: unknown } = await import(file);
      say(described(file, module.default));
    } catch (error) {
      const { name, message } = errorReport(error);
      say({ kind: "refused", file, reason: `it cannot be loaded: ${name}: ${message}` });
    }
  }
  Deno.kill(Deno.pid, "SIGKILL");
  throw new Error("A killed process runs no further");
}

function described(file: string, exported: unknown): DiscoveryNews {
  if (exported === undefined) {
    return {
      kind: "refused",
      file,
      reason: "it has no default export: write `export default defineJob({ … })`",
    };
  }
  if (!(exported instanceof Job)) {
    return { kind: "refused", file, reason: "its default export was not made by defineJob" };
  }
  return { kind: "found", file, definition: exported.definition, schema: exported.jsonSchema() };
}

function speaker(): (news: DiscoveryNews) => void {
  const encoder = new TextEncoder();
  const write = Deno.stdout.writeSync.bind(Deno.stdout);
  return (news) => {
    const bytes = encoder.encode(RECORD_SEPARATOR + JSON.stringify(news) + "\n");
    for (let at = 0; at < bytes.length;) at += write(bytes.subarray(at));
  };
}

if (import.meta.main) await runDiscovery();
