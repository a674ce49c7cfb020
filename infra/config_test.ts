import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import fastCheck from "fast-check";
import { type Config, type ConfigInput, loadConfig, problemLine, secretsOf } from "./config.ts";
import { CONSUMER_SECTION, FIXED_SECTIONS, keysOf } from "./config_schema.ts";
import { describeMode } from "./mode.ts";

interface Given {
  /** Files by path. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly flags?: ConfigInput["flags"];
  readonly file?: string | null;
}

function load({ files = {}, env = {}, flags = [], file }: Given) {
  return loadConfig({
    ...(file === undefined ? {} : { file }),
    env,
    flags,
    machine: { cores: 4 },
    readTextFile: (path) => {
      const content = files[path];
      return content === undefined
        ? Promise.reject(new Deno.errors.NotFound(`No such file: ${path}`))
        : Promise.resolve(content);
    },
  });
}

async function good(given: Given) {
  const loaded = await load(given);
  if (!loaded.ok) throw new Error(loaded.problems.map(problemLine).join("\n"));
  return loaded;
}

async function problems(given: Given): Promise<string[]> {
  const loaded = await load(given);
  return loaded.ok ? [] : loaded.problems.map(problemLine);
}

const json = (value: unknown): Given => ({ files: { "milvaion.json": JSON.stringify(value) } });

Deno.test("configuration has defaults for everything and needs no file", async () => {
  const { config, warnings, sources } = await good({});
  assertEquals(config.MilvaionConfig.Api.Port, 5000);
  assertEquals(config.MilvaionConfig.Api.Host, "127.0.0.1");
  assertEquals(config.MilvaionConfig.JobDispatcher.LockTtlSeconds, 15);
  assertEquals(config.MilvaionConfig.JobDispatcher.MisfireThresholdSeconds, 60);
  assertEquals(config.Worker.MaxParallelJobs, 8);
  assertEquals(config.Worker.ExecutionTimeoutSeconds, 3600);
  assertEquals(config.JobConsumers, {});
  assertEquals(warnings, []);
  assertEquals(sources.get("Worker.MaxParallelJobs"), { value: 8, source: "default" });
});

const GUIDE: readonly {
  readonly name: string;
  readonly printed: string;
  readonly promise: (config: Config) => void;
}[] = [
  {
    name: "email worker",
    printed: `{
"Worker": {
"WorkerId": "email-worker",
"MaxParallelJobs": 100
}
}`,
    promise: ({ Worker }) => assertEquals([Worker.WorkerId, Worker.MaxParallelJobs], ["email-worker", 100]),
  },
  {
    name: "report worker",
    printed: `{
"Worker": {
"WorkerId": "report-worker",
"MaxParallelJobs": 4
}
}`,
    promise: ({ Worker }) => assertEquals([Worker.WorkerId, Worker.MaxParallelJobs], ["report-worker", 4]),
  },
  {
    name: "lock TTL",
    printed: `{
"MilvaionConfig": {
"JobDispatcher": {
"LockTtlSeconds": 600
}
}
}`,
    promise: ({ MilvaionConfig }) => assertEquals(MilvaionConfig.JobDispatcher.LockTtlSeconds, 600),
  },
  {
    name: "worker-level concurrency",
    printed: `{
"Worker": {
"MaxParallelJobs": 10
},
"JobConsumers": {
"SendEmailJob": { "MaxParallelJobs": 20 },
"GenerateReportJob": { "MaxParallelJobs": 2 }
}
}`,
    promise: ({ Worker, JobConsumers }) => {
      assertEquals(Worker.MaxParallelJobs, 10);
      assertEquals(JobConsumers["SendEmailJob"], { MaxParallelJobs: 10 });
      assertEquals(JobConsumers["GenerateReportJob"], { MaxParallelJobs: 2 });
    },
  },
];

for (const { name, printed, promise } of GUIDE) {
  Deno.test(`the guide's configuration loads as printed: ${name}`, async () => {
    promise((await good({ files: { "milvaion.json": printed } })).config);
  });
}

Deno.test("a consumer that asks for more than its worker has boots with a warning and the smaller count", async () => {
  const { warnings, sources } = await good(json({
    Worker: { MaxParallelJobs: 10 },
    JobConsumers: {
      SendEmailJob: { MaxParallelJobs: 20, Threads: 16 },
      GenerateReportJob: { MaxParallelJobs: 2 },
    },
  }));
  assertEquals(warnings, [
    "JobConsumers.SendEmailJob.MaxParallelJobs is 20, more than Worker.MaxParallelJobs (10): 10 counts.",
    "JobConsumers.SendEmailJob.Threads is 16, more than its 10 lanes: 10 counts.",
  ]);
  assertEquals(sources.get("JobConsumers.SendEmailJob.MaxParallelJobs"), {
    value: 10,
    source: "milvaion.json, limited to what Worker allows",
  });
});

Deno.test("flags win over the environment, long names over short ones, the environment over the file", async () => {
  const { config, sources } = await good({
    files: {
      "milvaion.json": JSON.stringify({
        MilvaionConfig: { Api: { Port: 1001, Host: "127.0.0.2" }, JobDispatcher: { BatchSize: 5 } },
      }),
    },
    env: {
      PORT: "1002",
      HOST: "127.0.0.3",
      MilvaionConfig__Api__Host: "127.0.0.4",
      MilvaionConfig__JobDispatcher__LockTtlSeconds: "30",
      Worker__MaxParallelJobs: "",
    },
    flags: [
      { path: "MilvaionConfig.Api.Port", flag: "--port", value: "1003" },
      { path: "Worker.JobFolders", flag: "--jobs", value: ["./a,b", "./c"] },
    ],
  });
  const { Api, JobDispatcher } = config.MilvaionConfig;
  assertEquals([Api.Port, Api.Host, JobDispatcher.BatchSize, JobDispatcher.LockTtlSeconds], [
    1003,
    "127.0.0.4",
    5,
    30,
  ]);
  assertEquals(config.Worker.JobFolders, ["./a,b", "./c"]);
  assertEquals(config.Worker.MaxParallelJobs, 8);
  assertEquals(sources.get("MilvaionConfig.Api.Port"), { value: 1003, source: "--port" });
  assertEquals(sources.get("MilvaionConfig.JobDispatcher.BatchSize"), { value: 5, source: "milvaion.json" });
});

Deno.test("job consumers are set from the environment, permissions included", async () => {
  const { config } = await good({
    env: {
      JobConsumers__SendEmailJob__MaxRetries: "7",
      JobConsumers__SendEmailJob__Permissions__net: "smtp.example.com:25, api.example.com",
      JobConsumers__SendEmailJob__Permissions__read: "true",
      Worker__JobTypes: "SendEmailJob,SampleJob",
      Worker__Samples: "false",
    },
  });
  assertEquals(config.JobConsumers["SendEmailJob"], {
    MaxRetries: 7,
    Permissions: { net: ["smtp.example.com:25", "api.example.com"], read: true },
  });
  assertEquals(config.Worker.JobTypes, ["SendEmailJob", "SampleJob"]);
  assertEquals(config.Worker.Samples, false);
});

Deno.test("every key can be set by its long name in the environment", async () => {
  const known = [
    ...keysOf(FIXED_SECTIONS),
    ...keysOf(CONSUMER_SECTION).map(([path, key]) => [["JobConsumers", "SampleJob", ...path], key] as const),
  ];
  for (const [path] of known) {
    const name = path.join("__");
    const lines = await problems({ env: { [name]: "\u0001" } });
    // Whatever is wrong with the value, the key itself is known.
    for (const line of lines) assert(!line.includes("unknown key"), line);
  }
});

/** B38: what is given, and what the refusal says. */
const REFUSED: readonly { readonly name: string; readonly given: Given; readonly says: readonly RegExp[] }[] =
  [
    {
      name: "an unknown key",
      given: json({ MilvaionConfig: { JobDispatcher: { LockTtlSecond: 30 } } }),
      says: [
        /^MilvaionConfig\.JobDispatcher\.LockTtlSecond: .*Did you mean MilvaionConfig\.JobDispatcher\.LockTtlSeconds\?$/,
      ],
    },
    {
      name: "a key in the wrong section",
      given: json({ Worker: { LockTtlSeconds: 30 } }),
      says: [/^Worker\.LockTtlSeconds: .*Did you mean MilvaionConfig\.JobDispatcher\.LockTtlSeconds\?$/],
    },
    {
      name: "a section that was meant to be inside another",
      given: json({ JobDispatcher: { LockTtlSeconds: 30 } }),
      says: [/^JobDispatcher: .*Did you mean MilvaionConfig\.JobDispatcher\?$/],
    },
    {
      name: "an unknown key of a consumer",
      given: json({ JobConsumers: { SendEmailJob: { MaxRetrys: 1 } } }),
      says: [
        /^JobConsumers\.SendEmailJob\.MaxRetrys: .*Did you mean JobConsumers\.SendEmailJob\.MaxRetries\?$/,
      ],
    },
    {
      name: "a key that resembles nothing",
      given: json({ Worker: { Zzzzzz: 1 } }),
      says: [/^Worker\.Zzzzzz: .*Known in Worker: WorkerId, MaxParallelJobs/],
    },
    {
      name: "an unknown key in the environment",
      given: { env: { Worker__MaxParalelJobs: "5" } },
      says: [/^Worker__MaxParalelJobs: .*Did you mean Worker__MaxParallelJobs\?$/],
    },
    {
      name: "text for a number",
      given: json({ Worker: { MaxParallelJobs: "10" } }),
      says: [
        /^Worker\.MaxParallelJobs \(milvaion\.json\): got "10", expected a whole number from 1 to 1000\. Write 10 without quotes\.$/,
      ],
    },
    {
      name: "10 minutes",
      given: json({ Worker: { ExecutionTimeoutSeconds: "10 minutes" } }),
      says: [/got "10 minutes", expected a whole number of seconds .*: write 600\.$/],
    },
    {
      name: "10m in the environment",
      given: { env: { Worker__ExecutionTimeoutSeconds: "10m" } },
      says: [
        /^Worker\.ExecutionTimeoutSeconds \(Worker__ExecutionTimeoutSeconds\): got "10m".*: write 600\.$/,
      ],
    },
    {
      name: "a negative number",
      given: json({ Worker: { MaxParallelJobs: -1 } }),
      says: [/got -1, expected a whole number from 1 to 1000$/],
    },
    {
      name: "a number above the bound",
      given: { env: { PORT: "70000" } },
      says: [/^MilvaionConfig\.Api\.Port \(PORT\): got 70000, expected a whole number from 0 to 65535$/],
    },
    {
      name: "a fraction",
      given: json({ Worker: { LeaseSeconds: 15.5 } }),
      says: [/got 15\.5, expected a whole number of seconds/],
    },
    {
      name: "a section that is no section",
      given: json({ Worker: 10 }),
      says: [/^Worker: got 10, expected a section/],
    },
    {
      name: "a file that is no object",
      given: { files: { "milvaion.json": "[]" } },
      says: [/^milvaion\.json: got \[\], expected a section/],
    },
    {
      name: "JSON that is not JSON",
      given: { files: { "milvaion.json": '{\n  "Worker": {,}\n}' } },
      says: [/^milvaion\.json: got text that is not JSON, expected a JSON object\. .*line 2/],
    },
    {
      name: "a word that is not offered",
      given: { env: { MilvaionConfig__Logging__Level: "loud" } },
      says: [/one of debug, info, warn, error$/],
    },
    {
      name: "a name with a dot for a pool",
      given: json({ Worker: { WorkerId: "a.b" } }),
      says: [/letters, digits, - or _$/],
    },
    {
      name: "a job type that cannot be one",
      given: json({ JobConsumers: { "a*": {} } }),
      says: [/^JobConsumers\.a\*: .*name of a job type/],
    },
    {
      name: "a prototype for a section",
      given: { files: { "milvaion.json": '{"__proto__": {"a": 1}}' } },
      says: [/^__proto__: got an unknown key/],
    },
    {
      name: "a pattern that binds nothing",
      given: json({ JobConsumers: { SampleJob: { RoutingPattern: "*.x" } } }),
      says: [/ending in \.\* or \.#/],
    },
    {
      name: "the wrong server at an address",
      given: { env: { DATABASE_URL: "mysql://user:hunter2@db/x" } },
      says: [
        /^MilvaionConfig\.Postgres\.Url \(DATABASE_URL\): got \*{8}, expected an address such as postgres:\/\//,
      ],
    },
    {
      name: "a token that can be guessed",
      given: { env: { MILVAION_API_TOKEN: "short" } },
      says: [/got \*{8}, expected at least 16/],
    },
    {
      name: "a secret given twice",
      given: { env: { MILVAION_API_TOKEN: "a".repeat(20), MILVAION_API_TOKEN_FILE: "/t" } },
      says: [/^MILVAION_API_TOKEN_FILE: got MILVAION_API_TOKEN as well, expected one of the two$/],
    },
    {
      name: "a secret file that is not there",
      given: { env: { AMQP_URL_FILE: "/nowhere" } },
      says: [/^AMQP_URL_FILE: got \/nowhere, expected a file that can be read/],
    },
    {
      name: "a configuration file that is not there",
      given: { file: "./other.json" },
      says: [/^\.\/other\.json: got no such file/],
    },
  ];

for (const { name, given, says } of REFUSED) {
  Deno.test(`B38 configuration refuses ${name} and says what is right`, async () => {
    const lines = await problems(given);
    assertEquals(lines.length, says.length, lines.join("\n"));
    says.forEach((pattern, index) => assertMatch(lines[index] ?? "", pattern));
    assert(!lines.join().includes("hunter2"));
  });
}

Deno.test("B38 configuration names all problems at once", async () => {
  const lines = await problems({
    files: { "milvaion.json": JSON.stringify({ Worker: { MaxParallelJobs: 0, Foo: 1 }, Bar: {} }) },
    env: { PORT: "x", Worker__Nonsense: "1" },
    flags: [{ path: "MilvaionConfig.Logging.Level", flag: "--log-level", value: "loud" }],
  });
  assertEquals(lines.length, 6, lines.join("\n"));
});

const RULES: readonly { readonly name: string; readonly given: Given; readonly says: RegExp }[] = [
  {
    name: "a lease shorter than three heartbeats",
    given: json({ Worker: { LeaseSeconds: 14 } }),
    says: /^Worker\.LeaseSeconds: got 14, expected at least 3 × Worker\.Heartbeat\.IntervalSeconds \(15\)/,
  },
  {
    name: "a kill grace that outlasts the stop",
    given: json({ Worker: { KillGraceSeconds: 25 } }),
    says: /^Worker\.KillGraceSeconds: got 25, expected less than Worker\.ShutdownGraceSeconds \(25\)/,
  },
  {
    name: "an address beyond loopback without a token",
    given: { env: { HOST: "0.0.0.0" } },
    says:
      /^MilvaionConfig\.Api\.Token: got none, expected a token, because MilvaionConfig\.Api\.Host \(0\.0\.0\.0\)/,
  },
  {
    name: "polling without a pause",
    given: json({ MilvaionConfig: { JobDispatcher: { PollingIntervalSeconds: 0 } } }),
    says: /got 0, expected a whole number of seconds from 1 to 3600$/,
  },
  {
    name: "a lock too short to be renewed in time",
    given: json({ MilvaionConfig: { JobDispatcher: { LockTtlSeconds: 2 } } }),
    says: /got 2, expected a whole number of seconds from 3 to 86400$/,
  },
];

for (const { name, given, says } of RULES) {
  Deno.test(`B39 configuration refuses ${name} and names the rule`, async () => {
    const lines = await problems(given);
    assertEquals(lines.length, 1, lines.join("\n"));
    assertMatch(lines[0] ?? "", says);
  });
}

Deno.test("B39 a lease of exactly three heartbeats is accepted", async () => {
  const { config } = await good(json({ Worker: { LeaseSeconds: 9, Heartbeat: { IntervalSeconds: 3 } } }));
  assertEquals(config.Worker.LeaseSeconds, 9);
});

Deno.test("a secret comes from a file without its last newline, and is never shown", async () => {
  const { config, sources } = await good({
    files: { "/run/secrets/token": "0123456789abcdef\n", "/run/secrets/db": "postgres://me:p%40ss@db/x\r\n" },
    env: {
      MILVAION_API_TOKEN_FILE: "/run/secrets/token",
      DATABASE_URL_FILE: "/run/secrets/db",
      HOST: "0.0.0.0",
    },
  });
  assertEquals(config.MilvaionConfig.Api.Token, "0123456789abcdef");
  assertEquals(config.MilvaionConfig.Postgres.Url, "postgres://me:p%40ss@db/x");
  assertEquals(sources.get("MilvaionConfig.Api.Token"), {
    value: "********",
    source: "MILVAION_API_TOKEN_FILE (/run/secrets/token)",
  });
  assertEquals(sources.get("MilvaionConfig.Redis.Url"), { value: null, source: "default" });
  assertEquals(secretsOf(config), ["0123456789abcdef", "postgres://me:p%40ss@db/x", "p%40ss", "p@ss"]);
});

Deno.test("variables that were surely meant for this program are warned about", async () => {
  const { warnings } = await good({
    env: {
      MILVAION_DATADIR: "/x",
      MILVAION_URL: "http://127.0.0.1:5000",
      WORKER__MaxParallelJobs: "5",
      JobConsumer__SampleJob__MaxRetries: "1",
      NVM_RC__VERSION: "1",
    },
  });
  assertEquals(warnings, [
    "The environment sets MILVAION_DATADIR, which means nothing here. Did you mean MILVAION_DATA_DIR?",
    "The environment sets WORKER__MaxParallelJobs, which means nothing here. Did you mean Worker__MaxParallelJobs? Letter case counts.",
    "The environment sets JobConsumer__SampleJob__MaxRetries, which means nothing here. Did you mean JobConsumers__SampleJob__MaxRetries? Letter case counts.",
  ]);
});

Deno.test("keys of a cluster are accepted without one with a warning that they have no effect", async () => {
  const clustered = await good({
    ...json({ MilvaionConfig: { RabbitMQ: { QueueType: "classic" } } }),
    env: { AMQP_URL: "amqp://broker" },
  });
  assertEquals(clustered.warnings, []);
  const { warnings } = await good(json({ MilvaionConfig: { RabbitMQ: { QueueType: "classic" } } }));
  assertEquals(warnings, [
    "MilvaionConfig.RabbitMQ.QueueType (milvaion.json) concerns a cluster and has no effect in embedded mode.",
  ]);
});

Deno.test("whatever JSON a file holds, loading answers and never throws", async () => {
  await fastCheck.assert(fastCheck.asyncProperty(fastCheck.json(), async (text) => {
    const loaded = await load({ files: { "milvaion.json": text } });
    if (!loaded.ok) { for (const problem of loaded.problems) assert(problemLine(problem).length > 0); }
  }));
});

Deno.test("each integer key takes exactly the numbers within its bounds", async () => {
  await fastCheck.assert(
    fastCheck.asyncProperty(fastCheck.integer({ min: -10, max: 70_000 }), async (port) => {
      const loaded = await load({ env: { PORT: String(port) } });
      assertEquals(loaded.ok, port >= 0 && port <= 65_535);
    }),
  );
});

Deno.test("a command runs embedded without servers, on a cluster with them, and says which are missing", async () => {
  const servers = {
    DATABASE_URL: "postgres://me:secret@db/x",
    REDIS_URL: "rediss://:secret@cache:6380/0",
    AMQP_URL: "amqp://me:secret@broker/",
  };
  const modeOf = async (env: Record<string, string>, command: "run" | "api" | "worker") => {
    const mode = describeMode((await good({ env })).config, command);
    return mode.ok ? mode.mode : mode.message;
  };
  assertEquals(await modeOf({}, "run"), "embedded");
  for (const command of ["run", "api", "worker"] as const) {
    assertEquals(await modeOf(servers, command), "cluster");
  }
  const { DATABASE_URL: _, ...withoutDatabase } = servers;
  assertEquals(await modeOf(withoutDatabase, "worker"), "cluster", "a worker can claim through RabbitMQ");
  assertStringIncludes(await modeOf({}, "api"), "needs DATABASE_URL, REDIS_URL, AMQP_URL");
  assertStringIncludes(await modeOf({}, "worker"), "needs REDIS_URL, AMQP_URL");
  for (const command of ["run", "api"] as const) {
    const message = await modeOf(withoutDatabase, command);
    assertStringIncludes(message, "on REDIS_URL and AMQP_URL also needs DATABASE_URL");
    assert(!message.includes("secret"));
  }
});

Deno.test("the page about configuration names every key with its default and its short variable", async () => {
  const page = await Deno.readTextFile(new URL("./README.md", import.meta.url));
  for (const [path, key] of [...keysOf(FIXED_SECTIONS), ...keysOf(CONSUMER_SECTION)]) {
    assertStringIncludes(page, `\`${path.join(".")}\``);
    if (key.variable !== null) assertStringIncludes(page, `\`${key.variable}\``);
  }
});
