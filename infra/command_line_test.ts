import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import fastCheck from "fast-check";
import { loadConfig } from "./config.ts";
import { nodeAt } from "./config_schema.ts";
import { Key } from "./config_key.ts";
import { type Command, parseCommandLine } from "./command_line.ts";
import { COMMANDS, type ConfigOption } from "./command_table.ts";

function parsed(...args: string[]): Command {
  const answer = parseCommandLine(args);
  if (!answer.ok) throw new Error(answer.message);
  return answer.command;
}

function refused(...args: string[]): string {
  const answer = parseCommandLine(args);
  assert(!answer.ok, args.join(" "));
  assertEquals(answer.exitCode, 64);
  return answer.message;
}

function helpText(...args: string[]): string {
  const command = parsed(...args);
  assert(command.name === "help");
  return command.text;
}

Deno.test("run turns its flags into settings of the configuration", async () => {
  const command = parsed(
    ...["run", "--jobs", "./mine", "--jobs=./theirs", "--types", "A,B", "--port", "0", "--no-samples"],
    ...["--data-dir", "/data", "--config", "other.json", "--log-level", "debug"],
  );
  assert(command.name === "run");
  assertEquals(command.config.file, "other.json");
  const loaded = await loadConfig({
    ...command.config,
    env: {},
    machine: { cores: 2 },
    readTextFile: () => Promise.resolve("{}"),
  });
  assert(loaded.ok);
  const { Worker, MilvaionConfig } = loaded.config;
  assertEquals([Worker.JobFolders, Worker.JobTypes, Worker.Samples], [
    ["./mine", "./theirs"],
    ["A", "B"],
    false,
  ]);
  assertEquals([MilvaionConfig.Api.Port, MilvaionConfig.DataDir], [0, "/data"]);
  assertEquals(MilvaionConfig.Logging.Level, "debug");
  assertEquals(loaded.sources.get("Worker.Samples")?.source, "--no-samples");
});

Deno.test("every flag that stands for a key stands for one that exists", () => {
  const flags = COMMANDS.flatMap(({ options }) =>
    options.filter((option): option is ConfigOption => "key" in option)
  );
  assert(flags.length > 0);
  for (const { key } of flags) assert(nodeAt(key.split(".")) instanceof Key, key);
});

Deno.test("the other commands of the program are read", () => {
  assertEquals(parsed("migrate", "--dry-run"), {
    name: "migrate",
    config: { flags: [] },
    dryRun: true,
    from: null,
    workerRole: null,
  });
  assertEquals(parsed("migrate", "--from", "./old", "--worker-role", "milvaion_worker"), {
    name: "migrate",
    config: { flags: [] },
    dryRun: false,
    from: "./old",
    workerRole: "milvaion_worker",
  });
  assertEquals(parsed("doctor", "-o", "json"), {
    name: "doctor",
    config: { flags: [] },
    output: "json",
    running: null,
  });
  assertEquals(parsed("config", "print", "-o", "json"), {
    name: "config print",
    config: { flags: [] },
    output: "json",
  });
  assertEquals(parsed("version"), { name: "version" });
  assertEquals(parsed("--version"), { name: "version" });
  assertEquals(parsed("host", "--whatever", "x"), { name: "host", args: ["--whatever", "x"] });
  assertEquals(parsed("worker", "--jobs", "./a").name, "worker");
});

Deno.test("a verb comes with its arguments and options", () => {
  const command = parsed(
    "jobs",
    "explain",
    "-ojson",
    "019a",
    "--at",
    "2026-11-24T10:00:00Z",
    "--url",
    "http://a:1",
  );
  assert(command.name === "verb");
  assertEquals(command.verb.name, "jobs explain");
  assertEquals(command.given.argument("id"), "019a");
  assertEquals(command.given.text("at"), "2026-11-24T10:00:00Z");
  assertEquals(command.given.text("url"), "http://a:1");
});

Deno.test("an argument that begins with a dash can be given after --", () => {
  const command = parsed("jobs", "get", "--", "-x");
  assert(command.name === "verb");
  assertEquals(command.given.argument("id"), "-x");
});

/** B44: what is typed, and what the line says. All end with 64. */
const REFUSED: readonly (readonly [args: string, says: RegExp])[] = [
  ["rnu", /^error: There is no command rnu\nhint: Did you mean run\?\n$/],
  ["job list", /^error: There is no command job\nhint: Did you mean jobs list\?\n$/],
  ["jobs lst", /^error: There is no command jobs lst\nhint: Did you mean jobs list\?\n$/],
  ["jobs", /^error: jobs needs to know what to do\nhint: It can: list, get, create, /],
  ["xyzzy", /hint: `milvaion help` lists the commands\.\n$/],
  ["help rnu", /Did you mean run\?/],
  ["--port 1 run", /The command comes before its options/],
  ["run --prot 1", /^error: run has no option --prot\nhint: Did you mean --port\?\n$/],
  ["doctor --replace-baseline", /^error: --replace-baseline goes with --before-scaling\n/],
  ["doctor --live --after-scaling", /^error: --live and --after-scaling do not go together\n/],
  ["run -x", /^error: run has no option -x\n/],
  ["run --port", /^error: --port needs a value: N\n/],
  [
    "run --data-dir --port 1",
    /^error: --data-dir needs a value: FOLDER\nhint: Write --data-dir=--port if --port is the value\./,
  ],
  ["run --port abc", /^error: --port needs a whole number, not abc\n/],
  ["run --port=", /^error: --port needs a whole number, not nothing\n/],
  ["run --port 1 --port 2", /^error: --port is given twice\n/],
  ["run --no-samples=yes", /^error: --no-samples takes no value\n/],
  ["run --log-level lout", /^error: --log-level is one of debug, info, warn, error, not lout\n/],
  ["run --log-level ino", /Did you mean info\?/],
  ["run something", /^error: run does not know what to do with something\n/],
  ["jobs list --limit abc", /^error: --limit needs a whole number, not abc\n/],
  ["jobs get", /^error: jobs get needs <id>\nhint: milvaion jobs get <id> \[options\]; see/],
  ["jobs get a b", /does not know what to do with b/],
  ["occurrences list -o yaml", /^error: -o is one of table, json, not yaml\n/],
];

for (const [args, says] of REFUSED) {
  Deno.test(`B44 \`${args}\` ends with 64, one line and a hint`, () => {
    const message = refused(...args.split(" "));
    assertMatch(message, says);
    assertEquals(message.split("\n").length, 3);
  });
}

Deno.test("B44 an empty argument is a missing one", () => {
  assertStringIncludes(refused("jobs", "get", ""), "needs <id>");
});

Deno.test("help exists for the program, each group and each command", () => {
  for (const args of [[], ["help"], ["--help"], ["-h"]]) {
    assertStringIncludes(helpText(...args), "milvaion: a job scheduler");
  }
  assertStringIncludes(helpText("help", "jobs"), "jobs trigger");
  assertStringIncludes(helpText("jobs", "--help"), "jobs trigger");
  for (const { name, about, isHidden } of COMMANDS) {
    if (isHidden === true) assert(!helpText().includes(about));
    else {
      const text = helpText(...name.split(" "), "--help");
      assertStringIncludes(text, about);
      assertEquals(text, helpText("help", ...name.split(" ")));
      assertStringIncludes(helpText(), `  ${name} `);
    }
  }
});

Deno.test("run --help teaches: what it does, an example, the variables, where data lies", () => {
  const text = helpText("run", "--help");
  for (
    const taught of [
      "--jobs FOLDER",
      "milvaion run --jobs ./my-jobs",
      "PORT",
      "HOST",
      "MILVAION_DATA_DIR",
      "MILVAION_API_TOKEN",
      "./milvaion-data",
      "./milvaion.json",
      "Worker__MaxParallelJobs=20",
      "/api/v1/jobs",
      "defineJob",
    ]
  ) assertStringIncludes(text, taught);
});

Deno.test("help fits on a terminal of 120 columns", () => {
  const texts = [helpText(), ...COMMANDS.map(({ name }) => helpText("help", ...name.split(" ")))];
  for (const line of texts.join("\n").split("\n")) assert(line.length <= 120, line);
});

Deno.test("whatever is typed, there is an answer and never a throw", () => {
  const words = COMMANDS.flatMap(({ name, options }) => [
    ...name.split(" "),
    ...options.map((option) => `--${option.name}`),
  ]);
  const word = fastCheck.oneof(
    fastCheck.constantFrom(...words, "-", "--", "-o", "--=", "=", "__proto__"),
    fastCheck.string(),
  );
  fastCheck.assert(fastCheck.property(fastCheck.array(word, { maxLength: 6 }), (args) => {
    const answer = parseCommandLine(args);
    if (!answer.ok) assertEquals(answer.exitCode, 64);
  }));
});
