/** The command line of `deno task bench`: which rows, how often, and where the figures go. */
import { parseArgs } from "node:util";
import { nearestNames } from "../../actors/domain/nearest.ts";
import { type Benchmark } from "./benchmark.ts";

export type Ground = "embedded" | "cluster";
export type Grounds = Readonly<Record<Ground, readonly Benchmark[]>>;

/** What was asked for. */
export type Order =
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "refused"; readonly message: string }
  | {
    readonly kind: "measure";
    readonly rows: readonly { readonly ground: Ground; readonly benchmark: Benchmark }[];
    readonly runs: number;
    readonly isQuick: boolean;
    /** Where the JSON goes; null: standard output. */
    readonly file: string | null;
  };

const USUAL_RUNS = 3;
const OPTIONS = {
  cluster: { type: "boolean" },
  all: { type: "boolean" },
  runs: { type: "string" },
  json: { type: "string" },
  quick: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;
type OptionName = keyof typeof OPTIONS;

/** Reads the arguments; `grounds` are the rows that there are. */
export function readOrder(args: readonly string[], grounds: Grounds): Order {
  const given = new Map<OptionName, string | true>();
  const words: string[] = [];
  // Not strict: what is refused below comes with what would be right.
  const { tokens } = parseArgs({
    args: [...args],
    options: OPTIONS,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    if (!isOption(token.name)) return unknownOption(token.rawName);
    if (OPTIONS[token.name].type === "boolean") {
      if (token.value !== undefined) return refused(`--${token.name} takes no value`);
      given.set(token.name, true);
      continue;
    }
    if (token.value === undefined || (token.inlineValue !== true && token.value.startsWith("-"))) {
      return refused(`--${token.name} needs a value: ${token.name === "runs" ? "a number" : "a file"}`);
    }
    given.set(token.name, token.value);
  }
  if (given.has("help")) return { kind: "help", text: help(grounds) };
  if (given.has("all") && given.has("cluster")) return refused("--all has the rows of --cluster already");

  const runs = Number(given.get("runs") ?? USUAL_RUNS);
  if (!Number.isInteger(runs) || runs < 1 || runs > 100) {
    return refused(`--runs is a whole number from 1 to 100, not ${given.get("runs")}`);
  }
  const wanted: readonly Ground[] = given.has("all")
    ? ["embedded", "cluster"]
    : given.has("cluster")
    ? ["cluster"]
    : ["embedded"];
  const rows = wanted.flatMap((ground) => grounds[ground].map((benchmark) => ({ ground, benchmark })));
  for (const word of words) {
    if (!rows.some(({ benchmark }) => isMeant(benchmark, word))) return unknownWord(word, wanted, grounds);
  }
  return {
    kind: "measure",
    rows: words.length === 0
      ? rows
      : rows.filter(({ benchmark }) => words.some((word) => isMeant(benchmark, word))),
    runs,
    isQuick: given.has("quick"),
    file: (given.get("json") as string | undefined) ?? null,
  };
}

/** Seconds that rows take, about. */
export function secondsOf(rows: readonly Benchmark[], runs: number): number {
  return rows.reduce(
    (sum, { seconds: [setUp, run], onceBecause }) =>
      sum + setUp + run * (onceBecause === undefined ? runs : 1),
    0,
  );
}

export function inMinutes(seconds: number): string {
  return seconds < 90 ? `${Math.round(seconds / 10) * 10 || 5} s` : `${Math.round(seconds / 60)} min`;
}

function isMeant({ name }: Benchmark, word: string): boolean {
  return name.toLowerCase().includes(word.toLowerCase());
}

function isOption(name: string): name is OptionName {
  return name in OPTIONS;
}

function unknownOption(rawName: string): Order {
  const [near] = nearestNames(rawName.replace(/^-+/, ""), Object.keys(OPTIONS));
  return refused(
    `There is no option ${rawName}`,
    near === undefined ? undefined : `Did you mean --${near}?`,
  );
}

function unknownWord(word: string, wanted: readonly Ground[], grounds: Grounds): Order {
  const message = `No ${wanted.length === 1 ? `${wanted[0]} ` : ""}row has ${word} in its name`;
  const other = (Object.keys(grounds) as Ground[]).find((ground) =>
    !wanted.includes(ground) && grounds[ground].some((one) => isMeant(one, word))
  );
  if (other !== undefined) {
    return refused(
      message,
      `${other === "cluster" ? "With --cluster" : "Without --cluster"} there is: ${
        grounds[other].filter((one) => isMeant(one, word)).map(({ name }) => name).join("; ")
      }.`,
    );
  }
  const names = wanted.flatMap((ground) => grounds[ground].map(({ name }) => name));
  const [near] = nearestNames(word, new Set(names.flatMap((name) => name.match(/\w+(?:,\w+)*/g) ?? [])));
  return refused(
    message,
    near === undefined ? `There are: ${names.join("; ")}.` : `Did you mean ${near}?`,
  );
}

function refused(what: string, hint = "`deno task bench --help` says what there is."): Order {
  return { kind: "refused", message: `error: ${what}\nhint: ${hint}\n` };
}

function help(grounds: Grounds): string {
  const time = (rows: readonly Benchmark[]) => inMinutes(secondsOf(rows, USUAL_RUNS));
  const list = (rows: readonly Benchmark[]) => {
    const width = Math.max(...rows.map(({ name }) => name.length));
    return rows.map((one) => {
      const once = one.onceBecause === undefined ? "" : `; once, because ${one.onceBecause}`;
      return `  ${one.name.padEnd(width)}  ${time([one]).padStart(6)}  ${one.about}${once}`;
    }).join("\n");
  };
  return `\
Measures the real program from outside, on this machine. A table at the end, and all figures as JSON.

  deno task bench [word …] [options]

  word          only rows with one of the words in their names; "two words" in quotes are one
  --cluster     the rows of a cluster, on the PostgreSQL, Redis and RabbitMQ of this machine
  --all         the embedded rows, then those of a cluster
  --runs N      how often each row is run, and the median taken (default ${USUAL_RUNS})
  --json FILE   writes the figures to a file, after each row; otherwise they go to standard output when that is no
                terminal
  --quick       a fiftieth of the work: shows that a row works; the figures mean nothing
  -h, --help    this

Times are for ${USUAL_RUNS} runs on two quiet cores; the figures of a busy machine say little.

Embedded, ${time(grounds.embedded)}:
${list(grounds.embedded)}

Cluster (--cluster), ${time(grounds.cluster)}:
${list(grounds.cluster)}

Examples:
  deno task bench throughput --runs 5
  deno task bench --cluster "API call" scaling
  deno task bench --all --json figures.json
`;
}
