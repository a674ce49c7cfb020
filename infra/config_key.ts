/** One key of the configuration: what it takes, what it is when nobody says anything, and how people are told. */
import { z } from "zod";
import { nodeAddresses } from "./node_addresses.ts";

/** What defaults may depend on. */
export interface Machine {
  readonly cores: number;
}

interface KeyOptions<V> {
  readonly schema: z.ZodType<V>;
  /** Follows the word "expected" in a refusal, e.g. `a whole number of seconds from 3 to 86400`. */
  readonly expected: string;
  /** Text of an environment variable or flag → the value as the file would hold it. */
  readonly fromText: (text: string) => unknown;
  /** What is wrong with a text that the schema refuses, as a sentence without the text; null when it cannot say. */
  readonly explain?: (text: string) => string | null;
  /** Absent where somebody else decides when nobody says anything. */
  readonly default?: V | ((machine: Machine) => V);
  readonly about: string;
  readonly variable?: string;
  readonly isSecret?: boolean;
  readonly isClusterOnly?: boolean;
}

/** A leaf of the configuration whose value has the type V. */
export class Key<V> {
  readonly schema: z.ZodType<V>;
  readonly expected: string;
  readonly fromText: (text: string) => unknown;
  readonly about: string;
  /** Short name in the environment, e.g. `PORT`; each key has its long one as well. */
  readonly variable: string | null;
  /** Never printed. Its short variable may also be given as `<variable>_FILE`. */
  readonly isSecret: boolean;
  /** Means nothing in embedded mode. */
  readonly isClusterOnly: boolean;
  readonly explain: (text: string) => string | null;
  readonly #default: V | ((machine: Machine) => V) | undefined;

  constructor(options: KeyOptions<V>) {
    this.schema = options.schema;
    this.expected = options.expected;
    this.fromText = options.fromText;
    this.about = options.about;
    this.variable = options.variable ?? null;
    this.isSecret = options.isSecret ?? false;
    this.isClusterOnly = options.isClusterOnly ?? false;
    this.explain = options.explain ?? (() => null);
    this.#default = options.default;
  }

  /** The value when no source gives one. Throws for a key without a default, whose section must be optional. */
  defaultOn(machine: Machine): V {
    const given = this.#default;
    if (given === undefined) throw new Error(`A key has no default: ${this.about}`);
    return given instanceof Function ? given(machine) : given;
  }
}

/** Keys and further sections by name. */
export interface Section {
  readonly [name: string]: Key<unknown> | Section;
}

/** The values that a section holds. */
export type ValuesOf<T> = T extends Key<infer V> ? V : { readonly [K in keyof T]: ValuesOf<T[K]> };

/** What every kind of key may add. */
type Common = Pick<KeyOptions<unknown>, "about" | "variable" | "isClusterOnly" | "explain">;

type IntegerOptions = Common & {
  readonly default?: number | ((machine: Machine) => number);
  readonly min: number;
  readonly max: number;
  readonly unit?: "seconds" | "minutes" | "days" | "KiB" | "MiB";
};

/** A whole number within bounds, both included. */
export function integer({ min, max, unit, ...rest }: IntegerOptions): Key<number> {
  const of = unit === undefined ? "" : ` of ${unit}`;
  return new Key({
    ...rest,
    schema: z.int().min(min).max(max),
    expected: `a whole number${of} from ${min} to ${max}`,
    fromText: (text) => /^-?\d+$/.test(text) ? Number(text) : text,
  });
}

/** Text that matches a pattern, which `expected` puts in words. */
export function text(
  options: Common & { readonly default?: string; readonly pattern: RegExp; readonly expected: string },
): Key<string> {
  const { pattern, ...rest } = options;
  return new Key({ ...rest, schema: z.string().regex(pattern), fromText: (given) => given });
}

/** The path of a folder, or null when another key decides. */
export function folder(options: Common): Key<string | null> {
  return new Key<string | null>({
    ...options,
    schema: z.string().regex(/^[^\0]+$/).nullable(),
    expected: "the path of a folder",
    fromText: (given) => given,
    default: null,
  });
}

/** A value that must not be seen, or null when there is none. */
export function secret(
  options: Common & { readonly expected: string; readonly isValid: (text: string) => boolean },
): Key<string | null> {
  const { isValid, ...rest } = options;
  return new Key<string | null>({
    ...rest,
    schema: z.string().refine(isValid).nullable(),
    fromText: (given) => given,
    default: null,
    isSecret: true,
  });
}

/** The address of a server with its credentials, or null when there is none. */
export function serverUrl(options: Common & { readonly schemes: readonly string[] }): Key<string | null> {
  const { schemes, ...rest } = options;
  return secret({
    ...rest,
    expected: `an address such as ${exampleOf(schemes)}`,
    isValid: (given) => isServerUrl(given, schemes),
  });
}

/** The address of a server, or of the nodes of one cluster (see `node_addresses.ts`), or null when there is none. */
export function clusterUrl(options: Common & { readonly schemes: readonly string[] }): Key<string | null> {
  const { schemes, ...rest } = options;
  return secret({
    ...rest,
    expected: `an address such as ${exampleOf(schemes)}; nodes of one cluster as ` +
      `${schemes[0]}://user:password@host1,host2:port,host3/…`,
    isValid: (given) => {
      const nodes = nodeAddresses(given);
      return nodes.ok && nodes.urls.every((url) => isServerUrl(url, schemes));
    },
    explain: (given) => {
      const nodes = nodeAddresses(given);
      return nodes.ok ? null : `${nodes.problem.charAt(0).toUpperCase()}${nodes.problem.slice(1)}.`;
    },
  });
}

/** Addresses of servers that stand for each other; in the environment, or a file, with commas or lines between. */
export function serverUrls(
  options: Common & { readonly schemes: readonly string[] },
): Key<readonly string[]> {
  const { schemes, ...rest } = options;
  return new Key<readonly string[]>({
    ...rest,
    schema: z.array(z.string().refine((given) => isServerUrl(given, schemes))),
    expected: `a list of addresses such as ${exampleOf(schemes)}, in the environment with commas between ` +
      "(a comma inside a password is written %2C)",
    fromText: (given) => split(given.replaceAll("\n", ",")),
    default: [],
    isSecret: true,
  });
}

function exampleOf(schemes: readonly string[]): string {
  return `${schemes[0]}://user:password@host/…` + (schemes.length > 1 ? ` (${schemes.join(", ")})` : "");
}

function isServerUrl(given: string, schemes: readonly string[]): boolean {
  const url = URL.parse(given);
  return url !== null && url.hostname !== "" && schemes.includes(url.protocol.slice(0, -1));
}

/** One of a few words. */
export function choice<const W extends readonly [string, ...string[]]>(
  words: W,
  options: Common & { readonly default?: W[number] },
): Key<W[number]> {
  return new Key<W[number]>({
    ...options,
    schema: z.enum(words),
    expected: `one of ${words.join(", ")}`,
    fromText: (given) => given,
  });
}

/** true or false. */
export function flag(options: Common & { readonly default: boolean }): Key<boolean> {
  return new Key({ ...options, schema: z.boolean(), expected: "true or false", fromText: booleanOr });
}

/** A list of texts; in the environment with commas between. */
export function list(
  options: Common & { readonly default: readonly string[]; readonly item: string },
): Key<readonly string[]> {
  const { item, ...rest } = options;
  return new Key<readonly string[]>({
    ...rest,
    schema: z.array(z.string().min(1)),
    expected: `a list of ${item} (in the environment with commas between)`,
    fromText: split,
  });
}

/** A Deno permission: everything (true), nothing (false), or what is listed. */
export function permission(about: string): Key<boolean | readonly string[]> {
  return new Key<boolean | readonly string[]>({
    about,
    schema: z.union([z.boolean(), z.array(z.string().min(1))]),
    expected: "true, false, or a list of names",
    fromText: (given) => given === "true" || given === "false" ? booleanOr(given) : split(given),
  });
}

function booleanOr(given: string): boolean | string {
  return given === "true" ? true : given === "false" ? false : given;
}

function split(given: string): string[] {
  return given.split(",").map((item) => item.trim()).filter((item) => item !== "");
}
