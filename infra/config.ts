/**
 * The configuration: what is said by nobody (defaults), by `milvaion.json`, by the environment and by flags, each
 * winning over the one before. Checked as a whole before anything opens; all problems come at once.
 */
import type { Key, Machine } from "./config_key.ts";
import { applyRules } from "./config_rules.ts";
import { nodeAddresses } from "./node_addresses.ts";
import { type Config, CONSUMERS, FIXED_SECTIONS, keysOf } from "./config_schema.ts";
import {
  type ConfigProblem,
  environmentSettings,
  fileSettings,
  type FlagSetting,
  flagSettings,
  given,
  MASK,
  refused,
  type Setting,
  type Settings,
} from "./config_sources.ts";

export type { Config, ConsumerConfig } from "./config_schema.ts";
export type { ConfigProblem, FlagSetting } from "./config_sources.ts";

/** Read from the working directory when nobody names another file. */
export const DEFAULT_FILE = "milvaion.json";

/** What the configuration is read from; the world comes in here and nowhere else. */
export interface ConfigInput {
  /** `--config`: must exist. null reads none; absent reads `milvaion.json` if there is one. */
  readonly file?: string | null;
  readonly env: Readonly<Record<string, string>>;
  readonly flags: readonly FlagSetting[];
  /** Rejects with `Deno.errors.NotFound` when there is no such file. */
  readonly readTextFile: (path: string) => Promise<string>;
  readonly machine: Machine;
}

/** A value and who said it. */
export interface SourcedValue {
  /** null where it is a secret that is not set, MASK where it is one that is. */
  readonly value: unknown;
  /** `default`, a file, a variable or a flag. */
  readonly source: string;
}

/** A configuration that may be started with, or everything that is wrong with it. */
export type LoadedConfig =
  | {
    readonly ok: true;
    readonly config: Config;
    /** By path of the key, e.g. `Worker.MaxParallelJobs`, in the order of the schema. */
    readonly sources: ReadonlyMap<string, SourcedValue>;
    /** What is accepted but surely not meant; to be logged at start. */
    readonly warnings: readonly string[];
  }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** Reads and checks the configuration. Never rejects for anything that was configured. */
export async function loadConfig(input: ConfigInput): Promise<LoadedConfig> {
  const all: Settings[] = [
    await readFile(input),
    await environmentSettings(input.env, input.readTextFile),
    flagSettings(input.flags),
  ];
  const problems = all.flatMap((one) => one.problems);
  const warnings = all.flatMap((one) => one.warnings);

  const chosen = new Map<string, Setting>();
  for (const [path, key] of keysOf(FIXED_SECTIONS)) {
    chosen.set(path.join("."), { path, key, value: key.defaultOn(input.machine), source: "default" });
  }
  for (const setting of all.flatMap((one) => one.settings)) {
    const problem = check(setting);
    if (problem !== null) problems.push(problem);
    else chosen.set(setting.path.join("."), setting);
  }
  if (problems.length > 0) return { ok: false, problems };

  const ruled = applyRules(build(chosen.values()));
  if (ruled.problems.length > 0) return { ok: false, problems: ruled.problems };
  const { Postgres, Redis, RabbitMQ } = ruled.config.MilvaionConfig;
  const isEmbedded = [Postgres, Redis, RabbitMQ].every(({ Url }) => Url === null);
  for (const [path, { key, source }] of isEmbedded ? chosen : []) {
    if (key.isClusterOnly && !key.isSecret && source !== "default") {
      warnings.push(`${path} (${source}) concerns a cluster and has no effect in embedded mode.`);
    }
  }
  return {
    ok: true,
    config: ruled.config,
    sources: sourcesOf(chosen, ruled.config),
    warnings: [...warnings, ...ruled.warnings],
  };
}

/** One line for people: `field (source): got X, expected Y. Hint` */
export function problemLine({ field, source, given, expected, hint }: ConfigProblem): string {
  const where = source === undefined ? "" : ` (${source})`;
  return `${field}${where}: got ${given}, expected ${expected}${hint === undefined ? "" : `. ${hint}`}`;
}

/** Every text that must never be seen: secrets, and the passwords inside addresses as written and as meant. */
export function secretsOf(config: Config): readonly string[] {
  const found = new Set<string>();
  for (const [path, key] of keysOf(FIXED_SECTIONS)) {
    const value = key.isSecret ? valueAt(config, path) : null;
    for (const one of Array.isArray(value) ? value : [value]) {
      if (typeof one !== "string") continue;
      found.add(one);
      for (const password of passwordsIn(one)) found.add(password);
      const nodes = nodeAddresses(one);
      for (const node of nodes.ok ? nodes.urls : []) {
        for (const password of passwordsIn(node)) found.add(password);
      }
    }
  }
  return [...found];
}

/** The password of an address, of one with several hosts too, as written and as meant. */
function passwordsIn(address: string): readonly string[] {
  const authority = /^[a-z+]+:\/\/([^/?#]*)/i.exec(address)?.[1] ?? "";
  const credentials = authority.slice(0, Math.max(0, authority.lastIndexOf("@")));
  const written = credentials.includes(":") ? credentials.slice(credentials.indexOf(":") + 1) : "";
  const parsed = URL.parse(address)?.password ?? "";
  return [written, parsed, decoded(written)].filter((password) => password !== "");
}

/** A percent sign that begins no escape stands for itself. */
function decoded(password: string): string {
  try {
    return decodeURIComponent(password);
  } catch {
    return password;
  }
}

async function readFile(input: ConfigInput): Promise<Settings> {
  if (input.file === null) return { settings: [], problems: [], warnings: [] };
  const path = input.file ?? DEFAULT_FILE;
  try {
    return fileSettings(await input.readTextFile(path), path);
  } catch (error) {
    if (input.file === undefined && error instanceof Deno.errors.NotFound) {
      return { settings: [], problems: [], warnings: [] };
    }
    const hint = (error as Error).message;
    const what = error instanceof Deno.errors.NotFound ? "no such file" : "a file that cannot be read";
    return refused({ field: path, given: what, expected: "a configuration file", hint });
  }
}

function check({ path, key, value, source }: Setting): ConfigProblem | null {
  if (key.schema.safeParse(value).success) return null;
  const hint = hintFor(key, value);
  return {
    field: path.join("."),
    source,
    given: key.isSecret ? MASK : given(value),
    expected: key.expected,
    ...(hint === null ? {} : { hint }),
  };
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Says how to write what was probably meant. */
function hintFor(key: Key<unknown>, value: unknown): string | null {
  const explained = typeof value === "string" ? key.explain(value) : null;
  if (explained !== null) return explained;
  const isNumber = key.schema.safeParse(key.fromText(String(value))).success;
  if (typeof value === "string" && isNumber && !key.isSecret) return `Write ${value} without quotes.`;
  const duration = typeof value === "string" && key.expected.includes("seconds")
    ? /^(\d+)\s*(s|m|h|d)(ec|in|our|ay)?[a-z]*$/i.exec(value)
    : null;
  if (duration === null) return null;
  const seconds = Number(duration[1]) * (UNITS[duration[2]?.toLowerCase() ?? "s"] ?? 1);
  return `The unit is in the name of the key: write ${seconds}.`;
}

/** Settings become nested sections. The one place where names turn into the type: each value passed its schema. */
function build(settings: Iterable<Setting>): Config {
  const root: Record<string, unknown> = { [CONSUMERS]: {} };
  for (const { path, value } of settings) {
    let section = root;
    for (const name of path.slice(0, -1)) {
      // Own properties only: a job type may be called `constructor`.
      if (!Object.hasOwn(section, name)) section[name] = {};
      section = section[name] as Record<string, unknown>;
    }
    section[path.at(-1) ?? ""] = value;
  }
  return root as unknown as Config;
}

function sourcesOf(chosen: ReadonlyMap<string, Setting>, config: Config): Map<string, SourcedValue> {
  const sources = new Map<string, SourcedValue>();
  for (const [dotted, { path, key, value, source }] of chosen) {
    const effective = valueAt(config, path);
    const limited = effective === value ? source : `${source}, limited to what Worker allows`;
    const isHidden = key.isSecret && effective !== null &&
      !(Array.isArray(effective) && effective.length === 0);
    sources.set(dotted, { value: isHidden ? MASK : effective, source: limited });
  }
  return sources;
}

function valueAt(config: Config, path: readonly string[]): unknown {
  let value: unknown = config;
  for (const name of path) value = (value as Record<string, unknown> | undefined)?.[name];
  return value;
}
