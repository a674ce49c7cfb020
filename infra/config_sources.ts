/**
 * Where values come from: the file, the environment, the flags. Each source turns into settings, and what cannot
 * become one is a problem. Whether a value is right is decided later, alike for all sources.
 */
import { nearestNames } from "../actors/domain/nearest.ts";
import { shown } from "../actors/domain/problem.ts";
import { Key, type Section } from "./config_key.ts";
import {
  CONSUMER_SECTION,
  CONSUMERS,
  FIXED_SECTIONS,
  JOB_TYPE_NAME,
  keysOf,
  nodeAt,
} from "./config_schema.ts";

/** What is wrong with one thing that was configured. Printed by `problemLine`. */
export interface ConfigProblem {
  /** Path of the key, or the name of the file, variable or flag where that is what is wrong. */
  readonly field: string;
  /** File, variable or flag that gave the value. */
  readonly source?: string;
  /** As it was given, cut short; secrets are masked. */
  readonly given: string;
  readonly expected: string;
  readonly hint?: string;
}

/** A value that somebody gave to a key. */
export interface Setting {
  readonly path: readonly string[];
  readonly key: Key<unknown>;
  readonly value: unknown;
  /** For people: the file, variable or flag. */
  readonly source: string;
}

/** What one source says. */
export interface Settings {
  readonly settings: readonly Setting[];
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly string[];
}

/** A flag of the command line that stands for a key. */
export interface FlagSetting {
  /** e.g. `MilvaionConfig.Api.Port`. */
  readonly path: string;
  /** e.g. `--port`. */
  readonly flag: string;
  /** Text as typed; a list for flags that may be repeated. */
  readonly value: string | readonly string[] | boolean;
}

/** Shown instead of a secret. */
export const MASK = "********";

/** Reads the text of a configuration file. */
export function fileSettings(content: string, source: string): Settings {
  let root: unknown;
  try {
    root = JSON.parse(content.replace(/^\uFEFF/, ""));
  } catch (error) {
    const problem = { field: source, given: "text that is not JSON", expected: "a JSON object" };
    return refused({ ...problem, hint: (error as Error).message });
  }
  const settings: Setting[] = [];
  const problems: ConfigProblem[] = [];
  const read = (path: readonly string[], value: unknown): void => {
    const node = nodeAt(path);
    if (node instanceof Key) settings.push({ path, key: node, value, source });
    else if (node === null) problems.push(unknownKey(path, source, (names) => names.join(".")));
    else if (!isObject(value)) {
      const field = path.length === 0 ? source : path.join(".");
      problems.push({ field, given: given(value), expected: "a section: { … }" });
    } else for (const [name, child] of Object.entries(value)) read([...path, name], child);
  };
  read([], root);
  return { settings, problems, warnings: [] };
}

const SHORT_NAMES = new Map(
  keysOf(FIXED_SECTIONS).flatMap(([path, key]): [string, { path: string[]; key: Key<unknown> }][] =>
    key.variable === null ? [] : [[key.variable, { path, key }]]
  ),
);

/** Read by other parts of the program. */
const OTHER_VARIABLES = ["MILVAION_URL"];

/**
 * Reads the environment: long names such as `MilvaionConfig__JobDispatcher__LockTtlSeconds` for every key, short
 * ones such as `PORT` for some. An empty variable counts as not set. The long name wins over the short one, which
 * platforms set on their own account.
 */
export async function environmentSettings(
  env: Readonly<Record<string, string>>,
  readTextFile: (path: string) => Promise<string>,
): Promise<Settings> {
  const short: Setting[] = [];
  const long: Setting[] = [];
  const problems: ConfigProblem[] = [];
  const warnings: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (value === "") continue;
    const path = name.split("__");
    const isLong = path.length > 1 && (path[0] === CONSUMERS || Object.hasOwn(FIXED_SECTIONS, path[0] ?? ""));
    const known = SHORT_NAMES.get(name);
    const ofFile = name.endsWith("_FILE") ? SHORT_NAMES.get(name.slice(0, -"_FILE".length)) : undefined;
    if (isLong) {
      const key = nodeAt(path);
      if (key instanceof Key) long.push({ path, key, value: key.fromText(value), source: name });
      else if (key === null) problems.push(unknownKey(path, "the environment", (names) => names.join("__")));
      else problems.push({ field: name, given: shown(value), expected: "a key, not a section" });
    } else if (known !== undefined) {
      short.push({ ...known, value: known.key.fromText(value), source: name });
    } else if (ofFile !== undefined && ofFile.key.isSecret) {
      const plain = name.slice(0, -"_FILE".length);
      if ((env[plain] ?? "") !== "") {
        problems.push({ field: name, given: `${plain} as well`, expected: "one of the two" });
        continue;
      }
      try {
        // Editors and `echo` end a file with a newline that is no part of the secret.
        const content = (await readTextFile(value)).replace(/\r?\n$/, "");
        short.push({ ...ofFile, value: ofFile.key.fromText(content), source: `${name} (${value})` });
      } catch (error) {
        const hint = (error as Error).message;
        problems.push({ field: name, given: shown(value), expected: "a file that can be read", hint });
      }
    } else if (name.startsWith("MILVAION_") && !OTHER_VARIABLES.includes(name)) {
      const [near] = nearestNames(name, [...SHORT_NAMES.keys(), "MILVAION_API_TOKEN_FILE"]);
      const hint = near === undefined ? "" : ` Did you mean ${near}?`;
      warnings.push(`The environment sets ${name}, which means nothing here.${hint}`);
    } else {
      const root = nearestRoot(path);
      if (root !== null) {
        const hint = `Did you mean ${[root, ...path.slice(1)].join("__")}? Letter case counts.`;
        warnings.push(`The environment sets ${name}, which means nothing here. ${hint}`);
      }
    }
  }
  return { settings: [...short, ...long], problems, warnings };
}

/** Reads what the flags of the command line stand for. */
export function flagSettings(flags: readonly FlagSetting[]): Settings {
  const settings = flags.map(({ path: dotted, flag, value }): Setting => {
    const path = dotted.split(".");
    const key = nodeAt(path);
    if (!(key instanceof Key)) throw new Error(`The flag ${flag} stands for ${dotted}, which is no key`);
    return { path, key, value: typeof value === "string" ? key.fromText(value) : value, source: flag };
  });
  return { settings, problems: [], warnings: [] };
}

/** A value as a problem shows it. */
export function given(value: unknown): string {
  return shown(JSON.stringify(value) ?? String(value));
}

/** Settings of a source that cannot be read at all. */
export function refused(problem: ConfigProblem): Settings {
  return { settings: [], problems: [problem], warnings: [] };
}

function unknownKey(
  path: readonly string[],
  source: string,
  join: (names: readonly string[]) => string,
): ConfigProblem {
  // The nearest ancestor that exists tells what was meant to be there.
  let known = path.length - 1;
  while (known > 0 && nodeAt(path.slice(0, known)) === null) known--;
  const parent = path.slice(0, known);
  const wrong = path[known] ?? "";
  const field = join(path.slice(0, known + 1));
  const where = `a known key in ${source}`;
  if (parent.length === 1 && parent[0] === CONSUMERS) {
    return { field, given: shown(wrong), expected: "the name of a job type: letters, digits and _" };
  }
  const section = nodeAt(parent);
  const siblings = parent.length === 0
    ? [...Object.keys(FIXED_SECTIONS), CONSUMERS]
    : section === null || section instanceof Key
    ? []
    : Object.keys(section);
  const [near] = nearestNames(wrong, siblings);
  const [elsewhere] = near === undefined ? pathsEndingLike(wrong) : [];
  const meant = near !== undefined ? [...parent, near] : elsewhere;
  const hint = meant !== undefined
    ? `Did you mean ${join(meant)}?`
    : `Known in ${parent.length === 0 ? "the configuration" : join(parent)}: ${siblings.join(", ")}.`;
  return { field, given: "an unknown key", expected: where, hint };
}

/** Paths of keys and sections whose last name is nearest to this one, wherever they are. */
function pathsEndingLike(name: string): string[][] {
  const paths: string[][] = sectionsOf(FIXED_SECTIONS, []);
  paths.push(...keysOf(CONSUMER_SECTION).map(([path]) => [CONSUMERS, "<job type>", ...path]));
  const lastOf = (path: readonly string[]): string => path.at(-1) ?? "";
  const near = nearestNames(name, new Set(paths.map(lastOf)));
  return near.flatMap((one) => paths.filter((path) => lastOf(path) === one));
}

function sectionsOf(section: Section, above: readonly string[]): string[][] {
  return Object.entries(section).flatMap(([name, node]) => {
    const path = [...above, name];
    return node instanceof Key ? [path] : [path, ...sectionsOf(node, path)];
  });
}

/** `MILVAIONCONFIG__…` and `JobConsumer__X__…` were meant for us. */
function nearestRoot(path: readonly string[]): string | null {
  const [first, second] = path;
  if (first === undefined || second === undefined) return null;
  const root = [...Object.keys(FIXED_SECTIONS), CONSUMERS].find((one) =>
    one.toLowerCase() === first.toLowerCase() || (one !== "Worker" && nearestNames(first, [one]).length > 0)
  );
  if (root === undefined || (root === CONSUMERS && !JOB_TYPE_NAME.test(second))) return null;
  return root;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
