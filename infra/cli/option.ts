/** Options of a command as data, and what a caller gave for them. */

/** One option of a command. */
export interface Option {
  /** Without dashes. */
  readonly name: string;
  /** One letter, without dash. */
  readonly short?: string;
  /** flag takes no value; list may be repeated; number is a whole number of at least 0. */
  readonly kind: "text" | "number" | "flag" | "list";
  /** Stands for the value in help texts. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly about: string;
}

type Value = string | boolean | readonly string[];

/** Arguments and options of one call, already checked against the command's own. */
export class Given {
  readonly #positionals: Readonly<Record<string, string>>;
  readonly #options: ReadonlyMap<string, Value>;

  constructor(positionals: Readonly<Record<string, string>>, options: ReadonlyMap<string, Value>) {
    this.#positionals = positionals;
    this.#options = options;
  }

  /** A required argument, by its name in the help text. */
  argument(name: string): string {
    const value = this.#positionals[name];
    if (value === undefined) throw new Error(`The command has no argument ${name}`);
    return value;
  }

  /** An argument that may be left out; then null. */
  optionalArgument(name: string): string | null {
    return this.#positionals[name] ?? null;
  }

  has(name: string): boolean {
    return this.#options.has(name);
  }

  /** The text of an option, or null when it was not given. */
  text(name: string): string | null {
    const value = this.#options.get(name);
    return typeof value === "string" ? value : null;
  }

  /** The number of an option, or null when it was not given. */
  number(name: string): number | null {
    const text = this.text(name);
    return text === null ? null : Number(text);
  }

  flag(name: string): boolean {
    return this.#options.get(name) === true;
  }

  list(name: string): readonly string[] {
    const value = this.#options.get(name);
    return Array.isArray(value) ? value : [];
  }
}
