/**
 * Keeps the faults of honest job code inside its attempt: what would end the Web Worker in silence, disturb the
 * host or reach its siblings is taken away or turned into news. This is hygiene, not a wall: permissions and the
 * process are the walls, and hostile code needs a machine of its own.
 */
import type { LineLevel } from "../actors/domain/message.ts";

/** What becomes of the news. Each is called in the async context of the attempt whose code it was. */
export interface ContainmentHooks {
  /** `Deno.exit()`, `process.exit()` or `self.close()` was called. */
  exited(error: Error): void;
  /** An error that nothing caught: an unhandled rejection, a throw in a timer or a listener. */
  uncaught(error: unknown): void;
  /** Written to the console. */
  said(level: LineLevel, text: string): void;
}

/** Gone from job code: they reach the host process, other jobs, or a terminal that nobody sits at. */
const REMOVED_GLOBALS = ["Worker", "caches", "BroadcastChannel", "postMessage", "alert", "confirm", "prompt"];
const REMOVED_FROM_DENO = ["kill", "addSignalListener", "removeSignalListener"];

/** The console's methods that write. `assert` writes when its condition does not hold. */
const CONSOLE_LEVELS: Readonly<Record<string, LineLevel>> = {
  debug: "info",
  log: "info",
  info: "info",
  dir: "info",
  dirxml: "info",
  table: "info",
  group: "info",
  groupCollapsed: "info",
  count: "info",
  timeLog: "info",
  timeEnd: "info",
  warn: "warn",
  error: "error",
  trace: "error",
};

/** Changes the global scope of this Web Worker. Call it once, before job code is loaded. */
export function contain(hooks: ContainmentHooks): void {
  redirectOutput(hooks);
  for (const name of REMOVED_GLOBALS) replace(globalThis, name, undefined);
  for (const name of REMOVED_FROM_DENO) replace(Deno, name, undefined);

  const exit = (call: string) => (code?: unknown): never => {
    const error = new Error(`Job code called ${call}(${code === undefined ? "" : String(code)})`);
    error.name = "JobExited";
    hooks.exited(error);
    throw error;
  };
  // node:process ends up here, too.
  replace(Deno, "exit", exit("Deno.exit"));
  replace(globalThis, "close", exit("self.close"));

  for (const [method, level] of Object.entries(CONSOLE_LEVELS)) {
    replace(console, method, (...values: unknown[]) => hooks.said(level, values.map(shown).join(" ")));
  }
  replace(console, "assert", (condition?: unknown, ...values: unknown[]) => {
    if (!condition) hooks.said("error", ["Assertion failed", ...values.map(shown)].join(" "));
  });

  // A throw in a timer reaches the error event without its async context, so it is caught here.
  for (const name of ["setTimeout", "setInterval"] as const) {
    const timer = globalThis[name];
    replace(globalThis, name, (callback: unknown, delay?: number, ...rest: unknown[]) =>
      timer(
        (...given: unknown[]) => {
          try {
            if (typeof callback === "function") callback(...given);
          } catch (error) {
            hooks.uncaught(error);
          }
        },
        delay,
        ...rest,
      ));
  }
}

/**
 * From now on an error that nothing catches is news and no longer the end of this Web Worker. Call it when job code
 * is loaded: an error before that is why it cannot be.
 */
export function outlive(hooks: ContainmentHooks): void {
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    hooks.uncaught(event.reason);
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    hooks.uncaught(event.error ?? event.message);
  });
}

/**
 * The host's stdin and stdout carry the protocol. Here they are closed, which leaves the host's own handles open, and
 * what is written, also by way of node:process, becomes lines. (Only node:fs can still write to descriptor 1; such
 * text lies between two lines of the protocol and is told as noise.)
 */
function redirectOutput(hooks: ContainmentHooks): void {
  const decoder = new TextDecoder();
  Deno.stdin.close();
  for (const [stream, level] of [[Deno.stdout, "info"], [Deno.stderr, "error"]] as const) {
    stream.close();
    const write = (bytes: Uint8Array): number => {
      const text = decoder.decode(bytes).trimEnd();
      if (text !== "") hooks.said(level, text);
      return bytes.length;
    };
    replace(stream, "writeSync", write);
    replace(stream, "write", (bytes: Uint8Array) => Promise.resolve(write(bytes)));
  }
}

function replace(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, configurable: true, writable: true });
}

function shown(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    return Deno.inspect(value, { colors: false, depth: 4 });
  } catch {
    return "[a value that cannot be shown]";
  }
}
