/**
 * What the program says about itself: one line an event, on stderr, so that stdout stays for what was asked for.
 *
 *   {"time":"2026-11-24T10:00:05.000Z","level":"info","msg":"Leading","epoch":3}
 *   10:00:05.000 info  Leading  epoch=3
 *
 * The first form is for machines, the second for a terminal. Secrets are masked by value in both.
 */
import type { Log, LogFields, LogLevel } from "../actors/ports/log.ts";
import { MASK } from "./config_sources.ts";

/** How and where a log writes. */
export interface LogOptions {
  /** Lines below it are not written. */
  readonly level: LogLevel;
  readonly format: "json" | "pretty";
  /** Colours in the pretty form: only on a terminal, and not with NO_COLOR. */
  readonly colors: boolean;
  /** Texts that are masked wherever they appear (see `secretsOf`). */
  readonly secrets: readonly string[];
  /** Wall time, epoch milliseconds. */
  readonly now: () => number;
  /** Writes one line, newline included. What it throws is swallowed: a full disk must not stop the scheduler. */
  readonly write: (line: string) => void;
}

const WEIGHTS: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

const COLORS: Readonly<Record<LogLevel, string>> = {
  debug: "\x1b[90m",
  info: "\x1b[36m",
  warn: "\x1b[33m",
  error: "\x1b[31m",
};
const DIM = "\x1b[90m";
const PLAIN = "\x1b[0m";

/** Names of the line itself, which fields must not take. */
const RESERVED = ["time", "level", "msg"];

/** A log that writes to one place. Logs made by `with` share it. */
export function createLog(options: LogOptions): Log {
  // The longest first: an address holds its own password, and is to vanish as a whole.
  const secrets = [...new Set(options.secrets)].filter((one) => one !== "").sort((a, b) =>
    b.length - a.length
  );
  const mask = (text: string): string => {
    let masked = text;
    for (const secret of secrets) masked = masked.replaceAll(secret, MASK);
    return masked;
  };
  const form = options.format === "json" ? jsonLine : prettyLine(options.colors);

  const make = (own: LogFields): Log => {
    const say = (level: LogLevel, message: string, fields: LogFields | undefined): void => {
      if (WEIGHTS[level] < WEIGHTS[options.level]) return;
      const given = fields === undefined ? own : { ...own, ...fields };
      const shown: [string, string | number | boolean | null][] = [];
      for (const [name, value] of Object.entries(given)) {
        if (value === undefined) continue;
        const safeName = RESERVED.includes(name) ? `${name}_` : name;
        shown.push([safeName, typeof value === "string" ? mask(value) : value]);
      }
      const time = new Date(options.now()).toISOString();
      try {
        options.write(form(time, level, mask(message), shown) + "\n");
      } catch {
        // Nowhere is left to say that nothing can be said.
      }
    };
    return {
      debug: (message, fields) => say("debug", message, fields),
      info: (message, fields) => say("info", message, fields),
      warn: (message, fields) => say("warn", message, fields),
      error: (message, fields) => say("error", message, fields),
      with: (fields) => make({ ...own, ...fields }),
    };
  };
  return make({});
}

type Shown = readonly (readonly [string, string | number | boolean | null])[];

function jsonLine(time: string, level: LogLevel, message: string, fields: Shown): string {
  return JSON.stringify({ time, level, msg: message, ...Object.fromEntries(fields) });
}

function prettyLine(colors: boolean) {
  const paint = (color: string, text: string): string => colors ? color + text + PLAIN : text;
  return (time: string, level: LogLevel, message: string, fields: Shown): string => {
    const said = fields.map(([name, value]) => `${printable(name)}=${quoted(value)}`).join(" ");
    const clock = paint(DIM, time.slice(11, 23));
    const line = `${clock} ${paint(COLORS[level], level.padEnd(5))} ${printable(message)}`;
    return said === "" ? line : `${line}  ${paint(DIM, said)}`;
  };
}

function quoted(value: string | number | boolean | null): string {
  if (typeof value !== "string") return String(value);
  return value === "" || /[\s"=]/.test(value) ? printable(JSON.stringify(value)) : printable(value);
}

/** One line stays one line, and no text that came from outside can steer a terminal. */
export function printable(text: string): string {
  return text.replace(
    // deno-lint-ignore no-control-regex -- control characters are what this is about
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) =>
      character === "\n"
        ? "\\n"
        : character === "\t"
        ? "\\t"
        : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
