/** Turns the arguments of the program into one command, or into one line that says what is wrong with them. */
import { parseArgs } from "node:util";
import { nearestNames } from "../actors/domain/nearest.ts";
import { EXIT, type ExitCode } from "./cli/exit_code.ts";
import { Given, type Option } from "./cli/option.ts";
import type { Verb } from "./cli/verb.ts";
import { commandHelp, generalHelp, groupHelp, usageOf } from "./command_help.ts";
import { type CommandDescription, COMMANDS, type ConfigOption } from "./command_table.ts";
import { type Stage, STAGES } from "./doctor/stage.ts";
import type { FlagSetting } from "./config_sources.ts";

/** What the command line says about the configuration; goes into `loadConfig` as it is. */
export interface ConfigArguments {
  /** `--config`; absent takes the usual file. */
  readonly file?: string;
  readonly flags: readonly FlagSetting[];
}

/** What to do to the schema of the store. */
export interface MigrateOrder {
  /** Only say what would be done. */
  readonly dryRun: boolean;
  /** Data folder of an embedded store that moves to PostgreSQL. */
  readonly from: string | null;
  /** Role of the database that may claim and renew, and nothing else. */
  readonly workerRole: string | null;
}

/** What the program is to do; `main.ts` does it. */
export type Command =
  | { readonly name: "help"; readonly text: string }
  | { readonly name: "version" }
  | { readonly name: "run" | "api" | "worker"; readonly config: ConfigArguments }
  | { readonly name: "migrate"; readonly config: ConfigArguments } & MigrateOrder
  | {
    readonly name: "doctor";
    readonly config: ConfigArguments;
    readonly output: "table" | "json";
    /** Asks a running installation as well; `given` says where it is. */
    readonly running: { readonly stage: Stage; readonly given: Given } | null;
  }
  | { readonly name: "health"; readonly config: ConfigArguments }
  | { readonly name: "config print"; readonly config: ConfigArguments; readonly output: "table" | "json" }
  /** Started by the program itself, with arguments of its own. */
  | { readonly name: "host"; readonly args: readonly string[] }
  /** For `runVerb`. */
  | { readonly name: "verb"; readonly verb: Verb; readonly given: Given };

/** A command, or how to end when there is none. */
export type ParsedCommandLine =
  | { readonly ok: true; readonly command: Command }
  /** The message is for stderr, with newline. */
  | { readonly ok: false; readonly exitCode: ExitCode; readonly message: string };

/** What is wrong with the arguments; becomes exit code 64. */
class UsageError extends Error {
  constructor(message: string, readonly hint: string) {
    super(message);
  }
}

/** Reads the arguments after the program's name. */
export function parseCommandLine(args: readonly string[]): ParsedCommandLine {
  try {
    return { ok: true, command: commandOf(args) };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { ok: false, exitCode: EXIT.usage, message: `error: ${error.message}\nhint: ${error.hint}\n` };
  }
}

function commandOf(args: readonly string[]): Command {
  const [first, ...rest] = args;
  if (first === undefined || first === "--help" || first === "-h") return help(generalHelp());
  if (first === "--version" || first === "-V") return { name: "version" };
  if (first === "help") return help(rest.length === 0 ? generalHelp() : helpFor(rest));
  if (first === "host") return { name: "host", args: rest };
  if (first.startsWith("-")) {
    throw new UsageError(
      `The command comes before its options: ${first}`,
      "Try `milvaion run`, or `milvaion help`.",
    );
  }
  const found = find(args);
  if (found === null) return unknownCommand(args);
  const { command, words } = found;
  const own = args.slice(words);
  if (isHelpAsked(own)) return help(commandHelp(command));
  return build(command, read(command, own));
}

function help(text: string): Command {
  return { name: "help", text };
}

/** The command with the most words that the arguments begin with. */
function find(
  args: readonly string[],
): { readonly command: CommandDescription; readonly words: number } | null {
  for (const words of [2, 1]) {
    const name = args.slice(0, words).join(" ");
    const command = COMMANDS.find((one) => one.name === name);
    if (command !== undefined) return { command, words: name.split(" ").length };
  }
  return null;
}

function helpFor(words: readonly string[]): string {
  const found = find(words);
  if (found !== null) return commandHelp(found.command);
  const [first = ""] = words;
  const group = words.length === 1 ? groupHelp(first) : "";
  if (group !== "") return group;
  throw unknown(words);
}

function unknownCommand(args: readonly string[]): Command {
  const [first = "", second] = args;
  const group = groupHelp(first);
  if (group !== "" && isHelpAsked(args.slice(1))) return help(group);
  if (group !== "" && (second === undefined || second.startsWith("-"))) {
    const verbs = COMMANDS.flatMap(({ name }) =>
      name.startsWith(`${first} `) ? [name.slice(first.length + 1)] : []
    );
    throw new UsageError(`${first} needs to know what to do`, `It can: ${verbs.join(", ")}.`);
  }
  throw unknown(args);
}

function unknown(words: readonly string[]): UsageError {
  const [first = "", second] = words;
  const names = COMMANDS.filter((command) => command.isHidden !== true).map(({ name }) => name);
  const isGroup = second !== undefined && !second.startsWith("-") && groupHelp(first) !== "";
  const given = isGroup ? `${first} ${second}` : first;
  // A word alone is compared with the first words, so that `job list` finds `jobs`.
  const known = isGroup
    ? names.filter((name) => name.startsWith(`${first} `))
    : names.map((name) => name.split(" ")[0] ?? "");
  const wanted = isGroup
    ? nearestNames(second, known.map((name) => name.slice(first.length + 1)))
    : nearestNames(first, new Set(known));
  const [near] = wanted;
  const hint = near === undefined
    ? "`milvaion help` lists the commands."
    : `Did you mean ${isGroup ? `${first} ${near}` : [near, ...words.slice(1, 2)].join(" ")}?`;
  return new UsageError(`There is no command ${given}`, hint);
}

function isHelpAsked(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const options = end === -1 ? args : args.slice(0, end);
  return options.includes("--help") || options.includes("-h");
}

function read(command: CommandDescription, args: readonly string[]): Given {
  const { tokens } = parseArgs({
    args: [...args],
    // Strictness is below: its complaints name the nearest right option.
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(command.options.map(({ name, short, kind }) => [
      name,
      {
        type: kind === "flag" ? "boolean" as const : "string" as const,
        ...(short === undefined ? {} : { short }),
      },
    ])),
  });
  const options = new Map<string, string | boolean | string[]>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const option = command.options.find(({ name }) => name === token.name);
    if (option === undefined) throw unknownOption(command, token.rawName);
    const before = options.get(option.name);
    if (option.kind === "flag") {
      if (token.value !== undefined) throw usage(command, `${token.rawName} takes no value`);
      options.set(option.name, true);
      continue;
    }
    const value = valueOf(command, option, token.rawName, token.value, token.inlineValue === true);
    if (option.kind === "list") {
      options.set(option.name, Array.isArray(before) ? [...before, value] : [value]);
    } else if (before !== undefined) throw usage(command, `${token.rawName} is given twice`);
    else options.set(option.name, value);
  }
  return new Given(namePositionals(command, positionals), options);
}

function valueOf(
  command: CommandDescription,
  option: Option,
  rawName: string,
  value: string | undefined,
  isInline: boolean,
): string {
  // "-" alone is standard input.
  if (value === undefined || (!isInline && value.startsWith("-") && value !== "-")) {
    const hint = value === undefined
      ? usageHint(command)
      : `Write ${rawName}=${value} if ${value} is the value.`;
    throw new UsageError(`${rawName} needs a value: ${option.value}`, hint);
  }
  if (option.kind === "number" && !/^\d{1,15}$/.test(value)) {
    throw usage(command, `${rawName} needs a whole number, not ${value === "" ? "nothing" : value}`);
  }
  if (option.choices !== undefined && !option.choices.includes(value)) {
    const [near] = nearestNames(value, option.choices);
    const hint = near === undefined ? usageHint(command) : `Did you mean ${near}?`;
    throw new UsageError(`${rawName} is one of ${option.choices.join(", ")}, not ${value}`, hint);
  }
  return value;
}

function namePositionals(command: CommandDescription, given: readonly string[]): Record<string, string> {
  const needed = command.kind === "verb" ? command.verb.positionals : [];
  const optional = command.kind === "verb" && command.verb.optional !== undefined
    ? [command.verb.optional]
    : [];
  const names = [...needed, ...optional];
  const missing = needed.find((_, index) => (given[index] ?? "") === "");
  if (missing !== undefined) throw usage(command, `${command.name} needs <${missing}>`);
  if (given.length > names.length) {
    throw usage(command, `${command.name} does not know what to do with ${given[names.length]}`);
  }
  return Object.fromEntries(given.map((value, index) => [names[index], value]));
}

function unknownOption(command: CommandDescription, rawName: string): UsageError {
  const [near] = nearestNames(rawName.replace(/^-+/, ""), command.options.map(({ name }) => name));
  const hint = near === undefined ? usageHint(command) : `Did you mean --${near}?`;
  return new UsageError(`${command.name} has no option ${rawName}`, hint);
}

function usage(command: CommandDescription, message: string): UsageError {
  return new UsageError(message, usageHint(command));
}

function usageHint(command: CommandDescription): string {
  return `${usageOf(command)}; see \`milvaion help ${command.name}\`.`;
}

function build(command: CommandDescription, given: Given): Command {
  if (command.kind === "verb") return { name: "verb", verb: command.verb, given };
  switch (command.name) {
    case "run":
    case "api":
    case "worker":
      return { name: command.name, config: configArguments(command, given) };
    case "migrate":
      return {
        name: "migrate",
        config: configArguments(command, given),
        dryRun: given.flag("dry-run"),
        from: given.text("from"),
        workerRole: given.text("worker-role"),
      };
    case "health":
      return { name: "health", config: configArguments(command, given) };
    case "doctor": {
      const output = given.text("output") === "json" ? "json" : "table";
      const stages = STAGES.filter((stage) => given.flag(stage));
      if (stages.length > 1) throw usage(command, `--${stages.join(" and --")} do not go together`);
      const [stage] = stages;
      if (given.flag("replace-baseline") && stage !== "before-scaling") {
        throw usage(command, "--replace-baseline goes with --before-scaling");
      }
      const running = stage === undefined ? null : { stage, given };
      return { name: "doctor", config: configArguments(command, given), output, running };
    }
    case "config print": {
      const output = given.text("output") === "json" ? "json" : "table";
      return { name: "config print", config: configArguments(command, given), output };
    }
    case "version":
      return { name: "version" };
    case "host":
      return { name: "host", args: [] };
  }
}

function configArguments(command: CommandDescription, given: Given): ConfigArguments {
  const flags: FlagSetting[] = [];
  for (const option of command.options.filter(isConfigOption)) {
    if (!given.has(option.name)) continue;
    const value = option.kind === "flag"
      ? option.gives ?? true
      : option.kind === "list"
      ? given.list(option.name)
      : given.text(option.name) ?? "";
    flags.push({ path: option.key, flag: `--${option.name}`, value });
  }
  const file = given.text("config");
  return { flags, ...(file === null ? {} : { file }) };
}

function isConfigOption(option: Option): option is ConfigOption {
  return "key" in option;
}
