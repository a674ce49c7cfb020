/** Help texts, made from the table of commands. */
import type { Option } from "./cli/option.ts";
import { type CommandDescription, COMMANDS } from "./command_table.ts";

const EXIT_CODES = `\
Exit codes: 0 done, 1 refused by the present state, 64 wrong usage, 65 wrong
data, 66 no such file or id, 69 server not reachable, 70 server failed, 76 not a
Milvaion of this version, 77 not allowed, 78 wrong configuration.`;

/** What the program is, and its commands. */
export function generalHelp(): string {
  return `\
milvaion: a job scheduler. Start with \`milvaion run\`; \`milvaion help run\` shows how.

${listOf(COMMANDS.filter((command) => command.isHidden !== true))}
  help <command>     What a command does, its options, an example

The commands on jobs, occurrences, workers and leadership talk to a running API:
--url or MILVAION_URL says which one, MILVAION_API_TOKEN holds its token.

${EXIT_CODES}
`;
}

/** The commands that begin with a word, e.g. `jobs`. */
export function groupHelp(word: string): string {
  return listOf(COMMANDS.filter(({ name }) => name.startsWith(`${word} `)));
}

/** One command: what it does, how it is called, an example. */
export function commandHelp(command: CommandDescription): string {
  const parts = [`${command.about}.\n\n  ${usageOf(command)}\n`];
  if (command.options.length > 0) parts.push(optionsOf(command.options));
  if (command.teaches !== undefined) parts.push(command.teaches + "\n");
  if (command.example !== "") parts.push(`Example:\n  ${command.example}\n`);
  return parts.join("\n");
}

/** How a command is called, in one line. */
export function usageOf(command: CommandDescription): string {
  const words = ["milvaion", command.name];
  if (command.kind === "verb") {
    words.push(...command.verb.positionals.map((name) => `<${name}>`));
    if (command.verb.optional !== undefined) words.push(`[${command.verb.optional}]`);
  }
  if (command.options.length > 0) words.push("[options]");
  return words.join(" ");
}

function listOf(commands: readonly CommandDescription[]): string {
  return columns(commands.map(({ name, about }) => [name, about]));
}

function optionsOf(options: readonly Option[]): string {
  return columns(options.map((option) => {
    const short = option.short === undefined ? "" : `-${option.short}, `;
    const value = option.value === undefined ? "" : ` ${option.value}`;
    return [`${short}--${option.name}${value}`, option.about];
  }));
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join("");
}
